# SPDX-License-Identifier: GPL-2.0-or-later
"""What is read of the first CPU: /proc/cpuinfo, CPUID, MSRs, and how the kernel describes cores and caches."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TypeVar

from l1dflush.cache.geometry import Geometry
from l1dflush.errors import InputError
from l1dflush.host.l1d import FLUSH_COMMAND, described_l1d, described_signature, first_processor
from l1dflush.host.reading.fact import Fact
from l1dflush.host.reading.files import HostFiles, UnreadableError
from l1dflush.host.reading.host_facts import CpuSays
from l1dflush.host.reading.kernel import SMT_CONTROL
from l1dflush.host.reading.registers import ARCH_CAPABILITIES, FEATURE_CONTROL, PROCBASED_CTLS2, Registers
from l1dflush.host.reading.text import first_known, read_fact, text, text_fact, understood

T = TypeVar("T")
S = TypeVar("S")

CPUINFO = "/proc/cpuinfo"

_CACHES = "/sys/devices/system/cpu/cpu0/cache"
_SIBLINGS = "/sys/devices/system/cpu/cpu0/topology/thread_siblings_list"
UNNAMED = "an unknown hypervisor"
_HYPERVISOR_TYPE = "/sys/hypervisor/type"
_HYPERVISOR_LEAF = 0x40000000
_HYPERVISORS = {
    "KVMKVMKVM": "KVM",
    "Linux KVM Hv": "KVM",
    "Microsoft Hv": "Hyper-V",
    "VMwareVMware": "VMware",
    "XenVMMXenVMM": "Xen",
    "TCGTCGTCGTCG": "QEMU without KVM",
    "VBoxVBoxVBox": "VirtualBox",
    "bhyve bhyve": "bhyve",
    "ACRNACRNACRN": "ACRN",
}
"""What they say in CPUID, and what people call them; others are called what they say."""
_DMI = "/sys/class/dmi/id"
_MACHINES = (
    (r"", r"HVM domU", "Xen"),
    (r"Xen", r"", "Xen"),
    (r"", r"KVM|OpenStack|KubeVirt|RHEV|oVirt", "KVM"),
    (r"Microsoft Corporation", r"Virtual Machine", "Hyper-V"),
    (r"VMware|VMW", r"", "VMware"),
    (r"", r"VMware", "VMware"),
    (r"innotek GmbH", r"", "VirtualBox"),
    (r"", r"VirtualBox", "VirtualBox"),
    (r"Amazon EC2", r"", "Amazon EC2"),
    (r"Google", r"Google Compute Engine", "Google Compute Engine"),
    (r"", r"BHYVE", "bhyve"),
    (r"Parallels", r"", "Parallels"),
    (r"QEMU|Bochs", r"", "QEMU"),
)
"""How firmware of virtual machines begins to say vendor and product, as ``src/basic/virt.c`` of systemd has it. QEMU is
KVM's as a rule, which nothing there shows."""
_ADDRESS_LEAF = 0x80000008
_REGISTER = ("EAX", "EBX", "ECX", "EDX")
_FLUSH_BIT = 28
_ARCH_CAPABILITIES_BIT = 29
_LOCKED = 1 << 0
_VMX_OUTSIDE_SMX = 1 << 2
_EPT_ALLOWED = 1 << 33
_MOST_SIBLINGS = 8


def cpu_says(files: HostFiles, registers: Registers) -> CpuSays:
    """All of it."""
    whole = text_fact(files, CPUINFO)
    first = whole.map(first_processor)
    flags = _flags(first)
    vmx = _vmx(flags, registers)
    return CpuSays(
        signature=_found(first, described_signature, "vendor, family and model are not in it"),
        flags=flags,
        uneven=_found(whole, _uneven, "it has no line 'flags'"),
        bugs=_found(first, lambda said: _words(said, "bugs"), "it has no line 'bugs'"),
        microcode=_found(whole, _microcode, "it has no line 'microcode'"),
        hypervisor=_hypervisor(files, flags, registers),
        flush_command=_flush_command(flags, registers),
        arch_capabilities=_arch_capabilities(flags, registers),
        vmx=vmx,
        ept=_ept(first, flags, vmx, registers),
        address_bits=_address_bits(first, registers),
        threads=_threads(files, first),
        l1d=_l1d(files),
    )


def _found(fact: Fact[T], find: Callable[[T], S | None], why: str) -> Fact[S]:
    """What is in it; unknown where ``find`` returns None."""
    if fact.value is None:
        return Fact.unknown(fact.origin, fact.why)
    value = find(fact.value)
    return Fact.unknown(fact.origin, why) if value is None else Fact(value, fact.origin)


