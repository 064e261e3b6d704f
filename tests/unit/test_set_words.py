# SPDX-License-Identifier: GPL-2.0-or-later
"""What a result says of each set, against words that are made access by access and a search that tries every start."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import plain_search
import plain_words
import pytest
from hypothesis import given
from hypothesis import strategies as st

from l1dflush.cache.geometry import Geometry
from l1dflush.ending import Verdict
from l1dflush.proof.conditions import ALL_WAYS_VALID
from l1dflush.proof.question import ItemKind, Word, canonical
from l1dflush.proof.words import SetWord
from l1dflush.routine.load import load
from l1dflush.verdict import set_words
from l1dflush.verdict.judge import verify
from l1dflush.verdict.options import VerifyOptions
from l1dflush.verdict.part import judged_part
from l1dflush.verdict.places import Places
from l1dflush.verdict.select import select
from l1dflush.verdict.set_words import Judged, Written, runs_of, sets_of
from l1dflush.verdict.sets_result import SetsInfo, WordInfo
from l1dflush.verdict.verify_result import Row, VerifyResult
from l1dflush.verdict.walk import find_buffer, walk_of

CACHE = Geometry(4096, 4, 64)  # 16 sets
KINDS = {"access": ItemKind.ACCESS, "prefetch": ItemKind.OPTIONAL, "flush": ItemKind.FLUSH}
WALK = """
1:      movb (%rdi,%rax), %cl
        {own}
        addq ${step}, %rax
        cmpq ${end}, %rax
        jb 1b
