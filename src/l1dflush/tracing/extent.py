# SPDX-License-Identifier: GPL-2.0-or-later
"""What of a routine's image its paths ran and read: that is what its hash is made of."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from itertools import chain

from l1dflush.routine.model import Image, Routine
from l1dflush.tracing.events import Events
from l1dflush.tracing.model import ArenaKind, Event, Kind, Path

# Of a run of more reads all from the first to the last counts as read.
MOST_READS = 65_536


def with_extent(routine: Routine, ran: Iterable[tuple[int, int]], paths: Iterable[Path]) -> Routine:
    """``routine`` with what it ``used`` and where it ends; ``ran`` are the instructions, address to the next, in the
    order in which they were first come to."""
    code = _pieces(ran)
    return replace(routine, end=_end(routine, code), used=(*code, *_pieces(_reads(routine.image, paths))))


def _reads(image: Image, paths: Iterable[Path]) -> Iterable[tuple[int, int]]:
    """What of ``image`` the paths read: address to end of each read, in order, once."""
    found: dict[tuple[int, int], None] = {}
    for path in paths:
        pieces = (
            Events.of(events).where(lambda event: _beginning(image, event) is not None).pieces
            for events in (path.before, path.events)
        )
        for piece in chain.from_iterable(pieces):
            short = piece.turns <= MOST_READS
            for event, last in ((e, e.offset) for e in Events((piece,))) if short else Events((piece,)).ends():
                start = (_beginning(image, event) or 0) + min(event.offset, last)
                found[start, start + abs(last - event.offset) + event.size] = None
    return found


def _beginning(image: Image, event: Event) -> int | None:
    """Where in ``image`` the section or the variable begins that an event reads; None if it is none of the image's."""
    if event.kind is not Kind.LOAD or event.arena is None:
        return None
    _, _, name = event.arena.key.partition(":")
    if event.arena.kind is ArenaKind.SECTION:
        return int(name, 16)
    symbol = image.symbols.get(name) if event.arena.kind is ArenaKind.SYMBOL else None
    return symbol.address if symbol is not None and symbol.defined else None


def _pieces(intervals: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """``intervals``, from start to end, where they touch made one; in the order in which each was first come to."""
    order = {interval: number for number, interval in enumerate(intervals)}
    pieces: list[tuple[int, int, int]] = []
    for (start, end), number in sorted(order.items()):
        if pieces and start <= pieces[-1][1]:
            first, last, before = pieces.pop()
            pieces.append((first, max(last, end), min(before, number)))
        else:
            pieces.append((start, end, number))
    return [(start, end) for start, end, _ in sorted(pieces, key=lambda piece: piece[2])]


def _end(routine: Routine, code: Iterable[tuple[int, int]]) -> int | None:
    """The end of ``routine``, or, where its symbol's size is too small, of the ``code`` that was run behind it."""
    end = routine.end
    if end is None:
        return None
    symbols = routine.image.symbols.values()
    limit = min((s.address for s in symbols if s.function and s.defined and s.address >= end), default=None)
    behind = max((last for start, last in code if start <= end < last), default=end)
    return behind if limit is None else min(behind, limit)
