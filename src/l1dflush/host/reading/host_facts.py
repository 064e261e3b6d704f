# SPDX-License-Identifier: GPL-2.0-or-later
"""Everything that is read of a host, as one object: :mod:`.collect` reads it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any

from l1dflush.cache.geometry import Geometry
from l1dflush.host.l1d import Signature
from l1dflush.host.reading.fact import Fact


@dataclass(frozen=True, slots=True)
class KernelSays:
    """The kernel, how it was built and started.

    ``release``: as ``uname -r`` says it; ``version``: ``uname -v``, which at Debian has the upstream version;
    ``machine``: ``uname -m``. ``levels`` are those of its page tables; 4 also stands for 5. ``config_*``:
    CONFIG_CPU_MITIGATIONS, CONFIG_MITIGATION_L1TF, CONFIG_KVM_INTEL (built in or as a module), CONFIG_HOTPLUG_SMT.
    ``memory_end``: the address behind the last byte of RAM, in bytes. ``lockdown``: none, integrity or confidentiality.
    """

    release: Fact[str]
    version: Fact[str]
    machine: Fact[str]
    command_line: Fact[str]
    levels: Fact[int]
    config_mitigations: Fact[bool]
    config_l1tf: Fact[bool]
    config_kvm_intel: Fact[bool]
    config_hotplug_smt: Fact[bool]
    memory_end: Fact[int]
    lockdown: Fact[str]


@dataclass(frozen=True, slots=True)
class CpuSays:
    """The first CPU.

    ``flags`` and ``bugs`` as ``/proc/cpuinfo`` has them; ``uneven``: flags that some CPUs have and others have not.
    ``microcode``: the revisions of all CPUs, in order, each once. ``hypervisor``: the name of the one below, empty if
    there is none. ``flush_command``: CPUID.7.0:EDX[28] as far as the kernel uses it. ``arch_capabilities``: MSR 10AH, 0
    where CPUID says that there is none. ``vmx``, ``ept``: offered by CPU and firmware. ``threads``: per core, as the
    kernel counts them. ``l1d``: the L1 data cache.
    """

    signature: Fact[Signature]
    flags: Fact[frozenset[str]]
    uneven: Fact[frozenset[str]]
    bugs: Fact[frozenset[str]]
    microcode: Fact[tuple[str, ...]]
    hypervisor: Fact[str]
    flush_command: Fact[bool]
    arch_capabilities: Fact[int]
    vmx: Fact[bool]
    ept: Fact[bool]
    address_bits: Fact[int]
    threads: Fact[int]
    l1d: Fact[Geometry]


@dataclass(frozen=True, slots=True)
class MitigationSays:
    """What the kernel says about L1TF and what runs guests.

    ``text``: ``vulnerabilities/l1tf`` without the line break; ``has_text``: whether the kernel has that file, which is
    known to be False where only older ones are beside it. ``smt_control``, ``smt_active``: of ``cpu/smt``.
    ``loaded``: kvm_intel is (also where it is built in, ``built_in``). ``device``: KVM offers ``/dev/kvm``; what is
    built in does so only where it found VMX. ``parameter``: what ``vmentry_l1d_flush`` reads; ``has_parameter``:
    whether there is one, False where kvm_intel has others only. ``ept``: what the parameter of that name does.
    ``options``: of the configuration of modprobe for kvm_intel, in order. ``flushes``: how many the kernel's own
    counter has. ``others``: what else runs guests here, such as vboxdrv.
    """

    text: Fact[str]
    has_text: Fact[bool]
    smt_control: Fact[str]
    smt_active: Fact[bool]
    loaded: Fact[bool]
    built_in: Fact[bool]
    device: Fact[bool]
    parameter: Fact[str]
    has_parameter: Fact[bool]
    ept: Fact[bool]
    options: Fact[tuple[str, ...]]
    flushes: Fact[int]
    others: Fact[tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class PowerSays:
    """What only a POWER kernel says.

    ``meltdown``: ``vulnerabilities/meltdown``, which has the same cause and came first. ``rfi_flush``: the switch of
    the flush, in debugfs.
    """

    meltdown: Fact[str]
    rfi_flush: Fact[bool]


@dataclass(frozen=True, slots=True)
class XenSays:
    """What there is to know where Xen runs guests beside this one.

    ``control``: this is its control domain (dom0), False also where there is no Xen. ``log``: the lines about L1TF of
    ``xl dmesg``; ``info``: the line of ``xl info`` about threads. Both are empty where this is not a control domain.
    """

    control: Fact[bool]
    log: Fact[str]
    info: Fact[str]


@dataclass(frozen=True, slots=True)
class HostFacts:
    """All of it. ``where``: "this host", the folder or the archive that it was read from. ``power``: None elsewhere."""

    where: str
    kernel: KernelSays
    cpu: CpuSays
    mitigation: MitigationSays
    xen: XenSays
    power: PowerSays | None = None

    def each(self) -> Iterator[tuple[str, Fact[Any]]]:
        """Every fact with its name, such as ``cpu.flags``, in the order above."""
        for name in ("kernel", "cpu", "mitigation", "xen", "power"):
            part = getattr(self, name)
            for field in fields(part) if part is not None else ():
                yield f"{name}.{field.name}", getattr(part, field.name)

    @property
    def may_be_guest(self) -> bool:
        """Whether a hypervisor is below, or nobody knows that there is none."""
        return self.cpu.hypervisor.value != ""
