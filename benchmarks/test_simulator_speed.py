# SPDX-License-Identifier: GPL-2.0-or-later
"""Accesses a second of the cache simulator, on one core, and beside pycachesim in the same run.

The trace has a million addresses of which about half hit, in no order that a branch predictor could learn; it is
the worst case for a simulator. Best of five runs, each from an empty cache.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from pytest_benchmark.fixture import BenchmarkFixture

from l1dflush.cache.geometry import Geometry
from l1dflush.cache.simulate import Hits, Simulator

L1D = Geometry(32768, 8, 64)
ACCESSES = 1_000_000
ROUNDS = 5


@pytest.fixture(scope="module")
def trace() -> NDArray[np.uint64]:
    x, out = 12345, np.empty(ACCESSES, dtype=np.uint64)
    for i in range(ACCESSES):
        x = (x * 6364136223846793005 + 1442695040888963407) % 2**64
        out[i] = (x >> 33) % 1024 * 64
    return out


def best_of(rounds: int, prepare: Callable[[], Callable[[], object]]) -> float:
    """The shortest of ``rounds`` runs of what ``prepare`` returns, in seconds."""
    times = []
    for _ in range(rounds):
        run = prepare()
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return min(times)


def best_of_ours(benchmark: BenchmarkFixture, simulator: Simulator, trace: NDArray[np.uint64], each: bool) -> float:
    """The same for the simulator, by the benchmark; its figure is stored in millions of accesses a second."""

    def run() -> Hits:
        return simulator.access(trace, each=each)

    benchmark.pedantic(run, setup=simulator.reset, rounds=ROUNDS)
    best: float = benchmark.stats.stats.min
    benchmark.extra_info["million_accesses_a_second"] = round(ACCESSES / best / 1e6, 1)
    return best


def tell(capsys: pytest.CaptureFixture[str], text: str) -> None:
    with capsys.disabled():
        sys.stdout.write(f"\n{text}\n")


@pytest.mark.parametrize("each", [False, True], ids=["counted", "each"])
@pytest.mark.parametrize(("policy", "hits"), [("tree-PLRU", 499673), ("LRU", 499328), ("FIFO", 499036)])
def test_accesses(
    benchmark: BenchmarkFixture,
    trace: NDArray[np.uint64],
    capsys: pytest.CaptureFixture[str],
    policy: str,
    hits: int,
    each: bool,
) -> None:
    simulator = Simulator(policy, L1D)
    best = best_of_ours(benchmark, simulator, trace, each)
    tell(
        capsys, f"{policy}{', told one by one' if each else ''}: {ACCESSES / best / 1e6:.0f} million accesses a second"
    )
    simulator.reset()
    assert simulator.access(trace).hits == hits


def test_beside_pycachesim(
    benchmark: BenchmarkFixture, trace: NDArray[np.uint64], capsys: pytest.CaptureFixture[str]
) -> None:
    cachesim = pytest.importorskip("cachesim", reason="pycachesim is not installed")
    addresses = trace.tolist()  # the fastest of what its interface for many addresses takes
    others = []

    def prepare() -> Callable[[], object]:
        memory = cachesim.MainMemory()
        cache = cachesim.Cache("L1", L1D.sets, L1D.ways, L1D.line, "LRU")
        memory.load_to(cache)
        memory.store_from(cache)
        others.append(cache)
        simulator = cachesim.CacheSimulator(cache, memory)
        return lambda: simulator.load(addresses)

    theirs = best_of(ROUNDS, prepare)
    simulator = Simulator("LRU", L1D)
    ours = best_of_ours(benchmark, simulator, trace, each=False)
    benchmark.extra_info["times_faster_than_pycachesim"] = round(theirs / ours, 1)
    tell(capsys, f"LRU: {theirs / ours:.0f} times pycachesim's {ACCESSES / theirs / 1e6:.2f} million accesses a second")
    simulator.reset()
    assert simulator.access(trace).hits == others[-1].stats()["HIT_count"] == 499328
