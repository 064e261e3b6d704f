"""From a trace to words: the accesses that a routine makes in each set of a cache, in order.

The buffer's lines fall into known sets. Every other arena (the stack, a variable) lies somewhere unknown, so for
every set each of its placements is a word of its own: the routine is complete only if all of them are. Accesses
to own lines before the first or after the last buffer access of a set are dropped; those in between count.
Two own arenas lie side by side at worst: the end of one and the beginning of the other may share a line.

Sets with the same word are one. Of many accesses in a row to one line only as many are kept as can make a
difference to the policy, which for most is one: see :func:`l1dflush.proof.prover.useful_run`.
"""

from __future__ import annotations

import sys
import time
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, combinations, pairwise, product
from math import gcd, inf, prod

from l1dflush.cache.geometry import Geometry
from l1dflush.errors import UndecidedError
from l1dflush.proof.question import ItemKind, Word, canonical
from l1dflush.trace.events import Events
from l1dflush.trace.model import MANY, Arena, ArenaKind, Event, Kind

# Of so many events for each set words are made first: what the beginning does may be enough.
FIRST_EVENTS = 256
# Asking for the time takes as long as making a few accesses.
_CLOCK_EVERY = 256
# Beyond this many placements of own lines the question is not asked any more.
MAX_WORDS = 20_000
# The same for placements of several buffers relative to each other, each of which means all words anew.
MAX_BUFFER_PLACEMENTS = 512
# And for ways in which lines of the same set may be one.
MAX_SHARED = 64
PAGE = 4096
# Memory whose alignment is known. A pointer that is handed in is taken to be page-aligned.
PLACED = frozenset({ArenaKind.SECTION, ArenaKind.SYMBOL, ArenaKind.STACK, ArenaKind.SEGMENT})

