# SPDX-License-Identifier: GPL-2.0-or-later
"""How many accesses empty a set: the questions of ``l1dflush size``, asked one by one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from fractions import Fraction

from l1dflush import __version__
from l1dflush.arguments import MEMORY
from l1dflush.cache.cpus import Isa
from l1dflush.cache.geometry import Geometry
from l1dflush.cache.policies import Policy
from l1dflush.ending import ExitStatus, Verdict
from l1dflush.errors import UndecidedError
from l1dflush.proof import prover
from l1dflush.proof.chance import accesses_for_chance, by_chance
from l1dflush.proof.conditions import DEFAULT, Conditions
from l1dflush.proof.limits import Limits
from l1dflush.proof.steady import least_lines
from l1dflush.verdict.size.result import OneSizeResult, SizeCell, SizeResult, SizeVerdict
from l1dflush.verdict.verify_result import GeometryInfo

_LINE = 64


@dataclass(frozen=True, slots=True)
class Asked:
    """One cell: a policy (at its ways), and whose cache that is, if that was said.

    ``said`` is what the catalogue calls the policy, where that is none that can be asked about; ``isa`` the instruction
    set of the CPUs.
    """

    policy: Policy
    conditions: Conditions = DEFAULT
    geometry: Geometry | None = None
    cpus: tuple[str, ...] = ()
    title: str = ""
    certainty: str = "given"
    said: str | None = None
    isa: Isa = "x86"


def sizes(
    asked: Sequence[Asked],
    limits: Limits,
    chance: Fraction | None = None,
    *,
    one: bool = False,
    working: Callable[[str], AbstractContextManager[None]],
) -> SizeResult:
    """The answers; ``limits`` hold for each. ``one``: a single cell was asked for, so it decides the exit status.

    ``working`` is entered with a line of text while a question is being decided.
    """
    cells: list[SizeCell] = []
    given_up: dict[str, int] = {}
    for question in asked:
        policy = question.policy
        with working(f"deciding {policy.name} at {policy.ways} ways ..."):
            # More ways take longer, so what ran out of time at fewer is not worth the wait.
            fewer = given_up.get(policy.name, policy.ways)
            cell = _not_tried(question, fewer) if fewer < policy.ways else _cell(question, limits, chance)
        cells.append(cell)
        if cell.cause == "out-of-time":
            given_up.setdefault(policy.name, policy.ways)
    touches = asked[0].conditions.touches if asked else 0
    said = {
        "tool_version": __version__, "touches": touches, "chance": None if chance is None else str(chance),
        "cells": tuple(cells), "exit_status": int(ExitStatus.FINE),
    }  # fmt: skip
    if not one:
        return SizeResult.model_validate(said)
    alone = cells[0]
    said["exit_status"] = int(ExitStatus.FINE if alone.decided else ExitStatus.UNDECIDED)
    said |= {name: getattr(alone, name) for name in ("policy", "ways", "needs", "decided", "verdict", "cause")}
    return OneSizeResult.model_validate(said)


def _cell(asked: Asked, limits: Limits, chance: Fraction | None) -> SizeCell:
    policy, ways = asked.policy, asked.policy.ways
    start = asked.conditions.start
    try:
        if start.steady:
            return _made(asked, least_lines(policy, ways, start, touches=asked.conditions.touches, limits=limits), None)
        needs = prover.needs(policy, ways, asked.conditions, limits=limits)
        curve = _curve(asked, limits)
        if needs is None and chance is not None and by_chance(policy, ways):
            shape = asked.geometry or Geometry(ways * _LINE, ways, _LINE)
            enough = accesses_for_chance(policy, shape, chance, asked.conditions, limits=limits)
            return _made(asked, enough, curve, by_chance=enough is not None)
    except UndecidedError as error:
        return _undecided(asked, error.cause, str(error))
    except MemoryError:
        return _undecided(asked, "out-of-memory", f"there is not enough memory; {MEMORY.form('SIZE')} asks for less")
    return _made(asked, needs, curve)


def _curve(asked: Asked, limits: Limits) -> tuple[int, ...] | None:
    """What is left on the way; for some policies with ages only the end of it is known."""
    try:
        return prover.survivors(asked.policy, asked.policy.ways, asked.conditions, limits=limits)
    except UndecidedError:
        return None


def _not_tried(asked: Asked, fewer: int) -> SizeCell:
    return _undecided(asked, "out-of-time", f"not tried, because {fewer} ways take longer than allowed already")


def _undecided(asked: Asked, cause: str, reason: str) -> SizeCell:
    return _made(asked, None, None, verdict=Verdict.UNDECIDED, cause=cause, reason=reason)


def _made(
    asked: Asked,
    needs: int | None,
    curve: tuple[int, ...] | None,
    *,
    by_chance: bool = False,
    verdict: SizeVerdict | None = None,
    cause: str | None = None,
    reason: str = "",
) -> SizeCell:
    shape, start = asked.geometry, asked.conditions.start
    lines = needs * shape.sets if needs is not None and shape is not None else None
    verdict = verdict or (Verdict.REFUTED if needs is None else Verdict.PROVED)
    return SizeCell(
        cpus=asked.cpus,
        title=asked.title,
        policy=asked.policy.name,
        policy_certainty=asked.certainty,
        ways=asked.policy.ways,
        geometry=None
        if shape is None
        else GeometryInfo(size=shape.size, ways=shape.ways, sets=shape.sets, line=shape.line),
        start=str(start),
        start_meaning=start.meaning + (", all ways valid" if start.all_ways_valid else ""),
        decided=verdict is not Verdict.UNDECIDED,
        verdict=verdict,
        cause=cause,
        reason=reason,
        needs=needs,
        by_chance=by_chance,
        lines=lines,
        size=lines * shape.line if lines is not None and shape is not None else None,
        curve=curve,
    )
