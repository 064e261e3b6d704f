# SPDX-License-Identifier: GPL-2.0-or-later
"""A drive on silicon: does the line survive as long as the model says, and does each access hit or miss as it says?

After each number of items of the word there is a trial of its own that ends with a timed visit of the line that is
watched: a visit is an access and would change what comes behind it. Only rounds in which nobody else used this L1D
count (:mod:`l1dflush.silicon.measure.quiet`): one access by others may be enough for another outcome.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from l1dflush import _core
from l1dflush.errors import UndecidedError
from l1dflush.silicon.drive.drives import Drive
from l1dflush.silicon.drive.plain_set import Act
from l1dflush.silicon.measure.agreement import Agreement, agreement
from l1dflush.silicon.measure.pages import chosen_pages
from l1dflush.silicon.measure.quiet import Played, quiet_rounds, quiet_trial
from l1dflush.silicon.measure.region import Region, Trial, flush_step, measured_sets, moved_about, page_step
from l1dflush.silicon.measure.statistics import upper_bound

ROUNDS = 200
MOST_LINES = 200
# A turn through so many misses, whatever the policy does with twelve ways or fewer.
_LEAST_LINES = 36
# Accesses that are timed in one trial, one after the other.
_TIMED_TOGETHER = 64


@dataclass(frozen=True, slots=True)
class Seen:
    """Visits of a line of which the model says that it is cached, or not (``cached``).

    ``hits``: in so many of ``trials`` most of the sets had it. ``sets``: in so many of them, in the middle of the
    trials, of :attr:`Driven.sets`.
    """

    cached: bool
    trials: int
    hits: int
    sets: int

    @property
    def same(self) -> int:
        """Trials in which it was as the model says."""
        return self.hits if self.cached else self.trials - self.hits

    @property
    def agreement(self) -> Agreement:
        """What that comes to."""
        return agreement(self.same, self.trials)

    @property
    def most_other(self) -> float:
        """Upper confidence bound (95%) on the share of such trials that do not do as the model says."""
        return upper_bound(self.trials - self.same, self.trials)


@dataclass(frozen=True, slots=True)
class Driven:
    """``survivors``: per watched line, a visit after 0, 1, 2, ... items; of all but the first line only the last one.

    ``accesses``: per item of the word its own visit; None for an invalidation. ``sets``: how many are measured at once.
    """

    survivors: dict[str, tuple[Seen, ...]]
    accesses: tuple[Seen | None, ...]
    sets: int
    played: Played

    @property
    def agreement(self) -> Agreement:
        """The worst of all."""
        those = [seen.agreement for line in self.survivors.values() for seen in line]
        those += [seen.agreement for seen in self.accesses if seen is not None]
        if Agreement.DIFFERS in those:
            return Agreement.DIFFERS
        return Agreement.UNCLEAR if Agreement.UNCLEAR in those else Agreement.SAME


def check_length(drive: Drive) -> None:
    """Raises UndecidedError if ``drive`` is too long for a trial, or has too many lines for the second level."""
    steps = len(drive.acts) + len(drive.word) + 1
    if steps > _core.MOST_STEPS:
        raise UndecidedError("not-drivable", f"{steps} steps are more than a trial has, {_core.MOST_STEPS}")
    if drive.lines > MOST_LINES:
        raise UndecidedError("not-drivable", f"{drive.lines} lines of a set are more than are measured, {MOST_LINES}")


def driven(
    region: Region,
    drive: Drive,
    control_set: int,
    seed: int,
    done: Callable[[int], None] = lambda _: None,
    rounds: int | None = None,
) -> Driven:
    """Plays ``drive`` on ``region`` until so many rounds (None: :data:`ROUNDS`) were quiet. ``done`` hears how many
    there are.

    Raises UndecidedError where it is too long, where hits and misses cannot be told apart, and where others use this
    L1D all the time.
    """
    check_length(drive)
    pages = chosen_pages(region, max(drive.lines, _LEAST_LINES), control_set, seed)
    visits = [page_step(page, control_set) for page in pages]

    def steps(acts: tuple[Act, ...]) -> tuple[int, ...]:
        return tuple(flush_step(pages[act.line]) if act.flush else visits[act.line] for act in acts)

    asked: list[tuple[Trial, tuple[bool, ...]]] = []
    looks = _looks(drive)
    for name, after in looks:
        before = steps(drive.acts + drive.word[:after])
        asked.append((Trial(before, (visits[drive.watched[name]],)), (drive.there[name][after],)))
    together = _together(drive)
    for part in together:
        foretold = tuple(hit for hit in drive.hits[part.start : part.stop] if hit is not None)
        before = steps(drive.acts + drive.word[: part.start])
        asked.append((Trial(before, steps(drive.word[part.start : part.stop])), foretold))
    calm = quiet_trial(pages, drive.ways, len(drive.acts) + len(drive.word), control_set)
    played = quiet_rounds(
        region, [trial for trial, _ in asked], visits, calm, control_set, seed, rounds or ROUNDS, done
    )
    sets = len(measured_sets(control_set))
    seen = [
        [_seen(cached, played.missed[index][:, at], sets) for at, cached in enumerate(foretold)]
        for index, (_, foretold) in enumerate(asked)
    ]
    survivors: dict[str, list[Seen]] = {name: [] for name in drive.watched}
    for (name, _), (one,) in zip(looks, seen[: len(looks)], strict=True):
        survivors[name].append(one)
    accesses: list[Seen | None] = [None] * len(drive.word)
    for part, those in zip(together, seen[len(looks) :], strict=True):
        accesses[part.start : part.stop] = those
    return Driven({name: tuple(those) for name, those in survivors.items()}, tuple(accesses), sets, played)


def _looks(drive: Drive) -> list[tuple[str, int]]:
    """Which line is looked at after how many items."""
    first, *others = drive.watched
    items = len(drive.word)
    return [*((first, after) for after in range(items + 1)), *((name, items) for name in others)]


def _together(drive: Drive) -> list[range]:
    """Runs of accesses that are timed in one trial: an invalidation has no time of its own."""
    runs: list[range] = []
    begin = 0
    for at in range(len(drive.word) + 1):
        ends = at == len(drive.word) or drive.hits[at] is None
        if at > begin and (ends or at - begin == _TIMED_TOGETHER):
            runs.append(range(begin, at))
            begin = at
        if ends:
            begin = at + 1
    return runs


def _seen(cached: bool, missed: NDArray[np.float64], sets: int) -> Seen:
    """From the share of the sets that missed, per trial."""
    if not len(missed):
        raise moved_about()
    middle = min(max(float(np.median(missed)), 0.0), 1.0)
    return Seen(cached, len(missed), int((missed < 0.5).sum()), round((1 - middle) * sets))
