# SPDX-License-Identifier: GPL-2.0-or-later
"""What calling a flusher costs beside the bare loop, and what the loops cost."""

from __future__ import annotations

import os
import platform
import timeit

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from l1dflush import Flusher, _core

pytestmark = pytest.mark.skipif(
    not _core.NATIVE, reason=f"no native flush for {platform.system()} {platform.machine()}"
)

CALLS = 2000
ROUNDS = 40
MOST_NANOSECONDS = 150.0


@pytest.fixture
def flusher() -> Flusher:
    return Flusher("planned", policy="tree-PLRU", geometry="32K,8,64")


def overhead(flusher: Flusher) -> float:
    """Nanoseconds by which a call from Python takes longer than the routine in a C++ loop.

    The fastest of some rounds of either, taken in turn, so that both see the same machine.
    """
    call = timeit.Timer("flusher()", globals={"flusher": flusher})
    bare: list[float] = []
    called: list[float] = []
    for _ in range(ROUNDS):
        bare.append(timeit.timeit(lambda: flusher.repeat(CALLS), number=1))
        called.append(call.timeit(CALLS))
    return (min(called) - min(bare)) / CALLS * 1e9


def test_a_call_costs_little_more_than_the_loop(flusher: Flusher, benchmark: BenchmarkFixture) -> None:
    benchmark(flusher)
    cpus = os.sched_getaffinity(0)
    try:
        # One CPU: a move would be flushed for twice.
        os.sched_setaffinity(0, {min(cpus)})
        costs = overhead(flusher)
    finally:
        os.sched_setaffinity(0, cpus)
    benchmark.extra_info["overhead_nanoseconds"] = round(costs, 1)
    assert costs <= MOST_NANOSECONDS


@pytest.mark.parametrize(("variant", "size"), [("planned", None), ("steady", None), ("linux-2018", 64 << 10)])
def test_the_variants(variant: str, size: int | None, benchmark: BenchmarkFixture) -> None:
    with Flusher(variant, policy="tree-PLRU", geometry="32K,8,64", buffer_size=size) as flusher:
        benchmark(flusher)


@pytest.mark.parametrize("kib", [52, 64])
def test_the_fill_alone(kib: int, benchmark: BenchmarkFixture) -> None:
    benchmark(_core.NativeFlush("fill", kib << 10))
