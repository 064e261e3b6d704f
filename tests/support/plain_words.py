# SPDX-License-Identifier: GPL-2.0-or-later
"""The words of a trace made plainly: an object for each line that each event touches, for each place of the memory.

It shares no code with :mod:`l1dflush.proof.words` but what arenas, lines and kinds of items are. Nothing is left out
before the words are there, so that where placements are counted there may be more of them.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise, product
from math import gcd, prod

from l1dflush.cache.geometry import Geometry
from l1dflush.errors import UndecidedError
from l1dflush.proof.placements import Line, buffer_placements, refuse_related, shared_lines
from l1dflush.proof.question import ItemKind, Word, canonical
from l1dflush.proof.words import SetWord
from l1dflush.tracing.events import Events
from l1dflush.tracing.model import Arena, ArenaKind, Event, Kind

# Lines of one access at most.
MOST_LINES = 100
_ITEM = {
    Kind.LOAD: ItemKind.ACCESS,
    Kind.STORE: ItemKind.ACCESS,
    Kind.STRING_STORE: ItemKind.OPTIONAL,
    Kind.NON_TEMPORAL_STORE: ItemKind.OPTIONAL,
    Kind.PREFETCH: ItemKind.OPTIONAL,
    Kind.LINE_FLUSH: ItemKind.FLUSH,
}


@dataclass(frozen=True, slots=True)
class _Touch:
    """One access of one line: its place in the trace's order, line number, what it is."""

    at: int
    line: int
    kind: ItemKind


@dataclass(slots=True)
class _Placement:
    """What of an own arena falls into one set. ``low`` and ``high`` are its first and its last line, if they
    are among those touched here; ``begins`` and ``ends`` are the bytes of these lines at which the arena's
    accesses may begin and end."""

    touches: tuple[_Touch, ...] = ()
    low: int | None = None
    high: int | None = None
    begins: set[int] = field(default_factory=set)
    ends: set[int] = field(default_factory=set)

    def may_precede(self, other: _Placement) -> bool:
        """Whether its last line may also be the first line of ``other``."""
        return self.high is not None and other.low is not None and min(self.ends) <= max(other.begins)


# What a proof is about: the word, and which of its lines are not the buffer's (they may be cached at a cold start).
_Key = tuple[Word, frozenset[int]]


def set_words(
    events: Sequence[Event],
    buffers: frozenset[str],
    geometry: Geometry,
    buffer_size: int | None,
    *,
    aligned_at: int | None = None,
    run: int | None = 1,
    most: int = 20_000,
) -> list[SetWord]:
    """As :func:`l1dflush.proof.words.set_words`; at most ``most`` placements of own lines."""
    found: dict[_Key, SetWord] = {}
    for group in placed_words(events, buffers, geometry, buffer_size, aligned_at=aligned_at, run=run, most=most):
        having: dict[_Key, set[int]] = {}
        for placed in group:
            word = canonical(placed.items)
            order = list(dict.fromkeys(line for line, _ in placed.items))
            own = frozenset(number for number, line in enumerate(order) if line not in placed.of_buffer)
            having.setdefault((word, own), set()).add(placed.set_index)
            if (word, own) not in found:
                lines = tuple(placed.lines[line] for line in order)
                found[word, own] = SetWord(word, lines, placed.set_index, 1, own, placed.has, frozenset())
        for key, indices in having.items():
            everywhere = found[key].indices.union(indices)
            found[key] = replace(found[key], sets=max(found[key].sets, len(indices)), indices=everywhere)
    return sorted(found.values(), key=lambda one: (len(one.word), one.set_index))


@dataclass(frozen=True, slots=True)
class PlacedWord:
    """What is done in one set, with ``lines`` by number."""

    items: Word
    lines: Sequence[Line]
    of_buffer: frozenset[int]
    set_index: int
    has: int


def placed_words(
    events: Sequence[Event],
    buffers: frozenset[str],
    geometry: Geometry,
    buffer_size: int | None,
    *,
    aligned_at: int | None = None,
    run: int | None = 1,
    most: int = 20_000,
) -> Iterator[Iterator[PlacedWord]]:
    accesses = Events.of(events).where(lambda event: event.arena is not None)
    arenas = [arena for arena in dict.fromkeys(event.arena for event in accesses.shapes()) if arena is not None]
    mine = {arena: _of(accesses, arena) for arena in arenas if arena.key in buffers}
    if not mine:
        # No access at all, in every set.
        nothing = (PlacedWord((), (), frozenset(), index, 0) for index in range(geometry.sets))
        yield nothing
        return
    first = min(touches.position(0) for touches in mine.values())
    last = max(touches.position(-1) for touches in mine.values())
    own = {arena: _of(accesses.within(first + 1, last), arena) for arena in arenas if arena.key not in buffers}
    between = {arena: touches for arena, touches in own.items() if touches}
    refuse_related([*mine, *between])
    builder = _Builder(geometry, buffer_size, run, most)
    for phases in buffer_placements(list(mine), geometry, aligned_at):
        yield builder.placed(phases, mine, between)


def _of(events: Events, arena: Arena) -> Events:
    return events.where(lambda event: event.arena == arena)


