# SPDX-License-Identifier: GPL-2.0-or-later
"""The numbers and structures of ``/dev/kvm`` on x86-64: those that are used here, as ``<linux/kvm.h>`` has them.

``tests/unit/test_kvm_abi.py`` compares each with what the system's compiler makes of that header.
"""

from __future__ import annotations

import ctypes
import struct
from ctypes import Structure, c_uint8, c_uint16, c_uint32, c_uint64

API_VERSION = 12
"""The only version since Linux 2.6.22 (KVM_GET_API_VERSION)."""


class MemoryRegion(Structure):
    """``struct kvm_userspace_memory_region``: guest memory at ``guest_phys_addr`` is this process's."""

    _fields_ = (
        ("slot", c_uint32),
        ("flags", c_uint32),
        ("guest_phys_addr", c_uint64),
        ("memory_size", c_uint64),
        ("userspace_addr", c_uint64),
    )


class Registers(Structure):
    """``struct kvm_regs``."""

    _fields_ = tuple(
        (name, c_uint64)
        for name in (
            "rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rsp", "rbp",
            "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "rip", "rflags",
        )
    )  # fmt: skip


class Segment(Structure):
    """``struct kvm_segment``: a segment register with what it hides."""

    _fields_ = (
        ("base", c_uint64),
        ("limit", c_uint32),
        ("selector", c_uint16),
        ("type", c_uint8),
        ("present", c_uint8),
        ("dpl", c_uint8),
        ("db", c_uint8),
        ("s", c_uint8),
        ("l", c_uint8),
        ("g", c_uint8),
        ("avl", c_uint8),
        ("unusable", c_uint8),
        ("padding", c_uint8),
    )


class DescriptorTable(Structure):
    """``struct kvm_dtable``."""

    _fields_ = (("base", c_uint64), ("limit", c_uint16), ("padding", c_uint16 * 3))


class SpecialRegisters(Structure):
    """``struct kvm_sregs``."""

    _fields_ = (
        *((name, Segment) for name in ("cs", "ds", "es", "fs", "gs", "ss", "tr", "ldt")),
        ("gdt", DescriptorTable),
        ("idt", DescriptorTable),
        *((name, c_uint64) for name in ("cr0", "cr2", "cr3", "cr4", "cr8", "efer", "apic_base")),
        ("interrupt_bitmap", c_uint64 * 4),
    )


SIGNAL_MASK = struct.Struct("=IQ")
"""``struct kvm_signal_mask``: the length of the kernel's set of signals (8), and the set."""
SIGNAL_SET_SIZE = 8

EXIT_REASON = struct.Struct("=I")
EXIT_REASON_AT = 8
"""``exit_reason`` in ``struct kvm_run``."""
EXIT_DETAILS_AT = 32
"""The union in ``struct kvm_run``: what belongs to the reason."""
PORT_ACCESS = struct.Struct("=BBHIQ")
"""``io``: direction, bytes at a time, port, times, and where in ``struct kvm_run`` the data are."""
MEMORY_ACCESS = struct.Struct("=Q8sIB")
"""``mmio``: the guest's physical address, data, length, whether it writes."""
ENTRY_FAILURE = struct.Struct("=QI")
"""``fail_entry``: the hardware's reason, the CPU."""
INTERNAL_ERROR = struct.Struct("=I")
"""``internal``: the kind of error."""

PORT_IN, PORT_OUT = 0, 1

EXIT_PORT = 2
EXIT_HALT = 5
EXIT_MEMORY = 6
EXIT_SHUTDOWN = 8
EXIT_ENTRY_FAILED = 9
EXIT_INTERRUPTED = 10
EXIT_INTERNAL_ERROR = 17

INTERNAL_ERRORS = {
    1: "an instruction cannot be emulated",
    2: "exceptions in turn",
    3: "an event that KVM did not expect",
}
"""``KVM_INTERNAL_ERROR_*``, as far as they are told apart here."""

CAPABILITY_SET_TSS_ADDRESS = 4
CAPABILITY_SET_IDENTITY_MAP_ADDRESS = 37

_WRITES, _READS = 1, 2
_KVM = 0xAE


def _request(direction: int, number: int, size: int) -> int:
    """An ioctl's number as ``<asm-generic/ioctl.h>`` puts it together."""
    return direction << 30 | size << 16 | _KVM << 8 | number


GET_API_VERSION = _request(0, 0x00, 0)
CREATE_VM = _request(0, 0x01, 0)
CHECK_EXTENSION = _request(0, 0x03, 0)
GET_VCPU_MMAP_SIZE = _request(0, 0x04, 0)
CREATE_VCPU = _request(0, 0x41, 0)
SET_USER_MEMORY_REGION = _request(_WRITES, 0x46, ctypes.sizeof(MemoryRegion))
SET_TSS_ADDRESS = _request(0, 0x47, 0)
SET_IDENTITY_MAP_ADDRESS = _request(_WRITES, 0x48, 8)
RUN = _request(0, 0x80, 0)
GET_REGISTERS = _request(_READS, 0x81, ctypes.sizeof(Registers))
SET_REGISTERS = _request(_WRITES, 0x82, ctypes.sizeof(Registers))
GET_SPECIAL_REGISTERS = _request(_READS, 0x83, ctypes.sizeof(SpecialRegisters))
SET_SPECIAL_REGISTERS = _request(_WRITES, 0x84, ctypes.sizeof(SpecialRegisters))
# The size is that of the length alone; the set comes behind it.
SET_SIGNAL_MASK = _request(_WRITES, 0x8B, 4)

NAMES = {
    GET_API_VERSION: "KVM_GET_API_VERSION",
    CREATE_VM: "KVM_CREATE_VM",
    CHECK_EXTENSION: "KVM_CHECK_EXTENSION",
    GET_VCPU_MMAP_SIZE: "KVM_GET_VCPU_MMAP_SIZE",
    CREATE_VCPU: "KVM_CREATE_VCPU",
    SET_USER_MEMORY_REGION: "KVM_SET_USER_MEMORY_REGION",
    SET_TSS_ADDRESS: "KVM_SET_TSS_ADDR",
    SET_IDENTITY_MAP_ADDRESS: "KVM_SET_IDENTITY_MAP_ADDR",
    RUN: "KVM_RUN",
    GET_REGISTERS: "KVM_GET_REGS",
    SET_REGISTERS: "KVM_SET_REGS",
    GET_SPECIAL_REGISTERS: "KVM_GET_SREGS",
    SET_SPECIAL_REGISTERS: "KVM_SET_SREGS",
    SET_SIGNAL_MASK: "KVM_SET_SIGNAL_MASK",
}
"""What the kernel calls them, for messages."""
