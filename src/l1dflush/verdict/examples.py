# SPDX-License-Identifier: GPL-2.0-or-later
"""Counterexamples for the report: runs of the prover with the names of the routine's places."""

from __future__ import annotations

import re
from collections.abc import Callable, Container, Sequence
from dataclasses import replace
from itertools import count
from typing import Literal

from l1dflush.arguments import MAX_SECONDS
from l1dflush.cache.policies import Policy
from l1dflush.cache.policy.machine import MachinePolicy
from l1dflush.cache.policy.machine_table import table_text
from l1dflush.errors import UndecidedError
from l1dflush.proof import prover
from l1dflush.proof.conditions import Start
from l1dflush.proof.counterexample import TOUCHES, Counterexample, Line, Outcomes
from l1dflush.proof.counterexample import Step as Played
from l1dflush.proof.placements import Line as Place
from l1dflush.proof.protocols import Protocol
from l1dflush.proof.steady_run import Between, BetweenStep, SteadyRun
from l1dflush.proof.words import SetWord
from l1dflush.tracing.region import BUFFER
from l1dflush.verdict.counterexample_result import (
    INVALID,
    CounterexampleInfo,
    LineInfo,
    LineKind,
    SteadyInfo,
    Step,
)
from l1dflush.verdict.found import Spot
from l1dflush.verdict.places import Places
from l1dflush.verdict.question import Question


class Lines:
    """What the lines of a run are, and what they are called; all that were asked for are kept in that order."""

    def __init__(self, what: Callable[[Line], LineInfo]) -> None:
        self._what = what
        self._told: dict[str, LineInfo] = {}

    def name(self, line: Line | None) -> str:
        if line is None:
            return INVALID
        info = self._what(line)
        self._told.setdefault(info.name, info)
        return info.name

    @property
    def told(self) -> tuple[LineInfo, ...]:
        return tuple(self._told.values())


def word_example(question: Question, policy: str | Policy, ways: int, found: SetWord) -> CounterexampleInfo:
    """A start and a run of one word. Raises UndecidedError where none can be found in the time that is left."""
    example = _found(question, policy, ways, found)
    lines = _lines(lambda line: (question.flush.places, found.lines[line]))
    twin = prover.resolved(policy, ways)
    last = example.steps[-1] if example.steps else None
    content = last.content if last else example.content
    return CounterexampleInfo(
        policy=example.policy,
        set_index=found.set_index,
        start_state=example.start_text,
        policy_state=example.policy_state,
        machine=_machine_text(twin),
        start=tuple(map(lines.name, example.content)),
        steps=tuple(_step(step, lines) for step in example.steps),
        end=tuple(map(lines.name, content)),
        end_state=twin.render(last.policy_state) if last else example.start_text,
        leftovers=_old(content),
        smallest=example.smallest,
        # All of them have come by now.
        lines=lines.told,
    )


def _found(question: Question, policy: str | Policy, ways: int, found: SetWord) -> Counterexample:
    """The smallest counterexample; or one that is only known to be the smallest of those with all ways valid."""
    asked, limits = question.conditions, question.limits()
    if asked.start.all_ways_valid:
        return prover.counterexample(policy, ways, found.word, asked, own=found.own, limits=limits)
    try:
        return prover.counterexample(policy, ways, found.word, asked, own=found.own, limits=limits.part(0.5))
    except UndecidedError:
        # The word may be refuted by such a start only because that was looked for: see prover.decide.
        with_all = asked.with_all_ways_valid()
        try:
            one = prover.counterexample(policy, ways, found.word, with_all, own=found.own, limits=question.limits())
        except ValueError as error:
            raise UndecidedError("out-of-time", str(error), hint=MAX_SECONDS.form("N")) from None
        return replace(one, smallest=False)


def protocol_example(
    question: Question, policy: str | Policy, ways: int, found: Protocol, run: SteadyRun
) -> CounterexampleInfo:
    """A run through flushes in turn."""
    flushes = question.flush, *question.others

    def placed(line: int) -> tuple[Places, Place]:
        turn, place = found.lines[line]
        return flushes[turn].places, place

    twin, start = prover.resolved(policy, ways), question.conditions.start
    return told(run, twin, start, len(found.turns), found.set_index, _lines(placed))


