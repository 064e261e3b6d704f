# SPDX-License-Identifier: GPL-2.0-or-later
"""Which lines the events of a trace touch, kept as folded as the events are.

The turns of all loops are counted through the whole path. What is done in one set, or to one piece of memory, is then a
list of stretches of turns in each of which every turn does the same: a walk in steps of eight bytes is eight turns that
touch one line, however many own accesses each of them makes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, groupby, pairwise
from operator import gt, itemgetter
from time import monotonic
from typing import NamedTuple

from l1dflush.arguments import MAX_SECONDS
from l1dflush.cache.geometry import Geometry
from l1dflush.errors import UndecidedError
from l1dflush.proof.question import ItemKind
from l1dflush.tracing.events import Events, Piece
from l1dflush.tracing.model import Arena, Kind

ITEM = {
    Kind.LOAD: ItemKind.ACCESS,
    Kind.STORE: ItemKind.ACCESS,
    Kind.STRING_STORE: ItemKind.OPTIONAL,
    Kind.NON_TEMPORAL_STORE: ItemKind.OPTIONAL,
    Kind.PREFETCH: ItemKind.OPTIONAL,
    Kind.LINE_FLUSH: ItemKind.FLUSH,
}
# Asking for the time takes as long as a few steps.
_CLOCK_EVERY = 4096


class Touch(NamedTuple):
    """One line that is touched in every turn of a stretch: its place in the turn's order, and what is done with it."""

    place: int
    line: int
    kind: ItemKind


# All touches of one turn, in order.
Turn = tuple[Touch, ...]


class Stretch(NamedTuple):
    """The turns from ``begin`` up to ``end``, and what each of them does."""

    begin: int
    end: int
    turn: Turn


class Clock:
    """Says stop when the time is up."""

    def __init__(self, deadline: float) -> None:
        self._deadline = deadline
        self._steps = 0

    def passed(self, steps: int = 1) -> None:
        """Counts ``steps`` more. Raises UndecidedError if the time is up."""
        self._steps += steps
        if self._steps >= _CLOCK_EVERY:
            self._steps = 0
            if monotonic() > self._deadline:
                what = "what the walk does in each set takes too long"
                raise UndecidedError("out-of-time", what, hint=MAX_SECONDS.form("N"))


@dataclass(frozen=True, slots=True)
class _Mine:
    """Those events of a piece that touch one arena: their indices, and all about them if no turn moves them on."""

    piece: int
    indices: tuple[int, ...]
    still: tuple[tuple[int, int, int, Kind], ...] | None


