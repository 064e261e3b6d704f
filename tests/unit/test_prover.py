# SPDX-License-Identifier: GPL-2.0-or-later
"""The prover against plain enumeration, and against itself in its slower forms."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from itertools import product
from typing import NoReturn

import plain_search as plain
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from thorough import examples

from l1dflush import _core
from l1dflush.cache.policies import all_policies, get_policy, known_policies
from l1dflush.errors import InputError, UndecidedError
from l1dflush.proof import prover
from l1dflush.proof.conditions import ALL_WAYS_VALID, Base, Conditions, Start
from l1dflush.proof.limits import BYTES_PER_STATE, Limits
from l1dflush.proof.prover import (
    ItemKind,
    Word,
    at_most,
    canonical,
    counterexample,
    decide,
    layers,
    needs,
    survivors,
    word_of,
)
from l1dflush.proof.question import told

A, O, F = ItemKind.ACCESS, ItemKind.OPTIONAL, ItemKind.FLUSH  # noqa: E741


bounded = settings(
    max_examples=examples(20, 60),
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)

SMALL = [(name, ways) for ways in (1, 2, 3, 4) for name in known_policies(ways)]
EIGHT = [(name, 8) for name in known_policies(8)]
COLD = Conditions(Start(Base.COLD))
BOUNDED = st.sampled_from([0, 0, 0, 1])


def words(max_lines: int, max_length: int, min_length: int = 0) -> st.SearchStrategy[Word]:
    item = st.tuples(st.integers(0, max_lines - 1), st.sampled_from([A, A, A, O, F]))
    return st.lists(item, min_size=min_length, max_size=max_length).map(tuple)


def states(count: int) -> Limits:
    """As much memory as so many states take."""
    return Limits(count * BYTES_PER_STATE)


def columns(word: Word) -> tuple[list[int], list[int]]:
    return [line for line, _ in word], [int(kind) for _, kind in word]


def all_words(length: int) -> Iterator[Word]:
    """Every canonical word of this length, with every choice of kinds."""

    def names(done: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
        if len(done) == length:
            yield done
            return
        for line in range(max(done, default=-1) + 2):
            yield from names((*done, line))

    for lines in names(()):
        for kinds in product((A, O, F), repeat=length):
            yield tuple(zip(lines, kinds, strict=True))


def full(name: str, ways: int, word: Word) -> int:
    """Leftovers where all ways are valid at the start."""
    return decide(name, ways, word, ALL_WAYS_VALID).leftovers


@pytest.mark.parametrize(("name", "ways"), [(n, w) for n, w in SMALL if w <= 2])
def test_every_short_word_is_decided_as_by_enumeration(name: str, ways: int) -> None:
    for length in range(5):
        for word in all_words(length):
            assert full(name, ways, word) == plain.most_left(name, ways, word), word


@pytest.mark.parametrize(("name", "ways"), [(n, w) for n, w in SMALL if w == 3])
def test_every_short_word_at_3_ways(name: str, ways: int) -> None:
    for word in all_words(3):
        assert full(name, ways, word) == plain.most_left(name, ways, word), word


@pytest.mark.parametrize(("name", "ways"), [(n, w) for n, w in SMALL if w >= 2])
@bounded
@given(word=words(4, 7))
# A prefetch that came in and was pushed out again may not hit a way of the start any more.
@example(word=((0, O), (1, A), (2, A), (3, A), (0, A), (1, A)))
@example(word=((0, O), (1, O), (0, F), (1, A), (2, A), (0, A)))
@example(word=((0, F), (1, F), (2, A), (3, A), (0, A), (1, A)))
def test_words_are_decided_as_by_enumeration(name: str, ways: int, word: Word) -> None:
    if sum(kind is O for _, kind in word) > 3:
        word = tuple((line, A if kind is O and index % 2 else kind) for index, (line, kind) in enumerate(word))
    assert full(name, ways, word) == plain.most_left(name, ways, word)


OTHER_POLICIES = [
    *all_policies(3),
    "QLRU_H21_M2_R1_U3",
    "QLRU_H20_M3_R1_U2_UMO",
    "QLRU_H10_M0_R2_U1",
    "QLRU_H21_M1_R0_U1_UMO",
]


@pytest.mark.parametrize("start", ["any", "any+invalid", "any+invalidations", "cold", "cold+invalidations"])
@pytest.mark.parametrize("name", OTHER_POLICIES)
@settings(bounded, max_examples=examples(4, 8))
@given(word=words(4, 6), touches=st.integers(0, 2))
def test_every_policy_from_every_start_with_touches(name: str, start: str, word: Word, touches: int) -> None:
    ways = 3
    if touches == 2:
        word = word[:4]
    conditions = Conditions(Start.parse(start), touches)
    found = decide(name, ways, word, conditions)
    assert found.leftovers == plain.most_left(name, ways, word, conditions)
    lines, kinds = columns(word)
    core = {"start": conditions.start.core, "touches": touches, "cold": sorted(set(lines)) if start[0] == "c" else []}
    assert _core.decide(name, ways, lines, kinds, absolute=True, **core)[0] == list(found.curve or ())
    if found.leftovers:
        assert counterexample(name, ways, word, conditions).leftovers


@pytest.mark.parametrize(("name", "ways"), [("tree-PLRU", 8), ("FIFO", 8), ("bit-PLRU", 8), ("LRU2PLRU4", 8)])
@settings(bounded, max_examples=5)
@given(word=words(2, 9, 5))
def test_words_of_two_lines_at_8_ways(name: str, ways: int, word: Word) -> None:
    word = tuple((line, A if kind is O else kind) for line, kind in word)
    assert full(name, ways, word) == plain.most_left(name, ways, word)


@pytest.mark.parametrize("name", ["FIFO", "bit-PLRU", "LRU"])
@settings(bounded, max_examples=20)
@given(word=words(7, 10, 6))
def test_long_words_at_3_ways(name: str, word: Word) -> None:
    word = tuple((line, A if kind is O else kind) for line, kind in word)
    assert full(name, 3, word) == plain.most_left(name, 3, word)


@pytest.mark.parametrize(("name", "ways"), [(n, w) for n, w in [*SMALL, *EIGHT] if n != "LRU" or w <= 6])
@settings(bounded, max_examples=examples(12, 25))
@given(word=words(8, 18))
def test_every_view_of_a_set_gives_the_same_curve(name: str, ways: int, word: Word) -> None:
    lines, kinds = columns(word)
    fast, _ = _core.decide(name, ways, lines, kinds)
    absolute, _ = _core.decide(name, ways, lines, kinds, absolute=True)
    assert fast == absolute
    # bit-PLRU's counterexamples come from a third view of the set, with another idea of dominance.
    assert (_core.witness(name, ways, lines, kinds) is None) == (fast[-1] == 0)
    assert (_core.witness(name, ways, lines, kinds, smallest=False) is None) == (fast[-1] == 0)


@pytest.mark.parametrize(("name", "ways"), [("bit-PLRU", k) for k in (5, 6, 7, 8)] + [("tree-PLRU", 8)])
def test_distinct_accesses_in_absolute_ways(name: str, ways: int) -> None:
    assert _core.distinct(name, ways)[:3] == _core.distinct(name, ways, absolute=True)[:3]


@pytest.mark.parametrize(("name", "ways"), EIGHT)
@settings(bounded, max_examples=examples(12, 25))
@given(word=words(6, 12), repeats=st.lists(st.integers(1, 3), min_size=12, max_size=12))
def test_immediate_repeats_change_nothing(name: str, ways: int, word: Word, repeats: list[int]) -> None:
    repeated = [item for item, count in zip(word, repeats, strict=False) for item in [item] * count]
    lines, kinds = columns(tuple(repeated))
    merged, _ = _core.decide(name, ways, lines, kinds)
    played, _ = _core.decide(name, ways, lines, kinds, merge_repeats=False)
    assert merged == played


@pytest.mark.parametrize(("name", "ways"), EIGHT)
@settings(bounded, max_examples=examples(12, 30))
@given(word=words(6, 12))
def test_curve_is_what_every_beginning_leaves(name: str, ways: int, word: Word) -> None:
    curve = decide(name, ways, word).curve
    assert curve is not None
    assert list(curve) == sorted(curve, reverse=True)
    for length, left in enumerate(curve):
        assert decide(name, ways, word[:length]).leftovers == left


@pytest.mark.parametrize("name", ["tree-PLRU", "LIP", "FIFO", "random", "BIP"])
@pytest.mark.parametrize("conditions", [Conditions(touches=1), Conditions(Start.parse("cold+invalidations"))], ids=str)
def test_what_is_known_of_distinct_lines_is_what_a_search_finds(name: str, conditions: Conditions) -> None:
    searched = [decide(name, 4, word_of(range(n)), conditions) for n in range(1, 20)]
    survivors(name, 4, conditions)
    known = [decide(name, 4, word_of(range(n)), conditions) for n in range(1, 20)]
    assert [one.curve for one in known] == [one.curve for one in searched]
    assert not any(one.states for one in known)
    # An own line may be cached at a cold start, which is another question.
    if conditions.start.cold:
        assert decide(name, 4, word_of(range(5)), conditions, own={4}).states


def test_a_word_of_distinct_lines_has_the_distinct_curve() -> None:
    for name in known_policies(8):
        assert decide(name, 8, word_of(range(40))).curve == survivors(name, 8)
        assert decide(name, 8, word_of(range(1, 8))).curve == survivors(name, 8, limit=7)


def test_canonical_renames_by_first_occurrence() -> None:
    assert canonical(((7, A), (-3, F), (7, O), (9, A))) == ((0, A), (1, F), (0, O), (2, A))


def test_more_than_16_million_names_for_lines_do_not_matter() -> None:
    word = word_of([2**40, -5, 2**40 + 1])
    assert decide("LRU", 3, word).leftovers == 0


def test_long_words() -> None:
    lines = list(range(100_000))
    assert decide("tree-PLRU", 8, word_of(lines * 2)).leftovers == 0
    # Two lines in turn never empty four ways, however long it takes.
    assert decide("LRU", 4, word_of([0, 1] * 100_000)).leftovers == 2


def test_one_way() -> None:
    for name in ("LRU", "FIFO", "tree-PLRU", "bit-PLRU"):
        assert needs(name, 1) == 1
        assert decide(name, 1, ((0, O),)).leftovers == 1
        assert decide(name, 1, ((0, F), (1, O), (0, F))).leftovers == 1


def test_nothing_is_concluded_beyond_the_state_limit() -> None:
    with pytest.raises(UndecidedError) as caught:
        decide("LRU3PLRU4", 12, word_of([*range(16)] * 2), limits=states(100))
    assert caught.value.cause == "state-space-too-large"
    assert "more than 100 states" in str(caught.value)


def test_a_question_that_is_too_large_may_still_be_refuted() -> None:
    two_passes = word_of([*range(16)] * 2)
    outcome = decide("tree-PLRU", 16, two_passes, limits=states(20_000))
    assert outcome.leftovers > 0
    assert outcome.curve is None
    assert not outcome.proved


@pytest.mark.parametrize("start", ["any", "any+invalid", "any+invalidations", "cold", "cold+invalidations"])
@pytest.mark.parametrize("name", ["FIFO", "tree-PLRU", "SRRIP-HP", "QLRU_H11_M1_R0_U0"])
@settings(bounded, max_examples=examples(20, 40))
@given(word=words(7, 9), touches=BOUNDED)
def test_a_run_refutes_only_what_leaves_something(name: str, start: str, word: Word, touches: int) -> None:
    """The worst is out of reach: what a run shows is true and no more than the worst, and nothing else is concluded."""
    conditions = Conditions(Start.parse(start), touches)
    exact = decide(name, 4, word, conditions, own={0, 5})

    def too_long(*_: object) -> NoReturn:
        raise UndecidedError("out-of-time", "no")

    found = None
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(prover, "_searched", too_long)
        patch.setattr(prover, "_known", {})
        with suppress(UndecidedError):
            found = decide(name, 4, word, conditions, own={0, 5}, limits=Limits(seconds=60))
    if found is None:
        # At most starts with invalid ways leave something.
        assert decide(name, 4, word, conditions.with_all_ways_valid(), own={0, 5}).proved
    elif found.proved:
        assert exact.proved
    else:
        assert found.at_least
        assert 0 < found.leftovers <= exact.leftovers


def test_a_run_is_found_where_the_worst_takes_too_long() -> None:
    """With invalid ways these take half a minute and more."""
    for name, lines in (("FIFO", 9), ("SRRIP-HP", 8)):
        found = decide(name, 8, word_of([*range(lines)] * 2), limits=Limits(seconds=4))
        assert found.at_least
        assert found.leftovers > 0


def test_flushes_at_more_start_states_than_fit_are_undecided() -> None:
    # Two ways may be invalid at once, so way numbers matter, and LRU4PLRU4 has 98304 states.
    word: Word = ((0, F), (1, F), *((line, A) for line in range(2, 22)))
    with pytest.raises(UndecidedError) as caught:
        decide("LRU4PLRU4", 16, word, limits=states(20_000))
    assert caught.value.cause == "state-space-too-large"
    # One at a time does not need them, and LRU never does.
    assert decide("LRU4PLRU4", 16, ((0, F), *((line, A) for line in range(1, 40)))).leftovers == 0
    assert decide("LRU", 16, word, limits=states(100_000)).leftovers == 0


@pytest.mark.parametrize("start", ["any", "any+invalid", "any+invalidations", "cold", "cold+invalidations"])
@pytest.mark.parametrize("name", ["QLRU_H00_M1_R2_U1", "QLRU_H11_M1_R0_U0", "QLRU_H11_M1_R1_U2", "SRRIP-HP"])
@settings(bounded, max_examples=examples(20, 40))
@given(
    before=words(4, 4), lines=st.permutations(range(13)), count=st.integers(5, 13), after=words(13, 4), touches=BOUNDED
)
def test_a_bound_proves_only_what_leaves_nothing(
    name: str, start: str, before: Word, lines: list[int], count: int, after: Word, touches: int
) -> None:
    """A stretch of pairwise different accesses, long enough or not, with anything before and behind it."""
    word = (*before, *word_of(lines[:count]), *after)
    conditions = Conditions(Start.parse(start), touches)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(prover, "_FEW_WAYS", 0)  # the bound comes first
        found = decide(name, 3, word, conditions, own={0, 7})
    exact = decide(name, 3, word, conditions, own={0, 7})
    assert exact.curve is not None
    assert found == exact or (exact.proved and found.proved and found.curve is None)


def test_bounds_prove_what_is_too_large_to_be_searched() -> None:
    for name, fewest in (("QLRU_H00_M1_R2_U1", 30), ("SRRIP-HP", 61), ("SRRIP-FP", 61)):
        assert at_most(name, 16)[-1] == 0
        assert len(at_most(name, 16)) - 1 == fewest
        # Lines that were warmed up before; an own line in between.
        word = word_of([*range(0, 64, 4), -1, *range(64), -1])
        outcome = decide(name, 16, word, own={-1}, limits=Limits(seconds=10))
        assert outcome.proved
        assert outcome.curve is None
        assert not outcome.at_least
        # The bound is about lines that follow each other, all of them.
        assert decide(name, 16, word, COLD, own={-1}, limits=Limits(seconds=10)).proved
        with pytest.raises(UndecidedError):
            decide(name, 16, word_of([*range(fewest - 1)] * 3), limits=Limits(seconds=0.1))
        with pytest.raises(UndecidedError):
            layers(name, 16, word, own={-1}, limits=Limits(1 << 20, seconds=10))


def test_what_is_not_known_for_want_of_time_is_asked_again() -> None:
    asked = {"seconds": 0.0}

    def distinct(*args: object, max_seconds: float, **more: object) -> tuple[object, ...]:
        asked["seconds"] = max_seconds
        stopped = max_seconds < 5
        return [1, 1, 0], True, False, 9, [1, 0, 0] if stopped else [], stopped

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(prover, "_known", {})
        patch.setattr(_core, "distinct", distinct)
        for seconds in (2, 3):
            with pytest.raises(UndecidedError, match="at least 1 accesses, at most 2; more takes longer") as caught:
                needs("FIFO", 1, limits=Limits(seconds=seconds))
            assert caught.value.cause == "out-of-time"
        with pytest.raises(UndecidedError, match="from above only"):
            survivors("FIFO", 1, limits=Limits(seconds=1))
        assert asked["seconds"] == 3
        assert needs("FIFO", 1, limits=Limits(seconds=8)) == 2
        assert needs("FIFO", 1, limits=Limits(seconds=1)) == 2
        assert asked["seconds"] == 8


@pytest.mark.parametrize(
    ("memory", "text"),
    [
        (2 << 30, "2048 MiB"),
        (3 << 19, "1.5 MiB"),
        ((1 << 20) - 1024, "1023 KiB"),
        (4096, "4 KiB"),
        (1000, "1000 bytes"),
    ],
)
def test_memory_is_told_in_units_that_fit(memory: int, text: str) -> None:
    raised = pytest.raises(UndecidedError, match=f"more than [0-9]+ states, which is what {text} hold")
    with raised as caught, told(get_policy("LRU", 8), Limits(memory)):
        raise _core.StateSpaceTooLargeError(f"more than {Limits(memory).states} states")
    assert caught.value.cause == "state-space-too-large"


def test_unknown_policy_and_wrong_ways() -> None:
    with pytest.raises(InputError):
        decide("nonesuch", 8, word_of([1]))
    with pytest.raises(InputError):
        needs("tree-PLRU", 12)
    with pytest.raises(ValueError, match="unknown policy"):
        _core.distinct("nonesuch", 8)
    with pytest.raises(ValueError, match="as many kinds as lines"):
        _core.decide("LRU", 8, [1, 2], [0])


def test_ctrl_c_stops_a_search() -> None:
    def interrupt() -> None:
        time.sleep(0.3)
        signal.raise_signal(signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    started = time.monotonic()
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        _core.decide("FIFO", 16, [*range(16)] * 2, [0] * 32, max_states=500_000_000)
    thread.join()
    assert time.monotonic() - started < 5
