"""How long the prover takes for the questions that are asked most."""

from __future__ import annotations

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from l1dflush import _core


@pytest.mark.parametrize(
    ("policy", "ways", "figure"),
    [("tree-PLRU", 8, 13), ("LRU3PLRU4", 12, 21), ("tree-PLRU", 16, 33), ("bit-PLRU", 16, 30), ("FIFO", 12, 23)],
)
def test_needs(benchmark: BenchmarkFixture, policy: str, ways: int, figure: int) -> None:
    curve, ended, _never, _states = benchmark(_core.distinct, policy, ways)
    assert ended
    assert len(curve) == figure + 1


def test_doubled_word_on_lru3plru4(benchmark: BenchmarkFixture) -> None:
    word = [*range(16)] * 2
    curve, _states = benchmark(_core.decide, "LRU3PLRU4", 12, word, [0] * len(word))
    assert curve[-1] == 0


def test_two_passes_over_eight_lines_on_fifo(benchmark: BenchmarkFixture) -> None:
    word = [*range(8)] * 2
    curve, _states = benchmark(_core.decide, "FIFO", 8, word, [0] * len(word))
    assert curve[-1] == 2


def test_smallest_counterexample(benchmark: BenchmarkFixture) -> None:
    found = benchmark(_core.witness, "tree-PLRU", 8, list(range(12)), [0] * 12)
    assert found is not None
