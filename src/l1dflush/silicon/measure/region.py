# SPDX-License-Identifier: GPL-2.0-or-later
"""Trials on real silicon: which lines are visited before, and how long which visits take.

A region of memory is pages of lines, and a line of each page lies in every set (sets x line is a page here, as in every
L1D of an x86 CPU with 64 sets). A *node* is a pointer in the region, named by its byte offset; a visit follows pointers
from a node to a null. Two words of every line are nodes: the first is part of the chain of its page, which leads
through all measured sets in an order of its own, so that one visit makes the same access in each of them; the second
ends at once, so that one visit is one line.

Why a chain: the time-stamp counter may tick in steps that are longer than the difference between a hit and a miss (26
ticks against 7, on Zen). Of a line in each of 56 sets the difference is 56 times as large, and the sets are all in the
same state because the same was done to them.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from l1dflush import _core
from l1dflush.errors import UndecidedError

PAGE = 4096
LINE = 64
SETS = PAGE // LINE
REGION_PAGES = 512
"""2 MiB: one huge page, where there is one."""
USABLE_PAGES = REGION_PAGES - _core.CONTROL_PAGES
_SECOND_WORD = 8
# Ctrl-C waits for at most so many trials: a few milliseconds.
_TRIALS_AT_ONCE = 500

Ticks = NDArray[np.uint32]


class Region(Protocol):
    """What is needed of silicon: :class:`l1dflush._core.Region`, or something that answers like it."""

    def chain(self, nodes: NDArray[np.uint32], /) -> None:
        """Links the nodes; the last one ends the chain."""

    def run(
        self,
        steps: NDArray[np.uint32],
        prepare: NDArray[np.uint32],
        timed: NDArray[np.uint32],
        flush: NDArray[np.uint32],
        /,
        *,
        flush_from: int = 0,
        control_set: int,
    ) -> tuple[Ticks, NDArray[np.bool_]]:
        """Runs trials; the ticks of every timed step, and per trial whether the thread was moved to another CPU."""

    def costs(
        self, loop: str, start: int, size: int, /, *, before: str, victims_from: int, victims: int, trials: int
    ) -> tuple[Ticks, Ticks, NDArray[np.bool_]]:
        """Times a loop; its ticks, those of a chain of additions behind it, and whether the thread was moved."""


@dataclass(frozen=True, slots=True)
class Trial:
    """What is done before, and which visits are timed. Steps are byte offsets of nodes, with
    :data:`l1dflush._core.FLUSH_PAGE` set for a page whose lines are flushed (clflush).

    ``flush_bytes``: so many bytes from the start of the region are read by the native fill loop in between.
    """

    prepare: tuple[int, ...]
    timed: tuple[int, ...]
    flush_bytes: int = 0

    @property
    def steps(self) -> tuple[int, ...]:
        """All of them."""
        return self.prepare + self.timed


def moved_about() -> UndecidedError:
    """What is raised where every trial was dropped."""
    return UndecidedError("moved-about", "not one trial ended on the CPU that it began on", hint="another --on-cpu?")


def page_step(page: int, control_set: int) -> int:
    """The visit of a page's line in each measured set: its chain starts in the first of them."""
    return page * PAGE + measured_sets(control_set)[0] * LINE


def line_step(page: int, set_index: int) -> int:
    """The visit of one line."""
    return page * PAGE + set_index * LINE + _SECOND_WORD


def flush_step(page: int) -> int:
    """Invalidates a page's lines."""
    return page * PAGE | _core.FLUSH_PAGE


@cache
def measured_sets(control_set: int) -> tuple[int, ...]:
    """All sets but those that hold what the probe itself touches."""
    return tuple(s for s in range(SETS) if not control_set <= s < control_set + _core.CONTROL_SETS)


def link(region: Region, pages: Iterable[int], control_set: int, seed: int = 1) -> None:
    """Makes the chain of every page, each in an order of its own, which no prefetcher can foresee."""
    first, *others = measured_sets(control_set)
    order = random.Random(seed)
    for page in pages:
        order.shuffle(others)
        region.chain(np.array([page * PAGE + s * LINE for s in (first, *others)], dtype=np.uint32))


class Rounds:
    """Trials in rounds: each round has every trial once, in an order of its own, so that whatever changes in the course
    of time meets all of them alike.

    ``ticks[i]`` are the ticks of trial i, one row per round in which it counted; ``moved`` counts the trials that were
    dropped because the thread was on another CPU when they ended, ``over`` the whole rounds.
    """

    def __init__(self, region: Region, trials: Sequence[Trial], control_set: int, seed: int = 1) -> None:
        self._region = region
        self._control_set = control_set
        self._steps = [np.array(trial.steps, dtype=np.uint32) for trial in trials]
        self._prepare = np.array([len(trial.prepare) for trial in trials], dtype=np.uint32)
        self._timed = np.array([len(trial.timed) for trial in trials], dtype=np.uint32)
        self._flush = np.array([trial.flush_bytes for trial in trials], dtype=np.uint32)
        self._order = np.random.default_rng(seed)
        self._rows: list[list[Ticks]] = [[] for _ in trials]
        self.moved = 0
        self.run_trials = 0
        self.over = 0

    def play(self, rounds: int, done: Callable[[int], None] = lambda _: None) -> None:
        """So many rounds. ``done`` hears how many are over. A KeyboardInterrupt leaves what was measured."""
        for number in range(1, rounds + 1):
            order = self._order.permutation(len(self._steps))
            for at in range(0, len(order), _TRIALS_AT_ONCE):
                self._play(order[at : at + _TRIALS_AT_ONCE])
            self.over += 1
            done(number)

    def _play(self, order: NDArray[np.int64]) -> None:
        timed = self._timed[order]
        ticks, moved = self._region.run(
            np.concatenate([self._steps[i] for i in order]),
            self._prepare[order],
            timed,
            self._flush[order],
            control_set=self._control_set,
        )
        rows = np.split(ticks, np.cumsum(timed)[:-1])
        for index, row, gone in zip(order, rows, moved, strict=True):
            self.run_trials += 1
            if gone:
                self.moved += 1
            else:
                self._rows[index].append(row)

    def ticks(self, trial: int) -> NDArray[np.float64]:
        """Of shape (rounds in which it counted, timed steps)."""
        rows = self._rows[trial]
        return np.array(rows, dtype=np.float64).reshape(len(rows), int(self._timed[trial]))
