"""Figures that are known: published ones, and those found by exhaustive search before.

Needs at 4 and 8 ways: Reineke, Grund, Berg, Wilhelm, "Timing predictability of cache replacement policies" (2007);
the others were found by several independent exhaustive searches.
"""

from __future__ import annotations

import pytest

from l1dflush.proof.prover import counterexample, decide, needs, survivors, word_of


@pytest.mark.parametrize(
    ("policy", "ways", "figure"),
    [
        *(("LRU", ways, ways) for ways in (4, 8, 12, 16)),
        ("tree-PLRU", 4, 5),
        ("tree-PLRU", 8, 13),
        ("tree-PLRU", 16, 33),
        ("FIFO", 4, 7),
        ("FIFO", 8, 15),
        ("FIFO", 12, 23),
        ("FIFO", 16, 31),
        ("bit-PLRU", 4, 6),
        ("bit-PLRU", 8, 14),
        ("bit-PLRU", 12, 22),
        ("bit-PLRU", 16, 30),
        ("LRU3PLRU4", 12, 21),
        # One group is a 4-way tree.
        ("LRU1PLRU4", 4, 5),
    ],
)
def test_needs(policy: str, ways: int, figure: int) -> None:
    assert needs(policy, ways) == figure
    assert survivors(policy, ways)[-1] == 0
    assert len(survivors(policy, ways)) == figure + 1


def test_survivors_curves() -> None:
    assert survivors("tree-PLRU", 8) == (8, 7, 6, 5, 4, 4, 3, 2, 2, 1, 1, 1, 1, 0)
    assert survivors("LRU3PLRU4", 12) == (12, 11, 10, 9, 8, 7, 7, 6, 5, 5, 4, 3, 3, 2, 2, 2, 2, 1, 1, 1, 1, 0)
    assert survivors("tree-PLRU", 8, limit=3) == (8, 7, 6, 5)


@pytest.mark.parametrize("buffer_lines", [16, 32, 64])
def test_own_line_between_every_two_buffer_lines_keeps_three_old_lines(buffer_lines: int) -> None:
    own = -1
    word = word_of(line for buffer_line in range(buffer_lines) for line in (buffer_line, own))
    assert decide("tree-PLRU", 8, word).leftovers == 3
    assert len(counterexample("tree-PLRU", 8, word).leftovers) >= 1


def test_warm_up_then_fill_in_set_0() -> None:
    # Sixteen lines twice, as set 0 of the flush in the seed patch sees them; the other sets see them once.
    assert decide("LRU3PLRU4", 12, word_of([*range(16)] * 2)).leftovers == 0
    assert decide("LRU3PLRU4", 12, word_of(range(16))).leftovers == 2
    assert decide("tree-PLRU", 8, word_of(range(16))).leftovers == 0


def test_repeats_are_decided_exactly() -> None:
    # Thirteen accesses of only ten lines.
    assert decide("tree-PLRU", 8, word_of([0, 1, 2, 3, 4, 5, 6, 7, 0, 8, 9, 1, 2])).leftovers == 0
    two_passes = word_of([*range(8)] * 2)
    assert decide("LRU", 8, two_passes).leftovers == 0
    assert decide("tree-PLRU", 8, two_passes).leftovers > 0
    assert decide("FIFO", 8, two_passes).leftovers > 0


def test_eight_lines_are_not_enough_for_eight_ways() -> None:
    found = counterexample("tree-PLRU", 8, word_of(range(8)))
    assert found.smallest
    assert found.cached_at_start > 0
    assert found.leftovers