_ITEM = {
    Kind.LOAD: ItemKind.ACCESS,
    Kind.STORE: ItemKind.ACCESS,
    Kind.STRING_STORE: ItemKind.OPTIONAL,
    Kind.NON_TEMPORAL_STORE: ItemKind.OPTIONAL,
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
    this word, counted from the set of the buffer's offset 0; ``sets`` is how many sets have it at most; ``own``:
    the ids of the lines that are not the buffer's; ``has`` is the number of different buffer lines that are surely
    accessed."""

    word: Word
    lines: tuple[Line, ...]
    set_index: int
    sets: int
    own: frozenset[int]
    has: int


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
    deadline: float = inf,
) -> list[SetWord]:
    """The different words of all sets, shortest first.

    ``buffers`` are the keys of the arenas that count as the buffer; with ``buffer_size`` (bytes) only the lines
    that hold some of their first bytes do. ``aligned_at`` asks what would be if the byte at that offset of the buffer
    lay at the beginning of a page. ``run``: of more accesses in a row to one line only
    so many are kept (None: all). Raises UndecidedError if own lines can be placed in too many ways,
    if it is not known which accesses are to the same memory, or at ``deadline``, a time.monotonic() value.
    """
    found: dict[_Key, SetWord] = {}
    for group in placed_words(
        events, buffers, geometry, buffer_size, aligned_at=aligned_at, run=run, deadline=deadline
    ):
        having: dict[_Key, set[int]] = {}
        for placed in group:
            word = canonical(placed.items)
            order = list(dict.fromkeys(line for line, _ in placed.items))
            own = frozenset(number for number, line in enumerate(order) if line not in placed.of_buffer)
            having.setdefault((word, own), set()).add(placed.set_index)
            if (word, own) not in found:
                lines = tuple(placed.lines[line] for line in order)
                found[word, own] = SetWord(word, lines, placed.set_index, 1, own, placed.has)
        for key, indices in having.items():
            found[key] = replace(found[key], sets=max(found[key].sets, len(indices)))
    return sorted(found.values(), key=lambda one: (len(one.word), one.set_index))


@dataclass(frozen=True, slots=True)
class PlacedWord:
    """What a trace does in one set if its memory lies at one of the places where it may: ``items`` are numbers of
    ``lines`` and what is done with them; ``of_buffer`` are those of the buffer's lines; ``phase`` is where in a line
    the buffer begins; ``has`` and ``set_index`` are a :class:`SetWord`'s."""

    items: Word
    lines: Sequence[Line]
    of_buffer: frozenset[int]
    set_index: int
    phase: int
    has: int


def placed_words(
    events: Sequence[Event],
    buffers: frozenset[str],
    geometry: Geometry,
    buffer_size: int | None,
    *,
    aligned_at: int | None = None,
    run: int | None = 1,
    deadline: float = inf,
) -> Iterator[Iterator[PlacedWord]]:
    """The words of all sets for all placements of own lines: a group for each placement of the buffers.

    Arguments and errors as for :func:`set_words`. The same word may come several times.
    """
    accesses = Events.of(events).where(lambda event: event.arena is not None)
    arenas = [arena for arena in dict.fromkeys(event.arena for event in accesses.shapes()) if arena is not None]
    mine = {arena: _of(accesses, arena) for arena in arenas if arena.key in buffers}
    if not mine:
        # No access at all, in every set.
        nothing = (PlacedWord((), (), frozenset(), index, 0, 0) for index in range(geometry.sets))
        yield nothing
        return
    first = min(touches.position(0) for touches in mine.values())
    last = max(touches.position(-1) for touches in mine.values())
    own = {arena: _of(accesses.within(first + 1, last), arena) for arena in arenas if arena.key not in buffers}
    between = {arena: touches for arena, touches in own.items() if touches}
    _refuse_related([*mine, *between])
    builder = _Builder(geometry, buffer_size, run, deadline)
    for phases in _buffer_placements(list(mine), geometry, aligned_at):
        yield builder.placed(phases, mine, between)


def beginning(events: Events, geometry: Geometry, run: int | None, most: int) -> Events:
    """The first events, as many as come to ``most`` without those in a row to one line that make no difference."""
    left, taken = most, 0
    for piece in events.pieces:
        step = abs(piece.steps[0])
        short = piece.period == 1 and 0 < step < geometry.line and run is not None
        each = len(piece.events) / (geometry.line / step / run if short and run else 1)
        turns = min(piece.turns, max(int(left / each), 1)) if left > 0 else 0
        taken += turns * len(piece.events)
        left -= int(turns * each)
        if turns < piece.turns:
            return events[:taken]
    return events


def fewest_lines(
    events: Sequence[Event],
    buffers: frozenset[str],
    geometry: Geometry,
    buffer_size: int | None,
    *,
    aligned_at: int | None = None,
) -> int:
    """How many different buffer lines are surely accessed in each set at least; arguments as for :func:`set_words`."""
    surely = Events.of(events).where(lambda event: _ITEM.get(event.kind) is ItemKind.ACCESS)
    arenas = dict.fromkeys(event.arena for event in Events.of(events).shapes())
    mine = [arena for arena in arenas if arena is not None and arena.key in buffers]
    fewest = []
    for phases in _buffer_placements(mine, geometry, aligned_at):
        counts = [0] * geometry.sets
        for arena, phase in phases.items():
            lowest, behind = -sys.maxsize, sys.maxsize
            if buffer_size is not None:
                lowest, behind = (
                    (phase - geometry.line) // geometry.line + 1,
                    -((-buffer_size - phase) // geometry.line),
                )
            for low, high in _of(surely, arena).units(geometry.line, base=phase):
                rounds, rest = divmod(max(min(high, behind) - max(low, lowest), 0), geometry.sets)
                counts = [count + rounds for count in counts]
                for number in range(rest):
                    counts[(max(low, lowest) + number) % geometry.sets] += 1
        fewest.append(min(counts))
    return min(fewest, default=0)


def _of(events: Events, arena: Arena) -> Events:
    return events.where(lambda event: event.arena == arena)


def _refuse_related(arenas: Sequence[Arena]) -> None:
    """Two pointers computed from the same unknown value may point to the same lines, or to others."""
    for one, other in combinations(arenas, 2):
        # Where the names were too many to keep, nobody knows whether they share one.
        unclear = MANY in (*one.sources, *other.sources) and one.sources and other.sources
        if unclear or not _computed_from(one, other).isdisjoint(_computed_from(other, one)):
            raise UndecidedError("memory-may-overlap", f"{one.name} and {other.name} may be the same memory")


def _computed_from(arena: Arena, beside: Arena) -> set[str]:
    """The names of what the arena's place was computed from, seen from another: two places in per-CPU memory are two,
    but what is computed from its base may be any of it."""
    per_cpu = arena.kind is ArenaKind.SEGMENT and beside.kind is not ArenaKind.SEGMENT
    return {*arena.sources, *([arena.key.partition(":")[0]] if per_cpu else [])}


def _buffer_placements(
    arenas: Sequence[Arena], geometry: Geometry, aligned_at: int | None
) -> Iterable[dict[Arena, int]]:
    """Where offset 0 of each buffer may lie within a line and, but for the first, within a way.

    A pointer that is handed in is taken to be page-aligned. Sets are counted from the first buffer's.
    """
    way = geometry.line * geometry.sets
    choices = []
    for number, arena in enumerate(arenas):
        known = arena.alignment if arena.kind in PLACED or arena.computed else PAGE
        extent = way if number else geometry.line
        if aligned_at is not None and not number:
            first = -aligned_at % extent
            choices.append(range(first, first + 1))
        else:
            choices.append(range(0, extent, gcd(known, extent)))
    if (count := prod(len(choice) for choice in choices)) > MAX_BUFFER_PLACEMENTS:
        raise UndecidedError("buffers-everywhere", f"{len(arenas)} buffers can lie in {count} ways among the sets")
    return (dict(zip(arenas, choice, strict=True)) for choice in product(*choices))


class _Builder:
    def __init__(self, geometry: Geometry, buffer_size: int | None, run: int | None, deadline: float) -> None:
        self._deadline = deadline
        self._asked = 0
        self._geometry = geometry
        self._run = run
        self._buffer_size = buffer_size
        # An event may touch several lines, one after the other.
        self._pieces = max(64 // geometry.line, 1) * 2

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
        if (count := self._geometry.sets * prod(len(option) for option in options)) > MAX_WORDS:
            raise UndecidedError(
                "own-lines-everywhere", f"the routine's own lines can lie in {count} ways among the sets"
            )
        phase = next(iter(phases.values()))
        for index, buffer_touches in per_set.items():
            of_buffer = frozenset(touch.line for touch in buffer_touches)
            has = len({touch.line for touch in buffer_touches if touch.kind is ItemKind.ACCESS})
            for choice in product(*options) if buffer_touches else [()]:
                own_touches = [placement.touches for placement in choice if placement.touches]
                for same in _shared_lines(choice):
                    self._check_clock()
                    items = self._items(buffer_touches, own_touches, same)
                    yield PlacedWord(items, lines, of_buffer, index, phase, has)

    def _check_clock(self) -> None:
        """Raises UndecidedError if the time is up."""
        self._asked += 1
        if self._asked % _CLOCK_EVERY == 0 and time.monotonic() > self._deadline:
            raise UndecidedError("out-of-time", "what the walk does in each set takes too long", hint="--max-seconds N")

    def _inside(self, number: int, phase: int) -> bool:
        """Whether a line holds some of the buffer's bytes."""
        start = number * self._geometry.line - phase
        return self._buffer_size is None or -self._geometry.line < start < self._buffer_size

    def _touches(self, arena: Arena, events: Events, base: int, lines: list[Line]) -> Iterator[tuple[int, _Touch]]:
        """Every line that every event touches, by its number in the arena. An access across a line border is two."""
        size = self._geometry.line
        numbers: dict[int, int] = {}
        for at, event in self._telling(events, base):
            self._check_clock()
            start = event.offset + base
            first = start // size
            for number in range(first, (start + max(event.size, 1) - 1) // size + 1):
                line = numbers.get(number)
                if line is None:
                    line = numbers[number] = len(lines)
                    lines.append(Line(arena, number * size - base))
                yield number, _Touch(at * self._pieces + number - first, line, _ITEM[event.kind])

    def _telling(self, events: Events, base: int) -> Iterator[tuple[int, Event]]:
        """The events with their positions, but of many in a row to one line only as many as can make a difference."""
        size = self._geometry.line
        for piece in events.pieces:
            step = piece.steps[0]
            # Lines side by side are in different sets, if there are several.
            plain = piece.period == 1 and abs(step) < size and _ITEM[piece.events[0].kind] is ItemKind.ACCESS
            if self._run is None or self._geometry.sets == 1 or not plain:
                for turn in range(piece.turns):
                    for index, place in enumerate(piece.places):
                        yield piece.start + turn * piece.period + place, piece.event(turn, index)
                continue
            seen: dict[int, int] = {}
            turn = 0
            while turn < piece.turns:
                event = piece.event(turn, 0)
                start = event.offset + base
                first, last = start // size, (start + max(event.size, 1) - 1) // size
                for line in range(first, last + 1):
                    seen[line] = seen.get(line, 0) + 1
                yield piece.start + turn, event
                turn += 1
                if min(seen[first], seen[last]) >= self._run:
                    # On to the first one that touches another line.
                    left = (
                        ((last + 1) * size - (start + max(event.size, 1) - 1)) if step > 0 else start - first * size + 1
                    )
                    turn += max(-(-left // abs(step)) - 1, 0) if step else piece.turns

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


def _shared_lines(choice: Sequence[_Placement]) -> Iterator[dict[int, int]]:
    """The ways in which own arenas in the same set may share lines: the first is that they do not."""
    pairs = [
        (one.high, other.low)
        for one, other in chain(combinations(choice, 2), combinations(choice[::-1], 2))
        if one.may_precede(other) and one.high is not None and other.low is not None
    ]
    if 1 << len(pairs) > MAX_SHARED:
        raise UndecidedError("own-lines-everywhere", f"{len(choice)} pieces of memory may share lines")
    for count in range(len(pairs) + 1):
        for chosen in combinations(pairs, count):
            same: dict[int, int] = {}
            for one, other in chosen:
                kept, gone = same.get(one, one), same.get(other, other)
                same = {line: kept if to == gone else to for line, to in same.items()} | {gone: kept}
            yield same


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
