# SPDX-License-Identifier: GPL-2.0-or-later
"""What a flush costs here: each loop, warm, after clean and after dirty lines; and the fill bandwidth beside it.

A loop is timed between two readings of the counter, whose own time is taken off, and right behind it a chain of
additions of known length says how long a cycle of the core was just then.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from l1dflush import _core
from l1dflush.errors import UndecidedError
from l1dflush.silicon.measure.calibrate import QUANTILE
from l1dflush.silicon.measure.region import PAGE, USABLE_PAGES, Region, moved_about

BEFORE = ("flushed", "clean", "dirty")
ROUNDS = 40
_AT_ONCE = 25

_Ticks = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Variant:
    """A loop of the core over so many bytes. ``what`` is for a person."""

    what: str
    loop: str
    size: int


@dataclass(frozen=True, slots=True)
class Cost:
    """Of a variant, after ``before``: the low quartile. ``low`` and ``high``: its confidence interval in cycles, from
    those (95%) of the ticks and of the length of a cycle."""

    variant: Variant
    before: str
    ticks: float
    cycles: float
    low: float
    high: float
    trials: int

    @property
    def bytes_per_cycle(self) -> float:
        """How much it reads in a cycle."""
        return self.variant.size / self.cycles


def variants(planned: int | None, linux: int = 16 * PAGE) -> list[Variant]:
    """What is timed: Linux's 2018 routine and its fill, the same without cpuid, the planned ones of ``planned`` bytes
    (None: no plan), and as many loads as fast as they go."""
    sizes = [("linux-2018", linux), *([("planned", planned)] if planned else [])]
    found = [
        Variant("Linux's 2018 routine, with cpuid", "linux-2018", linux),
        Variant("the same, with lfence", "planned", linux),
    ]
    if planned:
        found.append(Variant("planned routine", "planned", planned))
    found += [Variant(f"{name} fill alone", "fill", size) for name, size in sizes]
    found += [Variant(f"loads at most, {name} size", "stream", size) for name, size in sizes]
    return found


class Costs:
    """The measurement: every round times every variant after everything, so that what changes meets all alike."""

    def __init__(self, region: Region, l1d_size: int, chosen: Sequence[Variant]) -> None:
        self._region = region
        self._victims = 2 * l1d_size
        self._cells = [(variant, before) for variant in chosen for before in BEFORE]
        self._ticks: list[list[NDArray[np.float64]]] = [[] for _ in self._cells]
        self._cycles: list[list[NDArray[np.float64]]] = [[] for _ in self._cells]
        self._empty: list[NDArray[np.float64]] = []
        self.moved = 0
        self.trials = 0
        most = max(variant.size for variant in chosen) + self._victims
        if most > USABLE_PAGES * PAGE:
            raise UndecidedError("too-large", f"{most >> 10} KiB of buffer and other lines are more than is measured")

    def play(self, rounds: int = ROUNDS, done: Callable[[int], None] = lambda _: None) -> None:
        """So many rounds. A KeyboardInterrupt leaves what was measured."""
        for number in range(1, rounds + 1):
            empty, _, moved = self._time("none", PAGE, "flushed")
            self._empty.append(empty[~moved])
            for index, (variant, before) in enumerate(self._cells):
                ticks, chain, moved = self._time(variant.loop, variant.size, before)
                self.moved += int(moved.sum())
                self.trials += len(ticks)
                self._ticks[index].append(ticks[~moved])
                self._cycles[index].append(chain[~moved])
            done(number)

    def _time(self, loop: str, size: int, before: str) -> tuple[_Ticks, _Ticks, NDArray[np.bool_]]:
        # The victims lie behind the largest buffer.
        ticks, chain, moved = self._region.costs(
            loop, 0, size, before=before, victims_from=USABLE_PAGES * PAGE - self._victims, victims=self._victims,
            trials=_AT_ONCE,
        )  # fmt: skip
        return ticks.astype(np.float64), chain.astype(np.float64), moved

    def costs(self) -> list[Cost]:
        """What was measured so far, in the order of the variants: those of which there is something. Raises
        UndecidedError if there is nothing at all."""
        if not self._empty or not sum(map(len, self._empty)):
            raise moved_about()
        empty = _low_quartile(np.concatenate(self._empty))
        return [
            _cost(variant, before, np.concatenate(self._ticks[i]), np.concatenate(self._cycles[i]), empty)
            for i, (variant, before) in enumerate(self._cells)
            if sum(map(len, self._ticks[i]))
        ]


def _cost(variant: Variant, before: str, ticks: _Ticks, chain: _Ticks, empty: tuple[float, float, float]) -> Cost:
    low, typical, high = _less(_low_quartile(ticks), empty)
    fast, per_chain, slow = _less(_low_quartile(chain), empty)
    return Cost(
        variant,
        before,
        typical,
        typical / per_chain * _core.CHAIN_CYCLES,
        low / slow * _core.CHAIN_CYCLES,
        high / fast * _core.CHAIN_CYCLES,
        len(ticks),
    )


def _low_quartile(ticks: _Ticks) -> tuple[float, float, float]:
    """Between the order statistics that bound it (binomial, by its normal limit)."""
    ordered = np.sort(ticks)
    middle, reach = QUANTILE * len(ordered), 1.96 * np.sqrt(len(ordered) * QUANTILE * (1 - QUANTILE))
    low, high = (int(np.clip(at, 0, len(ordered) - 1)) for at in (middle - reach, np.ceil(middle + reach)))
    return float(ordered[low]), float(np.quantile(ordered, QUANTILE)), float(ordered[high])


def _less(of: tuple[float, float, float], empty: tuple[float, float, float]) -> tuple[float, float, float]:
    return of[0] - empty[2], of[1] - empty[1], of[2] - empty[0]
