# SPDX-License-Identifier: GPL-2.0-or-later
"""How likely is it at most that an old line is left? Against closed forms, by hand, and against trying every start."""

from __future__ import annotations

import random
from fractions import Fraction
from math import comb

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from plain_chance import largest_chance

from l1dflush.cache.geometry import Geometry
from l1dflush.cache.policies import Policy, get_policy
from l1dflush.cache.policy.machine import MachinePolicy, parse_machine
from l1dflush.errors import InputError, UndecidedError
from l1dflush.proof.chance import (
    accesses_for_chance,
    by_chance,
    chance,
    chance_curve,
    whole_cache,
    whole_cache_float,
)
from l1dflush.proof.conditions import ALL_WAYS_VALID, DEFAULT, Conditions, Start
from l1dflush.proof.limits import Limits
from l1dflush.proof.prover import ItemKind, Word, word_of

MILLIONTH = Fraction(1, 10**6)


def some_survive(ways: int, misses: int) -> Fraction:
    """The chance that one of ``ways`` old lines survives so many misses with random replacement.

    Inclusion and exclusion over the lines that survive: j given lines all do with (1 - j/ways)^misses.
    """
    return sum(
        ((-1) ** (j + 1) * comb(ways, j) * Fraction(ways - j, ways) ** misses for j in range(1, ways + 1)), Fraction(0)
    )


@pytest.mark.parametrize("start", ["any", "any+invalid", "cold", "any+invalidations"])
@pytest.mark.parametrize("ways", [1, 2, 3, 4, 8, 12, 16])
def test_random_replacement_in_closed_form(ways: int, start: str) -> None:
    curve = chance_curve("random", ways, 40, Conditions(Start.parse(start)))
    assert [one.exact_value for one in curve] == [some_survive(ways, n) for n in range(41)]
    assert all(one.exact for one in curve)


def test_a_given_line_survives_as_published() -> None:
    # 8 ways, 16 misses: (7/8)^16 for one given line; some line of 8 is likelier, but by no more than 8 times.
    given_line = Fraction(7, 8) ** 16
    some_line = chance("random", 8, word_of(range(16))).exact_value
    assert given_line < some_line < 8 * given_line
    assert some_line == some_survive(8, 16)


@pytest.mark.parametrize(
    ("geometry", "sets", "below_2_20", "below_millionth"),
    [("32K,8,64", 64, 151, 151), ("32K,4,64", 128, 70, 70), ("64K,16,64", 64, 323, 322)],
)
def test_accesses_for_a_whole_cache_with_random_replacement(
    geometry: str, sets: int, below_2_20: int, below_millionth: int
) -> None:
    cache = Geometry.parse(geometry)
    assert cache.sets == sets
    assert accesses_for_chance("random", cache, Fraction(1, 2**20), ALL_WAYS_VALID) == below_2_20
    assert accesses_for_chance("random", cache, Fraction(1, 2**20), DEFAULT) == below_2_20
    assert accesses_for_chance("random", cache, MILLIONTH, DEFAULT) == below_millionth


def test_64k_with_16_ways_needs_one_access_more_than_listed() -> None:
    """322 accesses are enough for a chance of 1 in a million, but not for 2^-20, which is a little less."""

    def anywhere(accesses: int) -> Fraction:
        return whole_cache([(some_survive(16, accesses), 64)])

    assert Fraction(1, 2**20) < anywhere(322) < MILLIONTH < anywhere(321)
    assert anywhere(323) < Fraction(1, 2**20)
    assert float(anywhere(322)) == pytest.approx(9.66163774853165e-07, rel=1e-14)
    assert float(anywhere(323)) == pytest.approx(9.057785659471873e-07, rel=1e-14)


