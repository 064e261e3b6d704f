# SPDX-License-Identifier: GPL-2.0-or-later
"""How long the prover takes for the questions that are asked most, beside a straightforward enumeration.

The enumeration keeps every policy state and every set of settled ways that occurs, one by one, and drops nothing; it is
the same in every language, so it is written in the plainest way that Python has.
"""

from __future__ import annotations

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from l1dflush import _core
from l1dflush.cache.policies import all_states, get_policy

TABLE = {
    "LRU": 8, "tree-PLRU": 13, "FIFO": 15, "bit-PLRU": 14, "NRU": 15, "SRRIP-HP": 28, "SRRIP-FP": 28,
    "QLRU_H00_M1_R2_U1": 14, "QLRU_H11_M1_R0_U0": 15, "LIP": None, "BIP": None, "random": None,
}  # fmt: skip


@pytest.mark.parametrize(
    ("policy", "ways", "figure"),
    [
        ("tree-PLRU", 8, 13),
        ("LRU3PLRU4", 12, 21),
        ("tree-PLRU", 16, 33),
        ("bit-PLRU", 16, 30),
        ("FIFO", 12, 23),
        ("SRRIP-HP", 8, 28),
        ("QLRU_H11_M1_R0_U0", 16, 31),
    ],
)
def test_needs(benchmark: BenchmarkFixture, policy: str, ways: int, figure: int) -> None:
    curve, ended, *_ = benchmark(_core.distinct, policy, ways)
    assert ended
    assert len(curve) == figure + 1


def test_needs_with_invalid_ways(benchmark: BenchmarkFixture) -> None:
    curve, ended, *_ = benchmark(_core.distinct, "LRU3PLRU4", 12, start="any+invalid")
    assert ended
    assert len(curve) == 22


def test_every_8_way_policy_of_the_table(benchmark: BenchmarkFixture) -> None:
    def table() -> dict[str, int | None]:
        found: dict[str, int | None] = {}
        for policy in TABLE:
            curve, ended, *_ = _core.distinct(policy, 8)
            found[policy] = len(curve) - 1 if ended else None
        return found

    assert benchmark(table) == TABLE


def enumerated(name: str, ways: int) -> int:
    """Fewest accesses that empty a set, by enumeration."""
    policy = get_policy(name, ways)
    layer = {(state, 0) for state in all_states(policy)}
    accesses = 0
    while layer:
        accesses += 1
        following = set()
        for state, settled in layer:
            for way in range(ways):
                if not settled >> way & 1:
                    following |= {(after, settled | 1 << way) for after in policy.hits(state, way)}
            following |= {(choice.state, settled | 1 << choice.way) for choice in policy.misses(state)}
        layer = {(state, settled) for state, settled in following if settled != (1 << ways) - 1}
    return accesses


@pytest.mark.parametrize(("policy", "figure"), [("tree-PLRU", 13), ("bit-PLRU", 14), ("NRU", 15)])
def test_enumeration(benchmark: BenchmarkFixture, policy: str, figure: int) -> None:
    assert benchmark.pedantic(enumerated, (policy, 8), rounds=1) == figure


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
