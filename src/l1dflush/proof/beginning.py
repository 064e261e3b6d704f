# SPDX-License-Identifier: GPL-2.0-or-later
"""What can be told of a walk before its words are made: how it begins, and how many lines it surely accesses."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from l1dflush.cache.geometry import Geometry
from l1dflush.proof.placements import buffer_placements
from l1dflush.proof.question import ItemKind
from l1dflush.proof.touches import ITEM
from l1dflush.tracing.events import Events
from l1dflush.tracing.model import Arena, Event

# Of so many events for each set words are made first: what the beginning does may be enough.
FIRST_EVENTS = 256


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
    """How many different buffer lines are surely accessed in each set at least.

    Arguments as for :func:`l1dflush.proof.words.set_words`.
    """
    surely = Events.of(events).where(lambda event: ITEM.get(event.kind) is ItemKind.ACCESS)
    arenas = dict.fromkeys(event.arena for event in Events.of(events).shapes())
    mine = [arena for arena in arenas if arena is not None and arena.key in buffers]
    per_arena = {arena: _of(surely, arena) for arena in mine}
    fewest = []
    for phases in buffer_placements(mine, geometry, aligned_at):
        counts = [0] * geometry.sets
        for arena, phase in phases.items():
            lowest, behind = -sys.maxsize, sys.maxsize
            if buffer_size is not None:
                lowest, behind = (
                    (phase - geometry.line) // geometry.line + 1,
                    -((-buffer_size - phase) // geometry.line),
                )
            for low, high in per_arena[arena].units(geometry.line, base=phase):
                rounds, rest = divmod(max(min(high, behind) - max(low, lowest), 0), geometry.sets)
                counts = [count + rounds for count in counts]
                for number in range(rest):
                    counts[(max(low, lowest) + number) % geometry.sets] += 1
        fewest.append(min(counts))
    return min(fewest, default=0)


def _of(events: Events, arena: Arena) -> Events:
    return events.where(lambda event: event.arena == arena)
