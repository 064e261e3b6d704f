# SPDX-License-Identifier: GPL-2.0-or-later
"""The rules of the policies worked out by hand: states after each access, on both sides.

The two implementations agree with each other in test_policies.py; here both agree with what the rules say.
"""

from __future__ import annotations

from fractions import Fraction

import pytest

from l1dflush import _core
from l1dflush.cache.policies import State, get_policy
from l1dflush.cache.policy.play import (
    MAX_LENGTH,
    Item,
    Result,
    example_sequence,
    parse_sequence,
    play,
)
from l1dflush.errors import InputError


def digits(text: str) -> State:
    return tuple(map(int, text))


@pytest.mark.parametrize(
    ("name", "ways", "sequence", "ways_used", "states"),
    [
        # The order, newest first. New lines stay the oldest until they are hit.
        ("LIP", 3, "A B C D D E", "012001", "210 210 210 210 021 021"),
        ("LRU", 3, "A B C A D B", "012012", "021 102 210 021 102 210"),
        # The pointer moves behind the way that is filled, whichever that is.
        ("FIFO", 3, "A B C A B! D E", "0120112", "1 2 0 0 0 2 0"),
        # All bits set are cleared by the next miss, also by one that fills an invalid way.
        ("NRU", 4, "A B C D E D F G", "01230312", "1000 1100 1110 1111 1000 1001 1101 1111"),
        ("NRU", 3, "A B C B! D E", "012110", "100 110 111 111 010 110"),
        ("bit-PLRU", 3, "A B C D A", "01201", "100 110 001 101 010"),
        # The pointer, then the bits.
        ("CLOCK", 3, "A B C D B E B! F", "01201211", "0100 0110 0111 1100 1110 0101 0101 0111"),
        ("CLOCK", 1, "A B A", "000", "01 01 01"),
        # The group touched last, then the trees (root, left, right) of both groups.
        ("MRU2PLRU4", 8, "A B C D E F G H A I J", "01234567042",
         "0110000 0100000 0001000 0000000 1000110 1000100 1000001 1000000 0110000 1110110 0011110"),
        # The root, then the node over ways 0 and 1: touched nodes point to the next child.
        ("tree-PLRU:2+1", 3, "A B C D B E", "012012", "11 10 00 11 10 00"),
        ("tree-PLRU:3", 3, "A B C B D", "01212", "1 2 0 2 0"),
        # The root, then the two nodes of three.
        ("tree-PLRU:3+3", 6, "A B F! C", "01-2", "110 120 120 100"),
        # Ages.
        ("QLRU_H11_M1_R1_U2", 2, "A B C D", "0101", "13 22 23 32"),
        ("QLRU_H11_M1_R1_U3", 2, "A B C", "010", "13 21 12"),
        ("QLRU_H00_M1_R0_U1", 2, "A B A", "010", "13 31 03"),
        ("QLRU_H00_M1_R0_U0", 2, "A B A C", "0101", "13 33 03 23"),
        ("QLRU_H00_M1_R1_U2_UMO", 2, "A B A B C", "01010", "13 11 01 00 11"),
        ("QLRU_H00_M1_R2_U1", 3, "A B C B! D", "21011", "331 311 133 133 113"),
        ("QLRU_H21_M3_R0_U0_UMO", 2, "A A A A B A", "000010", "33 23 13 03 03 03"),
        ("SRRIP-FP", 2, "A B A A A C", "010001", "23 22 12 02 02 12"),
        ("SRRIP-HP", 2, "A B A C D", "01011", "23 22 02 12 22"),
    ],
)  # fmt: skip
def test_states_by_hand(name: str, ways: int, sequence: str, ways_used: str, states: str) -> None:
    run = play(get_policy(name, ways), parse_sequence(sequence))
    assert "".join("-" if step.way is None else str(step.way) for step in run.steps) == ways_used
    assert [step.after.state for step in run.steps] == [digits(state) for state in states.split()]
    # The compiled policy goes the same way.
    state = _core.policy_empty(name, ways)
    for step in run.steps:
        if step.way is None or step.result is Result.INVALIDATED:
            continue
        if step.result is Result.HIT:
            (state,) = _core.policy_hits(name, ways, state, step.way)
        elif step.result is Result.FILL:
            ((state, _),) = _core.policy_fills(name, ways, state, step.way)
        else:
            ((victim, state, _),) = _core.policy_misses(name, ways, state)
            assert victim == step.way
        assert tuple(state) == step.after.state


