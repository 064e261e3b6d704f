# SPDX-License-Identifier: GPL-2.0-or-later
"""Events of a path as they are kept: what a loop does is one turn of it, what each event moves on by, and a count.

A walk of 256 MiB is one event and a number. All of it can be had event by event, but whoever wants an answer in time
looks at the pieces.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import accumulate
from typing import overload

from l1dflush.routine.elf.intervals import Intervals
from l1dflush.tracing.model import Event


@dataclass(frozen=True, slots=True)
class Piece:
    """``events``, ``turns`` times, each ``steps`` bytes further with every turn. In the whole path the first turn is at
    position ``start`` and the next one ``period`` behind that; the events have these ``places`` in it."""

    events: tuple[Event, ...]
    steps: tuple[int, ...]
    turns: int
    places: tuple[int, ...]
    start: int
    period: int

    def __len__(self) -> int:
        return len(self.events) * self.turns

    def event(self, turn: int, index: int) -> Event:
        """One of them."""
        kind, pc, detail, arena, offset, size, msr = self.events[index]
        return Event(kind, pc, detail, arena, offset + turn * self.steps[index], size, msr)

    def last(self, index: int) -> int:
        """The offset of an event in the last turn."""
        return self.events[index].offset + (self.turns - 1) * self.steps[index]

    def offsets(self) -> list[int]:
        """The offsets of all of them, in order."""
        found, each = [0] * len(self), len(self.events)
        for index, (event, step) in enumerate(zip(self.events, self.steps, strict=True)):
            last = event.offset + self.turns * step
            found[index::each] = range(event.offset, last, step) if step else [event.offset] * self.turns
        return found

    def part(self, low: int, high: int) -> Iterator[Piece]:
        """What is left of it from event ``low`` up to ``high``."""
        each = len(self.events)
        (first, skipped), (last, rest) = divmod(low, each), divmod(high, each)
        if first == last:
            yield from self._turn(first, skipped, rest)
            return
        if skipped:
            yield from self._turn(first, skipped, each)
            first += 1
        if first < last:
            moved = tuple(self.event(first, index) for index in range(each)) if first else self.events
            yield replace(self, events=moved, turns=last - first, start=self.start + first * self.period)
        yield from self._turn(last, 0, rest)

    def only(self, kept: Sequence[int]) -> Piece:
        """The same without the events of a turn that ``kept``, in order, does not name."""
        if len(kept) == len(self.events):
            return self
        events, steps = tuple(self.events[i] for i in kept), tuple(self.steps[i] for i in kept)
        return replace(self, events=events, steps=steps, places=tuple(self.places[i] for i in kept))

    def _turn(self, turn: int, low: int, high: int) -> Iterator[Piece]:
        if low < high:
            events = tuple(self.event(turn, index) for index in range(low, high))
            start = self.start + turn * self.period
            yield Piece(events, (0,) * (high - low), 1, self.places[low:high], start, self.period)


class Events(Sequence[Event]):
    """Events in order, of a whole path or some of them."""

    def __init__(self, pieces: Iterable[Piece]) -> None:
        self.pieces = tuple(piece for piece in pieces if piece.events)
        self._ends = list(accumulate(len(piece) for piece in self.pieces))

    @classmethod
    def of(cls, events: Sequence[Event]) -> Events:
        """The same events, if they are not kept in this way yet."""
        if isinstance(events, Events):
            return events
        return cls.folded([(tuple(events), (0,) * len(events), 1)])

    @classmethod
    def folded(cls, runs: Iterable[tuple[tuple[Event, ...], tuple[int, ...], int]]) -> Events:
        """A whole path: the events of a turn, what they move on by, and how many turns there are, for each run."""
        pieces, start = [], 0
        for events, steps, count in runs:
            pieces.append(Piece(events, steps, count, tuple(range(len(events))), start, len(events)))
            start += len(events) * count
        return cls(pieces)

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def __iter__(self) -> Iterator[Event]:
        for piece in self.pieces:
            yield from piece.events
            for turn in range(1, piece.turns):
                for (kind, pc, detail, arena, offset, size, msr), step in zip(piece.events, piece.steps, strict=True):
                    yield Event(kind, pc, detail, arena, offset + turn * step, size, msr)

    @overload
    def __getitem__(self, index: int) -> Event: ...
    @overload
    def __getitem__(self, index: slice) -> Events: ...
    def __getitem__(self, index: int | slice) -> Event | Events:
        if isinstance(index, int):
            piece, turn, at = self._find(index)
            return piece.event(turn, at)
        low, high, step = index.indices(len(self))
        if step != 1:
            return Events.of(list(self)[index])
        return Events(self._between(low, high))

    def _find(self, index: int) -> tuple[Piece, int, int]:
        if index < 0:
            index += len(self)
        if not 0 <= index < len(self):
            raise IndexError(index)
        number = bisect_right(self._ends, index)
        piece = self.pieces[number]
        return piece, *divmod(index - (self._ends[number] - len(piece)), len(piece.events))

    def _between(self, low: int, high: int) -> Iterator[Piece]:
        start = 0
        for piece, end in zip(self.pieces, self._ends, strict=True):
            if max(low, start) < min(high, end):
                if low <= start and end <= high:
                    yield piece
                else:
                    yield from piece.part(max(low - start, 0), min(high, end) - start)
            start = end

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence) or len(other) != len(self):
            return NotImplemented if not isinstance(other, Sequence) else False
        if isinstance(other, Events) and self.pieces == other.pieces:
            return True
        return all(one == two for one, two in zip(self, other, strict=True))

    def __hash__(self) -> int:
        return hash((len(self), *self[:1], *self[-1:])) if len(self) else hash(())

    def position(self, index: int) -> int:
        """Where in the whole path one of them is."""
        piece, turn, at = self._find(index)
        return piece.start + turn * piece.period + piece.places[at]

    def where(self, test: Callable[[Event], bool]) -> Events:
        """Those for which ``test`` holds, which must not look at the offset."""
        pieces = []
        for piece in self.pieces:
            kept = [index for index, event in enumerate(piece.events) if test(event)]
            if kept:
                pieces.append(piece.only(kept))
        return Events(pieces)

    def parted(self, kind: Callable[[Event], Hashable]) -> dict[Hashable, Events]:
        """Those of each kind, which must not depend on the offset."""
        pieces: dict[Hashable, list[Piece]] = {}
        for piece in self.pieces:
            kinds: dict[Hashable, list[int]] = {}
            for index, event in enumerate(piece.events):
                kinds.setdefault(kind(event), []).append(index)
            for key, kept in kinds.items():
                pieces.setdefault(key, []).append(piece.only(kept))
        return {key: Events(found) for key, found in pieces.items()}

    def changed(self, change: Callable[[Event], Event]) -> Events:
        """The same events, each as ``change`` makes it, which must not look at the offset."""
        return Events(replace(piece, events=tuple(map(change, piece.events))) for piece in self.pieces)

    def within(self, low: int, high: int) -> Events:
        """Those that are in the whole path from position ``low`` on, up to ``high``."""
        return self[self._first_at(low) : self._first_at(high)]

    def _first_at(self, position: int) -> int:
        return bisect_left(range(len(self)), position, key=self.position)

    def shapes(self) -> Iterator[Event]:
        """Each event but for its offset, at least once."""
        for piece in self.pieces:
            yield from piece.events

    def ends(self) -> Iterator[tuple[Event, int]]:
        """Each event of a turn, as it is first, and its offset in the last turn."""
        for piece in self.pieces:
            for index, event in enumerate(piece.events):
                yield event, piece.last(index)

    def bounds(self) -> tuple[int, int, int]:
        """The lowest and the highest offset at which one begins, and the one behind the last byte of all."""
        ends = [(at, event.size) for event, last in self.ends() for at in (event.offset, last)]
        return min(at for at, _ in ends), max(at for at, _ in ends), max(at + size for at, size in ends)

    def units(self, size: int, *, base: int = 0, whole: bool = True) -> Intervals:
        """The units of ``size`` bytes that they touch, by number, with offset 0 at ``base`` in one; if not ``whole``,
        those that they begin in."""
        found = Intervals()
        # Those that are apart: each kind once, and all of them together, since there may be as many as turns.
        apart: set[tuple[int, int, int, int]] = set()
        for piece in self.pieces:
            for index, (event, step) in enumerate(zip(piece.events, piece.steps, strict=True)):
                more = max(event.size, 1) - 1 if whole else 0
                low, high = sorted((event.offset, piece.last(index)))
                if step == 0 or abs(step) <= size:
                    found.add((low + base) // size, (high + base + more) // size + 1)
                else:
                    apart.add((base + low, more, abs(step), piece.turns))
        return found.united(*(_apart(*each, size) for each in apart)) if apart else found


# Several ask for the same, and a long walk has many.
@lru_cache(maxsize=8)
def _apart(first: int, more: int, step: int, turns: int, size: int) -> Intervals:
    """The units of accesses that are more than a unit apart; not to be changed."""
    places = range(first, first + turns * step, step)
    return Intervals.of([at // size for at in places], [(at + more) // size + 1 for at in places])
