# SPDX-License-Identifier: GPL-2.0-or-later
"""Flushes again and again: against plain fixpoints, known figures, and the views of a set against each other."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from plain_steady import Plain
from test_prover import states

from l1dflush import _core
from l1dflush.errors import InputError, UndecidedError
from l1dflush.proof.conditions import Start
from l1dflush.proof.counterexample import Outcomes
from l1dflush.proof.prover import ItemKind, Word, word_of
from l1dflush.proof.steady import SteadyOutcome, decide_protocol, least_lines
from l1dflush.proof.steady_run import Between

A, O, F = ItemKind.ACCESS, ItemKind.OPTIONAL, ItemKind.FLUSH  # noqa: E741

STARTS = [Start.parse(name) for name in ("steady", "steady-from-any")]
STARTS += [Start(start.base, True) for start in STARTS]
STEADY, FROM_ANY, STEADY_INVALIDATIONS, FROM_ANY_INVALIDATIONS = STARTS

bounded = settings(
    max_examples=12, derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck)
)

POLICIES = ("LRU", "FIFO", "tree-PLRU", "bit-PLRU", "NRU", "QLRU_H11_M1_R0_U0", "SRRIP-HP", "CLOCK", "LIP")
# So many states that two ways, with a third for a few, are enough to ask of plain Python.
AGES = ("QLRU_H11_M1_R0_U0", "SRRIP-HP")
SMALL = [
    (name, ways)
    for name in POLICIES
    for ways in (1, 2, 3, 4)
    if (name != "tree-PLRU" or ways != 3) and (ways < 3 or name not in AGES)
]


def words(max_lines: int, max_length: int) -> st.SearchStrategy[Word]:
    item = st.tuples(st.integers(0, max_lines - 1), st.sampled_from([A, A, A, A, O, F]))
    return st.lists(item, max_size=max_length).map(tuple)


def protocols(max_words: int, max_lines: int, max_length: int) -> st.SearchStrategy[list[Word]]:
    return st.lists(words(max_lines, max_length), min_size=1, max_size=max_words)


def plainly(start: Start, plain: Plain) -> tuple[int, ...]:
    return plain.greatest() if start.base == FROM_ANY.base else plain.least()


def check(name: str, ways: int, protocol: list[Word], start: Start, own: frozenset[int], touches: int = 0) -> None:
    outcome = decide_protocol(name, ways, protocol, start, own=own, touches=touches)
    plain = Plain(name, ways, tuple(protocol), own, start.invalidations, touches)
    assert outcome.per_word == plainly(start, plain)
    assert outcome.exact
    assert (outcome.counterexample is None) == outcome.proved
    if outcome.counterexample is not None:
        assert len(outcome.counterexample.leftovers) == outcome.leftovers


@pytest.mark.parametrize("start", STARTS, ids=str)
@pytest.mark.parametrize(("name", "ways"), [(n, w) for n, w in SMALL if w <= 3])
@bounded
@given(protocol=protocols(2, 3, 5), own=st.sets(st.integers(0, 3), max_size=1))
@example(protocol=[((0, F), (1, F), (0, A), (2, A))], own=set())
@example(protocol=[((0, A), (1, A)), ()], own={0})
def test_protocols_are_decided_as_by_plain_fixpoints(
    name: str, ways: int, start: Start, protocol: list[Word], own: set[int]
) -> None:
    check(name, ways, protocol, start, frozenset(own))


@pytest.mark.parametrize("start", STARTS, ids=str)
@pytest.mark.parametrize(("name", "ways"), [(n, w) for n, w in SMALL if w in (2, 3)])
@settings(bounded, max_examples=6)
@given(
    protocol=st.lists(words(3, 5), min_size=2, max_size=3),
    turns=st.lists(st.sets(st.integers(0, 1), min_size=1), min_size=1, max_size=2),
)
@example(protocol=[word_of([0, 1, 2]), word_of([2, 1, 0])], turns=[{0, 1}])
def test_a_turn_may_be_one_of_several_words(
    name: str, ways: int, start: Start, protocol: list[Word], turns: list[set[int]]
) -> None:
    choices = tuple(tuple(sorted(turn)) for turn in turns)
    outcome = decide_protocol(name, ways, protocol, start, turns=choices)
    assert outcome.per_word == plainly(
        start, Plain(name, ways, tuple(protocol), frozenset(), start.invalidations, 0, choices)
    )
    assert (outcome.counterexample is None) == outcome.proved


@pytest.mark.parametrize("start", [STEADY, FROM_ANY], ids=str)
@pytest.mark.parametrize("name", [name for name, ways in SMALL if ways == 4])
@settings(bounded, max_examples=4)
@given(order=st.permutations(range(4)), again=st.lists(st.integers(0, 3), max_size=3))
def test_full_words_at_4_ways(name: str, start: Start, order: list[int], again: list[int]) -> None:
    check(name, 4, [word_of(order), word_of([*range(4), *again])], start, frozenset())


@pytest.mark.parametrize("name", ["tree-PLRU", "FIFO"])
@settings(bounded, max_examples=2)
@given(order=st.permutations(range(4)))
def test_invalidations_at_4_ways(name: str, order: list[int]) -> None:
    check(name, 4, [word_of(order)], STEADY_INVALIDATIONS, frozenset())


@pytest.mark.parametrize("start", STARTS, ids=str)
@pytest.mark.parametrize("name", ["LRU", "tree-PLRU", "bit-PLRU", "SRRIP-HP"])
@settings(bounded, max_examples=4)
@given(protocol=protocols(2, 3, 4))
def test_touches_during_a_flush(name: str, start: Start, protocol: list[Word]) -> None:
    check(name, 2, protocol, start, frozenset(), touches=1)


@pytest.mark.parametrize(("ways", "lines", "touches"), [(2, 3, 1), (2, 4, 2)])
@pytest.mark.parametrize("start", [STEADY, FROM_ANY], ids=str)
def test_a_line_that_comes_in_behind_the_last_access_is_there_at_the_next_flush(
    start: Start, ways: int, lines: int, touches: int
) -> None:
    # Without that touch nothing would be left.
    check("NRU", ways, [word_of(range(lines))], start, frozenset(), touches)
    outcome = decide_protocol("NRU", ways, [word_of(range(lines))], start, touches=touches)
    assert outcome.leftovers == 1
    assert outcome.counterexample is not None
    assert any(
        step.outcome is Outcomes.TOUCH_MISS and step is flush.steps[-1]
        for flush in outcome.counterexample.flushes for step in flush.steps
    )  # fmt: skip


@pytest.mark.parametrize("start", STARTS, ids=str)
@pytest.mark.parametrize("name", ["LRU", "FIFO", "tree-PLRU", "CLOCK", "LIP"])
@settings(bounded, max_examples=8)
@given(protocol=protocols(2, 4, 6))
def test_positions_and_ways_give_the_same_answer(name: str, start: Start, protocol: list[Word]) -> None:
    words = [[(line, int(kind)) for line, kind in word] for word in protocol]
    turns = [[number] for number in range(len(words))]
    fast, absolute = (
        _core.steady(
            name, 4 if name == "tree-PLRU" else 3, words, turns=turns, lines=4, own=[],
            from_any=start.base == FROM_ANY.base, invalidations=start.invalidations, touches=0,
            enough=[4] * len(words), verdict=False, absolute=absolute,
        )
        for absolute in (False, True)
    )  # fmt: skip
    assert fast[0] == absolute[0]
    assert fast[1]
    assert absolute[1]


@pytest.mark.parametrize(("start", "least"), [(STEADY, 8), (FROM_ANY, 9), (STEADY_INVALIDATIONS, 13)], ids=str)
def test_fewest_lines_of_tree_plru(start: Start, least: int) -> None:
    assert least_lines("tree-PLRU", 8, start) == least


@pytest.mark.parametrize("name", ["LRU", "FIFO", "tree-PLRU"])
@pytest.mark.parametrize("start", [STEADY, FROM_ANY], ids=str)
def test_fewest_lines_with_a_touch(name: str, start: Start) -> None:
    least = least_lines(name, 2, start, touches=1)
    plain = {
        lines: plainly(start, Plain(name, 2, (word_of(range(lines)),), touches=1)) == (0,)
        for lines in range(1, (least or 0) + 1)
    }
    assert [lines for lines, enough in plain.items() if enough] == [least]


def test_fewest_lines_from_any_state() -> None:
    # FIFO is empty after as many lines as there are ways if none of them is cached, and hits turn nothing.
    assert least_lines("FIFO", 4, STEADY) == 4
    assert least_lines("FIFO", 4, FROM_ANY) == 7
    assert least_lines("tree-PLRU", 4, FROM_ANY_INVALIDATIONS) == 5


def test_forwards_and_backwards_in_turn() -> None:
    def there_and_back(lines: int) -> SteadyOutcome:
        return decide_protocol("tree-PLRU", 8, [word_of(range(lines)), word_of(reversed(range(lines)))], STEADY)

    assert there_and_back(8).leftovers == 1
    assert there_and_back(9).proved


def test_no_number_of_lines_is_enough_for_lip() -> None:
    assert least_lines("LIP", 4, STEADY) is None
    assert least_lines("random", 4, STEADY) is None
    # Whatever the first state was: any number of lines would have to be tried.
    with pytest.raises(UndecidedError) as caught:
        least_lines("LIP", 2, FROM_ANY)
    assert caught.value.cause == "no-bound-on-lines"


def test_a_run_is_told_flush_by_flush() -> None:
    outcome = decide_protocol("tree-PLRU", 4, [word_of(range(4)), word_of([3, 2, 1, 0])], FROM_ANY)
    run = outcome.counterexample
    assert run is not None
    assert run.again > 0
    assert [flush.word for flush in run.flushes] == [number % 2 for number in range(len(run.flushes))]
    assert len(run.leftovers) == outcome.leftovers > 0
    assert all(isinstance(step.outcome, Between) for flush in run.flushes for step in flush.before)


def test_nothing_is_concluded_beyond_the_limits() -> None:
    with pytest.raises(UndecidedError) as caught:
        decide_protocol("tree-PLRU", 8, [word_of(range(8))], STEADY, limits=states(10))
    assert caught.value.cause == "state-space-too-large"
    # One run that leaves something is a refutation all the same.
    outcome = decide_protocol("FIFO", 8, [word_of(range(7))], STEADY, limits=states(2))
    assert outcome.leftovers > 0
    assert not outcome.proved


def test_wrong_questions() -> None:
    with pytest.raises(InputError):
        decide_protocol("tree-PLRU", 12, [word_of([1])], STEADY)
    with pytest.raises(ValueError, match="not about a protocol"):
        decide_protocol("LRU", 2, [word_of([1])], Start.parse("any"))
    with pytest.raises(ValueError, match="has a word"):
        decide_protocol("LRU", 2, [], STEADY)
