# SPDX-License-Identifier: GPL-2.0-or-later
"""Pairwise different accesses: the packed and the counted search against the general one."""

from __future__ import annotations

from itertools import permutations, product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from l1dflush import _core
from l1dflush.cache.policies import all_policies, get_policy
from l1dflush.errors import InputError

STARTS = ["any", "any+invalid"]

AGED = [
    f"QLRU_H{hit}_M{insert}_R{replace}_U{update}{only}"
    for hit, insert, replace, update, only in product(("21", "11", "00"), "0123", "012", "0123", ("", "_UMO"))
]


def defined(name: str, ways: int) -> bool:
    try:
        get_policy(name, ways)
    except InputError:
        return False
    return True


def outcome(name: str, ways: int, start: str, **more: object) -> tuple[list[int], bool]:
    """The curve as far as it tells anything, and whether it comes to 0. One that does not is left off where it first
    has its last value: searches notice at different points that nothing will change."""
    curve, ended, *_ = _core.distinct(name, ways, start=start, **more)  # type: ignore[arg-type]
    return (curve if ended else curve[: curve.index(curve[-1]) + 1]), ended


@pytest.mark.parametrize("start", STARTS)
@pytest.mark.parametrize("ways", [1, 2, 3, 4, 5])
def test_packed_sets_are_the_general_search(ways: int, start: str) -> None:
    for name in all_policies(ways):
        for cold in (False, True):
            fast = outcome(name, ways, start, cold=cold)
            assert fast == outcome(name, ways, start, cold=cold, absolute=True), (name, cold)


@pytest.mark.parametrize("start", STARTS)
def test_packed_sets_at_3_ways_for_the_whole_family(start: str) -> None:
    for name in AGED:
        if defined(name, 3):
            assert outcome(name, 3, start) == outcome(name, 3, start, absolute=True), name


@pytest.mark.parametrize("start", STARTS)
@pytest.mark.parametrize("name", [*AGED[::61], "SRRIP-HP", "SRRIP-FP", "QLRU_H00_M1_R2_U1", "QLRU_H11_M1_R1_U2"])
def test_counts_are_bounds(name: str, start: str) -> None:
    if not defined(name, 8):
        pytest.skip("not defined")
    # So little memory that the packed search fits for those with few states only; the others are between bounds.
    above, _, never, _, surely, _ = _core.distinct(name, 8, start=start, max_states=15_000)
    true, _ = outcome(name, 8, start)
    true += [true[-1]] * max(len(above) - len(true), 0)
    assert all(up >= left for up, left in zip(above, true, strict=False))
    assert all(low in (0, left) for low, left in zip(surely or above, true, strict=False))
    assert not never or true[-1] > 0
    if name.startswith("SRRIP") and start == "any+invalid":
        # How many are enough is known, what is left after four accesses is not.
        assert surely[-2:] == above[-2:] == [1, 0]
        assert surely[4] == 0


@pytest.mark.parametrize("cold", [False, True])
@pytest.mark.parametrize("start", [*STARTS, "any+invalidations"])
@pytest.mark.parametrize("ways", [1, 2, 3])
def test_what_is_counted_is_never_below_what_is_left(ways: int, start: str, cold: bool) -> None:
    close = 0
    for name in (*AGED, "NRU"):
        if not defined(name, ways):
            continue
        above = _core.distinct_at_most(name, ways, start=start, cold=cold)
        assert above is not None
        true, ended = outcome(name, ways, start, cold=cold, absolute=True)
        length = max(len(true), len(above))
        # Both stay where they have come to.
        assert all(
            above[min(n, len(above) - 1)] >= true[min(n, len(true) - 1)] for n in range(length)
        ), name  # fmt: skip
        assert ended or above[-1] > 0
        close += above[-1] == true[-1]
    assert close > 10


@pytest.mark.parametrize("start", [*STARTS, "any+invalidations"])
@pytest.mark.parametrize("ways", [3, 4, 5, 6, 7, 8])
def test_nru_counted_is_nru_enumerated(ways: int, start: str) -> None:
    # So little memory that only counts fit, and none of the other searches.
    states = 60 if ways == 3 else 50 * ways
    curve, ended, _, _, surely, _ = _core.distinct("NRU", ways, start=start, max_states=states)
    assert not surely
    if ways < 8 or start == "any":
        assert (curve, ended) == outcome("NRU", ways, start, absolute=True)
    assert (curve, ended) == outcome("NRU", ways, start)


def test_only_policies_with_ages_are_counted() -> None:
    assert _core.distinct_at_most("tree-PLRU", 8) is None
    assert _core.distinct_at_most("SRRIP-HP", 16) is not None


AGES = st.lists(st.integers(0, 3), min_size=4, max_size=4)


@pytest.mark.parametrize("name", [name for name in AGED if defined(name, 4)][::5])
@settings(max_examples=20, derandomize=True, deadline=None, database=None)
@given(ages=AGES, way=st.integers(0, 3), order=st.permutations(range(4)))
def test_ages_treat_all_ways_alike(name: str, ages: list[int], way: int, order: list[int]) -> None:
    """Renaming the ways renames what a hit and a fill do: what the counted search takes for granted."""
    policy = get_policy(name, 4)
    renamed = [0] * 4
    for old, new in enumerate(order):
        renamed[new] = ages[old]

    def back(state: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(state[order[old]] for old in range(4))

    assert back(policy.hit(tuple(renamed), order[way])) == policy.hit(tuple(ages), way)
    (one,), (other,) = policy.fills(tuple(renamed), order[way]), policy.fills(tuple(ages), way)
    assert back(one.state) == other.state


def test_who_may_be_replaced_is_a_matter_of_the_age_alone() -> None:
    for name in AGED[::7]:
        if not defined(name, 3):
            continue
        policy = get_policy(name, 3)
        for state in _core.policy_start_states(name, 3):
            victims = set()
            for order in permutations(range(3)):
                (choice,) = policy.misses(tuple(state[way] for way in order))
                victims.add(state[order[choice.way]])
            # With R1 the first way is replaced where no age is 3, whatever it is.
            assert len(victims) == 1 or "_R1_" in name


def test_hits_in_a_row_come_to_rest_as_soon_as_is_said() -> None:
    for ways in (1, 2, 3):
        for name in AGED:
            if not defined(name, ways):
                continue
            policy = get_policy(name, ways)
            enough = _core.policy_repeat_hits(name, ways)
            for ages in product(range(4), repeat=ways):
                state = policy.hit(ages, 0)
                for _ in range(enough):
                    state = policy.hit(state, 0)
                assert policy.hit(state, 0) == state, (name, ages)
