"""How long it takes to trace a flush."""

from __future__ import annotations

from pytest_benchmark.fixture import BenchmarkFixture

from l1dflush.routine.built_in import load_built_in
from l1dflush.trace.explore import trace


def test_kernel_loop(benchmark: BenchmarkFixture) -> None:
    """The loop of Linux 4.9.120: 16 loads of warm-up and 1024 of fill. It should stay below 5 ms."""
    routine = load_built_in("linux-4.9.120")
    (path,) = benchmark(trace, routine).paths
    assert len(path.events) == 1045