def _words(said: dict[str, str], name: str) -> frozenset[str] | None:
    return frozenset(said[name].split()) if name in said else None


def _flags(first: Fact[dict[str, str]]) -> Fact[frozenset[str]]:
    """Other machines than x86 call them features."""
    found = _found(first, lambda said: _words(said, "flags"), "")
    return found if found.known else _found(first, lambda said: _words(said, "Features"), "it has no line 'flags'")


def _uneven(said: str) -> frozenset[str] | None:
    lines = (line.partition(":") for line in said.split("\n"))
    # As a rule all are the same text, and there may be hundreds.
    texts = {value for name, _, value in lines if name.strip() in ("flags", "Features")}
    sets = [frozenset(text.split()) for text in texts]
    return frozenset.union(*sets) - frozenset.intersection(*sets) if sets else None


def _microcode(said: str) -> tuple[str, ...] | None:
    lines = (line.partition(":") for line in said.split("\n"))
    revisions = (value.strip() for name, _, value in lines if name.strip() == "microcode")
    return tuple(dict.fromkeys(one for one in revisions if one)) or None


def _bit(registers: Registers, leaf: int, register: int, bit: int) -> Fact[bool]:
    """A bit of CPUID, subleaf 0. A leaf beyond the last one has none: the CPU would say anything."""
    name = f"CPUID.{leaf}{'.0' if leaf == 7 else ''}:{_REGISTER[register]}[{bit}]"

    def read() -> bool:
        return registers.cpuid(0, 0)[0] >= leaf and bool(registers.cpuid(leaf, 0)[register] >> bit & 1)

    return read_fact(name, read)


def _has(flags: Fact[frozenset[str]], name: str) -> Fact[bool]:
    return Fact(None if flags.value is None else name in flags.value, f"{name} in {flags.origin}", flags.why)


def _hypervisor(files: HostFiles, flags: Fact[frozenset[str]], registers: Registers) -> Fact[str]:
    there = first_known(lambda: _has(flags, "hypervisor"), lambda: _bit(registers, 1, 2, 31))
    if there.value is not True:
        return there.map(lambda _: "")

    def name() -> str:
        _, *parts = registers.cpuid(_HYPERVISOR_LEAF, 0)
        said = b"".join(part.to_bytes(4, "little") for part in parts).rstrip(b"\0")
        if not said or not all(0x20 <= byte < 0x7F for byte in said) or not said.strip():
            raise UnreadableError("no name is there")
        return _HYPERVISORS.get(said.decode("ascii").strip(), said.decode("ascii").strip())

    named = first_known(
        lambda: read_fact("CPUID.40000000H", name),
        lambda: text_fact(files, _HYPERVISOR_TYPE).map(lambda said: "Xen" if said == "xen" else said),
        lambda: read_fact(_DMI, lambda: _machine(files)),
    )
    return Fact(named.value, named.origin) if named.value else Fact(UNNAMED, there.origin)


def _machine(files: HostFiles) -> str:
    """The hypervisor by what firmware says of the machine; where Xen runs beside its control domain, that is the real
    one."""
    vendor, product = (_firmware(files, name) for name in ("sys_vendor", "product_name"))
    for found_vendor, found_product, name in _MACHINES:
        if re.match(found_vendor, vendor) and re.match(found_product, product):
            return name
    raise UnreadableError("it names no virtual machine that is known")


def _firmware(files: HostFiles, name: str) -> str:
    try:
        return text(files, f"{_DMI}/{name}")
    except UnreadableError:
        return ""


def _flush_command(flags: Fact[frozenset[str]], registers: Registers) -> Fact[bool]:
    """The kernel's flag decides: it may not know the bit, or not want it."""
    kernel, cpu = _has(flags, FLUSH_COMMAND), _bit(registers, 7, 3, _FLUSH_BIT)
    if kernel.value is None:
        return first_known(lambda: cpu, lambda: kernel)
    if cpu.value is not None and cpu.value != kernel.value:
        return Fact(kernel.value, f"{kernel.origin}, though {cpu.origin} is {int(cpu.value)}")
    return kernel


def _arch_capabilities(flags: Fact[frozenset[str]], registers: Registers) -> Fact[int]:
    there = first_known(lambda: _bit(registers, 7, 3, _ARCH_CAPABILITIES_BIT), lambda: _has(flags, "arch_capabilities"))
    if there.value is None:
        return Fact.unknown("MSR 10AH", there.why)
    if not there.value:
        return Fact(0, there.origin)
    return read_fact("MSR 10AH", lambda: registers.msr(ARCH_CAPABILITIES))


