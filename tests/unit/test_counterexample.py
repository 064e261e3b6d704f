# SPDX-License-Identifier: GPL-2.0-or-later
"""Counterexamples: they replay, they are as small as they claim to be, and a wrong one is caught."""

from __future__ import annotations

from typing import Any

import plain_search as plain
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from thorough import examples

from l1dflush import _core
from l1dflush.cache.policies import get_policy, known_policies
from l1dflush.errors import UndecidedError
from l1dflush.proof.conditions import ALL_WAYS_VALID, DEFAULT, Conditions
from l1dflush.proof.counterexample import (
    TOUCHES,
    Counterexample,
    Move,
    Outcomes,
    ReplayMismatchError,
    from_witness,
    replay,
)
from l1dflush.proof.limits import BYTES_PER_STATE, Limits
from l1dflush.proof.prover import ItemKind, Word, counterexample, decide, needs, word_of

A, O, F = ItemKind.ACCESS, ItemKind.OPTIONAL, ItemKind.FLUSH  # noqa: E741


bounded = settings(
    max_examples=examples(15, 40),
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)

SMALL = [(name, ways) for ways in (2, 3, 4) for name in known_policies(ways)]


def words(max_lines: int, max_length: int) -> st.SearchStrategy[Word]:
    item = st.tuples(st.integers(0, max_lines - 1), st.sampled_from([A, A, A, A, O, F]))
    return st.lists(item, max_size=max_length).map(tuple)


def replayed(found: Counterexample, word: Word) -> None:
    """The same run, foretold by nothing but what the adversary decided."""
    policy = get_policy(found.policy, found.ways)
    moves, item = [], 0
    for step in found.steps:
        line = None if isinstance(step.line, int) and step.line < 0 else step.line
        assert step.outcome is not Outcomes.DROPPED or word[item][1] is O
        moves.append(Move(step.outcome, -1 if step.way is None else step.way, item, line, step.policy_state))
        item += step.outcome not in TOUCHES
    items = [(line, int(kind)) for line, kind in word]
    assert tuple(replay(policy, items, found.policy_state, found.content, moves)) == found.steps
    assert found.leftovers


@pytest.mark.parametrize(("name", "ways"), SMALL)
@bounded
@given(word=words(4, 6), conditions=st.sampled_from([DEFAULT, ALL_WAYS_VALID, Conditions(ALL_WAYS_VALID.start, 1)]))
def test_counterexamples_are_the_smallest(name: str, ways: int, word: Word, conditions: Conditions) -> None:
    if sum(kind is O for _, kind in word) > 2:
        word = tuple((line, A if kind is O else kind) for line, kind in word)
    expected = plain.smallest(name, ways, word, conditions)
    if expected is None:
        with pytest.raises(ValueError, match="no old line can be left"):
            counterexample(name, ways, word, conditions)
        return
    found = counterexample(name, ways, word, conditions)
    assert found.smallest
    assert found.policy_state in plain.start_states(name, ways)
    assert (found.cached_at_start, found.hits, len(found.leftovers)) == expected
    replayed(found, word)


@pytest.mark.parametrize("name", known_policies(8))
@settings(bounded, max_examples=examples(15, 60))
@given(word=words(9, 16))
def test_counterexamples_at_8_ways_replay(name: str, word: Word) -> None:
    if name == "LRU2PLRU4" and sum(kind is F for _, kind in word) > 1:
        word = tuple((line, A if kind is F else kind) for line, kind in word)
    if decide(name, 8, word).leftovers == 0:
        assert _core.witness(name, 8, [line for line, _ in word], [int(kind) for _, kind in word]) is None
        return
    replayed(counterexample(name, 8, word), word)


@pytest.mark.parametrize(
    ("name", "ways"),
    [(n, w) for n in ("LRU", "tree-PLRU", "bit-PLRU", "FIFO") for w in (4, 8)] + [("LRU3PLRU4", 12)],
)
def test_one_access_less_than_needed(name: str, ways: int) -> None:
    enough = needs(name, ways)
    assert enough is not None
    word = word_of(range(enough - 1))
    found = counterexample(name, ways, word)
    replayed(found, word)
    with pytest.raises(ValueError, match="no old line"):
        counterexample(name, ways, word_of(range(enough)))


