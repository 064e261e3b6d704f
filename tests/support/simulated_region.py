# SPDX-License-Identifier: GPL-2.0-or-later
"""A region of memory that answers like silicon with any policy: its clock, its disturbances, its scheduler.

All measured sets have the same done to them, so one set stands for all of them.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from l1dflush import _core
from l1dflush.cache.policies import Policy
from l1dflush.silicon.drive.plain_set import Act, PlainSet
from l1dflush.silicon.measure.region import PAGE

HIT_TICKS, MISS_TICKS = 230.0, 430.0


@dataclass
class SimulatedRegion:
    """``noise``: standard deviation of a visit's ticks; ``step``: of the counter. ``moves``: the share of the trials
    that end on another CPU, which misses everything. ``busy``: the share of the stretches of ``stretch`` trials in
    which somebody else's line comes in after each visit with the chance ``intrusion``.
    Neither happens in the first ``calm`` trials, in which pages are chosen.
    """

    policy: Policy
    miss_ticks: float = MISS_TICKS
    noise: float = 5.0
    step: int = 1
    moves: float = 0.0
    busy: float = 0.0
    stretch: int = 500
    intrusion: float = 0.2
    calm: int = 0
    seed: int = 1
    trials: int = 0
    chained: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.order = random.Random(self.seed)
        self.set = PlainSet(self.policy, self.policy.empty(), [None] * self.policy.ways)
        self.loud = False
        self.foreign = -1

    def chain(self, nodes: NDArray[np.uint32], /) -> None:
        self.chained |= {int(node) // PAGE for node in nodes}

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
    ) -> tuple[NDArray[np.uint32], NDArray[np.bool_]]:
        assert len(steps) == prepare.sum() + timed.sum() and not flush.any()
        ticks, moved = [], []
        at = 0
        for before, looks in zip(prepare.tolist(), timed.tolist(), strict=True):
            if self.trials % self.stretch == 0:
                self.loud = self.trials >= self.calm and self.order.random() < self.busy
            self.trials += 1
            gone = self.trials > self.calm and self.order.random() < self.moves
            moved.append(gone)
            for number in range(before + looks):
                hit = self.visit(int(steps[at]))
                at += 1
                if number >= before:
                    assert hit is not None, "a flush is not timed"
                    ticks.append(self.ticks(hit and not gone))
        return np.array(ticks, dtype=np.uint32), np.array(moved, dtype=np.bool_)

    def visit(self, step: int) -> bool | None:
        page = (step & ~_core.FLUSH_PAGE) // PAGE
        assert page in self.chained
        hit = self.set.act(Act(page, bool(step & _core.FLUSH_PAGE)))
        if self.loud and self.order.random() < self.intrusion:
            self.foreign -= 1
            self.set.act(Act(self.foreign))
        return hit

    def ticks(self, hit: bool) -> int:
        exact = (HIT_TICKS if hit else self.miss_ticks) + self.order.gauss(0, self.noise)
        # When a visit begins has nothing to do with the counter's steps.
        return int((exact + self.order.random() * self.step) // self.step) * self.step

    def costs(
        self, loop: str, start: int, size: int, /, *, before: str, victims_from: int, victims: int, trials: int
    ) -> tuple[NDArray[np.uint32], NDArray[np.uint32], NDArray[np.bool_]]:
        raise NotImplementedError
