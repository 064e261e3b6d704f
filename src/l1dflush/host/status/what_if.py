# SPDX-License-Identifier: GPL-2.0-or-later
"""The results of ``l1dflush what-if`` for a host, put together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from l1dflush.data.l1tf_cpus import lists
from l1dflush.ending import ExitStatus, Verdict
from l1dflush.errors import InputError
from l1dflush.host.reading.host_facts import HostFacts
from l1dflush.host.status.changes import Change, Changed, changed
from l1dflush.host.status.explained import Explained, Explanation
from l1dflush.host.status.flush_worth import Flush
from l1dflush.host.status.grounds import L1tfVerdict
from l1dflush.host.status.matrix import cells
from l1dflush.host.status.model import MatrixResult, Outcome, WhatIfHostResult
from l1dflush.host.status.result import outcome, understood
from l1dflush.mitigation.affected import Lists
from l1dflush.mitigation.facts import Kernel
from l1dflush.mitigation.part import Part, caveat
from l1dflush.mitigation.question import ActionAnswer, RuleAnswer, action_answer, rule_answers
from l1dflush.mitigation.run_time import Result
from l1dflush.mitigation.sysfs_text import Kind, read
from l1dflush.sandbox.judged import Working
from l1dflush.vmentry.subsystem import Mechanism


def explained_host(host: HostFacts, lists: Lists) -> Explained:
    """What explains ``host``. Raises InputError where the decision cannot be asked."""
    known = understood(host, lists)
    if known.explained is None:
        hint = "--from or --sysroot names another host; --facts asks without one"
        raise InputError(known.why_not, where=host.where, hint=hint)
    return known.explained


def about_host(
    host: HostFacts,
    change: Change,
    *,
    folders: Sequence[Path] = (),
    matrix: bool = False,
    waiting: Working | None = None,
) -> WhatIfHostResult | MatrixResult:
    """What would follow for ``host`` from ``change``; with ``matrix``, of every boot option, parameter and SMT state
    besides. ``folders``: more CPU files. ``waiting`` is entered with a line of text while something takes long.

    Raises InputError where the decision cannot be asked.
    """
    known = lists()
    explained = explained_host(host, known)
    # Only its verdict counts here, and Linux's walk is the same in every module.
    flush = Flush(folders=folders, waiting=waiting)
    then = (flush.worth(host) if change.cpu is None else flush.worth_on((change.cpu,))).verdict
    if matrix:
        return matrix_result(host, explained, change, then, known)
    now = then if change.cpu is None else flush.worth(host).verdict
    return what_if_result(host, explained, change, (now, then), known)


def what_if_result(
    host: HostFacts,
    explained: Explained,
    change: Change,
    worths: tuple[Verdict, Verdict],
    lists: Lists,
) -> WhatIfHostResult:
    """Before and after. ``worths``: of the software flush on the L1D before and after the change."""
    before = explained.possible or (explained.nearest,)
    built_in = bool(host.mitigation.built_in.value)
    after = [changed(one, case, lists, built_in=built_in) for case in change.cases for one in before]
    outcomes = _distinct(host, before, software=worths[0])
    changed_outcomes = _distinct(host, [one.explanation for one in after], software=worths[1])
    verdicts = {one.verdict for one in changed_outcomes}
    verdict = verdicts.pop() if len(verdicts) == 1 else L1tfVerdict.UNKNOWN
    if verdict in (L1tfVerdict.MITIGATED, L1tfVerdict.PARTIAL) and not _holds(host, explained, change):
        verdict = L1tfVerdict.UNKNOWN
    return WhatIfHostResult(
        where=host.where,
        changes=change.says,
        takes=after[0].takes.says,
        agrees=not explained.differences,
        before=outcomes,
        after=changed_outcomes,
        loading=None if after[0].loading is None else action_answer(after[0].loading),
        written=_written(after[0]),
        decided_by=_decided(before[0], after[0]),
        verdict=verdict,
        notes=tuple(_notes(change)),
        exit_status=verdict.exit_status,
    )


def matrix_result(
    host: HostFacts, explained: Explained, change: Change, software: Verdict, lists: Lists
) -> MatrixResult:
    """The table for ``host`` with the change made first."""
    of = changed(explained.shown, change.cases[0], lists).explanation
    loaded = changed(of, Change(load=""), lists).loading or Result()
    return MatrixResult(
        where=host.where,
        changes=change.says,
        mechanism=Mechanism.COMMAND if of.world.facts.cpu.command else Mechanism.READING,
        loading=action_answer(loaded),
        cells=tuple(cells(host, of, lists, software=software)),
        notes=(*_notes(change), *_without_flush(of)),
        exit_status=ExitStatus.FINE,
    )


def _without_flush(of: Explanation) -> Iterator[str]:
    if of.world.facts.kernel.part is not Part.ALL:
        yield "this kernel's KVM has no flush, nor does it know l1tf= and vmentry_l1d_flush: all cells are the same"


def _notes(change: Change) -> Iterator[str]:
    if change.kernel is None:
        return
    if said := caveat(Kernel.parse(change.kernel).version, change.kernel):
        yield f"{said}. Each case is told; 'l1dflush status' on a host with it decides by its files"


def _holds(host: HostFacts, explained: Explained, change: Change) -> bool:
    """Whether the host's kernel was seen to follow the decision; another one is taken to."""
    said = host.mitigation.text.value
    seen = said is not None and read(said).kind is not Kind.UNKNOWN
    return not explained.differences and (seen or change.kernel is not None)


def _distinct(host: HostFacts, explanations: Sequence[Explanation], *, software: Verdict) -> tuple[Outcome, ...]:
    """Those that differ in more than what is assumed; what it assumes is said where there are several."""
    found: dict[str, Outcome] = {}
    for one in explanations:
        plain = outcome(host, one, software=software, assumed=False)
        found.setdefault(plain.model_dump_json(), plain.model_copy(update={"assumed": one.world.assumed}))
    if len(found) == 1:
        return tuple(one.model_copy(update={"assumed": ()}) for one in found.values())
    return tuple(found.values())


def _written(after: Changed) -> tuple[ActionAnswer, ...]:
    results = after.decision.results[len(after.decision.results) - len(after.done) :]
    return tuple(map(action_answer, results))


def _decided(before: Explanation, after: Changed) -> RuleAnswer:
    """The first rule that decides otherwise; where all are the same, the one that decides the mode."""
    old, new = rule_answers(before.decision), rule_answers(after.decision)
    return next((rule for was, rule in zip(old, new, strict=True) if was != rule), new[-1])