def any_counterexample(name: str, ways: int, word: Word) -> Counterexample:
    lines, kinds = [line for line, _ in word], [int(kind) for _, kind in word]
    found = _core.witness(name, ways, lines, kinds, smallest=False)
    assert found is not None
    start, first_items, steps, _ = found
    return from_witness(
        get_policy(name, ways),
        [(line, int(kind)) for line, kind in word],
        start=tuple(start),
        first_items=first_items,
        moves=[Move(Outcomes(what), way, item, None, tuple(state)) for what, way, item, _, state in steps],
        smallest=False,
    )


@pytest.mark.parametrize("name", known_policies(8))
@settings(bounded, max_examples=examples(15, 30))
@given(word=words(9, 16))
def test_counterexamples_that_need_not_be_small_replay(name: str, word: Word) -> None:
    if name == "LRU2PLRU4" and sum(kind is F for _, kind in word) > 1:
        word = tuple((line, A if kind is F else kind) for line, kind in word)
    if decide(name, 8, word).leftovers > 0:
        replayed(any_counterexample(name, 8, word), word)


def test_at_12_ways_replay() -> None:
    word = word_of(range(21))
    replayed(any_counterexample("bit-PLRU", 12, word), word)
    flushes: Word = ((0, F), (1, F), *((line, A) for line in range(2, 12)))
    replayed(any_counterexample("bit-PLRU", 12, flushes), flushes)
    replayed(any_counterexample("FIFO", 12, flushes), flushes)


def test_without_room_for_the_smallest_any_is_given_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    find = _core.witness

    def no_room(*question: Any, smallest: bool = True, max_states: int | None = None, **more: Any) -> Any:
        # The smallest is nearly always the cheaper one to find; here it is not.
        return find(*question, smallest=smallest, max_states=1 if smallest else max_states, **more)

    monkeypatch.setattr(_core, "witness", no_room)
    word = word_of(range(12))
    found = counterexample("tree-PLRU", 8, word)
    assert not found.smallest
    replayed(found, word)


def test_without_room_at_all_it_is_undecided() -> None:
    with pytest.raises(UndecidedError) as caught:
        counterexample("tree-PLRU", 8, word_of(range(12)), limits=Limits(3 * BYTES_PER_STATE))
    assert caught.value.cause == "state-space-too-large"


def test_equal_questions_have_equal_answers() -> None:
    word = word_of(range(12))
    assert counterexample("tree-PLRU", 8, word) == counterexample("tree-PLRU", 8, word)


def test_content_uses_the_callers_line_names() -> None:
    found = counterexample("tree-PLRU", 8, word_of(range(100, 112)))
    assert {line for line in found.content if isinstance(line, int)} <= set(range(100, 112))
    assert {line for line in found.content if isinstance(line, str)} >= set(found.leftovers)


def test_steps_of_a_small_one() -> None:
    # Two ways and one access: whatever it misses, one old line stays.
    found = counterexample("LRU", 2, ((5, A), (5, F)), ALL_WAYS_VALID)
    assert found.content == ("a", "b")
    assert [(step.outcome, step.way, step.evicted) for step in found.steps] == [
        (Outcomes.MISS, 1, "b"),
        (Outcomes.FLUSHED, 1, 5),
    ]
    assert found.steps[-1].content == ("a", None)
    assert found.leftovers == ("a",)


def test_a_prover_that_is_wrong_is_caught() -> None:
    policy = get_policy("LRU", 2)
    word = [(0, 0), (1, 0)]
    with pytest.raises(ReplayMismatchError, match="item 1"):
        from_witness(
            policy,
            word,
            start=(0, 1),
            first_items=[-1, -1],
            moves=[Move(Outcomes.MISS, 1, 0, None, (1, 0)), Move(Outcomes.HIT, 0, 1, None, (0, 1))],
            smallest=True,
        )
    with pytest.raises(ReplayMismatchError, match="nothing is left"):
        from_witness(
            policy,
            word,
            start=(0, 1),
            first_items=[-1, -1],
            moves=[Move(Outcomes.MISS, 1, 0, None, (1, 0)), Move(Outcomes.MISS, 0, 1, None, (0, 1))],
            smallest=True,
        )
    with pytest.raises(ReplayMismatchError, match="items were expected"):
        from_witness(policy, word, start=(0, 1), first_items=[-1, -1], moves=[], smallest=True)
