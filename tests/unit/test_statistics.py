# SPDX-License-Identifier: GPL-2.0-or-later
"""Confidence bounds against exact fractions."""

from __future__ import annotations

from fractions import Fraction
from math import comb

import numpy as np
import pytest

from l1dflush.silicon.measure.statistics import chance_of_at_most, mean_bounds, upper_bound


def exactly(seen: int, trials: int, p: Fraction) -> Fraction:
    return sum((comb(trials, i) * p**i * (1 - p) ** (trials - i) for i in range(seen + 1)), Fraction(0))


@pytest.mark.parametrize("trials", [1, 2, 7, 40, 150])
def test_the_bound_is_where_so_few_become_unlikely(trials: int) -> None:
    for seen in {0, 1, trials // 3, trials - 1}:
        bound = upper_bound(seen, trials)
        if seen >= trials:
            assert bound == 1.0
            continue
        below, above = Fraction(bound) - Fraction(1, 10**7), Fraction(bound) + Fraction(1, 10**7)
        assert exactly(seen, trials, below) > Fraction(1, 20) > exactly(seen, trials, above)


def test_the_rule_of_three() -> None:
    for trials in (100, 1000, 100_000):
        assert upper_bound(0, trials) == pytest.approx(3 / trials, rel=0.02)


def test_no_trials_bound_nothing() -> None:
    assert upper_bound(0, 0) == upper_bound(5, 5) == upper_bound(7, 5) == 1.0


def test_more_seen_is_a_higher_bound() -> None:
    bounds = [upper_bound(seen, 50) for seen in range(51)]
    assert bounds == sorted(set(bounds))
    assert upper_bound(30_000, 57_600) == pytest.approx(30_000 / 57_600 + 1.645 * np.sqrt(0.25 / 57_600), abs=1e-4)


def test_the_chance_of_at_most() -> None:
    for seen, trials in ((0, 0), (0, 4), (0, 5), (2, 10), (9, 20)):
        assert chance_of_at_most(seen, trials) == pytest.approx(float(exactly(seen, trials, Fraction(1, 2))))


def test_bounds_of_a_mean_hold_in_19_of_20() -> None:
    chance = np.random.default_rng(1)
    samples = chance.normal(3.0, 2.0, size=(4000, 50))
    errors = samples.std(axis=1) / np.sqrt(50)
    high = np.array([mean_bounds(mean, error)[1] for mean, error in zip(samples.mean(axis=1), errors, strict=True)])
    low = np.array([mean_bounds(mean, error)[0] for mean, error in zip(samples.mean(axis=1), errors, strict=True)])
    assert (high >= 3.0).mean() == pytest.approx(0.95, abs=0.02)
    assert (low <= 3.0).mean() == pytest.approx(0.95, abs=0.02)
