# SPDX-License-Identifier: GPL-2.0-or-later
"""Policies by name; the compiled ones against their plain twins."""

from __future__ import annotations

import random
import re
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from l1dflush import _core
from l1dflush.cache.policies import (
    NAMES,
    PUBLISHED_QLRU,
    Choice,
    Deterministic,
    State,
    Symmetric,
    all_policies,
    all_states,
    canonical_name,
    get_policy,
    known_policies,
)
from l1dflush.cache.policy.qlru import Qlru, Rules
from l1dflush.errors import InputError

CLASSIC = [(name, ways) for ways in range(1, 17) for name in known_policies(ways)]
EVERY_POLICY = [(name, ways) for ways in range(1, 17) for name in all_policies(ways)]
# Trees whose like parts are lopsided themselves: their pointers move along with them.
NESTED = [
    ("tree-PLRU:(2+1)+(2+1)", 6),
    ("tree-PLRU:(2+1)+(2+1)+(2+1)", 9),
    ("tree-PLRU:3+2", 5),
    ("tree-PLRU:3+3+3", 9),
]


def test_known_policies_are_the_ones_defined_at_that_many_ways() -> None:
    assert known_policies(8) == ("LRU", "FIFO", "tree-PLRU", "bit-PLRU", "LRU2PLRU4")
    assert known_policies(12) == ("LRU", "FIFO", "bit-PLRU", "LRU3PLRU4")
    assert known_policies(3) == ("LRU", "FIFO", "bit-PLRU")


def test_all_policies_are_the_named_ones_defined_at_that_many_ways() -> None:
    everywhere = ("LRU", "FIFO", "LIP", "BIP", "random")
    aged = ("QLRU_H00_M1_R2_U1", "QLRU_H11_M1_R0_U0", "QLRU_H11_M1_R1_U2", "QLRU_H00_M1_R0_U1")
    rrip = ("SRRIP-HP", "SRRIP-FP", "BRRIP")
    bits = ("bit-PLRU", "NRU", "CLOCK")
    grouped = ("LRU2PLRU4", "MRU2PLRU4")
    assert all_policies(8) == (*everywhere, "tree-PLRU", *grouped, *bits, *aged, *rrip)
    assert all_policies(3) == (*everywhere, "tree-PLRU:2+1", *bits, *aged, *rrip)
    shapes = tuple(f"tree-PLRU:{shape}" for shape in ("8+4", "(4+2)+(4+2)", "(3+3)+(3+3)", "4+4+4"))
    assert all_policies(12) == (*everywhere, *shapes, "LRU3PLRU4", "MRU3PLRU4", *bits, *aged, *rrip)
    assert "QLRU_H00_M1_R0_U1" not in all_policies(1)
    for ways in range(1, 17):
        assert set(known_policies(ways)) <= set(all_policies(ways)) <= set(NAMES)
        assert all(get_policy(name, ways).name == name for name in all_policies(ways))


@pytest.mark.parametrize(
    ("written", "canonical"),
    [
        ("plru", "tree-PLRU"),
        ("MRU", "bit-PLRU"),
        ("lru", "LRU"),
        ("Tree-plru", "tree-PLRU"),
        ("lru3plru4", "LRU3PLRU4"),
        ("mru2plru4", "MRU2PLRU4"),
        ("srrip", "SRRIP-HP"),
        ("Random", "random"),
        ("clock", "CLOCK"),
        ("qlru_h00_m1_r2_u1", "QLRU_H00_M1_R2_U1"),
        ("Qlru_H21_M2_R0_U0_umo", "QLRU_H21_M2_R0_U0_UMO"),
        ("tree-plru:8|4", "tree-PLRU:8+4"),
        ("PLRU:((4) + 2)+(4+2)", "tree-PLRU:(4+2)+(4+2)"),
        ("tree-PLRU:(3)|(3)", "tree-PLRU:3+3"),
        ("tree-PLRU:(8)", "tree-PLRU:8"),
    ],
)
def test_names_are_found_in_any_case_and_by_alias(written: str, canonical: str) -> None:
    assert canonical_name(written) == canonical


