"""From a trace to words: the accesses that a routine makes in each set of a cache, in order.

The buffer's lines fall into known sets. Every other arena (the stack, a variable) lies somewhere unknown, so for
every set each of its placements is a word of its own: the routine is complete only if all of them are. Accesses
to own lines before the first or after the last buffer access of a set are dropped; those in between count.

Sets with the same word are one. Consecutive accesses to one line are one access: for every policy known here
a hit on the line that was accessed last changes nothing.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise, product

from l1dflush.cache.geometry import Geometry
from l1dflush.errors import UndecidedError
from l1dflush.proof.prover import ItemKind, Word, canonical
from l1dflush.trace.model import Arena, ArenaKind, Event, Kind

# Beyond this many placements of own lines the question is not asked any more.
MAX_WORDS = 20_000

_ITEM = {
    Kind.LOAD: ItemKind.ACCESS,
    Kind.STORE: ItemKind.ACCESS,
    Kind.PREFETCH: ItemKind.OPTIONAL,
    Kind.LINE_FLUSH: ItemKind.FLUSH,
}


@dataclass(frozen=True, slots=True)
class Line:
    """A line of memory: the arena and the offset of its first byte in it, for the report."""

    arena: Arena
    offset: int


@dataclass(frozen=True, slots=True)
class SetWord:
    """One word and where it occurs. ``lines`` names the word's line ids; ``set_index`` is the first set with
    this word, counted from the set of the buffer's offset 0; ``sets`` is how many sets have it; ``own`` tells
    whether own lines are in it; ``has`` is the number of different buffer lines that are surely accessed."""

    word: Word
    lines: tuple[Line, ...]
    set_index: int
    sets: int
    own: bool
    has: int


@dataclass(frozen=True, slots=True)
class _Touch:
    """One access of one line: position in the trace, line number, what it is."""

    at: int
    line: int
    kind: ItemKind


def set_words(
    events: Sequence[Event], buffers: frozenset[str], geometry: Geometry, buffer_size: int | None
) -> list[SetWord]:
    """The different words of all sets, shortest first.

    ``buffers`` are the keys of the arenas that count as the buffer; with ``buffer_size`` (bytes) only their
    first bytes do. Raises UndecidedError if own lines can be placed in too many ways.
    """
    mine: dict[Arena, list[tuple[int, Event]]] = {}
    own: dict[Arena, list[tuple[int, Event]]] = {}
    for at, event in enumerate(events):
        if event.arena is None:
            continue
        inside = event.arena.key in buffers and (
            buffer_size is None or (event.offset >= 0 and event.offset + event.size <= buffer_size)
        )
        (mine if inside else own).setdefault(event.arena, []).append((at, event))
    if not mine:
        return []
    first = min(touches[0][0] for touches in mine.values())
    last = max(touches[-1][0] for touches in mine.values())
    between = {a: [t for t in touches if first < t[0] < last] for a, touches in own.items()}
    builder = _Builder(geometry)
    for choice in product(*(_buffer_phases(arena, geometry) for arena in mine)):
        placed = dict(zip(mine, choice, strict=True))
        builder.add(placed, mine, {arena: touches for arena, touches in between.items() if touches})
    return sorted(builder.found.values(), key=lambda found: (len(found.word), found.set_index))


def _buffer_phases(arena: Arena, geometry: Geometry) -> Iterable[int]:
    """Where offset 0 of a buffer may lie within a line. A pointer that is handed in is taken to be page-aligned."""
    if arena.kind in (ArenaKind.SECTION, ArenaKind.STACK):
        return range(0, geometry.line, min(arena.alignment, geometry.line))
    return (0,)


class _Builder:
    def __init__(self, geometry: Geometry) -> None:
        self._geometry = geometry
        self.found: dict[Word, SetWord] = {}

    def add(
        self,
        phases: dict[Arena, int],
        mine: dict[Arena, list[tuple[int, Event]]],
        own: dict[Arena, list[tuple[int, Event]]],
    ) -> None:
        """Adds the words of all sets and all placements of own lines, for one placement of the buffers."""
        lines: list[Line] = []
        per_set: dict[int, list[_Touch]] = {index: [] for index in range(self._geometry.sets)}
        for arena, phase in phases.items():
            for index, touch in self._touches(arena, mine[arena], phase, lines):
                per_set[index].append(touch)
        for touches in per_set.values():
            touches.sort(key=lambda touch: touch.at)
        options = [self._placements(arena, touches, lines) for arena, touches in own.items()]
        count = self._geometry.sets
        for option in options:
            count *= len(option)
        if count > MAX_WORDS:
            raise UndecidedError(
                "own-lines-everywhere", f"the routine's own lines can lie in {count} ways among the sets"
            )
        for index, buffer_touches in per_set.items():
            for choice in product(*options) if buffer_touches else [()]:
                self._note(index, buffer_touches, choice, lines)

    def _touches(
        self, arena: Arena, events: list[tuple[int, Event]], base: int, lines: list[Line]
    ) -> Iterator[tuple[int, _Touch]]:
        """Every line that every event touches, with its set. An access across a line border is two."""
        size, sets = self._geometry.line, self._geometry.sets
        numbers: dict[int, int] = {}
        for at, event in events:
            start = event.offset + base
            for number in range(start // size, (start + max(event.size, 1) - 1) // size + 1):
                line = numbers.get(number)
                if line is None:
                    line = numbers[number] = len(lines)
                    lines.append(Line(arena, number * size - base))
                yield number % sets, _Touch(at, line, _ITEM[event.kind])

    def _placements(self, arena: Arena, events: list[tuple[int, Event]], lines: list[Line]) -> list[tuple[_Touch, ...]]:
        """What of an own arena may fall into one set: nothing, or the lines of any one residue."""
        found: dict[tuple[tuple[int, int, ItemKind], ...], tuple[_Touch, ...]] = {(): ()}
        for phase in range(0, self._geometry.line, min(arena.alignment, self._geometry.line)):
            by_set: dict[int, list[_Touch]] = {}
            for index, touch in self._touches(arena, events, phase, lines):
                by_set.setdefault(index, []).append(touch)
            for touches in by_set.values():
                names: dict[int, int] = {}
                key = tuple((t.at, names.setdefault(t.line, len(names)), t.kind) for t in touches)
                found.setdefault(key, tuple(touches))
        return list(found.values())

    def _note(
        self,
        index: int,
        buffer_touches: list[_Touch],
        choice: tuple[tuple[_Touch, ...], ...],
        lines: list[Line],
    ) -> None:
        touches = _merge(buffer_touches, [touches for touches in choice if touches])
        items: list[tuple[int, ItemKind]] = []
        for touch in touches:
            item = (touch.line, touch.kind)
            if not (items and items[-1] == item and touch.kind is ItemKind.ACCESS):
                items.append(item)
        word = canonical(tuple(items))
        known = self.found.get(word)
        if known is not None:
            if known.set_index != index and not any(choice):
                self.found[word] = SetWord(word, known.lines, known.set_index, known.sets + 1, known.own, known.has)
            return
        mine = {touch.line for touch in buffer_touches if touch.kind is ItemKind.ACCESS}
        order = list(dict.fromkeys(line for line, _ in items))
        own = any(touch.line not in {t.line for t in buffer_touches} for touch in touches)
        self.found[word] = SetWord(word, tuple(lines[line] for line in order), index, 1, own, len(mine))


def _merge(buffer_touches: list[_Touch], own: list[tuple[_Touch, ...]]) -> list[_Touch]:
    """Buffer accesses with the own accesses between them; those before the first and after the last are dropped."""
    if not own or not buffer_touches:
        return buffer_touches
    merged = [buffer_touches[0]]
    positions = [[touch.at for touch in touches] for touches in own]
    for before, after in pairwise(buffer_touches):
        between: list[_Touch] = []
        for touches, places in zip(own, positions, strict=True):
            piece = touches[bisect_right(places, before.at) : bisect_left(places, after.at)]
            # One line, touched only by plain accesses, is one access however often it is touched.
            if piece and all(t.line == piece[0].line and t.kind is ItemKind.ACCESS for t in piece) and len(own) == 1:
                piece = piece[:1]
            between.extend(piece)
        merged.extend(sorted(between, key=lambda touch: touch.at))
        merged.append(after)
    return merged
