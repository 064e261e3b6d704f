# SPDX-License-Identifier: GPL-2.0-or-later
"""The verdict for one cache where the same flushes come again and again, in turn."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace

from l1dflush.cache.geometry import Geometry
from l1dflush.cache.policies import Policy
from l1dflush.ending import Verdict
from l1dflush.errors import UndecidedError
from l1dflush.proof.protocols import Flushes, Protocol, protocols
from l1dflush.proof.steady import decide_protocol, least_lines
from l1dflush.verdict.examples import protocol_example
from l1dflush.verdict.question import Flush, Outcome, Question

# The verdict does not wait longer than that for a number that it can do without.
NEEDS_SECONDS = 2.0


def protocols_of(question: Question, geometry: Geometry, run: int | None) -> list[Protocol]:
    """What all flushes do in each set. Raises UndecidedError also where a flush does more than its words say."""
    flushes = [_flushes(one) for one in question.flushes]
    return protocols(flushes, geometry, question.buffer_size, run=run, deadline=question.deadline)


def _flushes(flush: Flush) -> Flushes:
    paths = []
    for part in flush.parts():
        if part.more is not None:
            raise part.more
        paths.append(tuple(part.events))
    # Paths that differ only in what they do before or after the walk are one.
    return Flushes(tuple(dict.fromkeys(paths)), flush.buffer.arenas)


def judge_protocols(
    question: Question, found: list[Protocol], geometry: Geometry, policy: str | Policy, *, examples: bool = True
) -> Outcome:
    """The verdict for one policy.

    ``needs``: the fewest lines that leave nothing when they are accessed in one fixed order again and again.
    """
    ways, conditions = geometry.ways, question.conditions
    leftovers, worst, undecided, exact = 0, None, None, True
    for protocol in found:
        try:
            answer = decide_protocol(
                policy, ways, protocol.words, conditions.start, turns=protocol.turns, own=protocol.own,
                touches=conditions.touches, limits=question.limits(),
            )  # fmt: skip
        except UndecidedError as error:
            undecided = undecided or error
            continue
        if answer.leftovers > leftovers:
            leftovers, exact, worst = answer.leftovers, answer.exact, (protocol, answer.counterexample)
        if leftovers == ways:
            break
    has = min(one.has for one in found)
    empty = sum(one.sets for one in found if not one.has)
    needs = None
    limits = question.limits()
    with suppress(UndecidedError):
        hurry = replace(limits, seconds=min(limits.seconds or 0, NEEDS_SECONDS))
        needs = least_lines(policy, ways, conditions.start, touches=conditions.touches, limits=hurry)
    if question.skipped_path and not leftovers:
        return Outcome(Verdict.REFUTED, needs, has, ways, empty, reason="a path skips the flush")
    if worst is not None:
        protocol, run = worst
        reason = f"{empty} sets get no access" if empty else ""
        if not exact or undecided:
            lines = "line" if leftovers == 1 else "lines"
            reason = f"at least {leftovers} old {lines} may stay in a set"
        example = protocol_example(question, policy, ways, protocol, run) if run and examples else None
        return Outcome(Verdict.REFUTED, needs, has, leftovers, empty, None, reason, None, (), example)
    if undecided is not None:
        return Outcome(Verdict.UNDECIDED, needs, has, None, empty, undecided.cause, str(undecided))
    return Outcome(Verdict.PROVED, needs, has, 0, empty)
