# SPDX-License-Identifier: GPL-2.0-or-later
"""Figures that are known: published ones, and those found by exhaustive search before.

Needs at 4 and 8 ways: Reineke, Grund, Berg, Wilhelm, "Timing predictability of cache replacement policies" (2007);
the others were found by several independent exhaustive searches.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from l1dflush.cache.policy.machine import parse_machine
from l1dflush.errors import UndecidedError
from l1dflush.proof.conditions import ALL_WAYS_VALID, Base, Conditions, Start
from l1dflush.proof.prover import counterexample, decide, needs, survivors, word_of

MACHINES = Path(__file__).parent.parent / "data" / "learned-policies"


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
        ("NRU", 4, 7),
        ("NRU", 8, 15),
        ("NRU", 12, 23),
        ("SRRIP-HP", 4, 12),
        ("SRRIP-HP", 8, 28),
        ("SRRIP-FP", 4, 12),
        ("SRRIP-FP", 8, 28),
        ("QLRU_H00_M1_R2_U1", 4, 6),
        ("QLRU_H00_M1_R2_U1", 8, 14),
        ("QLRU_H11_M1_R0_U0", 4, 7),
        ("QLRU_H11_M1_R0_U0", 8, 15),
        # Not in the published tables: both bounds agree.
        ("QLRU_H11_M1_R0_U0", 16, 31),
        ("QLRU_H00_M1_R2_U1", 16, 30),
        *((name, ways, None) for name in ("LIP", "BIP", "random") for ways in (4, 8, 12, 16)),
        ("BRRIP", 4, None),
    ],
)
def test_needs(policy: str, ways: int, figure: int | None) -> None:
    assert needs(policy, ways, ALL_WAYS_VALID) == figure
    if figure is not None:
        assert survivors(policy, ways, ALL_WAYS_VALID)[-1] == 0
        assert len(survivors(policy, ways, ALL_WAYS_VALID)) == figure + 1


@pytest.mark.parametrize(
    ("policy", "ways", "figure"),
    [("tree-PLRU", 8, 20), ("LRU", 8, 15), ("LRU3PLRU4", 12, 32), ("bit-PLRU", 8, 27), ("FIFO", 8, 15)],
)
def test_needs_with_one_touch(policy: str, ways: int, figure: int) -> None:
    for start in (Base.ANY, Base.ANY_INVALID):
        assert needs(policy, ways, Conditions(Start(start), 1)) == figure


def test_invalid_ways_add_to_srrip_only() -> None:
    assert needs("SRRIP-HP", 8) == 29
    assert needs("SRRIP-HP", 4) == 13
    for policy in ("LRU", "FIFO", "tree-PLRU", "bit-PLRU", "NRU", "QLRU_H11_M1_R0_U0"):
        assert needs(policy, 8) == needs(policy, 8, ALL_WAYS_VALID)
    # At two ways the invalidations that came before make a difference that any+invalid does not have.
    assert needs("SRRIP-HP", 2) == 4
    assert needs("SRRIP-HP", 2, Conditions(Start(Base.ANY, invalidations=True))) == 5


@pytest.mark.parametrize(
    ("machine", "figure"),
    [("hw/haswell_l1", 13), ("simul/srriphp_4", 13), ("simul/srripfp_4", 13), ("hw/skylake_l2", 6)],
)
def test_learned_machines(machine: str, figure: int) -> None:
    text = (MACHINES / f"{machine}.dot").read_text()
    policy = parse_machine(text, machine)
    assert needs(policy, policy.ways, ALL_WAYS_VALID) == figure
    with pytest.raises(UndecidedError, match="does not say what filling an invalid way does"):
        needs(policy, policy.ways)


@pytest.mark.parametrize(
    ("policy", "ways", "figure"),
    [
        ("NRU", 16, 31),
        ("CLOCK", 12, 23),
        ("SRRIP-HP", 12, 45),
        ("SRRIP-HP", 16, 61),
        ("SRRIP-FP", 12, 45),
        ("SRRIP-FP", 16, 61),
        ("QLRU_H00_M1_R2_U1", 16, 30),
        ("QLRU_H11_M1_R1_U2", 12, 24),
        ("QLRU_H11_M1_R1_U2", 16, 32),
    ],
)
def test_needs_at_many_ways(policy: str, ways: int, figure: int) -> None:
    assert needs(policy, ways) == figure


def test_where_only_bounds_are_known_it_says_so() -> None:
    with pytest.raises(UndecidedError) as caught:
        needs("SRRIP-HP", 12, ALL_WAYS_VALID)
    assert caught.value.cause == "bounds-only"
    assert "at most 45" in str(caught.value)


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
    found = counterexample("tree-PLRU", 8, word_of(range(8)), ALL_WAYS_VALID)
    assert found.smallest
    assert found.cached_at_start > 0
    assert found.leftovers