class Touches:
    """The lines that events touch, by arena.

    ``run``: of more accesses in a row to one line only so many are told where nothing else happens between them.
    """

    def __init__(self, events: Events, geometry: Geometry, run: int | None, clock: Clock) -> None:
        self._pieces = events.pieces
        self._firsts = list(accumulate((piece.turns for piece in self._pieces), initial=0))
        self._geometry = geometry
        self._run = run if geometry.sets > 1 else None  # lines side by side are in different sets, if there are several
        self._clock = clock
        # An event may touch several lines, one after the other.
        self._lines_each = max((event.size for event in events.shapes()), default=1) // geometry.line + 2
        self._of: dict[Arena, list[_Mine]] = {}
        # Arenas are large, and asking which one it is takes long.
        known: dict[int, Arena] = {}
        for number, piece in enumerate(self._pieces):
            clock.passed(len(piece.events))
            indices: dict[int, list[int]] = {}
            for index, event in enumerate(piece.events):
                if event.arena is not None:
                    known[id(event.arena)] = event.arena
                    indices.setdefault(id(event.arena), []).append(index)
            for arena, mine in indices.items():
                still = None if any(piece.steps[i] for i in mine) else _still(piece, mine)
                self._of.setdefault(known[arena], []).append(_Mine(number, tuple(mine), still))

    def turns_of_pieces(self) -> Sequence[int]:
        """The first turn of each piece, and the one behind the last."""
        return self._firsts

    def moves(self, arena: Arena) -> bool:
        """Whether the accesses to it move on from turn to turn."""
        return any(mine.still is None for mine in self._of[arena])

    def spots(self, arena: Arena) -> set[tuple[int, int]]:
        """Offsets and sizes of the accesses to it in the first and in the last turns of loops."""
        found = set()
        for mine in self._of[arena]:
            if mine.still is None:
                piece = self._pieces[mine.piece]
                for index in mine.indices:
                    event = piece.events[index]
                    found |= {(event.offset, event.size), (piece.last(index), event.size)}
        stills = {mine.still for mine in self._of[arena] if mine.still is not None}
        return found | {(offset, size) for still in stills for _, offset, size, _ in still}

    def by_set(self, arena: Arena, base: int) -> dict[int, list[Stretch]]:
        """What is done in each set, in order; the sets in the order in which they are come to. Offset 0 of the arena is
        at ``base`` in line 0, which is in set 0. Lines are named by number."""
        found: dict[int, list[Stretch]] = {}
        still: dict[object, dict[int, Turn]] = {}
        for mine in self._of[arena]:
            piece, first = self._pieces[mine.piece], self._firsts[mine.piece]
            if mine.still is None:
                for number, beats in self._moving(piece, first, mine.indices, base).items():
                    found.setdefault(number, []).extend(cut(beats))
                continue
            self._clock.passed()
            if mine.still not in still:
                still[mine.still] = self._standing(mine.still, base)
            for number, turn in still[mine.still].items():
                found.setdefault(number, []).append(Stretch(first, first + piece.turns, turn))
        return found

    def _in_a_row(self, piece: Piece) -> bool:
        """Whether the piece makes accesses to one line after the other, and nothing else."""
        near = piece.period == 1 and 0 < abs(piece.steps[0]) < self._geometry.line
        return self._run is not None and near and ITEM[piece.events[0].kind] is ItemKind.ACCESS

    def _standing(self, events: Iterable[tuple[int, int, int, Kind]], base: int) -> dict[int, Turn]:
        """What one turn does in each set, if the next one does the same."""
        size, sets = self._geometry.line, self._geometry.sets
        found: dict[int, list[Touch]] = {}
        for place, offset, length, kind in events:
            first, last = _lines(offset + base, length, size)
            for line in range(first, last + 1):
                touch = Touch(place * self._lines_each + line - first, line, ITEM[kind])
                found.setdefault(line % sets, []).append(touch)
        return {number: tuple(touches) for number, touches in found.items()}

    def _moving(self, piece: Piece, before: int, indices: Iterable[int], base: int) -> dict[int, list[Stretch]]:
        """For each set which turns touch which line, each with one touch; ``before`` are the turns before the piece."""
        found: dict[int, list[Stretch]] = {}
        sets = self._geometry.sets
        limit = self._run if self._in_a_row(piece) else None
        for index in indices:
            event, place = piece.events[index], piece.places[index] * self._lines_each
            kind = ITEM[event.kind]
            where = event.offset + base, max(event.size, 1), piece.steps[index]
            lines = _lines_of_turns(*where, piece.turns, self._geometry.line)
            for begin, end, line, part in lines if limit is None else _fewer(lines, limit):
                self._clock.passed()
                touch = Touch(place + part, line, kind)
                found.setdefault(line % sets, []).append(Stretch(before + begin, before + end, (touch,)))
        if len(found) > 1:
            # In the order in which the sets are come to, not by event.
            firsts = {number: min((b.begin, b.turn[0].place) for b in beats) for number, beats in found.items()}
            found = {number: found[number] for number in sorted(found, key=firsts.__getitem__)}
        return found