def test_a_cached_line_never_helps_random_replacement() -> None:
    """Neither for different accesses nor for repeats: from `cold` the chance is as large."""
    for lines in (range(12), [0, 1, 2, 0, 1, 2, 3, 0], [*range(6), *range(6)]):
        word = word_of(lines)
        any_start, cold = (chance("random", 4, word, Conditions(Start.parse(start))) for start in ("any", "cold"))
        assert any_start.exact
        assert cold.exact
        assert any_start.exact_value == cold.exact_value


def test_bip_by_hand() -> None:
    # The first miss replaces the oldest way. It stays the oldest but once in 32 times, and is replaced again.
    curve = chance_curve("BIP", 2, 3, ALL_WAYS_VALID)
    keeps = Fraction(31, 32)
    assert [one.exact_value for one in curve] == [1, 1, keeps, keeps**2]
    # Two lines come to hit in the end, and what they leave of three ways is left alone; of two ways they leave nothing.
    assert chance("BIP", 3, word_of([0, 1] * 9), ALL_WAYS_VALID).exact_value == 1
    assert chance("BIP", 3, word_of([0, 1] * 9), Conditions(Start.parse("cold"))).exact_value == 1
    # Old A, B: line 0 replaces B and then, once in 32 times, line 1 replaces A.
    assert chance("BIP", 2, word_of([0, 1]), ALL_WAYS_VALID).exact_value == keeps


@pytest.mark.parametrize(("name", "ways"), [("BIP", 4), ("BIP", 8), ("BIP", 16), ("BRRIP", 4), ("random", 16)])
def test_different_accesses_are_exact(name: str, ways: int) -> None:
    curve = chance_curve(name, ways, 60, ALL_WAYS_VALID)
    assert all(one.exact for one in curve)
    values = [one.exact_value for one in curve]
    assert values == sorted(values, reverse=True)
    assert values[0] == 1
    assert 0 < values[-1] < 1


def test_the_curve_is_what_words_give() -> None:
    for name in ("random", "BIP", "BRRIP"):
        for conditions in (ALL_WAYS_VALID, DEFAULT, Conditions(touches=1)):
            curve = chance_curve(name, 3, 6, conditions)
            words = [chance(name, 3, word_of(range(n)), conditions) for n in range(7)]
            for along, one in zip(curve, words, strict=True):
                assert one.exact
                assert along.at_least <= one.exact_value <= along.exact_value


# At the first access it is chance that decides which way has to be hit by a later one. Who chooses the start after
# having seen that keeps an old line for certain; who has to choose it before does not.
COIN = """
ways 3
start a
a hit 0 -> b
a hit 1 -> b
a hit 2 -> a
a miss -> 1 a 1/2
a miss -> 1 b 1/2
b hit 0 -> a
b hit 1 -> a
b hit 2 -> b
b miss -> 0 b 1/2
b miss -> 2 a 1/2
"""


def test_the_start_is_chosen_before_anything_happens() -> None:
    machine = parse_machine(COIN, "coin")
    word = word_of(range(4))
    found = chance(machine, 3, word, ALL_WAYS_VALID)
    assert found.exact
    assert found.exact_value == Fraction(7, 8) == largest_chance(machine, word)
    assert str(found) == "0.875"
    # Without the memory to try the starts there is an upper bound, which says that it is one.
    bound = chance(machine, 3, word, ALL_WAYS_VALID, limits=Limits(memory=60 * 200))
    assert not bound.exact
    assert bound.exact_value == 1
    assert bound.at_least <= found.exact_value
    assert str(bound) == "at most 1"
    # The curve has no more than the bound.
    assert not chance_curve(machine, 3, 4, ALL_WAYS_VALID)[4].exact


def test_a_machine_that_is_random_replacement() -> None:
    text = "ways 3\nstart s\n" + "".join(
        f"s hit {way} -> s\ns fill {way} -> s\ns miss -> {way} s 1/3\n" for way in range(3)
    )
    for lines in (range(6), [0, 1, 2, 3, 0, 1, 2, 3]):
        for conditions in (DEFAULT, Conditions(touches=1)):
            one, other = (chance(policy, 3, word_of(lines), conditions)
                          for policy in (parse_machine(text, "r"), get_policy("random", 3)))  # fmt: skip
            assert one.exact
            assert one.exact_value == other.exact_value


