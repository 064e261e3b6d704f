# SPDX-License-Identifier: GPL-2.0-or-later
"""Which words empty a set: against every word of that length, decided one by one."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import plain_search as plain
import pytest

from l1dflush import _core
from l1dflush.cache.policies import known_policies
from l1dflush.cache.policy.machine import parse_machine
from l1dflush.errors import InputError, UndecidedError
from l1dflush.proof.conditions import ALL_WAYS_VALID, Conditions, Start
from l1dflush.proof.limits import BYTES_PER_STATE, Limits
from l1dflush.proof.prover import Word, decide, needs, word_of
from l1dflush.proof.shortest import complete_words, fewest_lines, shortest

LEARNED = Path(__file__).parents[1] / "data" / "learned-policies" / "simul"


def all_words(length: int) -> Iterator[tuple[int, ...]]:
    """Every word up to renaming of lines: the next line is one of those used, or the next new one."""
    if length == 0:
        yield ()
        return
    for word in all_words(length - 1):
        for line in range(max(word, default=-1) + 2):
            yield (*word, line)


def decided_one_by_one(name: str, ways: int, length: int, conditions: Conditions = ALL_WAYS_VALID) -> tuple[Word, ...]:
    words = sorted(all_words(length))
    return tuple(word for lines in words if decide(name, ways, word := word_of(lines), conditions).proved)


FEW = [
    *((name, ways) for ways in (1, 2, 3, 4) for name in ("LRU", "FIFO", "bit-PLRU", "NRU")),
    *(("tree-PLRU", ways) for ways in (1, 2, 4)),
    ("LRU1PLRU4", 4),
]


@pytest.mark.parametrize(("name", "ways"), FEW)
def test_all_words_up_to_what_is_needed(name: str, ways: int) -> None:
    enough = needs(name, ways, ALL_WAYS_VALID)
    assert enough is not None
    for length in range(enough + 1):
        assert complete_words(name, ways, length) == decided_one_by_one(name, ways, length)


@pytest.mark.parametrize(("name", "ways"), [(name, ways) for ways in (1, 2, 3) for name in known_policies(ways)])
def test_all_words_of_every_policy(name: str, ways: int) -> None:
    for length in range(6):
        assert complete_words(name, ways, length) == decided_one_by_one(name, ways, length)


@pytest.mark.parametrize(("name", "ways"), [(name, ways) for ways in (1, 2, 3) for name in known_policies(ways)])
def test_all_words_the_plain_way(name: str, ways: int) -> None:
    for length in range(4 if ways == 3 else 5):
        words = (word_of(lines) for lines in sorted(all_words(length)))
        plainly = tuple(word for word in words if plain.most_left(name, ways, word) == 0)
        assert complete_words(name, ways, length) == plainly


@pytest.mark.parametrize("start", ["any+invalid", "any+invalidations", "cold", "cold+invalidations"])
@pytest.mark.parametrize(
    "name", ["LRU", "FIFO", "tree-PLRU", "bit-PLRU", "NRU", "LIP", "SRRIP-HP", "QLRU_H11_M1_R2_U1"]
)
def test_other_starts(name: str, start: str) -> None:
    conditions = Conditions(Start.parse(start))
    for ways, length in ((2, 5), (4, 6)):
        assert complete_words(name, ways, length, conditions) == decided_one_by_one(name, ways, length, conditions)


def test_shortest_words_of_tree_plru_at_eight_ways() -> None:
    assert complete_words("tree-PLRU", 8, 12) == ()
    length, words = shortest("tree-PLRU", 8)
    assert length == 13
    assert len(words) == 76
    assert all(decide("tree-PLRU", 8, word, ALL_WAYS_VALID).proved for word in words)
    with_ten = fewest_lines(words)
    assert len(with_ten) == 23
    assert word_of([*range(10), 0, 1, 2]) in with_ten
    assert {len(dict(word)) for word in with_ten} == {10}


@pytest.mark.parametrize(
    ("name", "ways", "length", "count", "lines"),
    [
        ("LRU", 8, 8, 1, 8),
        ("tree-PLRU", 4, 5, 2, 4),
        ("FIFO", 8, 15, 2, 14),
        ("bit-PLRU", 6, 10, 501, 6),
        ("NRU", 5, 9, 209, 5),
    ],
)
def test_shortest_words_are_complete(name: str, ways: int, length: int, count: int, lines: int) -> None:
    found, words = shortest(name, ways)
    assert (found, len(words)) == (length, count)
    assert all(decide(name, ways, word, ALL_WAYS_VALID).proved for word in words)
    assert len(dict(fewest_lines(words)[0])) == lines


def test_repeats_may_do_what_different_lines_cannot() -> None:
    # LIP replaces what it has just brought in, until a hit makes it young.
    assert needs("LIP", 3, ALL_WAYS_VALID) is None
    with pytest.raises(InputError, match="no number"):
        shortest("LIP", 3)
    length, words = shortest("LIP", 3, longest=8)
    assert length == 5
    assert word_of([0, 0, 1, 1, 2]) in words
    assert words == decided_one_by_one("LIP", 3, 5)


def test_no_word_is_enough() -> None:
    with pytest.raises(InputError, match="up to 8 accesses"):
        shortest("random", 4, longest=8)


@pytest.mark.parametrize(
    ("name", "ways", "length"),
    [("tree-PLRU", 8, 13), ("FIFO", 4, 8), ("bit-PLRU", 4, 7), ("NRU", 4, 7), ("LIP", 4, 8), ("CLOCK", 3, 6)],
)
def test_neither_forgetting_nor_the_view_changes_the_words(name: str, ways: int, length: int) -> None:
    words, _searched = _core.complete_words(name, ways, length)
    assert words
    for kept in (1, 7, 1_000_000):
        assert _core.complete_words(name, ways, length, kept=kept)[0] == words
    if ways < 8:
        assert _core.complete_words(name, ways, length, absolute=True)[0] == words


def test_a_machine_from_a_file() -> None:
    machine = parse_machine((LEARNED / "plru_4.dot").read_text(encoding="utf-8"), "plru_4.dot")
    assert complete_words(machine, 4, 6) == complete_words("tree-PLRU", 4, 6)


def test_only_so_many_words() -> None:
    every = complete_words("tree-PLRU", 4, 6)
    some = complete_words("tree-PLRU", 4, 6, limit=5)
    assert len(some) == 5
    assert set(some) < set(every)


def test_fewest_lines_of_nothing() -> None:
    assert fewest_lines([]) == ()


def test_what_is_not_searched() -> None:
    with pytest.raises(InputError, match="touches"):
        complete_words("LRU", 2, 2, Conditions(touches=1))
    with pytest.raises(InputError, match="0 to 255"):
        complete_words("LRU", 2, 256)
    with pytest.raises(ValueError, match="255"):
        _core.complete_words("LRU", 2, 256)
    with pytest.raises(ValueError, match="unknown start"):
        _core.complete_words("LRU", 2, 2, start="steady")


def test_limits() -> None:
    with pytest.raises(UndecidedError) as too_large:
        complete_words("bit-PLRU", 8, 14, limits=Limits(memory=1000 * BYTES_PER_STATE))
    assert too_large.value.cause == "state-space-too-large"
    with pytest.raises(UndecidedError) as words_count_too:
        complete_words("LRU", 2, 12, limits=Limits(memory=1000 * BYTES_PER_STATE))
    assert words_count_too.value.cause == "state-space-too-large"
    with pytest.raises(UndecidedError) as too_long:
        shortest("tree-PLRU", 16, limits=Limits(seconds=0.2))
    assert too_long.value.cause == "out-of-time"


def test_ctrl_c() -> None:
    timer = threading.Timer(0.3, signal.raise_signal, [signal.SIGINT])
    timer.start()
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        _core.complete_words("LRU3PLRU4", 12, 21)
    timer.join()
    assert time.monotonic() - began < 30
