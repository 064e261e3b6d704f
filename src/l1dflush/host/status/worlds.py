# SPDX-License-Identifier: GPL-2.0-or-later
"""From what was read of a host to what the decision about L1TF asks for.

A fact that could not be read may be anything: every combination is a possible world, the likeliest first. What the
kernel says of itself then rules most of them out (:mod:`.explained`), so that the verdict rests on nothing assumed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain, product
from typing import Any, Generic, TypeVar

from l1dflush.data.catalogue import load_catalogue
from l1dflush.host.l1d import Signature
from l1dflush.host.reading.cpu import CPUINFO
from l1dflush.host.reading.fact import Fact
from l1dflush.host.reading.host_facts import HostFacts
from l1dflush.host.status.parts import PARTS, kernel_parts
from l1dflush.host.status.stand_ins import CPUS, kernels, release_known
from l1dflush.mitigation.affected import Lists, identified, limits
from l1dflush.mitigation.boot_line import parse
from l1dflush.mitigation.decision import Action, Do
from l1dflush.mitigation.facts import RDCL_NO, SKIP_VMENTRY_L1DFLUSH, Control, Cpu, Facts, Kernel, Limits, Vendor
from l1dflush.mitigation.part import Part
from l1dflush.mitigation.pte_inversion import kernel_limit, memory_limit
from l1dflush.mitigation.run_time import PARAMETER
from l1dflush.vmentry.subsystem import WRITABLE, Boot

X86 = re.compile(r"x86_64|amd64|i[3-6]86|x86")
"""What ``uname -m`` says where the decision holds."""

_BACKPORTED = ((4, 19, 14), (4, 20, 1), (5, 4, 0), (6, 6, 0), (6, 16, 0), (6, 17, 0), (6, 19, 0))
"""Versions in which a rule changed: a distribution's kernel may have any of them under an older number."""

_WITHOUT_LIMIT = ((4, 9), (4, 14))
_LIMITS = (
    (Limits.CACHE_BITS, "the kernel's limit for RAM is that of late August 2018 or later"),
    (Limits.ADDRESS_BITS, "the kernel's limit for RAM is from before late August 2018: half of what CPUID says"),
    (Limits.UNSET, "the kernel has no limit for RAM, as 4.9.y and 4.14.y until July 2020"),
    (Limits.UNDEFINED, "the kernel's limit for RAM is undefined, as in 4.9.y and 4.14.y until July 2020"),
)

