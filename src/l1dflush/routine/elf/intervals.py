# SPDX-License-Identifier: GPL-2.0-or-later
"""Sets of addresses, and which symbol an address lies in."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from itertools import chain

from l1dflush.routine.model import Symbol


class Extents:
    """Finds the symbol whose extent an address lies in: of several the one that begins last, of these the largest."""

    def __init__(self, symbols: Sequence[Symbol]) -> None:
        self._symbols = sorted(symbols, key=lambda symbol: (symbol.address, symbol.size or 0))
        self._starts = [symbol.address for symbol in self._symbols]

    def at(self, address: int) -> Symbol | None:
        """The symbol that ``address`` lies in."""
        index = bisect_right(self._starts, address) - 1
        symbol = self._symbols[index] if index >= 0 else None
        return symbol if symbol is not None and address < symbol.address + (symbol.size or 0) else None


class Intervals:
    """A set of addresses, or of other numbers, as intervals that do not touch."""

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._ends: list[int] = []

    def add(self, start: int, end: int) -> None:
        """Adds the addresses from ``start`` up to ``end``."""
        first, last = bisect_left(self._ends, start), bisect_right(self._starts, end)
        if first < last:
            start, end = min(start, self._starts[first]), max(end, self._ends[last - 1])
        self._starts[first:last], self._ends[first:last] = [start], [end]

    @classmethod
    def of(cls, starts: Sequence[int], ends: Sequence[int]) -> Intervals:
        """Those from each start to its end, in order."""
        made = cls()
        last = None
        for start, end in zip(starts, ends, strict=True):
            if last is not None and start <= last:
                last = made._ends[-1] = max(last, end)
            else:
                last = end
                made._starts.append(start)
                made._ends.append(end)
        return made

    def united(self, *others: Intervals) -> Intervals:
        """What is in this or in one of the others, or in several."""
        every = sorted(chain(self, *others))
        return Intervals.of([start for start, _ in every], [end for _, end in every])

    def __iter__(self) -> Iterator[tuple[int, int]]:
        """Start and end of each interval, in order."""
        return zip(self._starts, self._ends, strict=True)

    def __len__(self) -> int:
        """How many addresses are in it."""
        return sum(self._ends) - sum(self._starts)

    def gaps(self, start: int, end: int) -> list[tuple[int, int]]:
        """What from ``start`` up to ``end`` is not in it."""
        found = []
        for index in range(bisect_right(self._ends, start), bisect_left(self._starts, end)):
            if start < self._starts[index]:
                found.append((start, self._starts[index]))
            start = self._ends[index]
        return [*found, (start, end)] if start < end else found
