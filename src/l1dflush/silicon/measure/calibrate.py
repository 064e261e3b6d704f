# SPDX-License-Identifier: GPL-2.0-or-later
"""Hits and misses told apart by their ticks.

Both are measured in the same rounds, under the same conditions, as what they are compared with: between one second and
the next the clock of a core may change, and with it every latency.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from l1dflush.errors import UndecidedError
from l1dflush.silicon.measure.region import moved_about

QUANTILE = 0.25
"""Of repeats the low quartile counts: what disturbs a load makes it slower, and the minimum is biased by the counter's
steps and by the luckiest of many."""
# The counter's own noise has to be well below the difference.
_LEAST_DISTANCE = 2.0


@dataclass(frozen=True, slots=True)
class Levels:
    """Ticks of a visit that hits everywhere and of one that misses everywhere, and by how much either varies."""

    hit: float
    miss: float
    spread: float

    @property
    def single(self) -> bool:
        """Whether the ticks of one visit say what it was."""
        return self.miss - self.hit > _LEAST_DISTANCE * self.spread

    def share(self, ticks: NDArray[np.float64]) -> NDArray[np.float64]:
        """How much of a visit missed, from 0 (all hit) to 1 (all missed); beyond both where the clock says so."""
        return (ticks - self.hit) / (self.miss - self.hit)


def levels(hits: NDArray[np.float64], misses: NDArray[np.float64]) -> Levels:
    """From the ticks of visits that hit and of visits that miss. Raises UndecidedError if they cannot be told apart."""
    if not hits.size or not misses.size:
        raise moved_about()
    hit, miss = float(np.median(hits)), float(np.median(misses))
    # Half the distance between the quartiles: an interrupt now and then does not count.
    spread = max(_spread(hits), _spread(misses))
    found = Levels(hit, miss, spread)
    if not found.single:
        raise UndecidedError(
            "hits-like-misses",
            f"a visit takes {hit:.0f} ticks when it hits and {miss:.0f} when it misses, give or take {spread:.0f}:"
            " they cannot be told apart here",
            hint="is another program busy on this core?",
        )
    return found


def _spread(ticks: NDArray[np.float64]) -> float:
    low, high = np.quantile(ticks, (0.25, 0.75))
    return float(high - low) / 2
