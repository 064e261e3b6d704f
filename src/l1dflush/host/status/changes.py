# SPDX-License-Identifier: GPL-2.0-or-later
"""What if something were different: a host's explanation with changes made to it, and what these take."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from itertools import takewhile

from l1dflush.arguments import CPU, WRITE
from l1dflush.cache.cpus import Cpu as CatalogueCpu
from l1dflush.errors import InputError
from l1dflush.host.status.explained import Explanation
from l1dflush.host.status.parts import PARTS
from l1dflush.host.status.worlds import World
from l1dflush.mitigation.affected import Lists, affected, identified
from l1dflush.mitigation.boot_line import options, words
from l1dflush.mitigation.decision import Action, Decision, Do, decide
from l1dflush.mitigation.facts import RDCL_NO, Control, Cpu, Facts, Kernel, Vendor
from l1dflush.mitigation.part import Part, parts
from l1dflush.mitigation.run_time import PARAMETER, Result

_VENDORS = {"Intel": Vendor.INTEL, "AMD": Vendor.AMD, "Hygon": Vendor.HYGON}


class Takes(IntEnum):
    """What a change takes before it holds; of several the largest counts."""

    NOTHING = 0
    RELOAD = 1
    REBOOT = 2
    OTHER_MACHINE = 3

    @property
    def says(self) -> str:
        """For people."""
        return ("at once", "after kvm_intel is loaded anew", "after a reboot", "on another machine")[self]


@dataclass(frozen=True, slots=True)
class Change:
    """What is different.

    ``line``: what is put at the end of the boot line; ``without``: options that are taken out of it before.
    ``kernel``: another release; ``part``: what that has of the mitigation, None: the likeliest by its name. ``cpu``:
    another CPU of the catalogue. ``microcode``: whether it brings the flush command. ``ept``: whether kvm_intel uses
    it. ``load``: kvm_intel is loaded with these parameters. ``smt`` and ``writes``: what is written to SMT's control,
    and then to ``vmentry_l1d_flush``, in order.
    """

    line: str = ""
    without: tuple[str, ...] = ()
    kernel: str | None = None
    part: Part | None = None
    cpu: CatalogueCpu | None = None
    microcode: bool | None = None
    ept: bool | None = None
    load: str | None = None
    smt: Control | None = None
    writes: tuple[str, ...] = ()

    @property
    def says(self) -> tuple[str, ...]:
        """Each part of it, for people."""
        command, loaded = ("with", "without")[not self.microcode], f" with {self.load}" if self.load else ""
        parts = [f"boot line without {name}" for name in self.without]
        parts += [f"{self.line} appended to the boot line"] if self.line else []
        parts += [f"Linux {self.kernel}"] if self.kernel is not None else []
        parts += [self.cpu.title] if self.cpu is not None else []
        parts += [f"microcode {command} the flush command"] if self.microcode is not None else []
        parts += [f"EPT {'on' if self.ept else 'off'}"] if self.ept is not None else []
        parts += [f"kvm_intel loaded{loaded}"] if self.load is not None else []
        parts += [f"{self.smt.value} written to SMT's control"] if self.smt is not None else []
        return (*parts, *(f"{text} written to {PARAMETER}" for text in self.writes))

    @property
    def nothing(self) -> bool:
        """Whether it changes nothing."""
        return self == Change()

    @property
    def cases(self) -> tuple[Change, ...]:
        """The same for each that its kernel may be, the likeliest first. Raises InputError where it is none."""
        possible = () if self.kernel is None else parts(Kernel.parse(self.kernel).version, self.kernel)
        return tuple(replace(self, part=part) for part in possible) if len(possible) > 1 else (self,)

    def takes(self, *, built_in: bool) -> Takes:
        """``built_in``: kvm_intel cannot be unloaded."""
        if self.cpu is not None:
            return Takes.OTHER_MACHINE
        # The kernel looks at microcode's new features when it boots only.
        if self.line or self.without or self.kernel is not None or self.microcode is not None:
            return Takes.REBOOT
        if self.ept is not None or self.load is not None:
            return Takes.REBOOT if built_in else Takes.RELOAD
        return Takes.NOTHING


@dataclass(frozen=True, slots=True)
class Changed:
    """``decision``: what follows; its last results are those of ``done``, the writes of the change."""

    explanation: Explanation
    done: tuple[Action, ...]
    takes: Takes

    @property
    def decision(self) -> Decision:
        """What follows."""
        return self.explanation.decision

    @property
    def loading(self) -> Result | None:
        """How loading kvm_intel ended; None where nobody loads it."""
        return self.decision.results[0] if self.explanation.world.loaded else None


def changed(before: Explanation, change: Change, lists: Lists, *, built_in: bool = False) -> Changed:
    """``before`` with the change. Raises InputError for a release that is none."""
    takes = change.takes(built_in=built_in)
    world = _world(before.world, change, lists)
    if takes is not Takes.NOTHING:
        world = replace(world, by_hand="")
    # Nothing that was written outlives a reboot, and of kvm_intel nothing outlives its being loaded anew.
    outlives = {Takes.NOTHING: (Do.WRITE_SMT, Do.WRITE), Takes.RELOAD: (Do.WRITE_SMT,)}.get(takes, ())
    kept = [one for one in before.written if one.do in outlives]
    done = [Action(Do.WRITE_SMT, change.smt)] if change.smt is not None else []
    done += [Action(Do.WRITE, text) for text in change.writes]
    decision = decide(world.facts, (*world.actions, *kept, *done))
    return Changed(Explanation(world, (*kept, *done), decision), tuple(done), takes)


def written_as(text: str) -> str:
    """The value of ``vmentry_l1d_flush=VALUE``. Raises InputError."""
    name, equals, value = text.partition("=")
    known = name.removeprefix("kvm_intel.").removeprefix("kvm-intel.") == PARAMETER
    if not known or not equals:
        hint = f"{PARAMETER}=never, cond, always or auto; --smt is for SMT, --ept for EPT, --cmdline for the boot line"
        raise InputError(f"{text[:80]!r} cannot be written at run time", where=str(WRITE), hint=hint)
    return value


def _world(world: World, change: Change, lists: Lists) -> World:
    kernel, line = world.facts.kernel, world.facts.line
    if change.kernel is not None:
        other = Kernel.parse(change.kernel)
        part = other.part if change.part is None else change.part
        # What it has of SMT's control comes with the flush.
        smt = part is Part.ALL and (kernel.hotplug_smt or kernel.part is not Part.ALL)
        says_levels = any(word in change.kernel for word in ("-686", "amd64", "x86_64"))
        levels = other.levels if says_levels else kernel.levels
        kernel = replace(
            other,
            levels=levels,
            mitigations=kernel.mitigations,
            l1tf=kernel.l1tf,
            kvm_intel=kernel.kvm_intel,
            hotplug_smt=smt,
            part=part,
        )
    if change.without:
        line = _without(line, change.without)
    cpu = world.facts.cpu
    if change.cpu is not None:
        cpu = _other_cpu(cpu, change.cpu, kernel, lists)
    if cpu.fixed and kernel.looks_for_capabilities:
        cpu = replace(cpu, fixed=False, arch_capabilities=RDCL_NO)
    if change.microcode is not None:
        cpu = replace(cpu, command=change.microcode)
    facts = Facts(
        kernel,
        identified(cpu, kernel, lists),
        " ".join(filter(None, (line, change.line))),
        world.facts.memory_end,
        world.facts.siblings_online,
        world.facts.buffer_memory,
    )
    loaded = world.loaded or change.load is not None
    given = [world.options, change.load or ""]
    if change.ept is not None:
        given.append(f"ept={int(change.ept)}")
    assumed = world.assumed
    if change.kernel is not None:
        assumed = tuple(one for one in assumed if one not in PARTS.values())
    if change.part is not None:
        assumed = (*assumed, PARTS[change.part])
    return World(facts, loaded, " ".join(filter(None, given)), world.by_hand, assumed)


def _without(line: str, names: Sequence[str]) -> str:
    """Word by word as they stand, up to ``--``: behind it nothing is for the kernel, and nothing is added there."""
    dropped = {name.replace("-", "_") for name in names}
    before = takewhile(lambda word: word != "--", words(line))
    return " ".join(word for word in before if not any(name.replace("-", "_") in dropped for name, _ in options(word)))


def _other_cpu(cpu: Cpu, other: CatalogueCpu, kernel: Kernel, lists: Lists) -> Cpu:
    """Another CPU in the same machine: threads, addresses and microcode stay; what Intel's have of VMX is taken to be
    there where another vendor's was before. Raises InputError."""
    vendor = _VENDORS.get(other.vendor)
    if other.isa != "x86" or vendor is None or not other.models:
        raise InputError(f"the decision is about x86, and {other.title} is none", where=str(CPU))
    model = other.models[0]
    intel, before = vendor is Vendor.INTEL, cpu.vendor is Vendor.INTEL
    plain = replace(
        cpu,
        vmx=intel and (cpu.vmx or not before),
        ept=intel and (cpu.ept or not before),
        vendor=vendor,
        family=model.family,
        model=model.models[0],
        stepping=model.steppings[0] if model.steppings else 0,
        arch_capabilities=0,
        fixed=False,
        bugs=frozenset(),
    )
    if not other.l1tf_affected and affected(plain, kernel, lists).bug:
        # In no list of the kernel's, so it must say so itself.
        return replace(plain, arch_capabilities=RDCL_NO)
    return plain