"""
PROGRAMS = {
    "more lines in the first sets": WALK.format(own="", step=64, end=5 * 1024 + 256),
    "every second set": WALK.format(own="", step=128, end=5 * 1024),
    "a counter in memory": WALK.format(own="incq -16(%rsp)", step=64, end=4096 + 512),
    "two paths": "testq %rsi, %rsi\njz 2f\n"
    + WALK.format(own="", step=64, end=4096)
    + "ret\n2:"
    + WALK.format(own="", step=64, end=4352),
    "twice": WALK.format(own="", step=64, end=4096) + "xorl %eax, %eax\n" + WALK.format(own="", step=64, end=4096),
    "prefetches": WALK.format(own="prefetcht0 0x1040(%rdi,%rax)", step=64, end=4096 + 64),
}


def judged(body: str, policy: str, folder: Path) -> tuple[VerifyResult, Row, list[SetWord]]:
    """The result with its one row, and the words of the same trace made plainly."""
    file = folder / "flush.s"
    file.write_text(f"flush:\n xorl %eax, %eax\n{body}\n ret\n")
    options = VerifyOptions(policy=policy, geometry=CACHE, conditions=ALL_WAYS_VALID)
    result = verify(str(file), options)
    trace = select(load(str(file), options.load_options()), options)
    buffer = find_buffer(trace, ())
    assert buffer is not None
    places = Places(trace.routine.image, buffer)
    parts = [judged_part(path, buffer, places) for path in trace.paths if walk_of(path, buffer)]
    words = [one for part in parts for one in plain_words.set_words(part.events, buffer.arenas, CACHE, None)]
    (row,) = result.rows
    return result, row, words


def word_of(info: WordInfo) -> Word:
    """The word that was written, item by item."""
    items: list[tuple[int, ItemKind]] = []
    for run in info.runs:
        way = 1 if run.first <= run.last else -1
        items += [(line, KINDS[run.kind]) for line in range(run.first, run.last + way, way)] * run.times
    assert len(items) == info.items
    return tuple(items)


def numbers_of(info: SetsInfo) -> Iterator[int]:
    for first, last, step in info.sets:
        yield from range(first, last + 1, step)


@pytest.mark.parametrize("policy", ["LRU", "tree-PLRU", "FIFO"])
@pytest.mark.parametrize("program", PROGRAMS)
def test_each_set_has_its_word_and_what_that_comes_to(program: str, policy: str, tmp_path: Path) -> None:
    result, row, plain = judged(PROGRAMS[program], policy, tmp_path)
    expected: dict[tuple[Word, frozenset[int]], tuple[set[int], int, int]] = {}
    for one in plain:
        indices, count, has = expected.get((one.word, one.own), (set(), 0, one.has))
        expected[one.word, one.own] = indices | one.indices, max(count, one.sets), min(has, one.has)
    found = {}
    for group in row.sets:
        assert group.word is not None
        info = result.words[group.word]
        assert info.whole
        key = word_of(info), frozenset(info.own)
        assert key not in found
        found[key] = set(numbers_of(group)), group.count, group.has
        left = plain_search.most_left(policy, CACHE.ways, key[0], ALL_WAYS_VALID)
        match group.verdict:
            case Verdict.PROVED:
                assert (left, group.leftovers) == (0, 0)
            case Verdict.REFUTED:
                assert left == group.leftovers or (group.at_least and left > (group.leftovers or 0) > 0)
            case _:
                # It was left out as it can be no worse than the worst.
                assert group.verdict is None and group.leftovers is None
                assert left <= (group.at_most or 0) <= (row.leftovers or 0)
    assert found == expected
    assert len(result.words) == len(row.sets)
    assert any(group.verdict is row.verdict for group in row.sets)


def test_some_sets_are_proved_and_others_refuted(tmp_path: Path) -> None:
    _, row, _ = judged(PROGRAMS["every second set"], "LRU", tmp_path)
    assert row.verdict is Verdict.REFUTED
    assert [(one.verdict, one.sets, one.has) for one in row.sets] == [
        (Verdict.REFUTED, ((1, 15, 2),), 0), (Verdict.PROVED, ((0, 14, 2),), 5),
    ]  # fmt: skip


def test_the_words_of_several_caches_are_written_once() -> None:
    result = verify("linux-4.9.120", VerifyOptions(cpus=("skylake", "ice-lake", "zen4")))
    assert [(one.items, len(one.runs)) for one in result.words] == [(32, 1), (16, 1)]
    known, wide, unknown = ({one.word: one for one in row.sets} for row in result.rows)
    assert {one.verdict for one in known.values()} == {Verdict.PROVED}
    assert (wide[1].verdict, wide[1].leftovers, wide[1].sets) == (Verdict.REFUTED, 2, ((1, 63, 1),))
    # One refuted set refutes the routine, and set 0 was no longer asked about.
    assert (wide[0].verdict, wide[0].leftovers, wide[0].at_most) == (None, None, 2)
    # What a set comes to depends on the policy, which nobody knows.
    assert {(one.verdict, one.leftovers) for one in unknown.values()} == {(None, None)}


@given(st.lists(st.tuples(st.integers(0, 5), st.sampled_from(list(ItemKind)))))
def test_a_word_is_what_its_runs_say(items: list[tuple[int, ItemKind]]) -> None:
    word = canonical(tuple(items))
    assert word_of(WordInfo(runs=runs_of(word), items=len(word))) == word


@given(st.sets(st.integers(0, 63), min_size=1))
def test_sets_are_those_in_the_ranges(numbers: set[int]) -> None:
    word = SetWord((), (), min(numbers), len(numbers), frozenset(), 0, frozenset(numbers))
    (info,) = sets_of([Judged(word, True, None)], Written())
    assert sorted(numbers_of(info)) == sorted(numbers)


def test_many_words_and_long_ones_are_not_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(set_words, "MOST_GROUPS", 2)
    monkeypatch.setattr(set_words, "MOST_RUNS", 3)

    def one(index: int, verdict: Verdict, lines: int = 1) -> Judged:
        word = tuple((line * 2 % lines, ItemKind.ACCESS) for line in range(lines))
        return Judged(SetWord(word, (), index, 1, frozenset(), index, frozenset({index})), True, verdict, index)

    written = Written()
    told = sets_of([one(n, Verdict.REFUTED if n > 3 else Verdict.PROVED, 2 * n + 1) for n in range(8)], written)
    assert [(one.verdict, one.word, one.count, one.sets, one.has, one.leftovers) for one in told] == [
        (Verdict.REFUTED, None, 1, ((7, 7, 1),), 7, 7),
        (Verdict.REFUTED, None, 1, ((6, 6, 1),), 6, 6),
        (Verdict.REFUTED, None, 2, ((4, 5, 1),), 4, 5),
        (Verdict.PROVED, None, 4, ((0, 3, 1),), 0, 3),
    ]
    assert written.words == []
