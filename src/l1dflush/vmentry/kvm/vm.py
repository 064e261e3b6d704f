# SPDX-License-Identifier: GPL-2.0-or-later
"""Virtual machines through ``/dev/kvm``, with nothing but the standard library: a VM, its memory, one vCPU.

Only what a flush before VM entry needs to be tried on: memory at 0, a vCPU in real or long mode, exits by reason. There
are no interrupt controller, no clock and no devices. Everything is given back by ``close`` or at the end of a ``with``
block, and by whatever fails half way.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import mmap
import os
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

from l1dflush.errors import InputError, KvmError, KvmUnavailableError
from l1dflush.vmentry.kvm import abi

DEVICE = Path("/dev/kvm")
PAGE = 4096
LARGEST_MEMORY = 1 << 30
"""One page of 2 MiB entries maps as much."""
PAGE_TABLES = 0x1000
"""Three pages of the guest's memory, in long mode."""
CODE = 0x8000
"""Where guests are loaded; below it is their stack."""

# One page and three that Intel's real mode needs, where no memory of a guest is. Python's ioctl takes 31 bits.
_IDENTITY_MAP, _TSS = 0x7FFB_C000, 0x7FFB_D000
_NOWHERE = 0xFFFF_F000
_PRESENT_WRITABLE, _LARGE = 0b11, 1 << 7
_PE, _ET, _NE, _WP, _PG = 1 << 0, 1 << 4, 1 << 5, 1 << 16, 1 << 31
_PAE, _OSFXSR, _OSXMMEXCPT = 1 << 5, 1 << 9, 1 << 10
_LME, _LMA = 1 << 8, 1 << 10
_RESERVED_FLAG = 1 << 1


class PortAccess(NamedTuple):
    """``in`` or ``out``: ``times`` accesses of ``size`` bytes each; ``at`` is where in ``kvm_run`` the data are."""

    output: bool
    size: int
    port: int
    times: int
    at: int


class MemoryAccess(NamedTuple):
    """An access to guest-physical memory that is not there."""

    address: int
    data: bytes
    write: bool


class _Resource:
    """Something that is given back in the order opposite to that of its making, once."""

    _undo: ExitStack

    def close(self) -> None:
        """May be called again."""
        self._undo.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Kvm(_Resource):
    """The open device. Raises KvmUnavailableError, which says why there is none."""

    def __init__(self, device: Path | None = None) -> None:
        device = device or DEVICE
        self._where = device
        with ExitStack() as undo:
            try:
                self._fd = os.open(device, os.O_RDWR | os.O_CLOEXEC)
            except OSError as error:
                raise _why_not(device, error) from None
            undo.callback(os.close, self._fd)
            try:
                version = _ioctl(self._fd, abi.GET_API_VERSION)
            except KvmError:
                raise KvmUnavailableError(f"{device} is not KVM's") from None
            if version != abi.API_VERSION:
                raise KvmUnavailableError(f"{device} has version {version} of KVM's interface, not {abi.API_VERSION}")
            self._undo = undo.pop_all()

    def vm(self, memory: int) -> Vm:
        """A VM with ``memory`` bytes, whole pages, from address 0.

        Raises InputError for another size, KvmUnavailableError where the kernel makes no VM, KvmError for a later step.
        """
        if memory <= CODE or memory % PAGE or memory > LARGEST_MEMORY:
            hint = f"a multiple of {PAGE} above {CODE >> 10}K, at most {LARGEST_MEMORY >> 20}M"
            raise InputError(f"a guest cannot have {memory} bytes of memory", hint=hint)
        return Vm(self._fd, memory, self._where)