@pytest.mark.parametrize(
    ("name", "ways", "message"),
    [
        ("nonesuch", 8, "unknown replacement policy 'nonesuch' (known: LRU, FIFO"),
        ("tree-PLRU", 12, "tree-PLRU needs a power of two of ways, not 12"),
        ("LRU3PLRU4", 8, "LRU3PLRU4 needs 12 ways, not 8"),
        ("LRU5PLRU4", 20, "unknown replacement policy"),
        ("LRU", 17, "17 ways are not supported (1 to 16)"),
        ("LRU", 0, "0 ways are not supported"),
        ("x" * 500, 8, "x" * 80 + "' (known"),
        ("tree-PLRU:8+4", 8, "tree-PLRU:8+4 has 12 ways, not 8"),
        ("tree-PLRU:6", 6, "does not say how 6 ways are divided (write 4+2 or 3+3)"),
        ("tree-PLRU:5+1", 6, "does not say how 5 ways are divided"),
        ("tree-PLRU:32", 16, "does not say how 32 ways are divided"),
        ("tree-PLRU:8+8+8", 16, "has 24 ways (at most 16)"),
        ("tree-PLRU:2+2+2+2", 8, "has a node with 4 children (2 or 3: write (a+b)+(c+d))"),
        ("tree-PLRU:(4+2", 6, "has a bracket that is not closed"),
        ("tree-PLRU:4+", 4, "lacks a number of ways before 'its end'"),
        ("tree-PLRU:4+x", 4, "lacks a number of ways before 'x'"),
        ("tree-PLRU:4)", 4, "has a ')' that does not belong there"),
        ("tree-PLRU:", 4, "is empty"),
        ("tree-PLRU:" + "(" * 5000, 4, "is too long"),
        ("QLRU_H31_M1_R0_U0", 4, "is not a QLRU policy (QLRU_Hxy_Mz_Ru_Uw"),
        ("QLRU_H00_M1_R0", 4, "is not a QLRU policy"),
        ("QLRU_H00_M1_R0_U2", 4, "need not find a victim: R0 wants an age of 3 and U2 need not make one"),
        ("QLRU_H00_M1_R2_U3_UMO", 4, "need not find a victim: R2 wants an age of 3 and U3 need not make one"),
        ("QLRU_H00_M1_R0_U1", 1, "need not find a victim in a set of 1 way"),
    ],
)
def test_what_does_not_exist_is_said_in_one_line(name: str, ways: int, message: str) -> None:
    with pytest.raises(InputError) as caught:
        get_policy(name, ways)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_states_are_rendered_for_a_person() -> None:
    assert get_policy("tree-PLRU", 8).render((0, 1, 0, 1, 1, 0, 1)) == "tree bits 0 10 1101"
    assert get_policy("LRU", 4).render((3, 0, 1, 2)) == "newest to oldest 3 0 1 2"
    assert get_policy("FIFO", 4).render((2,)) == "next 2"
    assert get_policy("bit-PLRU", 4).render((1, 0, 1, 0)) == "bits 1010"
    assert get_policy("LRU3PLRU4", 12).render((2, 0, 1, 1, 0, 0, 0, 1, 0, 0, 0, 1)) == (
        "groups newest to oldest 2 0 1, tree bits 100 010 001"
    )
    assert get_policy("tree-PLRU", 1).render(()) == "no bits"
    assert get_policy("MRU2PLRU4", 8).render((1, 1, 0, 0, 0, 0, 1)) == "last group 1, tree bits 100 001"
    assert get_policy("tree-PLRU:4+4+4", 12).render((2, 0, 1, 0, 0, 0, 0, 1, 0, 1)) == "tree 2 0 1 0 0 0 0 1 0 1"
    assert get_policy("NRU", 4).render((1, 1, 1, 1)) == "bits 1111"
    assert get_policy("CLOCK", 3).render((2, 1, 0, 1)) == "next 2, bits 101"
    assert get_policy("SRRIP-HP", 4).render((0, 3, 2, 2)) == "ages 0 3 2 2"
    assert get_policy("random", 4).render(()) == "none"


def chances(choices: list[tuple[int, list[int], tuple[int, int]]]) -> list[Choice]:
    return [Choice(way, tuple(state), Fraction(*chance)) for way, state, chance in choices]