_NEHALEM = (6, 0x1A)
"""Intel's first family and model of the catalogue, of 2008; RDCL_NO is of 2018."""
_PENTIUM_4 = 15
"""The family that is older than that, whatever its number."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class World:
    """A host as it may be. ``loaded``: kvm_intel is. ``options``: what modprobe adds to the boot line's own;
    ``by_hand``: what somebody gave who loaded it this time. ``assumed``: what nobody could read, one sentence each."""

    facts: Facts
    loaded: bool
    options: str = ""
    by_hand: str = ""
    assumed: tuple[str, ...] = ()

    @property
    def actions(self) -> tuple[Action, ...]:
        """What is done at boot after the kernel itself."""
        if not self.loaded:
            return ()
        line = parse(self.facts.line, self.facts.kernel).kvm_intel
        return (Action(Do.LOAD, " ".join(filter(None, (self.options, *line, self.by_hand)))),)


@dataclass(frozen=True, slots=True)
class _Choice(Generic[T]):
    value: T
    assumed: tuple[str, ...] = ()


def is_x86(host: HostFacts) -> bool | None:
    """Whether it is a machine that the decision is about; None: unknown."""
    machine, signature = host.kernel.machine.value, host.cpu.signature.value
    if machine is not None:
        return X86.fullmatch(machine) is not None
    return True if signature is not None and signature.vendor in tuple(Vendor) else None


def worlds(host: HostFacts, lists: Lists, *, backported: bool = False) -> Iterator[World]:
    """Every world that the facts of an x86 ``host`` leave possible, the likeliest first; ``backported``: those in which
    the kernel follows rules of later versions. What stands for a kernel that is unknown has them from the start."""
    # With SMT on and yet not active only one thread of each core runs.
    smt = host.mitigation.smt_control.value, host.mitigation.smt_active.value
    siblings = smt != (Control.ON, False)
    of_part: dict[Part, list[_Choice[Cpu]]] = {}
    if release_known(host):
        possible = _kernels(host, upstream(host), backported=backported)
    else:
        named = () if backported else kernels(host, _BACKPORTED)
        possible = chain.from_iterable(_kernels(host, one, backported=False) for one in named)
    for kernel in possible:
        part = kernel.value.part
        if part not in of_part:
            of_part[part] = list(_cpus(host, kernel.value, lists))
        yield from _of_kernel(host, kernel, of_part[part], lists, siblings=siblings)


def _of_kernel(
    host: HostFacts, kernel: _Choice[Kernel], cpus: Sequence[_Choice[Cpu]], lists: Lists, *, siblings: bool
) -> Iterator[World]:
    lines = _lines(host) if kernel.value.part is Part.ALL else [_Choice(host.kernel.command_line.value or "")]
    for plain, line, loaded, options in product(cpus, lines, _loaded(host), _options(host)):
        cpu = identified(plain.value, kernel.value, lists)
        for end in _memory_ends(host, cpu):
            facts = Facts(kernel.value, cpu, line.value, end.value, siblings)
            chosen = (kernel, plain, line, end, loaded, options)
            yield World(facts, loaded.value, *options.value, _all(*chosen))


def upstream(host: HostFacts) -> Kernel:
    """The kernel by its release; the third number, which Debian hides, from its version text. Raises InputError where
    it is none."""
    kernel = Kernel.parse(host.kernel.release.value or "")
    shown = re.search(r"\bDebian (\d{1,4})\.(\d{1,4})\.(\d{1,5})(?!\d)", host.kernel.version.value or "")
    if shown and not kernel.version[2] and (int(shown[1]), int(shown[2])) == kernel.version[:2]:
        return replace(kernel, version=(*kernel.version[:2], int(shown[3])), hidden=False)
    return kernel


def _kernels(host: HostFacts, known: Kernel, *, backported: bool) -> Iterator[_Choice[Kernel]]:
    says = host.kernel
    levels, mitigations, l1tf = [_Choice(4)], [_Choice(True)], [_Choice(True)]
    if says.machine.value not in ("x86_64", "amd64"):
        levels = _either(says.levels, (known.levels, 3, 2), "its page tables have {} levels")
    # Before these versions hardly anybody builds without, or there is no such option.
    if known.since(6, 9) or says.config_mitigations.known:
        mitigations = _switch(says.config_mitigations, "the kernel is built {} CONFIG_CPU_MITIGATIONS")
    if known.since(6, 16) or says.config_l1tf.known:
        l1tf = _switch(says.config_l1tf, "the kernel is built {} CONFIG_MITIGATION_L1TF")
    versions = [_Choice((known.version, known.limits))]
    if backported:
        versions = [
            _Choice(
                (later, known.limits),
                (f"the kernel follows the rules of {'.'.join(map(str, later))}, as backports may",),
            )
            for later in _BACKPORTED
            if later > known.version
        ]
    if not backported and limits(known) is Limits.UNSET:
        # The version itself leaves open what the compiler made of it.
        versions += [_Choice((known.version, limit), (said,)) for limit, said in _LIMITS if limit is Limits.UNDEFINED]
    any_limit = known.version[:2] in _WITHOUT_LIMIT and (known.hidden or not release_known(host))
    shown = host.mitigation.text.value is not None and not any_limit
    if not known.since(4, 19) and (backported or not shown):
        # Nothing but the kernel's own text shows which of them it has, and that it has none not even that.
        versions += [_Choice((known.version, limit), (said,)) for limit, said in _LIMITS if _has_had(known, limit)]
    kvm = says.config_kvm_intel.value is not False
    smt = host.mitigation.smt_control.value != Control.NOT_IMPLEMENTED and says.config_hotplug_smt.value is not False
    likely = kernel_parts(host, known)
    had = [_Choice(part, (PARTS[part],) if len(likely) > 1 else ()) for part in likely]
    for version, level, on, option, part in product(versions, levels, mitigations, l1tf, had):
        if part.value is not Part.ALL and version.value[0] != known.version:
            continue  # the rules that changed later are about what it has not
        kernel = replace(
            known,
            version=version.value[0],
            hidden=known.hidden and version.value[0] == known.version,
            limits=version.value[1],
            levels=level.value,
            mitigations=on.value,
            l1tf=option.value,
            kvm_intel=kvm or bool(module_there(host).value),
            hotplug_smt=smt and (part.value is Part.ALL or host.mitigation.smt_control.known),
            part=part.value,
        )
        yield _Choice(kernel, _all(version, level, on, option, part))


def _has_had(kernel: Kernel, limits: Limits) -> bool:
    """Whether a kernel of that version, or a distribution's of that number, may have that limit."""
    return limits in (Limits.CACHE_BITS, Limits.ADDRESS_BITS) or kernel.version[:2] in _WITHOUT_LIMIT


