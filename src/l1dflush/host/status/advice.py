# SPDX-License-Identifier: GPL-2.0-or-later
"""What to do about a verdict: each proposal is tried on the decision before it is made."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from l1dflush.ending import Verdict
from l1dflush.host.reading.fact import Fact
from l1dflush.host.reading.files import EMPTY, NO_FILE
from l1dflush.host.reading.host_facts import HostFacts
from l1dflush.host.status.changes import Change, Takes, changed
from l1dflush.host.status.explained import Explained, Explanation
from l1dflush.host.status.grounds import Cause, Judged, L1tfVerdict
from l1dflush.host.status.judged import judge_alone, judge_explanation
from l1dflush.host.status.worlds import World, capabilities, is_x86
from l1dflush.host.status.xen_host import xen_advice
from l1dflush.mitigation.affected import Lists, limits
from l1dflush.mitigation.facts import Control, Limits
from l1dflush.mitigation.part import SINCE, Part
from l1dflush.mitigation.rules import COMPILED_OUT

_PARAMETER = "/sys/module/kvm_intel/parameters/vmentry_l1d_flush"
_CONTROL = "/sys/devices/system/cpu/smt/control"
_DECIDED = (Cause.CONDITIONAL, Cause.SMT, Cause.NEVER, Cause.REFUTED, Cause.UNPROVED)
"""What a change may put right. Of the others no decision says what would be then."""


@dataclass(frozen=True, slots=True)
class Advice:
    """``what`` to do, when it ``takes`` effect, and what the verdict is then: None where no decision says so."""

    what: str
    takes: Takes | None = None
    then: L1tfVerdict | None = None


_PROPOSALS: tuple[tuple[str, Change], ...] = (
    (f"echo always > {_PARAMETER}", Change(writes=("always",))),
    (f"echo off > {_CONTROL}", Change(smt=Control.OFF)),
    (f"echo always > {_PARAMETER}; echo off > {_CONTROL}", Change(smt=Control.OFF, writes=("always",))),
    ("l1tf=full on the boot line", Change(line="l1tf=full", without=("l1tf", "mitigations"))),
    (
        "l1tf=full,force on the boot line, in the place of any l1tf= and mitigations=",
        Change(line="l1tf=full,force", without=("l1tf", "mitigations")),
    ),
)


def advise(
    host: HostFacts,
    explained: Explained | None,
    judged: Judged,
    software: Verdict,
    lists: Lists,
    guess: Explained | None = None,
) -> list[Advice]:
    """What helps, what helps least first; nothing where nothing is to be done. ``guess``: what explains the host with
    what stands for an unknown kernel or CPU, of which nothing is promised."""
    found = list(_reading(host, explained or guess, judged, software))
    first = next((ground.cause for ground in judged.grounds if not ground.open), None)
    if explained is not None and explained.possible and first in _DECIDED:
        found += _tried(host, explained, judged, software, lists)
    causes = {ground.cause for ground in judged.grounds}
    if Cause.NEVER in causes and explained is not None and explained.shown.decision.rule == COMPILED_OUT:
        found.append(Advice("a kernel built with CONFIG_CPU_MITIGATIONS: this one cannot flush", Takes.REBOOT))
    if Cause.NO_INVERSION in causes or Cause.MEMORY in causes:
        found += _memory(explained)
    if Cause.TOO_OLD in causes:
        found.append(Advice("a kernel of August 2018 or later"))
    elif Cause.NO_FLUSH in causes:
        found += _without_flush(host, explained, judged, software, lists)
    if Cause.SANDBOX in causes:
        found.append(Advice("run this on what it runs on: that decides, and cannot be seen from here"))
    if Cause.REFUTED in causes or Cause.UNPROVED in causes:
        found.append(Advice("microcode with the flush command, if there is such for this CPU", Takes.REBOOT))
    if Cause.UNKNOWN_TEXT in causes:
        found.append(Advice("report the text, with the kernel that it is from"))
    if Cause.DISAGREE in causes:
        found.append(Advice("see --explain for what was read; 'l1dflush gather' packs it, to ask others"))
    if judged.verdict not in (L1tfVerdict.NOT_AFFECTED, L1tfVerdict.MITIGATED):
        found += [Advice(what) for what in xen_advice(host)]
    if Cause.BELOW in causes:
        found.append(Advice("run this on the host below: its mode decides, and cannot be seen from here"))
    revisions = host.cpu.microcode.value or ()
    if len(revisions) > 1:
        found.append(Advice(f"the CPUs have different microcode ({', '.join(revisions)}): update it on all of them"))
    return found


def _tried(host: HostFacts, explained: Explained, judged: Judged, software: Verdict, lists: Lists) -> Iterator[Advice]:
    """Those that make it better, each only if none that takes less is as good."""
    built_in = bool(host.mitigation.built_in.value)
    best: dict[Takes, L1tfVerdict] = {}
    for what, change in _PROPOSALS:
        if (change.writes or change.smt) and not _possible(explained, change):
            continue
        after = changed(explained.shown, change, lists, built_in=built_in)
        then = judge_explanation(host, after.explanation, software)
        if then.settled.behind < best.get(after.takes, judged.settled).behind:
            best[after.takes] = then.settled
            yield Advice(what, after.takes, then.verdict)


def _without_flush(
    host: HostFacts, explained: Explained | None, judged: Judged, software: Verdict, lists: Lists
) -> Iterator[Advice]:
    since = ", ".join(f"{major}.{minor}.{patch}" for (major, minor), patch in SINCE.items() if minor >= 9)
    yield Advice(
        f"a kernel whose KVM has the flush: {since} or later, or a distribution's that took it over", Takes.REBOOT
    )
    if explained is None:
        return
    built_in = bool(host.mitigation.built_in.value)
    after = [changed(one, Change(ept=False), lists, built_in=built_in) for one in explained.possible]
    then = [judge_explanation(host, one.explanation, software) for one in after]
    # It has to help whatever could not be read.
    last = max(then, key=lambda one: one.settled.behind, default=judged)
    if last.settled.behind < judged.settled.behind:
        where = "kvm-intel.ept=0 on the boot line" if built_in else "'options kvm_intel ept=0' for modprobe"
        yield Advice(f"{where}, which makes guests slower", after[0].takes, last.verdict)


def _possible(explained: Explained, change: Change) -> bool:
    """Whether there is what it writes to, and it is not so already."""
    decision = explained.shown.decision
    if change.writes and decision.parameter is None:
        return False
    return change.smt is None or decision.smt_active


def _memory(explained: Explained | None) -> Iterator[Advice]:
    if explained is None:
        return
    facts, decision = explained.shown.world.facts, explained.shown.decision
    if facts.kernel.levels <= 2:
        yield Advice("a kernel with PAE, or a 64-bit one: two levels of page tables cannot be inverted", Takes.REBOOT)
        return
    if limits(facts.kernel) is not Limits.CACHE_BITS:
        yield Advice(
            "a later kernel: until late August 2018 (4.9.y and 4.14.y: July 2020) Linux did not know how many bits of "
            "an address the L1D of this CPU uses",
            Takes.REBOOT,
        )
    if facts.kernel.limits is not Limits.UNDEFINED:
        yield Advice(f"mem={decision.memory_limit >> 30}G on the boot line, or less RAM", Takes.REBOOT)


def _reading(host: HostFacts, explained: Explained | None, judged: Judged, software: Verdict) -> Iterator[Advice]:
    """What could be read with more rights or a whole copy, where it matters."""
    causes = {one.cause for one in judged.grounds}
    if judged.verdict is not L1tfVerdict.UNKNOWN or Cause.SANDBOX in causes:
        return
    says = host.mitigation
    facts: list[Fact[Any]] = [says.text]
    if is_x86(host) is not False:
        facts += [host.cpu.signature, *_deciding(host, explained, software)]
    elif host.power is not None:
        facts.append(host.power.meltdown)
    facts.append(host.kernel.release)
    if Cause.OTHERS in causes:
        facts.append(says.others)
    yield from map(Advice, dict.fromkeys(_read_it(fact) for fact in facts if not fact.known))


def _read_it(fact: Fact[Any]) -> str:
    """What is not there nobody can make readable."""
    if fact.why == EMPTY:
        return f"copy {fact.origin} anew: it is empty, as no kernel has it"
    if fact.why == NO_FILE:
        return f"copy {fact.origin} too, if it is there"
    if missing := re.search(r"there is no (/\S+)$", fact.why):
        return f"copy {missing[1]} too, if it is there"
    return f"make {fact.origin} readable ({fact.why})"


def _deciding(host: HostFacts, explained: Explained | None, software: Verdict) -> list[Fact[Any]]:
    """The unknown facts of which any leads from one verdict to another while all the rest stays as it is."""
    cpu, says, kernel = host.cpu, host.mitigation, host.kernel
    if explained is None:
        # Nothing was ruled out; of a CPU with L1TF the kernel's text tells.
        return [says.loaded] if says.text.known else [cpu.arch_capabilities, says.loaded]
    of: tuple[tuple[Fact[Any], Callable[[World], Any]], ...] = (
        (says.loaded, lambda world: world.loaded),
        (says.has_parameter, lambda world: world.facts.kernel.part),
        (says.ept, lambda world: (world.facts.cpu.ept, world.options, world.by_hand)),
        (
            capabilities(host, explained.shown.world.facts.kernel),
            lambda world: (world.facts.cpu.arch_capabilities, world.facts.cpu.fixed),
        ),
        (cpu.vmx, lambda world: world.facts.cpu.vmx),
        (cpu.flush_command, lambda world: world.facts.cpu.command),
        (cpu.address_bits, lambda world: world.facts.cpu.address_bits),
        (kernel.memory_end, lambda world: world.facts.memory_end),
        (kernel.command_line, lambda world: world.facts.line),
    )
    judged = [(_values(one, [value for _, value in of]), judge_alone(host, one, software).verdict)
              for one in explained.possible]  # fmt: skip
    # That something would be unknown for another reason is no use to anybody, unless there is nothing else.
    settled = [one for one in judged if one[1] is not L1tfVerdict.UNKNOWN]
    return _turning(of, settled) or _turning(of, judged)


def _values(one: Explanation, of: Sequence[Callable[[World], Any]]) -> tuple[Any, ...]:
    """Those of the facts, and behind them what else may differ."""
    kernel, cpu = one.world.facts.kernel, one.world.facts.cpu
    rest = (replace(kernel, part=Part.ALL, hotplug_smt=True), cpu.model, cpu.threads, one.written)
    return (*(value(one.world) for value in of), rest)


def _turning(
    of: Sequence[tuple[Fact[Any], Any]], judged: Sequence[tuple[tuple[Any, ...], L1tfVerdict]]
) -> list[Fact[Any]]:
    found = []
    for place, (fact, _) in enumerate(of):
        verdicts: dict[Any, set[L1tfVerdict]] = defaultdict(set)
        for values, verdict in judged:
            verdicts[values[:place] + values[place + 1 :]].add(verdict)
        if any(len(each) > 1 for each in verdicts.values()):
            found.append(fact)
    return found
