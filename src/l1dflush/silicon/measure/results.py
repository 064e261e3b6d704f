# SPDX-License-Identifier: GPL-2.0-or-later
"""From what was measured to the documents that reports are made of."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from l1dflush import __version__
from l1dflush.ending import ExitStatus
from l1dflush.silicon.measure.costs import Cost
from l1dflush.silicon.measure.identify import Identified
from l1dflush.silicon.measure.model import (
    CostInfo,
    EnvironmentInfo,
    IdentifyResult,
    LevelsInfo,
    MeasureResult,
    PolicyMatch,
    RatioInfo,
    Seen,
    SurvivorsInfo,
    SurvivorsPoint,
)
from l1dflush.silicon.measure.region import PAGE, SETS
from l1dflush.silicon.measure.session import Silicon
from l1dflush.silicon.measure.survivors import Curve, Survivors, predicted
from l1dflush.verdict.verify_result import GeometryInfo

Predictions = dict[str, dict[str, list[float]]]
"""Old lines left in a set after 0, 1, ... pages, by policy and kind of history."""


_ALIKE = 0.1


def environment_info(there: Silicon, trials: int, moved: int) -> EnvironmentInfo:
    """What was measured on, with the doubts that there are by now."""
    found, clock = there.environment, there.environment.clock
    return EnvironmentInfo(
        cpu=found.cpu_name,
        microcode=found.microcode,
        kernel=found.kernel,
        hypervisor=found.hypervisor,
        smt=found.smt,
        governor=found.governor,
        load=round(found.load, 2),
        on_cpu=found.on_cpu,
        huge_page=found.huge_page,
        counter_step=clock.step,
        counter_empty=clock.empty,
        ticks_per_cycle=round(clock.ticks_per_cycle, 4),
        ticks_per_ns=round(clock.ticks_per_ns, 4),
        trials=trials,
        dropped=moved,
        seconds=round(time.monotonic() - there.started, 2),
        doubts=tuple(there.doubts(trials, moved)),
    )


def geometry_info(there: Silicon) -> GeometryInfo:
    """The L1D's shape."""
    shape = there.geometry
    return GeometryInfo(size=shape.size, ways=shape.ways, sets=shape.sets, line=shape.line)


def identified(there: Silicon, found: Identified, title: str, catalogue: str | None, seed: int) -> IdentifyResult:
    """The result of ``identify``: UNDECIDED's exit status where no single policy explains this L1D."""
    matches = tuple(
        PolicyMatch(
            policy=one.policy,
            twins=one.twins,
            decided=one.decided,
            matched=one.matched,
            accesses=one.accesses,
            wrong=one.wrong,
            judged=one.judged,
            most_wrong=round(one.most_wrong, 4),
        )
        for one in found.matches
    )
    return IdentifyResult(
        tool_version=__version__,
        environment=environment_info(there, found.trials, found.moved),
        geometry=geometry_info(there),
        title=title,
        catalogue_policy=catalogue,
        levels=LevelsInfo(
            hit_ticks=round(found.levels.hit, 1), miss_ticks=round(found.levels.miss, 1), single=found.levels.single
        ),
        seed=seed,
        sequences=found.sequences,
        rounds=found.rounds,
        repeatable=round(found.repeatable, 4),
        matches=matches,
        policy=found.best,
        fitting=found.fitting,
        margin=None if found.margin is None else round(found.margin, 4),
        exit_status=ExitStatus.FINE if found.best is not None else ExitStatus.UNDECIDED,
    )


def measured(
    there: Silicon,
    title: str,
    policy: str | None,
    planned: int | None,
    seed: int,
    survivors: Survivors | None,
    policies: Sequence[str],
    costs: Sequence[Cost],
    trials: int,
    moved: int,
    interrupted: bool,
) -> MeasureResult:
    """The result of ``measure``, of as much as there is. ``policies``: whose predictions stand beside the curves.

    Raises UndecidedError where hits and misses cannot be told apart.
    """
    levels: LevelsInfo | None = None
    curves: tuple[SurvivorsInfo, ...] = ()
    if survivors is not None:
        told = survivors.scale()
        levels = LevelsInfo(hit_ticks=round(told.hit, 1), miss_ticks=round(told.miss, 1), single=told.single)
        curves = _curves(survivors, policy, {name: predicted(survivors.plan, name) for name in policies})
    return MeasureResult(
        tool_version=__version__,
        environment=environment_info(there, trials, moved),
        geometry=geometry_info(there),
        title=title,
        policy=policy,
        planned=planned,
        seed=seed,
        levels=levels,
        survivors=curves,
        costs=tuple(_cost(one, there.environment.clock.ticks_per_ns) for one in costs),
        ratios=tuple(ratios(costs)),
        interrupted=interrupted,
        exit_status=ExitStatus.INTERRUPTED if interrupted else ExitStatus.FINE,
    )


