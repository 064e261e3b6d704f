# SPDX-License-Identifier: GPL-2.0-or-later
"""A whole plan: the word, what its walk costs, and what further assumptions would save."""

from __future__ import annotations

from dataclasses import dataclass

from l1dflush import __version__
from l1dflush.cache.geometry import Geometry
from l1dflush.ending import ExitStatus, Verdict
from l1dflush.errors import one_line
from l1dflush.planning.emit import PAGE
from l1dflush.planning.find import Found, Goal, NeverError, find, savings
from l1dflush.planning.first import First, first_flush
from l1dflush.planning.instead import instead
from l1dflush.planning.model import PlanResult, SavingInfo
from l1dflush.planning.walk import Walk, walk_of
from l1dflush.proof.chance import by_chance
from l1dflush.proof.limits import Limits
from l1dflush.verdict.size.cells import Asked
from l1dflush.verdict.verify_result import GeometryInfo


@dataclass(frozen=True, slots=True)
class Planned:
    """A plan: the ``walk`` is None where no number of accesses is enough, ``first`` where no other flush has to come
    before it."""

    result: PlanResult
    walk: Walk | None
    first: First | None


def planned(asked: Asked, goal: Goal, limits: Limits, limits_of_savings: Limits | None = None) -> Planned:
    """The plan for one cache.

    ``limits_of_savings`` hold for each further assumption; None: they are not asked about. Raises ValueError if
    ``asked`` names no geometry, and as :func:`l1dflush.planning.find.find`.
    """
    shape, conditions = asked.geometry, asked.conditions
    if shape is None:
        raise ValueError("a plan is for a cache")
    found: Found | None = None
    walk: Walk | None = None
    first: First | None = None
    try:
        found = find(asked.policy, shape, conditions, goal, limits)
        walk = walk_of(found.word, shape)
        first = first_flush(asked.policy, shape, found, limits)
    except NeverError:
        pass
    # Where nothing is enough, nothing is saved; and what is saved are loads.
    wanted = found is not None and goal is Goal.LOADS and limits_of_savings is not None
    weaker = savings(asked.policy, conditions, limits_of_savings or limits) if wanted else ()
    saved = tuple(
        SavingInfo(
            assumption=one.assumption,
            start=str(one.conditions.start),
            touches=one.conditions.touches,
            needs=one.needs,
        )
        for one in weaker
    )
    result = PlanResult(
        tool_version=__version__,
        cpus=asked.cpus,
        title=asked.title,
        policy=asked.policy.name,
        policy_certainty=asked.certainty,
        geometry=GeometryInfo(size=shape.size, ways=shape.ways, sets=shape.sets, line=shape.line),
        start=str(conditions.start),
        start_meaning=conditions.start.meaning,
        touches=conditions.touches,
        goal=goal.value,
        verdict=Verdict.REFUTED if found is None else Verdict.PROVED,
        word=() if found is None else found.word,
        least=found is not None and found.least,
        loads=0 if walk is None else walk.loads,
        buffer_bytes=0 if walk is None else walk.buffer_bytes,
        savings=saved,
        isa=asked.isa,
        instead=() if found is not None else _instead(asked, shape),
        first_needs=None if first is None else first.needs,
        notes=(*(() if first is None else (first.note,)), *(() if walk is None else _buffer(shape))),
        form=None,
        code=None,
        proved=(),
        exit_status=ExitStatus.REFUTED if found is None else ExitStatus.FINE,
    )
    return Planned(result, walk, first)


def _buffer(shape: Geometry) -> tuple[str, ...]:
    """What the buffer has to be where the address inside a page does not tell the set."""
    way = shape.sets * shape.line
    if way <= PAGE:
        return ()
    return (
        f"the buffer has to be page-aligned and physically contiguous: a way is {way / 1024:g} KiB, so that a page of"
        " 4 KiB does not settle in which sets its lines are",
    )


def _instead(asked: Asked, shape: Geometry) -> tuple[str, ...]:
    cache = f"--cpu {asked.cpus[0]}" if asked.cpus else f"--geometry {shape.size},{shape.ways},{shape.line}"
    return instead(asked.isa, cache, asked.policy.name, by_chance=by_chance(asked.policy, asked.policy.ways))


def title_of(result: PlanResult) -> str:
    """One line that says what code of this plan is, and what it was proved for."""
    touches = f", touched {result.touches} times" if result.touches else ""
    return (
        f"{result.loads} loads from {result.buffer_bytes} bytes empty the L1D ({result.cache}, {result.policy})"
        f" from {result.start}{touches}; l1dflush {result.tool_version}"
    )


def head_of(result: PlanResult) -> tuple[str, ...]:
    """The paragraphs that code of this plan begins with: plain ASCII, whatever the file of a policy is called."""
    told = (title_of(result), *(f"{note[:1].upper()}{note[1:]}." for note in result.notes))
    return tuple(one_line(text).encode("ascii", "replace").decode("ascii") for text in told)
