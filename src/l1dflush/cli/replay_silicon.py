# SPDX-License-Identifier: GPL-2.0-or-later
"""``l1dflush replay --silicon``: a counterexample on this CPU."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from l1dflush import arguments
from l1dflush.cli.output import Outcome, Page
from l1dflush.cli.progress import bar, progress
from l1dflush.errors import InputError

if TYPE_CHECKING:
    from l1dflush.cache.policies import Policy
    from l1dflush.silicon.drive.drives import Scene
    from l1dflush.silicon.measure.silicon_model import SiliconResult
    from l1dflush.silicon.measure.silicon_replay import About
    from l1dflush.verdict.replay.result import Replayed

_IDENTIFY = "'l1dflush identify' finds out which policy this L1D has; name it with --policy"


@dataclass(frozen=True, slots=True)
class Asked:
    """The options that say what is driven without a file, as they were written."""

    policy: str | None
    cpu: str | None
    cpu_folders: tuple[Path, ...]
    start: str | None


def on_silicon(
    asked: Asked, found: Replayed | Outcome | None, on_cpu: int | None, seed: int, json: bool, no_color: bool
) -> Outcome:
    """Drives the counterexample that was ``found`` in a file, or without one the one that was asked for."""
    if isinstance(found, Outcome):
        return found
    if found is not None:
        given = {"--policy": asked.policy, "--cpu": asked.cpu, "--start": asked.start}
        for option in (option for option, value in given.items() if value is not None):
            raise InputError(f"{option} and a file exclude each other", hint="the file says what is driven")

    from l1dflush.host.l1d import l1d_geometry
    from l1dflush.silicon.drive.drives import drive
    from l1dflush.silicon.measure.clock import require_clock
    from l1dflush.silicon.measure.driven import ROUNDS, check_length
    from l1dflush.silicon.measure.results import environment_info
    from l1dflush.silicon.measure.session import CONTROL_SET, silicon
    from l1dflush.silicon.measure.silicon_replay import Place, silicon_replay

    require_clock()
    ways = l1d_geometry().ways
    scene, about = _of_file(found, ways) if found is not None else _one_short(asked, ways)
    with progress(f"looking for accesses that lead there, for {scene.policy.name} ..."):
        way_there = drive(scene)
        check_length(way_there)
    with silicon(on_cpu) as there, bar("driving", ROUNDS) as done:
        place = Place(there.region, CONTROL_SET, partial(environment_info, there))
        result = silicon_replay(scene, way_there, about, place, seed, done)
    return Outcome(result.exit_status, _text(result, scene.policy, json, no_color))


def _of_file(found: Replayed, ways: int) -> tuple[Scene, About]:
    from l1dflush.silicon.drive.scenes import scene_of
    from l1dflush.silicon.measure.silicon_replay import About

    _check_ways("the counterexample is of a set", found.policy.ways, ways)
    return scene_of(found), About("in-the-file")


def _one_short(asked: Asked, ways: int) -> tuple[Scene, About]:
    from l1dflush.proof.limits import Limits
    from l1dflush.requests.routine import conditions
    from l1dflush.silicon.drive.scenes import one_short
    from l1dflush.silicon.measure.silicon_replay import About

    about = conditions(asked.start or "any", 0)
    if about.start.steady:
        raise InputError(
            "a steady start is about flushes again and again", where="--start",
            hint="'verify --start steady --json' writes a file that can be driven",
        )  # fmt: skip
    policy, certainty = _policy(asked, ways)
    with progress(f"looking for the start in which one access fewer is not enough, for {policy.name} ..."):
        short = one_short(policy, about, Limits(arguments.memory(None), arguments.seconds(None)))
    return short.scene, About(certainty, str(about.start), short.needs)


def _policy(asked: Asked, ways: int) -> tuple[Policy, str]:
    """The one that is to be driven, and how it came to be known."""
    from l1dflush.requests.caches import Wanted, questions

    named = (asked.policy,) if asked.policy is not None else ()
    cpus = (asked.cpu,) if asked.cpu is not None else ()
    found = questions(Wanted(named, (), cpus, None, not cpus, asked.cpu_folders), None, 0)
    if len(found) > 1 or found[0].certainty == "unknown":
        from l1dflush.cache.policies import policy_unknown

        raise InputError(policy_unknown(found[0].title, found[0].said), hint=_IDENTIFY)
    _check_ways(f"{found[0].title or found[0].policy.name}: sets", found[0].policy.ways, ways)
    return found[0].policy, found[0].certainty


def _check_ways(what: str, theirs: int, ways: int) -> None:
    if theirs != ways:
        raise InputError(
            f"{what} of {theirs} ways, and this machine's L1D has {ways}",
            hint="only a counterexample for as many ways can be driven here",
        )


def _text(result: SiliconResult, policy: Policy, json: bool, no_color: bool) -> str | Page:
    if json:
        return result.to_json()
    from l1dflush.report.terminal.silicon import silicon_lines

    return Page(lambda width: silicon_lines(result, policy, width), no_color)