def seen(left: float, at_most: float, blank: float, hits: int | None) -> Seen:
    """The rung of the ladder that a figure stands on."""
    if hits == 0:
        return Seen.NONE
    # As far below the mean as the upper bound is above it.
    return Seen.SOME if left - (at_most - left) > blank else Seen.NOISE


def _curves(survivors: Survivors, policy: str | None, predictions: Predictions) -> tuple[SurvivorsInfo, ...]:
    return tuple(
        _curve(one, policy, {name: of[one.kind] for name, of in predictions.items()}) for one in survivors.curves()
    )


def _curve(one: Curve, policy: str | None, predictions: dict[str, list[float]]) -> SurvivorsInfo:
    per_set: NDArray[np.float64] = one.left / SETS
    distances = {name: float(np.abs(np.array(said) - per_set).mean()) for name, said in predictions.items()}
    points = []
    for pages, left in enumerate(one.left):
        hits = None if one.seen is None else int(one.seen[pages])
        points.append(
            SurvivorsPoint(
                flushed=pages * PAGE,
                per_set=round(float(per_set[pages]), 3),
                worst_set=round(float(one.per_set[pages].max()), 2),
                sets=tuple(round(float(value), 2) for value in one.per_set[pages]),
                whole_cache=round(float(left), 2),
                at_most=round(float(one.at_most[pages]), 2),
                visits=int(one.visits[pages]),
                hits=hits,
                seen=seen(float(left), float(one.at_most[pages]), one.blank, hits),
                predicted={name: round(said[pages], 3) for name, said in predictions.items()},
            )
        )
    return SurvivorsInfo(
        history=one.kind,
        set_error=round(one.set_error, 3),
        blank=round(one.blank, 2),
        distances={name: round(far, 3) for name, far in distances.items()},
        nearest=_nearest(distances, policy),
        points=tuple(points),
    )


def _nearest(distances: dict[str, float], policy: str | None) -> str:
    """The policy asked about, unless another is nearer by more than this rests on."""
    best = min(distances, key=lambda name: distances[name], default="")
    if policy in distances and distances[policy] - distances[best] < _ALIKE:
        return policy
    return best


def _cost(one: Cost, ticks_per_ns: float) -> CostInfo:
    return CostInfo(
        variant=one.variant.what,
        loop=one.variant.loop,
        size=one.variant.size,
        before=one.before,
        cycles=round(one.cycles, 1),
        cycles_low=round(one.low, 1),
        cycles_high=round(one.high, 1),
        nanoseconds=round(one.ticks / ticks_per_ns, 1),
        bytes_per_cycle=round(one.bytes_per_cycle, 2),
        trials=one.trials,
    )


def ratios(costs: Sequence[Cost]) -> list[RatioInfo]:
    """The planned fill over that of Linux's 2018 flush, the planned routine over Linux's, and each fill's bytes per
    cycle over those of loads that do nothing else."""
    by_name = {(one.variant.what, one.before): one for one in costs}
    pairs = (
        ("planned fill / Linux's fill, time", "planned fill alone", "linux-2018 fill alone", False),
        ("planned routine / Linux's routine, time", "planned routine", "Linux's 2018 routine, with cpuid", False),
        ("planned fill / loads at most, bytes per cycle", "planned fill alone", "loads at most, planned size", True),
        (
            "Linux's fill / loads at most, bytes per cycle",
            "linux-2018 fill alone",
            "loads at most, linux-2018 size",
            True,
        ),
    )
    found = []
    for what, above, below, speed in pairs:
        for before in dict.fromkeys(one.before for one in costs):
            first, second = by_name.get((above, before)), by_name.get((below, before))
            if first is None or second is None:
                continue
            ratio = first.bytes_per_cycle / second.bytes_per_cycle if speed else first.cycles / second.cycles
            found.append(RatioInfo(what=what, before=before, ratio=round(ratio, 3)))
    return found