def told(run: SteadyRun, policy: Policy, start: Start, turns: int, set_index: int, lines: Lines) -> CounterexampleInfo:
    """A run in a set of ``policy``; ``lines`` says what its lines are."""
    before = tuple(map(lines.name, run.content))
    steps: list[Step] = []
    again = 0
    played: list[Played | BetweenStep] = []
    for number, flush in enumerate(run.flushes):
        if run.again and number == run.again:
            again = len(steps) + run.again_before
        steps += (_between(step, lines) for step in flush.before)
        steps += (_step(step, lines, number + 1) for step in flush.steps)
        played += (*flush.before, *flush.steps)
    content, state = (played[-1].content, played[-1].policy_state) if played else (run.content, run.policy_state)
    return CounterexampleInfo(
        policy=run.policy,
        set_index=set_index,
        start_state=run.start_text,
        # Of a flush that does nothing in this set there is no step that a replay could see.
        policy_state=run.policy_state if all(flush.steps for flush in run.flushes) else None,
        machine=_machine_text(policy),
        start=before,
        steps=tuple(steps),
        end=tuple(map(lines.name, content)),
        end_state=policy.render(state),
        leftovers=len(run.leftovers),
        smallest=False,
        steady=SteadyInfo(start=str(start), turns=turns, again=again),
        lines=lines.told,
    )


def _old(content: Sequence[Line | None]) -> int:
    return sum(isinstance(line, str) for line in content)


def _lines(placed: Callable[[int], tuple[Places, Place]]) -> Lines:
    """``placed`` tells where a line of the routine is."""
    mine: dict[int, LineInfo] = {}

    def what(line: Line) -> LineInfo:
        if isinstance(line, str) or line < 0:
            return of_somebody_else(line)
        if line not in mine:
            places, place = placed(line)
            spot = places.line(place.arena, place.offset)
            kind = LineKind.BUFFER if spot.region == BUFFER else LineKind.OWN
            name = _name_of(spot, {one.name for one in mine.values()})
            mine[line] = LineInfo(name=name, kind=kind, region=spot.region, offset=spot.offset)
        return mine[line]

    return Lines(what)


def of_somebody_else(line: Line) -> LineInfo:
    """An old line, or one that others bring in."""
    if isinstance(line, str):
        return LineInfo(name=line, kind=LineKind.OLD)
    return LineInfo(name=f"other{-line}", kind=LineKind.OTHERS)


def _step(step: Played, lines: Lines, flush: int = 0) -> Step:
    missed = step.outcome in (Outcomes.MISS, Outcomes.TOUCH_MISS)
    return Step(
        access=lines.name(step.line),
        result="fill" if missed and step.evicted is None else _RESULTS[step.outcome],
        way=step.way,
        evicted=None if step.evicted is None else lines.name(step.evicted),
        leftovers=_old(step.content),
        by_others=step.outcome in TOUCHES,
        policy_state=step.policy_state,
        flush=flush,
    )


def _between(step: BetweenStep, lines: Lines) -> Step:
    missed = step.outcome is Between.OTHERS_MISS
    return Step(
        access=lines.name(step.line),
        result="fill" if missed and step.evicted is None else _RESULTS_BETWEEN[step.outcome],
        way=step.way,
        evicted=None if step.evicted is None else lines.name(step.evicted),
        leftovers=_old(step.content),
        by_others=True,
        policy_state=step.policy_state,
    )


def _name_of(spot: Spot, taken: Container[str]) -> str:
    """The name of a line of the routine: never that of a line of somebody else, or of another line."""
    name = str(spot)
    if _OF_OTHERS.fullmatch(name):
        name = f"`{name}`"
    return next(told for n in count(1) if (told := name if n == 1 else f"{name} ({n})") not in taken)


def _machine_text(policy: Policy) -> str | None:
    text = table_text(policy) if isinstance(policy, MachinePolicy) else None
    return None if text is None or len(text) > _LONGEST_MACHINE else text


# Old lines, what others bring in, and no line at all. A loop counter may be called i.
_OF_OTHERS = re.compile(r"[a-z]{1,2}|other[0-9]+|invalid")
_LONGEST_MACHINE = 4 << 20
_Result = Literal["hit", "miss", "fill", "dropped", "flushed", "not-cached", "invalidated"]
_RESULTS: dict[Outcomes, _Result] = {
    Outcomes.MISS: "miss",
    Outcomes.HIT: "hit",
    Outcomes.DROPPED: "dropped",
    Outcomes.FLUSHED: "flushed",
    Outcomes.NOT_CACHED: "not-cached",
    Outcomes.TOUCH_HIT: "hit",
    Outcomes.TOUCH_MISS: "miss",
}
_RESULTS_BETWEEN: dict[Between, _Result] = {
    Between.OTHERS_HIT: "hit",
    Between.OTHERS_MISS: "miss",
    Between.INVALIDATED: "invalidated",
}