def _cpus(host: HostFacts, kernel: Kernel, lists: Lists) -> Iterator[_Choice[Cpu]]:
    said = host.cpu.signature.value
    for signature, *assumed in CPUS if said is None else ((said,),):
        for one in _of_signature(host, signature, kernel, lists):
            yield replace(one, assumed=(*assumed, *one.assumed))


def _of_signature(host: HostFacts, signature: Signature, kernel: Kernel, lists: Lists) -> Iterator[_Choice[Cpu]]:
    says = host.cpu
    vendor = Vendor(signature.vendor) if signature.vendor in tuple(Vendor) else Vendor.OTHER
    plain = Cpu(
        vendor=vendor,
        family=signature.family,
        model=signature.model,
        stepping=signature.stepping or 0,
        bugs=says.bugs.value or frozenset(),
        rtm=says.flags.value is None or "rtm" in says.flags.value,
        stibp=says.flags.value is None or "stibp" in says.flags.value,
    )
    # Bit 3 is a hypervisor's; where KVM flushes, one that hides is found by what the kernel says.
    below = kernel.part is Part.ALL or host.may_be_guest
    read, bug = capabilities(host, kernel), identified(plain, kernel, lists).bug
    archs = [_Choice((one.value, False), one.assumed) for one in _capabilities(read, bug, below=below)]
    if bug and not read.known and not kernel.looks_for_capabilities and may_be_fixed(host):
        archs.append(_Choice((0, True), ("the CPU has no L1TF, and this kernel does not look for RDCL_NO",)))
    commands = [_Choice(False)]
    if kernel.part is Part.ALL:
        commands = _switch(says.flush_command, "the CPU is {} the flush command")[::-1]
    epts = _either(_ept(host), (True, False), "the CPU offers {}EPT", ("no ", ""))
    vmx = _either(_vmx(host, kernel.part), (True, False), "the CPU offers {}VMX", ("no ", ""))
    # Where RAM ends matters beside them: where that is unknown too, the most leave it all room.
    possible = (46,) if host.kernel.memory_end.value is None else (39, 46, 36)
    bits = _either(_address_bits(says.address_bits), possible, "the CPU has {} address bits")
    threads = _either(says.threads, (1, 2), "a core has {} threads")
    for arch, command, ept, virtual, address, thread in product(archs, commands, epts, vmx, bits, threads):
        cpu = replace(
            plain,
            arch_capabilities=arch.value[0],
            fixed=arch.value[1],
            command=command.value,
            ept=ept.value,
            vmx=virtual.value,
            address_bits=address.value,
            threads=thread.value,
        )
        yield _Choice(cpu, _all(arch, command, ept, virtual, address, thread))


def _vmx(host: HostFacts, part: Part) -> Fact[bool]:
    """A module that is loaded found VMX. One that is built in has its folder in ``/sys/module`` without it too, and
    kernels before 5.6 showed the flag also where firmware had locked VMX off. Where KVM has the flush, the kernel's
    text shows which it was; where it has none, the flag is believed: no host is safe because nobody looked."""
    says, there = host.mitigation, module_there(host)
    if not there.value:
        return host.cpu.vmx
    if says.built_in.value is False:
        return Fact(True, there.origin)
    if says.device.known:
        return says.device
    return Fact.unknown(host.cpu.vmx.origin, "") if part is Part.ALL else host.cpu.vmx


def capabilities(host: HostFacts, kernel: Kernel) -> Fact[int]:
    """ARCH_CAPABILITIES; unknown where nothing but a flag is missing that this kernel may not know."""
    said = host.cpu.arch_capabilities
    if said.value != 0 or not said.origin.endswith(CPUINFO) or kernel.looks_for_capabilities or not may_be_fixed(host):
        return said
    return Fact.unknown("MSR 10AH", f"{said.origin} is missing, and this kernel may not know the flag")


def may_be_fixed(host: HostFacts) -> bool:
    """Whether the CPU may have RDCL_NO: it is none that is known to have L1TF, nor older than all that are listed. Of
    one that is unknown nothing is known that would go against the kernel."""
    said = host.cpu.signature.value
    if said is None:
        return False
    if said.vendor != Vendor.INTEL:
        return True
    found = load_catalogue((), {}).find(said.vendor, said.family, said.model, said.stepping)
    return (
        not all(cpu.l1tf_affected for cpu in found)
        if found
        else (said.family, said.model) >= _NEHALEM and said.family != _PENTIUM_4
    )