@pytest.mark.parametrize(("name", "ways"), [*EVERY_POLICY, *NESTED])
@settings(max_examples=8, deadline=None, derandomize=True)
@given(data=st.data())
def test_compiled_policy_and_twin_agree_step_by_step(name: str, ways: int, data: st.DataObject) -> None:
    """Hits, misses and invalidations as they come, from the empty set; every branch where there is chance."""
    twin = get_policy(name, ways)
    state = twin.empty()
    assert tuple(_core.policy_empty(name, ways)) == state
    valid: set[int] = set()
    for what, number in data.draw(st.lists(st.tuples(st.integers(0, 7), st.integers(0, 47)), max_size=60)):
        invalid = [way for way in range(ways) if way not in valid]
        if what < 4 and valid:
            way = sorted(valid)[number % len(valid)]
            following = [tuple(after) for after in _core.policy_hits(name, ways, state, way)]
            assert following == [twin.hit(state, way)]
            assert twin.hits(state, way) == (twin.hit(state, way),)
            state = following[0]
        elif what == 4 and valid:
            valid.remove(sorted(valid)[number % len(valid)])
        else:
            if invalid:
                way = _core.policy_invalid_way(name, ways, invalid)
                assert way == twin.invalid_way(invalid)
                choices = chances([(way, *fill) for fill in _core.policy_fills(name, ways, state, way)])
                assert choices == list(twin.fills(state, way))
            else:
                choices = chances(_core.policy_misses(name, ways, state))
                assert choices == list(twin.misses(state))
            assert sum(choice.chance or 0 for choice in choices) == 1
            chosen = choices[number % len(choices)]
            valid.add(chosen.way)
            state = chosen.state


# Up to 4 ways all; above where there are at most some thousand states.
SMALL = [
    (name, ways)
    for name, ways in EVERY_POLICY
    if ways <= 4 or (ways <= 6 and not name.startswith("QLRU")) or (ways <= 8 and name in ("FIFO", "NRU", "bit-PLRU"))
    or (ways <= 8 and "PLRU" in name) or name in ("LRU3PLRU4", "tree-PLRU:8+4")
]  # fmt: skip


@pytest.mark.parametrize(("name", "ways"), SMALL)
def test_start_states_are_the_same_on_both_sides(name: str, ways: int) -> None:
    compiled = [tuple(state) for state in _core.policy_start_states(name, ways)]
    assert sorted(compiled) == list(all_states(get_policy(name, ways)))


def test_numbers_of_start_states() -> None:
    counts = {
        ("LRU", 4): 24,
        ("LIP", 4): 24,
        ("FIFO", 8): 8,
        ("tree-PLRU", 8): 128,
        ("bit-PLRU", 8): 254,
        ("bit-PLRU", 1): 1,
        ("bit-PLRU", 2): 2,
        ("NRU", 4): 8,  # way 0 is filled first after every reset, so its bit is always set
        ("LRU3PLRU4", 12): 3072,
        ("MRU3PLRU4", 12): 1536,
        ("random", 16): 1,
        ("QLRU_H00_M1_R2_U1", 4): 160,
        ("QLRU_H11_M1_R0_U0", 4): 175,
    }
    assert {key: len(_core.policy_start_states(*key)) for key in counts} == counts


SYMMETRIC = [(name, ways) for name, ways in EVERY_POLICY if isinstance(get_policy(name, ways), Symmetric)]


def test_which_policies_have_symmetries() -> None:
    without = set(NAMES) - {name for name, _ in SYMMETRIC}
    assert without == {"bit-PLRU", "NRU", "SRRIP-HP", "SRRIP-FP", "BRRIP", *PUBLISHED_QLRU}
    for name in without:
        state = _core.policy_empty(name, 4)
        with pytest.raises(ValueError, match="no symmetries"):
            _core.policy_position(name, 4, state, 0)
        with pytest.raises(ValueError, match="no symmetries"):
            _core.policy_residue(name, 4, state)


@pytest.mark.parametrize(("name", "ways"), [*SYMMETRIC, *NESTED])
@settings(max_examples=20, deadline=None, derandomize=True)
@given(data=st.data())
def test_positions_and_residue_are_the_same_on_both_sides(name: str, ways: int, data: st.DataObject) -> None:
    twin = get_policy(name, ways)
    assert isinstance(twin, Symmetric)
    state = twin.empty()
    for number in data.draw(st.lists(st.integers(0, 31), max_size=30)):
        choices = twin.misses(state)
        state = twin.hit(state, number) if number < ways else choices[number % len(choices)].state
    positions = [twin.position(state, way) for way in range(ways)]
    assert sorted(positions) == list(range(ways))
    assert positions == [_core.policy_position(name, ways, state, way) for way in range(ways)]
    residue = twin.residue(state)
    assert list(residue) == _core.policy_residue(name, ways, state)
    if residue:
        assert [twin.position(residue, way) for way in range(ways)] == list(range(ways))
        assert twin.residue(residue) == residue


