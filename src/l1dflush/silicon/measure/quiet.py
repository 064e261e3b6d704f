# SPDX-License-Identifier: GPL-2.0-or-later
"""Rounds of trials in which nobody else used the L1D, as far as can be seen.

A hyperthread of the same core, which a virtual machine does not even see, brings its own lines in. Whether it did shows
in a trial that does not depend on the replacement policy: after all lines were flushed (clflush), as many lines as
there are ways fill the invalid ways, and stay there however often they are visited, unless somebody else comes.
Such trials are part of every batch of rounds; a batch in which one of them misses more than now and then is dropped.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from l1dflush.errors import UndecidedError
from l1dflush.silicon.measure.calibrate import Levels, levels
from l1dflush.silicon.measure.region import Region, Rounds, Trial, flush_step, page_step

_BATCH = 4
_QUIET_TRIALS = 3
_CALIBRATIONS = 12
# The share of visits that may miss in a quiet batch.
_NOW_AND_THEN = 0.06
_MOST_LOUD = 600
# Whoever disturbs may be gone after a while.
_PAUSE_SECONDS = 0.02


@dataclass(frozen=True, slots=True)
class Played:
    """``missed``: per trial, of shape (trials that counted, timed visits), the share of the sets in which it missed.

    ``rounds`` counted, ``loud`` were dropped because others used the L1D; ``trials`` were run in all, ``moved`` of them
    dropped because the thread was moved to another CPU. ``levels`` are those of the last batch that counted.
    """

    missed: tuple[NDArray[np.float64], ...]
    levels: Levels
    rounds: int
    loud: int
    trials: int
    moved: int


def quiet_trial(pages: Sequence[int], ways: int, visits: int, control_set: int) -> Trial:
    """The trial that hits all the time if nobody else comes, ``visits`` visits long or somewhat longer."""
    steps = tuple(page_step(page, control_set) for page in pages)
    few = steps[:ways]
    # A line of somebody else is not flushed: it is displaced before.
    return Trial((*steps, *map(flush_step, pages), *few * (1 + visits // ways)), few)


def quiet_rounds(
    region: Region,
    trials: Sequence[Trial],
    visits: Sequence[int],
    quiet: Trial,
    control_set: int,
    seed: int,
    wanted: int,
    done: Callable[[int], None] = lambda _: None,
) -> Played:
    """``wanted`` rounds of ``trials``, or somewhat more, that were quiet. ``visits``: of all lines that there are.

    Raises UndecidedError where hits and misses cannot be told apart, and where there are no such rounds.
    """
    all_trials = [*trials, *[quiet] * _QUIET_TRIALS, *_calibrations(visits)]
    missed: list[list[NDArray[np.float64]]] = [[] for _ in trials]
    rounds = loud = run = moved = 0
    last: Levels | None = None
    why: UndecidedError | None = None
    while rounds < wanted:
        batch = Rounds(region, all_trials, control_set, seed + rounds + loud)
        batch.play(_BATCH)
        run += batch.run_trials
        moved += batch.moved
        try:
            told = _levels(batch, len(trials) + _QUIET_TRIALS)
            if not _is_quiet(batch, told, len(trials)):
                raise UndecidedError(
                    "disturbed", "others use this core's L1D nearly all the time", hint="try later, or another --on-cpu"
                )
        except UndecidedError as error:
            loud += _BATCH
            why = error
            if loud > _MOST_LOUD * _BATCH + 9 * rounds:
                raise why from None
            time.sleep(_PAUSE_SECONDS)
            continue
        rounds += _BATCH
        last = told
        for index, those in enumerate(missed):
            those.append(told.share(batch.ticks(index)))
        done(min(rounds, wanted))
    assert last is not None
    return Played(tuple(np.concatenate(those) for those in missed), last, rounds, loud, run, moved)


def _is_quiet(batch: Rounds, told: Levels, first: int) -> bool:
    shares = [told.share(batch.ticks(index)) for index in range(first, first + _QUIET_TRIALS)]
    return all(share.size and float(np.clip(share, 0, 1).mean()) < _NOW_AND_THEN for share in shares)


def _calibrations(visits: Sequence[int]) -> list[Trial]:
    """Visits that hit, because few lines are visited again and again; then as many that miss, because every line of a
    turn through all lines comes after all others."""
    hits, misses = [], []
    for number in range(_CALIBRATIONS):
        few = tuple(visits[(3 * number + i) % len(visits)] for i in range(3))
        hits.append(Trial(few * 4, few * 4))
        turned = (*visits[number:], *visits[:number])
        misses.append(Trial(turned, turned[: len(turned) // 4]))
    return [*hits, *misses]


def _levels(batch: Rounds, first: int) -> Levels:
    hits, misses = (
        np.concatenate([batch.ticks(begin + number).ravel() for number in range(_CALIBRATIONS)])
        for begin in (first, first + _CALIBRATIONS)
    )
    return levels(hits, misses)