def test_policies_that_leave_nothing_to_chance() -> None:
    assert not by_chance("tree-PLRU", 8)
    assert not by_chance("LIP", 4)
    assert by_chance("BIP", 4)
    assert chance("tree-PLRU", 8, word_of(range(12))).exact_value == 1
    assert chance("tree-PLRU", 8, word_of(range(13))).exact_value == 0
    assert [one.exact_value for one in chance_curve("LRU", 4, 6)] == [1, 1, 1, 1, 0, 0, 0]
    cache = Geometry.parse("32K,8,64")
    assert accesses_for_chance("tree-PLRU", cache, MILLIONTH) == 13
    assert accesses_for_chance("LIP", cache, MILLIONTH) is None


def test_a_machine_that_keeps_a_line_for_ever() -> None:
    keeps = parse_machine("ways 2\nstart s\ns hit 0 -> s\ns hit 1 -> s\ns miss -> 0 s 1/2\ns miss -> 0 s 1/2", "keeps")
    assert accesses_for_chance(keeps, Geometry(128, 2, 64), MILLIONTH, ALL_WAYS_VALID) is None


def test_touches() -> None:
    # Others do not take an old line away unless they want to: a touch that brings in the next line spares a miss.
    none, one = (chance("random", 4, word_of(range(6)), Conditions(touches=e)) for e in (0, 1))
    assert one.exact
    assert one.exact_value == none.exact_value


def test_what_is_too_large_is_undecided() -> None:
    with pytest.raises(UndecidedError) as caught:
        chance("BRRIP", 4, word_of([*range(8), *range(8)]), limits=Limits(memory=20_000))
    assert caught.value.cause == "state-space-too-large"
    with pytest.raises(UndecidedError) as caught:
        chance_curve("BRRIP", 12, 10, limits=Limits(memory=1 << 20))
    assert caught.value.cause == "state-space-too-large"
    with pytest.raises(InputError):
        accesses_for_chance("random", Geometry.parse("32K,8,64"), Fraction(0))


def test_whole_cache() -> None:
    tiny = Fraction(7, 8) ** 400
    sets = [(tiny, 63), (Fraction(1, 10**30), 1)]
    exact = whole_cache(sets)
    assert exact == 1 - (1 - tiny) ** 63 * (1 - Fraction(1, 10**30))
    assert whole_cache_float(sets) == pytest.approx(float(exact), rel=1e-12)
    assert whole_cache_float([(Fraction(1, 2**2000), 64)]) == 0
    assert whole_cache([(Fraction(1, 2), 2)]) == Fraction(3, 4) == whole_cache_float([(Fraction(1, 2), 2)])
    assert whole_cache([(Fraction(1), 1), (Fraction(0), 5)]) == 1 == whole_cache_float([(Fraction(1), 1)])
    assert whole_cache([]) == 0 == whole_cache_float([])


def played(policy: Policy, word: Word, dice: random.Random) -> bool:
    """Whether an old line is left after one run from a set of old lines."""
    state, ways = policy.empty(), [-1] * policy.ways
    for line, _ in word:
        if line in ways:
            (state,) = policy.hits(state, ways.index(line))
            continue
        choices = policy.misses(state)
        (taken,) = dice.choices(choices, [float(choice.chance or 0) for choice in choices])
        ways[taken.way], state = line, taken.state
    return -1 in ways


@pytest.mark.parametrize("name", ["random", "BIP"])
def test_runs_by_dice_come_out_as_often(name: str) -> None:
    policy, word, dice = get_policy(name, 4), word_of([*range(8), *range(40, 70)]), random.Random(1)
    runs = 3000
    left = sum(played(policy, word, dice) for _ in range(runs)) / runs
    assert left == pytest.approx(chance(policy, 4, word).float, abs=0.03)