FEW_STATES = [(n, w) for n, w in SYMMETRIC if w <= 5 or (w <= 8 and n not in ("LRU", "LIP", "BIP"))]


@pytest.mark.parametrize(("name", "ways"), [*FEW_STATES, *NESTED, ("LRU3PLRU4", 12), ("MRU3PLRU4", 12)])
def test_positions_and_residue_are_all_that_matters(name: str, ways: int) -> None:
    """What relative.hpp relies on: a hit, a miss and a fill move positions and residue in the same way, whatever the
    state was.
    """
    twin = get_policy(name, ways)
    assert isinstance(twin, Symmetric)
    effects: dict[tuple[object, ...], object] = {}

    for state in map(tuple, _core.policy_start_states(name, ways)):
        at = [twin.position(state, way) for way in range(ways)]
        place = {position: way for way, position in enumerate(at)}

        def seen(after: State, place: dict[int, int] = place) -> object:
            return [twin.position(after, place[position]) for position in range(ways)], twin.residue(after)

        here = twin.residue(state)
        for way in range(ways):
            (hit,) = twin.hits(state, way)
            assert effects.setdefault(("hit", here, at[way]), seen(hit)) == seen(hit)
            fills = [(seen(choice.state), choice.chance) for choice in twin.fills(state, way)]
            assert effects.setdefault(("fill", here, at[way]), fills) == fills
        misses = sorted((at[choice.way], seen(choice.state), choice.chance) for choice in twin.misses(state))
        assert effects.setdefault(("miss", here), misses) == misses


@pytest.mark.parametrize(("name", "ways"), CLASSIC)
def test_touching_the_way_touched_last_changes_nothing(name: str, ways: int) -> None:
    """What leaving out immediate repeats relies on."""
    twin = get_policy(name, ways)
    assert isinstance(twin, Deterministic)
    choose = random.Random(f"repeat {name} {ways}")
    state = twin.empty()
    for way in range(ways):
        state = twin.fill(state, way, True)
    for _ in range(200):
        way = choose.randrange(ways)
        for touched in (twin.hit(state, way), twin.fill(state, way, True)):
            if name != "FIFO" or touched != state:
                assert twin.hit(touched, way) == touched
            state = touched


QLRU_GRAMMAR = [
    f"QLRU_H{x}{y}_M{z}_R{u}_U{w}{end}"
    for x in range(3) for y in range(2) for z in range(4) for u in range(3) for w in range(4) for end in ("", "_UMO")
]  # fmt: skip


def test_the_qlru_policies_that_need_not_find_a_victim_are_refused() -> None:
    """All of them at 1 to 4 ways: what is accepted always has a victim, what is refused would lack one."""
    for name in QLRU_GRAMMAR:
        no_age_3 = "_R1" not in name and ("_U2" in name or "_U3" in name)
        for ways in (1, 2, 3, 4):
            if no_age_3 or (ways == 1 and "_R1" not in name and name.endswith("_U1")):
                with pytest.raises(InputError, match="need not find a victim"):
                    get_policy(name, ways)
                with pytest.raises(ValueError, match=r"R0 and R2"):
                    _core.policy_empty(name, ways)
                continue
            # Every state that hits, misses, and fills of ways that were invalidated can lead to, and some more: a
            # miss asks for its victim, which raises where there is none.
            seen = {tuple(_core.policy_empty(name, ways))}
            work = list(seen)
            while work:
                state = work.pop()
                following = [after for _, after, _ in _core.policy_misses(name, ways, state)]
                for way in range(ways):
                    following += _core.policy_hits(name, ways, state, way)
                    following += [after for after, _ in _core.policy_fills(name, ways, state, way)]
                new = {tuple(after) for after in following} - seen
                seen |= new
                work += new
            if ways <= 2:
                assert seen >= set(all_states(get_policy(name, ways)))


@pytest.mark.parametrize("name", ["QLRU_H00_M1_R0_U2", "QLRU_H21_M3_R2_U3", "QLRU_H11_M0_R0_U3_UMO"])
@pytest.mark.parametrize("ways", [2, 4])
def test_a_refused_qlru_policy_does_run_out_of_victims(name: str, ways: int) -> None:
    x, y, z, u, w = map(int, re.sub(r"\D", "", name))
    policy = Qlru(Rules(x, y, z, u, w, miss_only=name.endswith("UMO")), ways)
    with pytest.raises(ValueError, match="3 is not in list"):
        list(all_states(policy))
