# SPDX-License-Identifier: GPL-2.0-or-later
"""Confidence bounds of counts and of means."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

CONFIDENCE = 0.95
# Of the normal distribution, one-sided, at 0.95.
_Z: float = 1.6448536269514722


def upper_bound(seen: int, trials: int) -> float:
    """One-sided upper confidence bound (95%) on a probability of which ``seen`` of ``trials`` came true: the largest p
    for which that few are not less likely than 5% (Clopper and Pearson, 1934). 1 without trials."""
    if trials <= 0 or seen >= trials:
        return 1.0
    if seen == 0:
        return 1 - math.pow(1 - CONFIDENCE, 1 / trials)
    low, high = seen / trials, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        if chance_of_at_most(seen, trials, middle) > 1 - CONFIDENCE:
            low = middle
        else:
            high = middle
    return high


def chance_of_at_most(seen: int, trials: int, p: float = 0.5) -> float:
    """That at most ``seen`` of ``trials`` come true, each with probability ``p`` (between 0 and 1)."""
    number = np.arange(seen + 1)
    logs = _log_choices(seen, trials) + number * math.log(p) + (trials - number) * math.log1p(-p)
    return float(np.exp(logs).sum())


@lru_cache(maxsize=8)
def _log_choices(most: int, trials: int) -> NDArray[np.float64]:
    """Of how many ways there are to choose 0, 1, ... ``most`` of ``trials``, the logarithms."""
    all_of_them = math.lgamma(trials + 1)
    return np.array([all_of_them - math.lgamma(i + 1) - math.lgamma(trials - i + 1) for i in range(most + 1)])


def mean_bounds(mean: float, error: float) -> tuple[float, float]:
    """One-sided lower and upper bounds (95% each) of a mean with this standard error."""
    return mean - _Z * error, mean + _Z * error