def _vmx(flags: Fact[frozenset[str]], registers: Registers) -> Fact[bool]:
    """Since 5.6 the kernel takes the flag away where firmware locked VMX off; before, and for CPUID, the MSR says."""
    there = first_known(lambda: _has(flags, "vmx"), lambda: _bit(registers, 1, 2, 5))
    if there.value is not True:
        return there
    control = read_fact("MSR 3AH", lambda: registers.msr(FEATURE_CONTROL))
    if control.value is not None and control.value & _LOCKED and not control.value & _VMX_OUTSIDE_SMX:
        return Fact(False, f"{control.origin}: firmware locked VMX off")
    return there


def _ept(first: Fact[dict[str, str]], flags: Fact[frozenset[str]], vmx: Fact[bool], registers: Registers) -> Fact[bool]:
    """Linux 5.7 moved it from the flags to a line of its own."""
    if vmx.value is False:
        return vmx
    own = _found(first, lambda said: _words(said, "vmx flags"), "")
    if own.value is not None:
        return Fact("ept" in own.value, f"ept in the vmx flags of {CPUINFO}")
    if vmx.value is True and flags.value is not None:
        return _has(flags, "ept")

    def allowed() -> bool:
        return bool(registers.msr(PROCBASED_CTLS2) & _EPT_ALLOWED)

    return first_known(lambda: _has(flags, "ept"), lambda: read_fact("MSR 48BH[33]", allowed))


def _address_bits(first: Fact[dict[str, str]], registers: Registers) -> Fact[int]:
    def in_cpuinfo(said: dict[str, str]) -> int | None:
        found = re.match(r"([0-9]{1,2}) bits physical", said.get("address sizes", ""))
        return int(found[1]) if found else None

    def in_cpuid() -> int:
        if registers.cpuid(0x80000000, 0)[0] < _ADDRESS_LEAF:
            raise UnreadableError("the CPU has no such leaf")
        return registers.cpuid(_ADDRESS_LEAF, 0)[0] & 0xFF

    return first_known(
        lambda: _found(first, in_cpuinfo, "it has no line 'address sizes'"),
        lambda: read_fact("CPUID.80000008H:EAX[7:0]", in_cpuid),
    )


def _threads(files: HostFiles, first: Fact[dict[str, str]]) -> Fact[int]:
    """Siblings that are offline are in no list and in no number."""
    control = text_fact(files, SMT_CONTROL)
    if control.value == "notsupported":
        return Fact(1, SMT_CONTROL)
    found = first_known(
        lambda: understood(text_fact(files, _SIBLINGS), _listed, "list of CPUs"),
        lambda: _found(first, _per_core, "siblings and cpu cores are not in it"),
    )
    if control.value in ("on", "off", "forceoff") and (found.value or 1) < 2:
        return Fact(2, f"{SMT_CONTROL}: {control.value}, and no x86 CPU with L1TF has more than 2")
    return found


def _listed(said: str) -> int | None:
    """How many CPUs are in a list such as ``0,4`` or ``0-3``."""
    count = 0
    for part in said.split(","):
        found = re.fullmatch(r"([0-9]{1,6})(?:-([0-9]{1,6}))?", part)
        if found is None:
            return None
        count += int(found[2] or found[1]) - int(found[1]) + 1
    return count if 1 <= count <= _MOST_SIBLINGS else None


def _per_core(said: dict[str, str]) -> int | None:
    siblings, cores = (said.get(name, "") for name in ("siblings", "cpu cores"))
    if not (re.fullmatch("[0-9]{1,6}", siblings) and re.fullmatch("[1-9][0-9]{0,5}", cores)):
        return None
    threads, rest = divmod(int(siblings), int(cores))
    # Of a hybrid CPU only some cores have two.
    return threads if not rest and 1 <= threads <= _MOST_SIBLINGS else None


def _l1d(files: HostFiles) -> Fact[Geometry]:
    reasons: list[str] = []

    def said(name: str) -> str:
        try:
            return text(files, f"{_CACHES}/{name}")
        except UnreadableError as error:
            reasons.append(f"{_CACHES}/{name}: {error.why}")
            return ""

    try:
        return Fact(described_l1d(_CACHES, files.names(_CACHES), said), _CACHES)
    except UnreadableError as error:
        return Fact.unknown(_CACHES, error.why)
    except InputError as error:
        return Fact.unknown(error.where or _CACHES, reasons[0] if reasons else error.what)