def test_chances_by_hand() -> None:
    bip = get_policy("BIP", 2)
    assert [(c.way, c.state, c.chance) for c in bip.misses((1, 0))] == [
        (0, (0, 1), Fraction(1, 32)),
        (0, (1, 0), Fraction(31, 32)),
    ]
    brrip = get_policy("BRRIP", 3)
    assert [(c.way, c.state, c.chance) for c in brrip.misses((0, 2, 1))] == [
        (1, (1, 2, 2), Fraction(1, 32)),
        (1, (1, 3, 2), Fraction(31, 32)),
    ]
    assert [(c.way, c.chance) for c in get_policy("random", 3).misses(())] == [
        (way, Fraction(1, 3)) for way in range(3)
    ]
    assert [(c.way, c.chance) for c in get_policy("random", 3).fills((), 1)] == [(1, 1)]


# --- playing a sequence


def test_a_sequence_is_names_with_marks() -> None:
    assert parse_sequence(" A  b2? A!\n") == (Item("A"), Item("b2", asked=True), Item("A", invalidates=True))
    assert [str(item) for item in parse_sequence("A b2? A!")] == ["A", "b2?", "A!"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the sequence is empty (names separated by blanks"),
        ("A ?", "'?' is not an access"),
        ("A?!", "'A?!' is not an access"),
        ("A" * 17, "'AAAAAAAAAAAAAAAAA' is not an access"),
        ("A\x1b[31m", "is not an access"),
        ("A " * (MAX_LENGTH + 1), f"has {MAX_LENGTH + 1} accesses (at most {MAX_LENGTH})"),
    ],
)
def test_what_is_no_sequence_is_said(text: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_sequence(text)
    assert message in str(caught.value)
    assert str(caught.value).isprintable()


def test_a_run_tells_what_happened() -> None:
    run = play(get_policy("LRU", 2), parse_sequence("A B? A? C B! B? B!  D!"))
    assert [(step.result, step.way, step.evicted) for step in run.steps] == [
        (Result.FILL, 0, None),
        (Result.FILL, 1, None),
        (Result.HIT, 0, None),
        (Result.MISS, 1, "B"),
        (Result.NOT_CACHED, None, None),
        (Result.MISS, 0, "A"),
        (Result.INVALIDATED, 0, None),
        (Result.NOT_CACHED, None, None),
    ]
    assert (run.asked, run.hits) == (3, 1)
    assert run.start.content == (None, None)
    assert run.steps[-1].after.content == (None, "C")
    assert [step.after.next_ways for step in run.steps] == [(1,), (0,), (1,), (0,), (0,), (1,), (0,), (0,)]
    assert all(not step.choices for step in run.steps)


def test_of_several_outcomes_the_likeliest_happens() -> None:
    (step,) = play(get_policy("BIP", 2), parse_sequence("A")).steps
    assert [choice.chance for choice in step.choices] == [Fraction(1, 32), Fraction(31, 32)]
    assert (step.taken, step.after.state) == (1, (1, 0))
    step = play(get_policy("random", 3), parse_sequence("A B C D")).steps[-1]
    assert (len(step.choices), step.taken, step.way, step.evicted, step.after.next_ways) == (3, 0, 0, "A", (0, 1, 2))


@pytest.mark.parametrize("ways", [1, 2, 16])
def test_the_example_fills_the_set(ways: int) -> None:
    run = play(get_policy("LRU", ways), parse_sequence(example_sequence(ways)))
    assert [step.result for step in run.steps[: ways + 1]] == [Result.FILL] * ways + [Result.HIT]
    assert any(step.result is Result.MISS for step in run.steps)
    assert run.asked == 4
