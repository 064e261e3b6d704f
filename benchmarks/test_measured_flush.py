# SPDX-License-Identifier: GPL-2.0-or-later
"""What a planned flush costs on this machine beside the seed's and beside the fill bandwidth, in one run each."""

from __future__ import annotations

import statistics
from collections.abc import Iterator

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from l1dflush.cache.policies import get_policy
from l1dflush.errors import L1dflushError
from l1dflush.proof.conditions import DEFAULT
from l1dflush.proof.prover import needs
from l1dflush.silicon.measure.costs import Cost, Costs, variants
from l1dflush.silicon.measure.identify import identify
from l1dflush.silicon.measure.results import ratios
from l1dflush.silicon.measure.session import CONTROL_SET, Silicon, silicon

MOST_OF_THE_SEEDS_TIME = 0.85
LEAST_OF_THE_BANDWIDTH = 0.9
# Whatever disturbs one run is not likely to disturb most of them.
RUNS = 5


@pytest.fixture(scope="module")
def there() -> Iterator[Silicon]:
    try:
        with silicon() as found:
            yield found
    except L1dflushError as error:
        pytest.skip(f"nothing can be timed here: {error}")


@pytest.fixture(scope="module")
def runs(there: Silicon) -> list[list[Cost]]:
    """The plan is that of tree-PLRU with 8 ways, 13 lines of each set, whatever this CPU has: it is about the loop."""
    lines = needs(get_policy("tree-PLRU", 8), 8, DEFAULT)
    assert lines is not None
    found = []
    for _ in range(RUNS):
        costs = Costs(there.region, there.geometry.size, variants(lines * 4096))
        costs.play()
        found.append(costs.costs())
    return found


def ratio(runs: list[list[Cost]], what: str, before: str) -> float:
    return statistics.median(
        one.ratio for run in runs for one in ratios(run) if (one.what, one.before) == (what, before)
    )


def test_the_planned_fill_beside_the_seeds(runs: list[list[Cost]], benchmark: BenchmarkFixture) -> None:
    """13 lines over 16: same form, no warm-up, no cpuid, the buffer in the L2, clean victims."""
    benchmark.pedantic(lambda: None)
    for before in ("flushed", "clean", "dirty"):
        for what in ("planned fill / seed's fill, time", "planned routine / seed's routine, time"):
            benchmark.extra_info[f"{what}, {before}"] = ratio(runs, what, before)
    assert ratio(runs, "planned fill / seed's fill, time", "clean") <= MOST_OF_THE_SEEDS_TIME


@pytest.mark.parametrize("fill", ["planned fill", "seed's fill"])
def test_a_fill_beside_the_bandwidth(runs: list[list[Cost]], benchmark: BenchmarkFixture, fill: str) -> None:
    benchmark.pedantic(lambda: None)
    what = f"{fill} / loads at most, bytes per cycle"
    for before in ("flushed", "clean", "dirty"):
        benchmark.extra_info[before] = ratio(runs, what, before)
    assert ratio(runs, what, "clean") >= LEAST_OF_THE_BANDWIDTH


def test_identify(there: Silicon, benchmark: BenchmarkFixture) -> None:
    found = benchmark.pedantic(identify, args=(there.region, there.geometry.ways, CONTROL_SET, 1), rounds=1)
    best = found.matches[0]
    benchmark.extra_info["match"] = f"{best.policy}: {best.matched} of {best.decided}"
    assert best.decided <= found.sequences
