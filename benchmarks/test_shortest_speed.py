# SPDX-License-Identifier: GPL-2.0-or-later
"""How long the search for all words of a length takes."""

from __future__ import annotations

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from l1dflush import _core


@pytest.mark.parametrize(
    ("policy", "ways", "length", "count"),
    [
        ("tree-PLRU", 8, 12, 0),
        ("tree-PLRU", 8, 13, 76),
        ("FIFO", 8, 15, 2),
        ("bit-PLRU", 6, 10, 501),
        ("tree-PLRU", 16, 24, 0),
    ],
)
def test_complete_words(benchmark: BenchmarkFixture, policy: str, ways: int, length: int, count: int) -> None:
    words, _searched = benchmark(_core.complete_words, policy, ways, length)
    assert len(words) == count


def test_no_twenty_accesses_empty_lru3plru4(benchmark: BenchmarkFixture) -> None:
    words, _searched = benchmark.pedantic(_core.complete_words, ("LRU3PLRU4", 12, 20), rounds=1)
    assert words == []
