# SPDX-License-Identifier: GPL-2.0-or-later
"""Random loops, and questions for their words, each with the answer made event by event."""

from __future__ import annotations

import random

import plain_words
import pytest

from l1dflush.cache.geometry import Geometry
from l1dflush.errors import UndecidedError
from l1dflush.proof.words import SetWord, set_words
from l1dflush.tracing.events import Events
from l1dflush.tracing.model import Arena, ArenaKind, Event, Kind
from l1dflush.tracing.region import Region, RegionKind

BUFFER = Arena("buffer", ArenaKind.INPUT, Region(RegionKind.POINTED, ("the buffer",)), 4096)
SECOND = Arena("second", ArenaKind.SECTION, Region(RegionKind.SECTION, ("another buffer",)), 1024)
STACK = Arena("stack", ArenaKind.STACK, Region(RegionKind.STACK), 8)
OTHERS = (
    Arena("counter", ArenaKind.SYMBOL, Region(RegionKind.SYMBOL, ("a counter",)), 4),
    Arena("table", ArenaKind.SECTION, Region(RegionKind.SECTION, ("a table",)), 32),
    Arena("given", ArenaKind.INPUT, Region(RegionKind.POINTED, ("what is handed in",)), 16, sources=("rsi",)),
)
BUFFERS = frozenset({BUFFER.key, SECOND.key})
KINDS = (Kind.LOAD, Kind.LOAD, Kind.STORE, Kind.PREFETCH, Kind.LINE_FLUSH, Kind.STRING_STORE)
GEOMETRIES = (Geometry(512, 8, 64), Geometry(1024, 4, 64), Geometry(4096, 8, 64), Geometry(256, 4, 16))
Runs = list[tuple[tuple[Event, ...], tuple[int, ...], int]]


def random_runs(source: random.Random) -> Runs:
    """Loops as compilers make them: some events of a turn walk, most stay; some loops come again, moved on."""
    own = source.sample((STACK, *OTHERS), source.choice((0, 1, 1, 2, 3)))
    arenas = (BUFFER, *own, *([SECOND] if source.random() < 0.2 else []))
    restless = 0.5 if source.random() < 0.2 else 0.0
    runs: Runs = []
    for _ in range(source.randint(1, 4)):
        turn, steps = [], []
        for number in range(source.randint(1, 6)):
            arena = source.choice((BUFFER, *arenas))
            size = source.choice((1, 4, 8, 8, 16, 64, 200))
            turn.append(Event(source.choice(KINDS), number, "mov", arena, source.randint(-99, 199), size))
            moves = arena in (BUFFER, SECOND) or source.random() < restless
            steps.append(source.choice((0, 1, 8, 12, 32, 64, 65, 256, -8, -64)) if moves else 0)
        count = source.choice((1, 2, 3, 20, 70))
        run = tuple(turn), tuple(steps) if count > 1 else (0,) * len(turn), count
        if count > 20 or source.random() < 0.5:
            runs.append(run)
            continue
        glue = (Event(Kind.STORE, 99, "mov", source.choice(arenas), 8, 8),), (0,), 1
        for again in range(source.randint(2, 6)):
            moved = tuple(
                event._replace(offset=event.offset + again * count * step)
                for event, step in zip(turn, steps, strict=True)
            )
            runs += [(moved, run[1], count), glue]
    return runs


def check(events: Events, geometry: Geometry, size: int | None, run: int | None, at: int | None = None) -> bool:
    """Whether there are few enough placements for words, which are then those made event by event."""

    def plain(most: int) -> list[SetWord]:
        return plain_words.set_words(events, BUFFERS, geometry, size, aligned_at=at, run=run, most=most)

    try:
        words = set_words(events, BUFFERS, geometry, size, aligned_at=at, run=run)
    except UndecidedError as error:
        with pytest.raises(UndecidedError) as wanted:
            plain(20_000)
        assert wanted.value.cause == error.cause
        return False
    assert words == plain(1_000_000)
    return True


def check_random(source: random.Random) -> bool:
    """A random question; see :func:`check`."""
    events = Events.folded(random_runs(source))
    if len(events) > 600:
        events = events[: source.randint(100, 600)]
    size, at = source.choice((None, None, 128, 1000)), source.choice((None, None, 40))
    return check(events, source.choice(GEOMETRIES), size, source.choice((1, 1, 2, 3, None)), at)
