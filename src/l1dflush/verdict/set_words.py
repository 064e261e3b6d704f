# SPDX-License-Identifier: GPL-2.0-or-later
"""What happens in each set, and what is known of it: the part of a result from which a map of the sets is drawn."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from l1dflush.checking.model import Kind
from l1dflush.ending import Verdict
from l1dflush.proof.question import ItemKind, Word
from l1dflush.proof.words import SetWord
from l1dflush.verdict.sets_result import SetsInfo, WordInfo, WordRun

# A word of more runs is not written, and of more words in a row only these are told one by one.
MOST_RUNS = 1000
MOST_GROUPS = 100
KINDS: dict[ItemKind, Kind] = {ItemKind.ACCESS: "access", ItemKind.OPTIONAL: "prefetch", ItemKind.FLUSH: "flush"}
"""What the items of a word are called, in results and in certificates."""
_WORST_FIRST = (Verdict.REFUTED, Verdict.UNDECIDED, None, Verdict.PROVED)


@dataclass(frozen=True, slots=True)
class Judged:
    """A word and what is known of it. ``verdict`` None: it was not asked about, as it can be no worse than another
    one; then ``at_most`` old lines are left. ``leftovers`` are those of a REFUTED word, or more if ``at_least``.
    ``whole``: the word is not only of the beginning of a path or of another part of it."""

    found: SetWord
    whole: bool
    verdict: Verdict | None
    leftovers: int | None = None
    at_least: bool = False
    at_most: int | None = None
    cause: str | None = None

    @property
    def rank(self) -> tuple[int, int]:
        """The worst first."""
        return _WORST_FIRST.index(self.verdict), -(self.leftovers or self.at_most or 0)

    def not_asked(self) -> Judged:
        """The same word, of which nothing is known."""
        return Judged(self.found, self.whole, None)


@dataclass(frozen=True, slots=True)
class Written:
    """The words of a result, each of them once."""

    words: list[WordInfo] = field(default_factory=list)
    _known: dict[tuple[Word, frozenset[int], bool], int | None] = field(default_factory=dict)

    def number_of(self, one: Judged) -> int | None:
        """Which one it is; None for one that is too long."""
        key = one.found.word, one.found.own, one.whole
        if key not in self._known:
            runs = runs_of(one.found.word)
            self._known[key] = None if len(runs) > MOST_RUNS else len(self.words)
            if len(runs) <= MOST_RUNS:
                own, items = tuple(sorted(one.found.own)), len(one.found.word)
                self.words.append(WordInfo(runs=runs, items=items, own=own, whole=one.whole))
        return self._known[key]


def sets_of(judged: Iterable[Judged], written: Written) -> tuple[SetsInfo, ...]:
    """What is known of the sets, the worst first; sets with the same word together, whichever path it is of."""
    same: dict[tuple[Word, frozenset[int], bool], list[Judged]] = {}
    for one in judged:
        same.setdefault((one.found.word, one.found.own, one.whole), []).append(one)
    found = sorted(map(_worst, same.values()), key=lambda one: (one.rank, one.found.set_index))
    told = [_info([one], written.number_of(one)) for one in found[:MOST_GROUPS]]
    for verdict in _WORST_FIRST:
        if rest := [one for one in found[MOST_GROUPS:] if one.verdict is verdict]:
            told.append(_info(rest, None))
    return tuple(told)


def _worst(judged: Sequence[Judged]) -> Judged:
    """The worst of what is known of one word, in all the sets that have it."""
    worst = min(judged, key=lambda one: one.rank)
    if len(judged) == 1:
        return worst
    everywhere = frozenset[int]().union(*(one.found.indices for one in judged))
    sets, first = max(one.found.sets for one in judged), min(one.found.set_index for one in judged)
    return replace(worst, found=replace(worst.found, sets=sets, set_index=first, indices=everywhere))


def _info(judged: Sequence[Judged], word: int | None) -> SetsInfo:
    worst = judged[0]
    indices = frozenset[int]().union(*(one.found.indices for one in judged))
    return SetsInfo(
        sets=tuple(_ranges(indices)),
        count=min(sum(one.found.sets for one in judged), len(indices)),
        word=word,
        has=min(one.found.has for one in judged),
        verdict=worst.verdict,
        leftovers=worst.leftovers,
        at_least=worst.at_least,
        at_most=worst.at_most,
        cause=worst.cause,
    )


def _ranges(numbers: Iterable[int]) -> Iterator[tuple[int, int, int]]:
    """The numbers as ranges: the first, the last, and from one to the next."""
    left = sorted(numbers)
    at = 0
    while at < len(left):
        step = left[at + 1] - left[at] if at + 1 < len(left) else 1
        end = at + 1
        while end < len(left) and left[end] == left[end - 1] + step:
            end += 1
        if end == at + 2 and step > 1:
            # Two numbers are no range unless they are side by side.
            step, end = 1, at + 1
        yield left[at], left[end - 1], step
        at = end


def runs_of(word: Word) -> tuple[WordRun, ...]:
    """A word as runs of lines: up, down, or the same line again; equal ones in a row are one."""
    runs: list[tuple[int, int, ItemKind, int]] = []

    def add(first: int, last: int, kind: ItemKind) -> None:
        if runs and runs[-1][:3] == (first, last, kind):
            runs[-1] = first, last, kind, runs[-1][3] + 1
        else:
            runs.append((first, last, kind, 1))

    at = 0
    while at < len(word):
        first, kind = word[at]
        behind = at + 1
        step = word[behind][0] - first if behind < len(word) else 0
        if step in (-1, 1):
            while behind < len(word) and word[behind] == (word[behind - 1][0] + step, kind):
                behind += 1
        add(first, word[behind - 1][0], kind)
        at = behind
    return tuple(WordRun(first=first, last=last, kind=KINDS[kind], times=times) for first, last, kind, times in runs)