ITEMS = st.tuples(st.integers(0, 3), st.sampled_from([ItemKind.ACCESS] * 6 + [ItemKind.OPTIONAL, ItemKind.FLUSH]))
STARTS = st.sampled_from(["any", "any+invalid", "any+invalidations", "cold"])


@st.composite
def machines(draw: st.DrawFn) -> MachinePolicy:
    """Machines with chances, and with choices that are the adversary's."""
    ways, states = draw(st.integers(2, 3)), draw(st.integers(1, 3))
    lines = [f"ways {ways}", "start s0"]

    def some(prefix: str, outcomes: list[str], chances: bool) -> None:
        taken = draw(st.lists(st.sampled_from(outcomes), min_size=1, max_size=3, unique=True))
        if chances and draw(st.integers(0, 3)):
            parts = [draw(st.integers(1, 3)) for _ in taken]
            lines.extend(f"{prefix} -> {o} {part}/{sum(parts)}" for o, part in zip(taken, parts, strict=True))
        else:
            lines.extend(f"{prefix} -> {o}" for o in taken)

    everything = [f"s{state}" for state in range(states)]
    for state in everything:
        for way in range(ways):
            some(f"{state} hit {way}", everything, chances=False)
            some(f"{state} fill {way}", everything, chances=True)
        some(f"{state} miss", [f"{way} {to}" for way in range(ways) for to in everything], chances=True)
    return parse_machine("\n".join(lines), "drawn")


def agrees(policy: Policy, word: Word, start: str, touches: int, own: set[int], memory: int) -> None:
    try:
        found = chance(policy, policy.ways, word, Conditions(Start.parse(start), touches), own=own,
                       limits=Limits(memory=memory))  # fmt: skip
    except UndecidedError:
        assert memory < 1 << 20
        return
    cold = frozenset({line for line, _ in word} - own) if start == "cold" else frozenset[int]()
    expected = largest_chance(policy, word, start.replace("cold", "any"), touches, cold)
    if found.exact:
        assert found.exact_value == expected == found.at_least
    else:
        assert memory < 1 << 20
        assert found.at_least <= expected <= found.exact_value


# With little memory the answer may be a bound, which has to hold all the same.
MEMORY = st.sampled_from([1 << 28, 1 << 28, 12_000, 40_000, 100_000])


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.sampled_from(["random", "BIP", "BRRIP"]), st.integers(2, 3), st.lists(ITEMS, min_size=1, max_size=6), STARTS,
    st.integers(0, 1), st.sets(st.integers(0, 3)), MEMORY,
)  # fmt: skip
def test_named_policies_against_every_start(
    name: str, ways: int, word: list[tuple[int, ItemKind]], start: str, touches: int, own: set[int], memory: int
) -> None:
    agrees(get_policy(name, ways), tuple(word), start, touches, own, memory)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    machines(), st.lists(ITEMS, min_size=1, max_size=6), STARTS, st.integers(0, 1), st.sets(st.integers(0, 3)), MEMORY
)
def test_machines_against_every_start(
    machine: MachinePolicy, word: list[tuple[int, ItemKind]], start: str, touches: int, own: set[int], memory: int
) -> None:
    agrees(machine, tuple(word), start, touches, own, memory)


@pytest.mark.parametrize(
    ("name", "lines"),
    [("random", [0, 1, 2, 3, 0, 1]), ("BIP", [0, 1, 0, 2, 1, 3, 0]), ("BRRIP", [0, 1, 0, 2, 0])],
)
def test_four_ways_against_every_start(name: str, lines: list[int]) -> None:
    agrees(get_policy(name, 4), word_of(lines), "any", 0, set(), 1 << 28)


def test_invalidations_of_a_machine_without_fills() -> None:
    machine = parse_machine(COIN, "coin")
    with pytest.raises(UndecidedError) as caught:
        chance(machine, 3, word_of(range(4)), Conditions(Start.parse("any+invalidations")))
    assert caught.value.cause == "unknown-fill"