def _still(piece: Piece, indices: Iterable[int]) -> tuple[tuple[int, int, int, Kind], ...]:
    events = ((piece.places[index], piece.events[index]) for index in indices)
    return tuple((place, event.offset, event.size, event.kind) for place, event in events)


def _lines(start: int, length: int, size: int) -> tuple[int, int]:
    """The first and the last line of an access."""
    return start // size, (start + max(length, 1) - 1) // size


def _lines_of_turns(start: int, length: int, step: int, turns: int, size: int) -> Iterator[tuple[int, int, int, int]]:
    """From which turn up to which one each line is touched, and as which of an access's lines."""
    if abs(step) >= size:
        for turn in range(turns):
            first = start // size
            last = (start + length - 1) // size
            start += step
            yield turn, turn + 1, first, 0
            for line in range(first + 1, last + 1):
                yield turn, turn + 1, line, line - first
        return
    if step == 0:
        first, last = _lines(start, length, size)
        for line in range(first, last + 1):
            yield 0, turns, line, line - first
        return
    way = 1 if step > 0 else -1
    for first in range(start // size, (start + (turns - 1) * step) // size + way, way):
        # The turns that begin in this line, and of these the ones that reach as far as each of the next.
        low, high = first * size, (first + 1) * size
        for line in range(first, first + (length + size - 2) // size + 1):
            reach = max(low, line * size - length + 1)
            if step > 0:
                begin, end = -((start - reach) // step), -((start - high) // step)
            else:
                begin, end = (start - high) // -step + 1, (start - reach) // -step + 1
            begin, end = max(begin, 0), min(end, turns)
            if begin < end:
                yield begin, end, line, line - first


def _fewer(lines: Iterable[tuple[int, int, int, int]], limit: int) -> Iterator[tuple[int, int, int, int]]:
    """Of turns in a row that touch one line and no other, the first ``limit``. One that touches several stays: two of
    them may be in one set, which then are touched by turns."""
    for _, together in groupby(lines, key=lambda one: one[2] - one[3]):
        (begin, end, line, part), *others = together
        low, high = others[0][:2] if others else (end, end)
        for first, last in ((begin, min(begin + limit, low)), (low, high), (high, min(high + limit, end))):
            if first < last:
                yield first, last, line, part
        yield from others


def cut(stretches: Iterable[Stretch]) -> list[Stretch]:
    """The same touches as stretches that do not overlap."""
    coming = sorted(stretches)
    ends = map(itemgetter(1), coming)
    return list(_cut(coming)) if any(map(gt, ends, map(itemgetter(0), coming[1:]))) else coming


def _cut(coming: Sequence[Stretch]) -> Iterator[Stretch]:
    active: list[Stretch] = []
    at = 0
    for low, high in pairwise(sorted({edge for begin, end, _ in coming for edge in (begin, end)})):
        active = [one for one in active if one.end > low]
        while at < len(coming) and coming[at].begin == low:
            active.append(coming[at])
            at += 1
        if active:
            turn = active[0].turn if len(active) == 1 else tuple(sorted(t for one in active for t in one.turn))
            yield Stretch(low, high, turn)


def renamed(stretches: Iterable[Stretch], names: Mapping[int, int]) -> tuple[Stretch, ...]:
    """The same with other names for lines; those without a new one keep theirs."""
    turns: dict[Turn, Turn] = {}
    found = []
    for begin, end, turn in stretches:
        if len(turn) == 1:
            ((place, line, kind),) = turn
            found.append(Stretch(begin, end, (Touch(place, names.get(line, line), kind),)))
            continue
        if turn not in turns:
            turns[turn] = tuple(Touch(place, names.get(line, line), kind) for place, line, kind in turn)
        found.append(Stretch(begin, end, turns[turn]))
    return tuple(found)


def lines_in_order(stretches: Iterable[Stretch]) -> list[int]:
    """The lines, in the order in which they are first touched."""
    return list(dict.fromkeys(touch.line for one in stretches for touch in one.turn))
