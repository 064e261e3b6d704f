# SPDX-License-Identifier: GPL-2.0-or-later
"""What a flush costs, from ticks whose cause is known."""

from __future__ import annotations

import numpy as np
import pytest
from fake_silicon import BYTES_PER_CYCLE, CYCLES, INTEL, ZEN, Disturbance, FakeRegion, fake_silicon

from l1dflush.errors import UndecidedError
from l1dflush.silicon.measure.costs import BEFORE, Cost, Costs, variants
from l1dflush.silicon.measure.model import MeasureResult
from l1dflush.silicon.measure.region import PAGE
from l1dflush.silicon.measure.results import measured

PLANNED = 13 * PAGE


def costs_on(region: FakeRegion, rounds: int = 10, planned: int | None = PLANNED) -> list[Cost]:
    found = Costs(region, 32 << 10, variants(planned))
    found.play(rounds)
    return found.costs()


def truth(one: Cost) -> float:
    return CYCLES[one.variant.loop] + one.variant.size / BYTES_PER_CYCLE[one.before]


def result_of(costs: list[Cost]) -> MeasureResult:
    return measured(fake_silicon(FakeRegion("LRU")), "", "tree-PLRU", PLANNED, 1, None, [], costs, 1, 0, False)


@pytest.mark.parametrize(
    "disturbance", [INTEL, ZEN, Disturbance(interrupts=0.1)], ids=["fine", "coarse", "interrupted"]
)
def test_cycles_are_those_of_the_core(disturbance: Disturbance) -> None:
    costs = costs_on(FakeRegion("LRU", disturbance=disturbance))
    assert [(one.variant.what, one.before) for one in costs] == [
        (variant.what, before) for variant in variants(PLANNED) for before in BEFORE
    ]
    for one in costs:
        # A step of the counter is as many cycles, and as large a part of the chain by which cycles are counted.
        slack = disturbance.step / 0.7 + 3 + truth(one) * disturbance.step / (0.7 * 4096)
        assert one.cycles == pytest.approx(truth(one), abs=slack)
        assert one.low - slack <= truth(one) <= one.high + slack
        assert one.low <= one.high
        assert one.trials == 250
        assert one.bytes_per_cycle == pytest.approx(one.variant.size / one.cycles)


def test_another_clock_of_the_core_is_no_other_cost() -> None:
    """The counter runs at one rate, the core at another: twice the ticks a cycle, the same cycles."""
    slow, fast = (costs_on(FakeRegion("LRU", ticks_per_cycle=ticks)) for ticks in (1.4, 0.7))
    for one, other in zip(slow, fast, strict=True):
        assert one.cycles == pytest.approx(other.cycles, rel=0.01, abs=5)
        assert one.ticks == pytest.approx(2 * other.ticks, rel=0.01, abs=5)


def test_moved_trials_do_not_count() -> None:
    region = FakeRegion("LRU", disturbance=Disturbance(moved=0.4))
    found = Costs(region, 32 << 10, variants(None))
    found.play(10)
    assert 0.35 * found.trials < found.moved < 0.45 * found.trials
    for one in found.costs():
        assert one.cycles == pytest.approx(truth(one), rel=0.01, abs=5)
        assert one.trials < 200


def test_all_were_moved() -> None:
    with pytest.raises(UndecidedError) as error:
        costs_on(FakeRegion("LRU", disturbance=Disturbance(moved=1.0)))
    assert error.value.cause == "moved-about"


@pytest.mark.parametrize("trials", [10, 30, 60, 700])
def test_an_interrupt_keeps_what_was_measured(trials: int) -> None:
    region = FakeRegion("LRU", most_trials=trials)
    found = Costs(region, 32 << 10, variants(PLANNED))
    with pytest.raises(KeyboardInterrupt):
        found.play(5)
    if trials < 25:
        with pytest.raises(UndecidedError):
            found.costs()
    else:
        costs = found.costs()
        assert bool(costs) == bool(found.trials)
        assert len(costs) <= 24
        assert all(one.cycles == pytest.approx(truth(one), rel=0.02, abs=5) for one in costs)


def test_without_a_plan() -> None:
    names = [one.what for one in variants(None)]
    assert not any("planned" in name for name in names)
    assert len(names) == 4


def test_more_than_the_region() -> None:
    with pytest.raises(UndecidedError) as error:
        Costs(FakeRegion("LRU"), 1 << 20, variants(PLANNED))
    assert error.value.cause == "too-large"


def test_ratios() -> None:
    result = result_of(costs_on(FakeRegion("LRU", disturbance=Disturbance(noise=0.1))))
    ratios = {(one.what, one.before): one.ratio for one in result.ratios}
    for before, speed in BYTES_PER_CYCLE.items():
        seed = CYCLES["fill"] + 64 * 1024 / speed
        planned = CYCLES["fill"] + PLANNED / speed
        most = CYCLES["stream"] + PLANNED / speed
        assert ratios["planned fill / Linux's fill, time", before] == pytest.approx(planned / seed, abs=0.005)
        assert ratios["planned fill / loads at most, bytes per cycle", before] == pytest.approx(
            most / planned, abs=0.01
        )
    assert len(ratios) == 12
    assert result.levels is None
    nanoseconds = result.costs[0].cycles * 0.7 / 2.6
    assert result.costs[0].nanoseconds == pytest.approx(nanoseconds, rel=0.01)


def test_the_interval_holds_the_quantile() -> None:
    """In at least 9 of 10 runs the low quartile's interval holds the quartile of very many trials."""
    disturbance = Disturbance(noise=40.0)
    many = costs_on(FakeRegion("LRU", disturbance=disturbance, seed=99), rounds=60, planned=None)
    held = []
    for seed in range(40):
        some = costs_on(FakeRegion("LRU", disturbance=disturbance, seed=seed), rounds=4, planned=None)
        held += [one.low <= other.cycles <= one.high for one, other in zip(some, many, strict=True)]
    assert np.mean(held) >= 0.9
