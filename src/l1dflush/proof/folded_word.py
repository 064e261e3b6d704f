# SPDX-License-Identifier: GPL-2.0-or-later
"""A word as it comes from the turns of loops: the same items again and again are kept once, with a number.

Of many accesses in a row to one line only as many are kept as can make a difference to the policy, which for most is
one: see :func:`l1dflush.proof.prover.useful_run`.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate, chain

from l1dflush.proof.question import ItemKind, Word
from l1dflush.proof.touches import Clock, Stretch, Turn

# Loops in loops are seen if they are not larger than this: of so many stretches, and of so many items in all.
_LONGEST = 6
_MOST_ITEMS = 1000
# Items, and how many times they come one after the other.
FoldedWord = tuple[tuple[Word, int], ...]


def expanded(folded: FoldedWord) -> Word:
    """The word itself."""
    return tuple(item for items, times in folded for item in items * times)


def named_in_order(folded: FoldedWord) -> tuple[FoldedWord, tuple[int, ...]]:
    """The same with its lines called 0, 1, 2, ... in the order in which they come, and what they were called."""
    names: dict[int, int] = {}
    word = tuple(
        (tuple((names.setdefault(line, len(names)), kind) for line, kind in items), times) for items, times in folded
    )
    return word, tuple(names)


class Folding:
    """A word that grows at its end. ``run``: of more accesses in a row to one line so many are kept (None: all)."""

    def __init__(self, run: int | None) -> None:
        self._run = run
        self._parts: list[tuple[Word, int]] = []
        self._loose: list[tuple[int, ItemKind]] = []
        self._last: tuple[int, ItemKind] | None = None
        self._in_a_row = 0

    def add(self, items: Word, times: int = 1) -> None:
        """Adds ``items``, so many times."""
        once = self._kept(items)
        if times == 1 or not items:
            self._loose += once
            return
        if self._run is not None and items[0][1] is ItemKind.ACCESS and all(item == items[0] for item in items):
            more = min(self._run - self._in_a_row, (times - 1) * len(items))
            self._in_a_row += more
            self._loose += [*once, *[items[0]] * more]
            return
        # What a turn leaves behind is the same from the first one on, so that all further ones are alike.
        again = self._kept(items)
        if once == again:
            self._append(again, times)
        else:
            self._loose += once
            self._append(again, times - 1)

    def word(self) -> FoldedWord:
        """What was added."""
        self._flush()
        return tuple(self._parts)

    def _kept(self, items: Word) -> Sequence[tuple[int, ItemKind]]:
        if self._run is None:
            return items
        kept = []
        for item in items:
            if item[1] is not ItemKind.ACCESS:
                self._last = None
            elif item == self._last:
                self._in_a_row += 1
                if self._in_a_row > self._run:
                    self._in_a_row = self._run
                    continue
            else:
                self._last, self._in_a_row = item, 1
            kept.append(item)
        return kept

    def _append(self, items: Sequence[tuple[int, ItemKind]], times: int) -> None:
        if times == 1:
            self._loose += items
            return
        self._flush()
        self._add_part(tuple(items), times)

    def _flush(self) -> None:
        if self._loose:
            self._add_part(tuple(self._loose), 1)
            self._loose = []

    def _add_part(self, items: Word, times: int) -> None:
        if self._parts and self._parts[-1][0] == items:
            times += self._parts.pop()[1]
        self._parts.append((items, times))


class Stream:
    """What is done to a routine's own lines in one set, to be had turn by turn."""

    def __init__(self, stretches: Sequence[Stretch]) -> None:
        self._stretches = stretches
        self._begins = [one.begin for one in stretches]
        self._ends = [one.end for one in stretches]
        self._items = [items_of(one.turn) for one in stretches]
        turns = [one.end - one.begin for one in stretches]
        counts = (count * len(items) for count, items in zip(turns, self._items, strict=True))
        self._counts = list(accumulate(counts, initial=0))
        # Behind each one, where accesses to its only line come to an end.
        self._alike = list(range(1, len(stretches) + 1))
        for at in range(len(stretches) - 2, -1, -1):
            one, other = self._items[at], self._items[at + 1]
            if one[0] == other[0] and one[0][1] is ItemKind.ACCESS and len({*one, *other}) == 1:
                self._alike[at] = self._alike[at + 1]
        self._again = _repeated(list(zip(self._items, turns, strict=True)))

    def during(self, begin: int, end: int) -> Iterator[tuple[int, Turn]]:
        """How many turns from ``begin`` up to ``end`` do what, one after the other; what may be nothing."""
        at = bisect_right(self._ends, begin)
        while begin < end:
            until = end
            turn: Turn = ()
            if at < len(self._stretches):
                one = self._stretches[at]
                if one.begin > begin:
                    until = min(one.begin, end)
                else:
                    until, turn = min(one.end, end), one.turn
                    at += 1
            yield until - begin, turn
            begin = until

    def between(self, begin: int, end: int, word: Folding, clock: Clock) -> None:
        """Adds to a word what the turns from ``begin`` up to ``end`` do."""
        at, behind = bisect_right(self._ends, begin), bisect_left(self._begins, end) if begin < end else 0
        while at < behind:
            clock.passed()
            alike = min(self._alike[at], behind - 1)
            length, times = self._again[at]
            times = min(times, (behind - 1 - at) // length)
            if self._begins[at] >= begin and times > 1 and alike <= at + 1:
                # A loop in a loop: these are whole, and come again.
                items = (self._items[n] * (self._ends[n] - self._begins[n]) for n in range(at, at + length))
                word.add(tuple(chain.from_iterable(items)), times)
                at += length * times
                continue
            word.add(self._items[at], min(self._ends[at], end) - max(self._begins[at], begin))
            at += 1
            if at < alike:
                # All of these are accesses to the same line, and whole.
                word.add(self._items[at][:1], self._counts[alike] - self._counts[at])
                at = alike


def _repeated(done: Sequence[tuple[Word, int]]) -> list[tuple[int, int]]:
    """For each of these how many from there on come again at once, if they are few, and how many times in all."""
    best = [(1, 1)] * len(done)
    for length in range(1, min(_LONGEST, len(done) // 2) + 1):
        same = 0
        for at in range(len(done) - length - 1, -1, -1):
            same = same + 1 if done[at] == done[at + length] else 0
            times = same // length + 1
            if times * length > best[at][0] * best[at][1]:
                items = sum(len(word) * turns for word, turns in done[at : at + length])
                if items <= _MOST_ITEMS:
                    best[at] = length, times
    return best


def items_of(turn: Iterable[tuple[int, int, ItemKind]]) -> Word:
    """The touches of a turn as items of a word."""
    return tuple([(line, kind) for _, line, kind in turn])