class _Builder:
    def __init__(self, geometry: Geometry, buffer_size: int | None, run: int | None, most: int) -> None:
        self._geometry = geometry
        self._run = run
        self._buffer_size = buffer_size
        self._most = most

    def placed(
        self, phases: dict[Arena, int], mine: dict[Arena, Events], own: dict[Arena, Events]
    ) -> Iterator[PlacedWord]:
        """The words of all sets and all placements of own lines, for one placement of the buffers."""
        lines: list[Line] = []
        per_set: dict[int, list[_Touch]] = {index: [] for index in range(self._geometry.sets)}
        options: list[list[_Placement]] = []
        for arena, phase in phases.items():
            beyond: list[tuple[int, _Touch]] = []
            for number, touch in self._touches(arena, mine[arena], phase, lines):
                if self._inside(number, phase):
                    per_set[number % self._geometry.sets].append(touch)
                else:
                    beyond.append((number, touch))
            if beyond:
                options.append(list(self._group(beyond).values()))
        for touches in per_set.values():
            touches.sort(key=lambda touch: touch.at)
        options += [self._placements(arena, touches, lines) for arena, touches in own.items()]
        if (count := self._geometry.sets * prod(len(option) for option in options)) > self._most:
            raise UndecidedError(
                "own-lines-everywhere", f"the routine's own lines can lie in {count} ways among the sets"
            )
        for index, buffer_touches in per_set.items():
            of_buffer = frozenset(touch.line for touch in buffer_touches)
            has = len({touch.line for touch in buffer_touches if touch.kind is ItemKind.ACCESS})
            for choice in product(*options) if buffer_touches else [()]:
                own_touches = [placement.touches for placement in choice if placement.touches]
                for same in shared_lines(choice):
                    items = self._items(buffer_touches, own_touches, same)
                    yield PlacedWord(items, lines, of_buffer, index, has)

    def _inside(self, number: int, phase: int) -> bool:
        """Whether a line holds some of the buffer's bytes."""
        start = number * self._geometry.line - phase
        return self._buffer_size is None or -self._geometry.line < start < self._buffer_size

    def _touches(self, arena: Arena, events: Events, base: int, lines: list[Line]) -> Iterator[tuple[int, _Touch]]:
        """Every line that every event touches, by its number in the arena. An access across a line border is two."""
        size = self._geometry.line
        numbers: dict[int, int] = {}
        for index, event in enumerate(events):
            at = events.position(index)
            start = event.offset + base
            first = start // size
            for number in range(first, (start + max(event.size, 1) - 1) // size + 1):
                line = numbers.get(number)
                if line is None:
                    line = numbers[number] = len(lines)
                    lines.append(Line(arena, number * size - base))
                yield number, _Touch(at * MOST_LINES + number - first, line, _ITEM[event.kind])

    def _group(self, touches: Iterable[tuple[int, _Touch]]) -> dict[object, _Placement]:
        """What of these may fall into one set: the lines of any one residue, which may be none."""
        by_set: dict[int, list[_Touch]] = {}
        for number, touch in touches:
            by_set.setdefault(number % self._geometry.sets, []).append(touch)
        found: dict[object, _Placement] = {}
        if len(by_set) < self._geometry.sets:
            found[_shape(())] = _Placement()
        for group in by_set.values():
            found.setdefault(_shape(group), _Placement(tuple(group)))
        return found

    def _placements(self, arena: Arena, events: Events, lines: list[Line]) -> list[_Placement]:
        """The same for an own arena, for all its places within a line."""
        size = self._geometry.line
        begin, last, end = events.bounds()
        end = max(end, last + 1)
        found: dict[object, _Placement] = {}
        for phase in range(0, size, gcd(arena.alignment, size)):
            touches = list(self._touches(arena, events, phase, lines))
            ids = {number: touch.line for number, touch in touches}
            # Nothing else lies on the stack.
            shares = arena.kind is not ArenaKind.STACK
            low, high = (ids[(begin + phase) // size], ids[(end + phase - 1) // size]) if shares else (-1, -1)
            for group in self._group(touches).values():
                here = {touch.line for touch in group.touches}
                placement = found.setdefault(_shape(group.touches, low, high), group)
                if low in here:
                    placement.low = low if placement is group else placement.low
                    placement.begins.add((begin + phase) % size)
                if high in here:
                    placement.high = high if placement is group else placement.high
                    placement.ends.add((end + phase - 1) % size + 1)
        return list(found.values())

    def _items(self, buffer_touches: list[_Touch], own_touches: list[tuple[_Touch, ...]], same: dict[int, int]) -> Word:
        """The word of one set for one placement, by line numbers."""
        items: list[tuple[int, ItemKind]] = []
        run = 0
        for touch in _merge(buffer_touches, own_touches, self._run):
            item = (same.get(touch.line, touch.line), touch.kind)
            run = run + 1 if items and items[-1] == item and touch.kind is ItemKind.ACCESS else 1
            if self._run is None or run <= self._run or touch.kind is not ItemKind.ACCESS:
                items.append(item)
        return tuple(items)


def _shape(touches: Sequence[_Touch], *marked: int) -> object:
    """What is the same for placements that give the same words; ``marked`` are lines that are told apart."""
    names: dict[int, int] = {}
    key = tuple((t.at, names.setdefault(t.line, len(names)), t.kind) for t in touches)
    return key, tuple(names.get(line) for line in marked)


def _merge(buffer_touches: list[_Touch], own: list[tuple[_Touch, ...]], run: int | None) -> list[_Touch]:
    """Buffer accesses with the own accesses between them; those before the first and after the last are dropped."""
    if not own or not buffer_touches:
        return buffer_touches
    merged = [buffer_touches[0]]
    positions = [[touch.at for touch in touches] for touches in own]
    for before, after in pairwise(buffer_touches):
        between: list[_Touch] = []
        for touches, places in zip(own, positions, strict=True):
            piece = touches[bisect_right(places, before.at) : bisect_left(places, after.at)]
            # Of one line, touched only by plain accesses, the first few stand for all.
            if piece and all(t.line == piece[0].line and t.kind is ItemKind.ACCESS for t in piece) and len(own) == 1:
                piece = piece[:run]
            between.extend(piece)
        merged.extend(sorted(between, key=lambda touch: touch.at))
        merged.append(after)
    return merged