class Vm(_Resource):
    """Made by :meth:`Kvm.vm`. ``size`` is that of its memory, which is all zeroes at first."""

    def __init__(self, kvm: int, size: int, where: Path) -> None:
        self.size = size
        self._kvm = kvm
        with ExitStack() as undo:
            try:
                self._memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
            except OSError as error:
                raise KvmError(f"there is no memory for a guest of {size} bytes: {error.strerror}") from None
            # Unmapped last: the kernel must not use it any longer then.
            undo.callback(self._memory.close)
            try:
                self._fd = _ioctl(kvm, abi.CREATE_VM)
            except KvmError as error:
                raise KvmUnavailableError(f"{where} refuses to make a VM: {error}") from None
            undo.callback(os.close, self._fd)
            # What Intel's real mode is made with; elsewhere it changes nothing.
            if _ioctl(kvm, abi.CHECK_EXTENSION, abi.CAPABILITY_SET_IDENTITY_MAP_ADDRESS):
                _ioctl(self._fd, abi.SET_IDENTITY_MAP_ADDRESS, ctypes.c_uint64(_IDENTITY_MAP))
            if _ioctl(kvm, abi.CHECK_EXTENSION, abi.CAPABILITY_SET_TSS_ADDRESS):
                _ioctl(self._fd, abi.SET_TSS_ADDRESS, _TSS)
            address = ctypes.addressof(ctypes.c_char.from_buffer(self._memory))
            _ioctl(self._fd, abi.SET_USER_MEMORY_REGION, abi.MemoryRegion(0, 0, 0, size, address))
            self._undo = undo.pop_all()

    def vcpu(self) -> GuestVcpu:
        """The VM's processor; there is one. Raises KvmError, and also if it was made before."""
        size = _ioctl(self._kvm, abi.GET_VCPU_MMAP_SIZE)
        return GuestVcpu(_ioctl(self._fd, abi.CREATE_VCPU, 0), size)

    def write(self, address: int, data: bytes) -> None:
        """Raises InputError where it does not fit."""
        if not 0 <= address <= self.size - len(data):
            raise InputError(f"{len(data)} bytes at {address:#x} do not fit into {self.size} bytes of guest memory")
        self._memory[address : address + len(data)] = data

    def read(self, address: int, size: int) -> bytes:
        """Raises InputError for memory that is not there."""
        if not 0 <= address <= self.size - size:
            raise InputError(f"{size} bytes at {address:#x} are not in {self.size} bytes of guest memory")
        return self._memory[address : address + size]

    def clear(self) -> None:
        """Everything is zero again."""
        self._memory.madvise(mmap.MADV_DONTNEED)

    def map_identically(self) -> None:
        """Writes page tables for long mode, at :data:`PAGE_TABLES`: the first GiB is where it is."""
        entries = [
            PAGE_TABLES + PAGE | _PRESENT_WRITABLE,
            PAGE_TABLES + 2 * PAGE | _PRESENT_WRITABLE,
            *(number << 21 | _LARGE | _PRESENT_WRITABLE for number in range(512)),
        ]
        for place, chosen in ((0, entries[:1]), (1, entries[1:2]), (2, entries[2:])):
            table = b"".join(entry.to_bytes(8, "little") for entry in chosen)
            self.write(PAGE_TABLES + place * PAGE, table)


