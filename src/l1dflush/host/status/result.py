# SPDX-License-Identifier: GPL-2.0-or-later
"""The result of ``l1dflush status``, put together."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from l1dflush.ending import Verdict
from l1dflush.errors import InputError, one_line
from l1dflush.host.reading.fact import Fact
from l1dflush.host.reading.host_facts import HostFacts
from l1dflush.host.status.advice import advise
from l1dflush.host.status.changes import Change, changed
from l1dflush.host.status.explained import Explained, Explanation, explain
from l1dflush.host.status.flush_worth import FlushWorth
from l1dflush.host.status.grounds import Judged
from l1dflush.host.status.judged import judge, judge_explanation
from l1dflush.host.status.model import (
    AdviceInfo,
    DifferenceInfo,
    FactInfo,
    FlushInfo,
    Follows,
    GroundInfo,
    KernelWord,
    Outcome,
    StatusResult,
)
from l1dflush.host.status.sandbox import imitates_linux
from l1dflush.host.status.stand_ins import check_named
from l1dflush.host.status.worlds import is_x86
from l1dflush.in_words import in_words
from l1dflush.mitigation.affected import Lists
from l1dflush.mitigation.decision import Action, Decision, Do
from l1dflush.mitigation.question import rule_answers
from l1dflush.mitigation.sysfs_text import Kind, read
from l1dflush.vmentry.subsystem import Mechanism

_MOST_CASES = 3
"""Of what would be with kvm_intel loaded; of more nobody learns anything."""


@dataclass(frozen=True, slots=True)
class Understood:
    """``explained`` is None where the decision cannot be asked; ``why_not`` says why. ``guess``: what explains it then
    with what stands for an unknown kernel or CPU, None where that cannot be asked either."""

    explained: Explained | None
    why_not: str = ""
    guess: Explained | None = None


def understood(host: HostFacts, lists: Lists) -> Understood:
    """What explains a host, where the decision is about it and enough is known."""
    x86 = is_x86(host)
    if x86 is False:
        return Understood(None, f"the decision is about x86, and this is {host.kernel.machine.value}")
    unnamed = "what machine it is could not be read" if x86 is None else _unnamed(host)
    try:
        explained = explain(host, lists)
    except InputError as error:
        return Understood(None, unnamed or str(error))
    if unnamed:
        return Understood(None, unnamed, explained)
    name = imitates_linux(host)
    if name and any(one.decision.bug for one in explained.possible or (explained.nearest,)):
        return Understood(None, f"the decision is Linux's, and this is {name}")
    return Understood(explained)


def _unnamed(host: HostFacts) -> str:
    try:
        check_named(host)
    except InputError as error:
        return str(error)
    return ""


def status_result(host: HostFacts, worth: FlushWorth, lists: Lists) -> StatusResult:
    """The verdict on a host with all that it rests on. ``worth``: of the software flush on its L1D."""
    known = understood(host, lists)
    judged = judge(host, known.explained, worth.verdict, known.guess)
    signature = host.cpu.signature.value
    return StatusResult(
        where=host.where,
        cpu=one_line(signature.model_name) if signature else "unknown CPU",
        kernel=one_line(host.kernel.release.value or "unknown"),
        hypervisor=host.cpu.hypervisor.value,
        control_domain=host.xen.control.value,
        verdict=judged.verdict,
        grounds=tuple(GroundInfo(cause=one.cause, verdict=one.verdict, says=one.says) for one in judged.grounds),
        says=_word(host),
        follows=None if known.explained is None else _follows(host, known.explained, worth.verdict),
        why_not=known.why_not,
        software_flush=_flush(worth, known.explained),
        advice=_advice(host, known, judged, worth.verdict, lists),
        notes=tuple(_notes(host, known.explained, worth.verdict, lists)),
        facts=tuple(fact_infos(host)),
        exit_status=judged.verdict.exit_status,
    )


def outcome(host: HostFacts, explanation: Explanation, *, software: Verdict, assumed: bool) -> Outcome:
    """What follows from one explanation of ``host``; ``assumed``: name what it takes for granted."""
    decision = explanation.decision
    rules = rule_answers(decision)
    judged = judge_explanation(host, explanation, software)
    return Outcome(
        verdict=judged.verdict,
        because=judged.grounds[0].says,
        sysfs=decision.sysfs,
        bug=decision.bug,
        l1tf=decision.l1tf,
        parameter=decision.parameter,
        flushes=decision.flushes,
        mechanism=decision.mechanism,
        smt=decision.smt,
        smt_active=decision.smt_active,
        pte_inversion=decision.inversion,
        memory_limit=decision.memory_limit,
        rule=rules[-1],
        rules=rules,
        assumed=explanation.world.assumed if assumed else (),
    )


def fact_infos(host: HostFacts) -> list[FactInfo]:
    """Every fact with its name, for people and for JSON."""
    kernel, cpu, says = host.kernel, host.cpu, host.mitigation
    bits: Callable[[int], str] = lambda value: f"{value:#x}"  # noqa: E731 (two names for one thing would be worse)
    rows: list[tuple[str, Fact[Any], Callable[[Any], str]]] = [
        ("kernel release", kernel.release, str),
        ("kernel version", kernel.version, str),
        ("machine", kernel.machine, str),
        ("command line", kernel.command_line, str),
        ("page table levels", kernel.levels, str),
        ("CONFIG_CPU_MITIGATIONS", kernel.config_mitigations, _yes),
        ("CONFIG_MITIGATION_L1TF", kernel.config_l1tf, _yes),
        ("CONFIG_KVM_INTEL", kernel.config_kvm_intel, _yes),
        ("CONFIG_HOTPLUG_SMT", kernel.config_hotplug_smt, _yes),
        ("end of RAM", kernel.memory_end, lambda value: f"{value / (1 << 30):.1f} GiB"),
        ("lockdown", kernel.lockdown, str),
        ("CPU", cpu.signature, lambda s: f"{s.vendor} family {s.family} model {s.model} stepping {s.stepping}"),
        ("microcode", cpu.microcode, ", ".join),
        ("hypervisor below", cpu.hypervisor, lambda value: value or "none"),
        ("bug flag l1tf", cpu.bugs.map(lambda bugs: "l1tf" in bugs), _yes),
        ("flush command", cpu.flush_command, _yes),
        ("flags not on all CPUs", cpu.uneven, lambda flags: " ".join(sorted(flags)) or "none"),
        ("ARCH_CAPABILITIES", cpu.arch_capabilities, bits),
        ("VMX", cpu.vmx, _yes),
        ("EPT offered", cpu.ept, _yes),
        ("physical address bits", cpu.address_bits, str),
        ("threads per core", cpu.threads, str),
        ("L1D", cpu.l1d, lambda shape: f"{shape.size >> 10} KiB, {shape.ways} ways of {shape.sets} sets"),
        ("vulnerabilities/l1tf", says.text, str),
        ("the file vulnerabilities/l1tf", says.has_text, _yes),
        ("SMT control", says.smt_control, str),
        ("SMT active", says.smt_active, _yes),
        ("kvm_intel loaded", says.loaded, _yes),
        ("kvm_intel built in", says.built_in, _yes),
        ("/dev/kvm", says.device, _yes),
        ("vmentry_l1d_flush", says.parameter, str),
        ("the file vmentry_l1d_flush", says.has_parameter, _yes),
        ("ept", says.ept, _yes),
        ("options for modprobe", says.options, lambda options: " ".join(options) or "none"),
        ("flushes counted", says.flushes, str),
        ("other hypervisors", says.others, lambda others: ", ".join(others) or "none"),
        ("control domain of Xen", host.xen.control, _yes),
        ("xl dmesg", host.xen.log, lambda said: f"{len(said.splitlines())} lines about L1TF" if said else "none"),
        ("xl info", host.xen.info, lambda said: said or "none"),
    ]
    if host.power is not None:
        rows += [("vulnerabilities/meltdown", host.power.meltdown, str), ("rfi_flush", host.power.rfi_flush, _yes)]
    return [
        FactInfo(
            name=name,
            value=None if fact.value is None else one_line(shown(fact.value)),
            origin=fact.origin,
            why=fact.why,
        )
        for name, fact, shown in rows
    ]


def _yes(value: bool) -> str:
    return "yes" if value else "no"


def _word(host: HostFacts) -> KernelWord:
    said = host.mitigation.text
    if said.value is None:
        return KernelWord(text=None, understood=False, mode=None, smt_vulnerable=None, why=f"{said.origin}: {said.why}")
    reading = read(said.value)
    return KernelWord(
        text=reading.raw,
        understood=reading.kind is not Kind.UNKNOWN,
        mode=reading.mode,
        smt_vulnerable=reading.smt,
        why="",
    )


def _follows(host: HostFacts, explained: Explained, software: Verdict) -> Follows:
    shown = explained.shown
    return Follows(
        agrees=not explained.differences,
        outcome=outcome(host, shown, software=software, assumed=True),
        others=max(len(explained.possible) - 1, 0),
        written=tuple(map(_write, shown.written)),
        differences=tuple(
            DifferenceInfo(what=one.what, follows=one.follows, said=one.said) for one in explained.differences
        ),
    )


def _write(action: Action) -> str:
    return f"{'smt/control' if action.do is Do.WRITE_SMT else 'vmentry_l1d_flush'}: {action.text}"


def _flush(worth: FlushWorth, explained: Explained | None) -> FlushInfo:
    mechanisms = {one.decision.mechanism for one in explained.possible} if explained else set()
    return FlushInfo(
        verdict=worth.verdict,
        used=mechanisms.pop() is Mechanism.READING if len(mechanisms) == 1 else None,
        source=worth.source,
        cpu=worth.cpu,
        routine=worth.routine,
        rows=worth.rows,
        reason=worth.reason,
    )


def _notes(host: HostFacts, explained: Explained | None, software: Verdict, lists: Lists) -> Iterator[str]:
    guest = host.cpu.hypervisor.value
    if guest and not host.xen.control.value:
        yield f"this is a guest of {guest}: whether others can read its memory is for the host below to decide"
    if explained is None or not explained.possible or not explained.shown.decision.bug:
        return
    if host.mitigation.loaded.value is False and explained.shown.world.facts.kernel.kvm_intel:
        loaded = [changed(one, Change(load=""), lists) for one in explained.possible]
        cases = dict.fromkeys(
            (judge_explanation(host, one.explanation, software).verdict, with_module(one.decision))
            for one in loaded
            if one.decision.mode is not None
        )
        if len(cases) > _MOST_CASES or len({mode for _, mode in cases}) < len(cases):
            # One mode with two verdicts explains nothing: something else decides.
            verdicts = sorted({verdict for verdict, _ in cases}, key=lambda verdict: verdict.behind)
            names = ", ".join(map(in_words, verdicts))
            yield f"with kvm_intel loaded: {names}; which, depends on what could not be read"
        elif cases:
            yield f"with kvm_intel loaded: {', or '.join(f'{in_words(verdict)} ({mode})' for verdict, mode in cases)}"


def with_module(decision: Decision) -> str:
    """What its parameter reads."""
    return decision.parameter or "this KVM has no flush"


def _advice(
    host: HostFacts, known: Understood, judged: Judged, software: Verdict, lists: Lists
) -> tuple[AdviceInfo, ...]:
    return tuple(
        AdviceInfo(what=one.what, takes=None if one.takes is None else one.takes.says, then=one.then)
        for one in advise(host, known.explained, judged, software, lists, known.guess)
    )
