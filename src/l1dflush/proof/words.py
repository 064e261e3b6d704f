# SPDX-License-Identifier: GPL-2.0-or-later
"""From a trace to words: the accesses that a routine makes in each set of a cache, in order.

The buffer's lines fall into known sets. Every other arena (the stack, a variable) lies somewhere unknown, so for
every set each of its placements is a word of its own: the routine is complete only if all of them are. Accesses
to own lines before the first or after the last buffer access of a set are dropped; those in between count.

Sets in which the same happens give the same words, which are made once: in a walk these are nearly all. And a turn that
a loop makes again and again is looked at once.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, pairwise, product
from math import inf, prod
from typing import NamedTuple

from l1dflush.cache.geometry import Geometry
from l1dflush.errors import UndecidedError
from l1dflush.proof.folded_word import FoldedWord, Folding, Stream, expanded, items_of, named_in_order
from l1dflush.proof.placements import (
    Line,
    OwnLines,
    buffer_placements,
    in_any_set,
    own_placements,
    refuse_related,
    shared_lines,
)
from l1dflush.proof.question import ItemKind, Word
from l1dflush.proof.touches import Clock, Stretch, Touches, Turn, cut, lines_in_order, renamed
from l1dflush.tracing.events import Events
from l1dflush.tracing.model import Arena, Event

# Beyond this many placements of own lines the question is not asked any more.
MAX_WORDS = 20_000


@dataclass(frozen=True, slots=True)
class SetWord:
    """One word and where it occurs. ``lines`` names the word's line ids; ``set_index`` is the first set with
    this word, counted from the set of the buffer's offset 0; ``sets`` is how many sets have it at most; ``own``:
    the ids of the lines that are not the buffer's; ``has`` is the number of different buffer lines that are surely
    accessed; ``indices`` are all sets that have it where memory lies in one of its places."""

    word: Word
    lines: tuple[Line, ...]
    set_index: int
    sets: int
    own: frozenset[int]
    has: int
    indices: frozenset[int]


@dataclass(frozen=True, slots=True)
class PlacedWord:
    """What a trace does in some sets if its memory lies at one of the places where it may.

    ``word``'s lines are 0, 1, 2, ... in the order in which they come; ``lines_of`` names them for one of the ``sets``.
    ``phase`` is where in a line the buffer begins; ``own`` and ``has`` are a :class:`SetWord`'s. ``rank`` grows from
    one placement of own lines to the next.
    """

    folded: FoldedWord
    sets: tuple[int, ...]
    own: frozenset[int]
    phase: int
    has: int
    rank: int
    lines_of: Callable[[int], tuple[Line, ...]]

    @property
    def word(self) -> Word:
        """The word itself."""
        return expanded(self.folded)


# What is done in each set.
_PerSet = dict[int, list[Stretch]]
# What a proof is about: the word, by number, and which of its lines are not the buffer's (they may be cached at a cold
# start).
_Key = tuple[int, frozenset[int]]


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
    groups = placed_words(events, buffers, geometry, buffer_size, aligned_at=aligned_at, run=run, deadline=deadline)
    clock = Clock(deadline)
    # Words are long: each has a number. The same one may be folded in several ways.
    words: dict[Word, int] = {}
    folded: dict[FoldedWord, int] = {}
    found: dict[_Key, SetWord] = {}
    first: dict[_Key, tuple[int, int, int]] = {}
    for number, group in enumerate(groups):
        having: dict[_Key, set[int]] = {}
        for placed in group:
            known = folded.get(placed.folded)
            if known is None:
                word = placed.word
                clock.passed(len(word))
                known = folded[placed.folded] = words.setdefault(word, len(words))
            key = known, placed.own
            having.setdefault(key, set()).update(placed.sets)
            index = min(placed.sets)
            rank = number, index, placed.rank
            if key not in found or rank < first[key]:
                found[key] = SetWord(placed.word, placed.lines_of(index), index, 1, placed.own, placed.has, frozenset())
                first[key] = rank
        for key, indices in having.items():
            one = found[key]
            found[key] = replace(one, sets=max(one.sets, len(indices)), indices=one.indices | indices)
    order = sorted(found, key=lambda key: (len(found[key].word), found[key].set_index, first[key]))
    return [found[key] for key in order]


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
    arenas = _arenas(accesses)
    mine = [arena for arena in arenas if arena.key in buffers]
    if not mine:
        # No access at all, in every set.
        yield iter([PlacedWord((), tuple(range(geometry.sets)), frozenset(), 0, 0, 0, lambda _: ())])
        return
    of_buffers = accesses.where(lambda event: event.arena is not None and event.arena.key in buffers)
    between = accesses.within(of_buffers.position(0), of_buffers.position(-1) + 1)
    here = set(_arenas(between))
    own = [arena for arena in arenas if arena.key not in buffers and arena in here]
    refuse_related([*mine, *own])
    builder = _Builder(between, own, geometry, buffer_size, run, deadline)
    for phases in buffer_placements(mine, geometry, aligned_at):
        yield builder.placed(phases)


def _arenas(events: Events) -> list[Arena]:
    """The arenas that events touch, in the order in which they come."""
    # There are many events and few arenas, which are large.
    ids = {id(event.arena): event.arena for event in events.shapes()}
    return [arena for arena in dict.fromkeys(ids.values()) if arena is not None]


class _Access(NamedTuple):
    """Turns in which a set's buffer lines are accessed, and of whose own accesses only those between two places
    count."""

    begin: int
    end: int
    turn: Turn
    low: float
    high: float


@dataclass(slots=True)
class _Alike:
    """Sets in which the same happens to the buffer. ``lines``: of each set, in the order in which they come, which are
    their numbers in ``accesses``."""

    accesses: list[_Access]
    has: int
    lines: dict[int, list[int]]


class _Builder:
    """Makes the words of some events, the first and the last of which are accesses to the buffer."""

    def __init__(
        self,
        events: Events,
        own: Sequence[Arena],
        geometry: Geometry,
        buffer_size: int | None,
        run: int | None,
        deadline: float,
    ) -> None:
        self._clock = Clock(deadline)
        self._geometry = geometry
        self._run = run
        self._buffer_size = buffer_size
        self._touches = Touches(events, geometry, run, self._clock)
        self._own_lines = OwnLines()
        self._moving = any(self._touches.moves(arena) for arena in own)
        self._own = [own_placements(arena, self._touches, geometry, self._own_lines) for arena in own]

    def placed(self, phases: Mapping[Arena, int]) -> Iterator[PlacedWord]:
        """The words of all sets and all placements of own lines, for one placement of the buffers."""
        per_set: _PerSet = {}
        beyond = []
        buffers = list(phases.items())
        for which in range(len(buffers)):
            inside, outside = self._of_buffer(buffers, which)
            for index, stretches in inside.items():
                per_set[index] = [*per_set[index], *stretches] if index in per_set else stretches
            beyond += [in_any_set(outside.values(), self._geometry)] if outside else []
        options = [*beyond, *self._own]
        if (count := self._geometry.sets * prod(len(option) for option in options)) > MAX_WORDS:
            raise UndecidedError(
                "own-lines-everywhere", f"the routine's own lines can lie in {count} ways among the sets"
            )
        phase = buffers[0][1]
        untouched = tuple(index for index in range(self._geometry.sets) if index not in per_set)
        if untouched:
            yield PlacedWord((), untouched, frozenset(), phase, 0, 0, lambda _: ())
        alike = self._alike(per_set, positions=bool(options), exactly=self._moving or bool(beyond))
        rank = 0
        for choice in product(*options):
            together = _together([placement.stretches for placement in choice if placement.stretches])
            for same in shared_lines(choice):
                rank += 1
                stream = Stream(renamed(together, same) if same else together)
                self._clock.passed(len(together))
                for sets in alike:
                    yield self._word(sets, stream, buffers, rank)

    def _of_buffer(self, phases: Sequence[tuple[Arena, int]], which: int) -> tuple[_PerSet, _PerSet]:
        """What is done in each set to a buffer's lines, and to those that lie beyond its size.

        Lines of the buffer have numbers that :meth:`_line` understands; the others are own ones.
        """
        arena, phase = phases[which]
        size, count = self._geometry.line, len(phases)
        per_set = self._touches.by_set(arena, phase)
        if self._buffer_size is None and count == 1:
            return per_set, {}
        inside: _PerSet = {}
        outside: _PerSet = {}
        for index, stretches in per_set.items():
            mine: dict[int, int] = {}
            others: dict[int, int] = {}
            for number in lines_in_order(stretches):
                line = Line(arena, number * size - phase)
                if self._buffer_size is None or -size < line.offset < self._buffer_size:
                    mine[number] = number * count + which
                else:
                    others[number] = self._own_lines.add(line)
            for found, names in ((inside, mine), (outside, others)):
                if names:
                    found[index] = list(renamed(_only(stretches, names), names))
        return inside, outside

    def _line(self, phases: Sequence[tuple[Arena, int]], number: int) -> Line:
        """A line of the buffer."""
        line, which = divmod(number, len(phases))
        arena, phase = phases[which]
        return Line(arena, line * self._geometry.line - phase)

    def _alike(self, per_set: _PerSet, *, positions: bool, exactly: bool) -> list[_Alike]:
        """The sets that are accessed, those in which the same happens together. ``positions``: it also matters when,
        seen from the accesses before; ``exactly``: seen from the beginning."""
        found: dict[object, _Alike] = {}
        for index in sorted(per_set):
            stretches = cut(per_set[index])
            order = lines_in_order(stretches)
            stretches = list(renamed(stretches, {line: number for number, line in enumerate(order)}))
            self._clock.passed(len(stretches))
            if exactly:
                key: object = tuple(stretches)
            elif positions:
                key = tuple(self._distances(stretches))
            else:
                key = tuple((one.end - one.begin, items_of(one.turn)) for one in stretches)
            if key not in found:
                has = {touch.line for one in stretches for touch in one.turn if touch.kind is ItemKind.ACCESS}
                found[key] = _Alike(list(_trimmed(stretches)), len(has), {})
            found[key].lines[index] = order
        return list(found.values())

    def _distances(self, stretches: Sequence[Stretch]) -> Iterator[tuple[int, ...] | Turn]:
        """Stretches by what lies between them: how many turns of which pieces."""
        firsts = self._touches.turns_of_pieces()
        piece = before = -1
        for begin, end, turn in stretches:
            # Nothing counts before the first one.
            left = between = 0
            after = bisect_right(firsts, begin) - 1
            if after == piece:
                between = begin - before
            elif piece >= 0:
                left, between = firsts[piece + 1] - before, begin - firsts[after]
            yield after, left, between, end - begin
            yield turn
            piece, before = after, end

    def _word(self, sets: _Alike, stream: Stream, buffers: Sequence[tuple[Arena, int]], rank: int) -> PlacedWord:
        folding = Folding(self._run)
        before = sets.accesses[0].begin
        for begin, end, turn, low, high in sets.accesses:
            stream.between(before, begin, folding, self._clock)
            for turns, others in stream.during(begin, end):
                self._clock.passed()
                counting = [touch for touch in others if low < touch.place < high]
                folding.add(items_of(sorted([*turn, *counting]) if counting else turn), turns)
            before = end
        folded, names = named_in_order(folding.word())
        own = frozenset(number for number, line in enumerate(names) if line < 0)

        def lines_of(index: int) -> tuple[Line, ...]:
            mine = sets.lines[index]
            return tuple(self._line(buffers, mine[line]) if line >= 0 else self._own_lines[line] for line in names)

        return PlacedWord(folded, tuple(sets.lines), own, buffers[0][1], sets.has, rank, lines_of)


def _only(stretches: Iterable[Stretch], lines: Container[int]) -> Iterator[Stretch]:
    """What of these is done to some lines."""
    for begin, end, turn in stretches:
        if some := tuple(touch for touch in turn if touch.line in lines):
            yield Stretch(begin, end, some)


def _together(streams: Sequence[Sequence[Stretch]]) -> Sequence[Stretch]:
    return streams[0] if len(streams) == 1 else cut(chain.from_iterable(streams))


def _trimmed(stretches: Sequence[Stretch]) -> Iterator[_Access]:
    """A set's accesses to the buffer; own ones before the first of them and after the last do not count."""
    edges = {stretches[0].begin, stretches[-1].end - 1}
    for begin, end, turn in stretches:
        parts = sorted({begin, end} | {at for edge in edges for at in (edge, edge + 1) if begin <= at <= end})
        for low, high in pairwise(parts):
            first = turn[0].place if low == stretches[0].begin else -inf
            last = turn[-1].place if high == stretches[-1].end and high - low == 1 else inf
            yield _Access(low, high, turn, first, last)