class GuestVcpu(_Resource):
    """Made by :meth:`Vm.vcpu`. It belongs to the thread that runs it; :meth:`run` lets other threads go on."""

    def __init__(self, made: int, size: int) -> None:
        self._fd = made
        with ExitStack() as undo:
            undo.callback(os.close, made)
            try:
                self._shared = mmap.mmap(made, size, flags=mmap.MAP_SHARED)
            except OSError as error:
                raise KvmError(f"the vCPU's page cannot be mapped: {error.strerror}") from None
            undo.callback(self._shared.close)
            # As the hardware's reset leaves it.
            self._reset = _special_registers(made)
            self._undo = undo.pop_all()

    def start_real(self, entry: int = CODE, stack: int = CODE) -> None:
        """Real mode: every segment begins at 0. There is no interrupt table: an exception ends the guest."""
        # AMD looks for a handler whatever the limit is, and there is nothing at that address.
        special = abi.SpecialRegisters.from_buffer_copy(self._reset)
        special.cs.base = special.cs.selector = 0
        special.idt.base, special.idt.limit = _NOWHERE, 0
        self._start(special, entry, stack)

    def start_long(self, entry: int = CODE, stack: int = CODE) -> None:
        """64-bit mode in ring 0, with the page tables of :meth:`Vm.map_identically`. There is no interrupt table."""
        special = abi.SpecialRegisters.from_buffer_copy(self._reset)
        flat = {"limit": 0xFFFF_FFFF, "present": 1, "s": 1, "g": 1}
        special.cs = abi.Segment(selector=8, type=0b1011, l=1, **flat)
        for name in ("ds", "es", "fs", "gs", "ss"):
            setattr(special, name, abi.Segment(selector=16, type=0b0011, db=1, **flat))
        special.idt.base, special.idt.limit = _NOWHERE, 0
        special.cr3 = PAGE_TABLES
        special.cr4 = _PAE | _OSFXSR | _OSXMMEXCPT
        special.cr0 = _PE | _ET | _NE | _WP | _PG
        special.efer = _LME | _LMA
        self._start(special, entry, stack)

    def unblock_while_running(self, signals: int) -> None:
        """While the guest runs the thread's mask of blocked signals is ``signals`` (a bit each, signal 1 is bit 0).

        One that is pending when it enters, or comes meanwhile, makes :meth:`run` return; there is no gap between.
        """
        _ioctl(self._fd, abi.SET_SIGNAL_MASK, abi.SIGNAL_MASK.pack(abi.SIGNAL_SET_SIZE, signals))

    def run(self) -> int:
        """Enters the guest; returns the reason of the exit to user space, an ``EXIT_*`` of :mod:`kvm_abi`.

        A signal is :data:`~kvm_abi.EXIT_INTERRUPTED`, after its Python handler. Raises KvmError.
        """
        try:
            fcntl.ioctl(self._fd, abi.RUN, 0)
        except InterruptedError:
            return abi.EXIT_INTERRUPTED
        except OSError as error:
            raise KvmError(f"KVM_RUN: {error.strerror}") from None
        (reason,) = abi.EXIT_REASON.unpack_from(self._shared, abi.EXIT_REASON_AT)
        return int(reason)

    def port_access(self) -> PortAccess:
        """After :data:`~kvm_abi.EXIT_PORT`."""
        direction, size, port, count, at = abi.PORT_ACCESS.unpack_from(self._shared, abi.EXIT_DETAILS_AT)
        return PortAccess(direction == abi.PORT_OUT, size, port, count, at)

    def written(self, access: PortAccess) -> bytes:
        """What the guest put out."""
        return self._shared[access.at : access.at + access.size * access.times]

    def answer(self, access: PortAccess, data: bytes) -> None:
        """What the guest will read from the port; ``size`` x ``times`` bytes."""
        self._shared[access.at : access.at + access.size * access.times] = data

    def memory_access(self) -> MemoryAccess:
        """After :data:`~kvm_abi.EXIT_MEMORY`."""
        address, data, length, write = abi.MEMORY_ACCESS.unpack_from(self._shared, abi.EXIT_DETAILS_AT)
        return MemoryAccess(address, data[:length], bool(write))

    def answer_memory(self, data: bytes) -> None:
        """What the guest will read from memory that is not there; at most 8 bytes."""
        self._shared[abi.EXIT_DETAILS_AT + 8 : abi.EXIT_DETAILS_AT + 8 + len(data)] = data

    def entry_failure(self) -> str:
        """After :data:`~kvm_abi.EXIT_ENTRY_FAILED`: the hardware's reason."""
        reason, _ = abi.ENTRY_FAILURE.unpack_from(self._shared, abi.EXIT_DETAILS_AT)
        return f"hardware reason {reason:#x}"

    def internal_error(self) -> str:
        """After :data:`~kvm_abi.EXIT_INTERNAL_ERROR`."""
        (kind,) = abi.INTERNAL_ERROR.unpack_from(self._shared, abi.EXIT_DETAILS_AT)
        return abi.INTERNAL_ERRORS.get(kind, f"kind {kind}")

    @property
    def registers(self) -> abi.Registers:
        """As of now. Raises KvmError."""
        registers = abi.Registers()
        _ioctl(self._fd, abi.GET_REGISTERS, registers)
        return registers

    def _start(self, special: abi.SpecialRegisters, entry: int, stack: int) -> None:
        _ioctl(self._fd, abi.SET_SPECIAL_REGISTERS, special)
        _ioctl(self._fd, abi.SET_REGISTERS, abi.Registers(rip=entry, rsp=stack, rflags=_RESERVED_FLAG))


def _special_registers(vcpu: int) -> abi.SpecialRegisters:
    special = abi.SpecialRegisters()
    _ioctl(vcpu, abi.GET_SPECIAL_REGISTERS, special)
    return special


def _ioctl(fd: int, request: int, argument: int | bytes | ctypes.Structure | ctypes.c_uint64 = 0) -> int:
    """Raises KvmError. A signal in the middle (making a VM takes long) is no reason to give up."""
    while True:
        try:
            if isinstance(argument, bytes):
                fcntl.ioctl(fd, request, argument)
                return 0
            return fcntl.ioctl(fd, request, argument)
        except InterruptedError:
            continue
        except OSError as error:
            raise KvmError(f"{abi.NAMES[request]}: {error.strerror}") from None


def _why_not(device: Path, error: OSError) -> KvmUnavailableError:
    match error.errno:
        case errno.ENOENT:
            hint = "virtualisation may be off, or not passed on to this VM, or kvm_intel or kvm_amd not loaded"
            return KvmUnavailableError(f"there is no {device}", hint=hint)
        case errno.EACCES | errno.EPERM:
            return KvmUnavailableError(f"{device} may not be opened", hint="it takes the group kvm, or root")
        case errno.ENODEV | errno.ENXIO:
            return KvmUnavailableError(f"{device} is there, but nothing is behind it: {error.strerror}")
        case _:
            return KvmUnavailableError(f"{device} cannot be opened: {error.strerror}")
