# SPDX-License-Identifier: GPL-2.0-or-later
"""A scene driven on this machine, as a result."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from l1dflush import __version__
from l1dflush.ending import ExitStatus
from l1dflush.silicon.drive.drives import Drive, Scene
from l1dflush.silicon.measure.agreement import Agreement
from l1dflush.silicon.measure.driven import Driven, Seen, driven
from l1dflush.silicon.measure.model import EnvironmentInfo, LevelsInfo
from l1dflush.silicon.measure.region import Region
from l1dflush.silicon.measure.silicon_model import DrivenStep, SeenInfo, SiliconResult, SurvivorInfo
from l1dflush.verdict.counterexample_result import INVALID

_STATUS = {
    Agreement.SAME: ExitStatus.FINE,
    Agreement.DIFFERS: ExitStatus.REFUTED,
    Agreement.UNCLEAR: ExitStatus.UNDECIDED,
}


@dataclass(frozen=True, slots=True)
class About:
    """Whose policy is driven, and what for: see the fields of the result."""

    certainty: str
    start: str = ""
    needs: int | None = None


@dataclass(frozen=True, slots=True)
class Place:
    """Where it is driven. ``environment`` describes it, from the trials that were run and those that were dropped
    because the thread was moved."""

    region: Region
    control_set: int
    environment: Callable[[int, int], EnvironmentInfo]


def silicon_replay(
    scene: Scene,
    drive: Drive,
    about: About,
    place: Place,
    seed: int,
    done: Callable[[int], None] = lambda _: None,
    rounds: int | None = None,
) -> SiliconResult:
    """Drives it, and says what was seen. Raises as :func:`l1dflush.silicon.measure.driven.driven`."""
    found = driven(place.region, drive, place.control_set, seed, done, rounds)
    played = found.played
    return SiliconResult(
        tool_version=__version__,
        environment=place.environment(played.trials, played.moved),
        policy=scene.policy.name,
        policy_certainty=about.certainty,
        ways=scene.policy.ways,
        start=about.start,
        needs=about.needs,
        start_state=scene.policy.render(scene.state),
        policy_state=scene.state,
        content=tuple(INVALID if name is None else name for name in scene.content),
        reset_and_approach=len(drive.acts),
        lines=drive.lines,
        sets=found.sets,
        survivors=_survivors(found, len(scene.word)),
        steps=tuple(
            DrivenStep(access=name, flush=flush, seen=None if seen is None else _info(seen))
            for (name, flush), seen in zip(scene.word, found.accesses, strict=True)
        ),
        rounds=played.rounds,
        loud=played.loud,
        levels=LevelsInfo(hit_ticks=played.levels.hit, miss_ticks=played.levels.miss, single=played.levels.single),
        seed=seed,
        agreement=found.agreement,
        exit_status=_STATUS[found.agreement],
    )


def _survivors(found: Driven, items: int) -> tuple[SurvivorInfo, ...]:
    return tuple(
        # Of all lines but the first one there is only the look at the end.
        SurvivorInfo(line=name, after=items + 1 - len(looks) + number, seen=_info(seen))
        for name, looks in found.survivors.items()
        for number, seen in enumerate(looks)
    )


def _info(seen: Seen) -> SeenInfo:
    return SeenInfo(
        cached=seen.cached,
        trials=seen.trials,
        hits=seen.hits,
        sets=seen.sets,
        bound=seen.most_other,
        agreement=seen.agreement,
    )