def _address_bits(said: Fact[int]) -> Fact[int]:
    """A number that no x86 CPU has says nothing: CPUs with PAE have 36 or more, and entries have room for 52."""
    possible = said.value is None or 32 <= said.value <= 52
    return said if possible else Fact.unknown(said.origin, f"{said.value} is not a number of address bits")


def _ept(host: HostFacts) -> Fact[bool]:
    """kvm_intel uses EPT: then the CPU offers it, whatever else could be read."""
    return Fact(True, host.mitigation.ept.origin) if host.mitigation.ept.value else host.cpu.ept


def _capabilities(said: Fact[int], affected: bool, *, below: bool) -> list[_Choice[int]]:
    """``below``: a hypervisor may have set bit 3, which no CPU does."""
    if said.value is not None:
        return [_Choice(said.value)]
    if not affected:
        return [_Choice(0)]
    choices = [
        _Choice(0, ("ARCH_CAPABILITIES has neither RDCL_NO nor bit 3",)),
        _Choice(SKIP_VMENTRY_L1DFLUSH, ("ARCH_CAPABILITIES has bit 3: a hypervisor below flushes",)),
        _Choice(RDCL_NO, ("ARCH_CAPABILITIES has RDCL_NO: the CPU has no L1TF",)),
    ]
    return choices if below else [choices[0], choices[2]]


def _lines(host: HostFacts) -> list[_Choice[str]]:
    said = host.kernel.command_line.value
    if said is not None:
        return [_Choice(said)]
    options = [f"l1tf={word}" for word in Boot]
    mode = host.mitigation.parameter.value
    if mode in WRITABLE and host.mitigation.ept.value is False:
        # Without EPT it cannot have been written since: late 6.1.y takes it when it is loaded.
        options.append(f"kvm-intel.{PARAMETER}={mode}")
    return [
        _Choice("", ("the boot line says nothing about L1TF",)),
        *(_Choice(option, (f"the boot line has {option}",)) for option in options),
    ]


def module_there(host: HostFacts) -> Fact[bool]:
    """Whether kvm_intel is loaded or built in: what has parameters is."""
    says = host.mitigation
    shown = next((fact for fact in (says.parameter, says.has_parameter, says.ept) if fact.known), None)
    return says.loaded if says.loaded.known or shown is None else Fact(True, shown.origin)


def _loaded(host: HostFacts) -> list[_Choice[bool]]:
    return _either(module_there(host), (False, True), "kvm_intel is {}loaded", ("not ", ""))


def _options(host: HostFacts) -> list[_Choice[tuple[str, str]]]:
    """Those of modprobe, and those given by hand. A module that is built in gets none from modprobe."""
    says = host.mitigation
    text = "" if says.built_in.value else " ".join(says.options.value or ())
    found = [_Choice((text, ""))]
    if says.ept.value is not True and host.cpu.ept.value is not False:
        # Nobody could read what it was loaded with, or by whom; by hand is for once.
        if not says.options.known and not says.built_in.value:
            found.append(_Choice(("ept=0", ""), ("kvm_intel is loaded with ept=0 by modprobe's configuration",)))
        found.append(_Choice((text, "ept=0"), ("kvm_intel is loaded with ept=0 by hand",)))
    return found


def _memory_ends(host: HostFacts, cpu: Cpu) -> list[_Choice[int]]:
    said = host.kernel.memory_end.value
    if said is not None:
        return [_Choice(said)]
    limits = {kernel_limit(cpu), memory_limit(cpu.cache_bits)}
    above = sorted(limit for limit in limits if limit < 1 << cpu.address_bits)
    return [
        _Choice(min(1 << 32, *limits), ("all RAM is below the limit of PTE inversion",)),
        # What the CPU cannot address is not RAM.
        *(_Choice(limit * 2, ("some RAM is above the limit of PTE inversion",)) for limit in above),
    ]


def _all(*choices: _Choice[Any]) -> tuple[str, ...]:
    return tuple(part for choice in choices for part in choice.assumed)


def _either(fact: Fact[T], values: Sequence[T], says: str, words: tuple[str, str] = ("no", "yes")) -> list[_Choice[T]]:
    """All ``values`` where it is unknown; ``words`` for what is either false or true."""
    if fact.value is not None:
        return [_Choice(fact.value)]
    return [_Choice(v, (says.format(words[v] if isinstance(v, bool) else v),)) for v in dict.fromkeys(values)]


def _switch(fact: Fact[bool], says: str) -> list[_Choice[bool]]:
    """Both where it is unknown, yes first."""
    return _either(fact, (True, False), says, ("without", "with"))
