# SPDX-License-Identifier: GPL-2.0-or-later
"""Folding: a trace has a thousand events and a person reads ten lines."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from operator import sub

from l1dflush.tracing.events import Events, Piece
from l1dflush.tracing.model import Arena, Event

# Of so many events the best way to fold them is looked for.
MOST_UNFOLDED = 20_000
# The longest group of events that is recognised as repeating: the body of an unoptimised loop.
LONGEST_PERIOD = 16


@dataclass(frozen=True, slots=True)
class FoldedRun:
    """``count`` events like ``event``, each ``step`` bytes from the one before. Runs with the same
    ``together`` alternate, event by event."""

    event: Event
    count: int
    step: int
    together: int

    @property
    def last(self) -> int:
        """Offset of the last event, in bytes."""
        return self.event.offset + (self.count - 1) * self.step

    @property
    def span(self) -> int:
        """From the lowest offset to behind the highest, a whole step counted for the last, in bytes."""
        return self.count * abs(self.step)


def fold(events: Sequence[Event]) -> list[FoldedRun]:
    """The events as runs, in order.

    A run goes on as long as kind, instruction, memory and size stay the same and the offset grows by the same
    step; so does a group of up to :data:`LONGEST_PERIOD` events that repeats itself at least three times. Of very many
    events what is folded already is a run.
    """
    kept = Events.of(events)
    return list(_kept_runs(kept)) if isinstance(events, Events) and len(kept) > MOST_UNFOLDED else _folded(kept)


def _kept_runs(events: Events) -> Iterator[FoldedRun]:
    at = 0
    for piece in events.pieces:
        if piece.turns == 1:
            yield from (replace(run, together=at + run.together) for run in _folded(Events([piece])))
        elif (step := _plain_step(piece)) is not None:
            yield FoldedRun(piece.events[0], len(piece), step, at)
        else:
            for event, step in zip(piece.events, piece.steps, strict=True):
                yield FoldedRun(event, piece.turns, step, at)
        at += len(piece)


def _plain_step(piece: Piece) -> int | None:
    """The step of a piece all of whose events are a constant step apart, as those of an unrolled loop are."""
    if len(set(_kinds([replace(piece, turns=1)]))) > 1:
        return None
    offsets = [*(event.offset for event in piece.events), piece.events[0].offset + piece.steps[0]]
    steps = {b - a for a, b in pairwise(offsets)}
    return steps.pop() if len(steps) == 1 and len(set(piece.steps)) == 1 else None


def _folded(events: Events) -> list[FoldedRun]:
    kinds = _kinds(events.pieces)
    codes = [event.pc for piece in events.pieces for _ in range(piece.turns) for event in piece.events]
    offsets = [offset for piece in events.pieces for offset in piece.offsets()]
    runs: list[FoldedRun] = []
    at = 0
    while at < len(offsets):
        period, count = _best(kinds, offsets, at)
        last = at + count - 1
        if period == 1 and count > 1 and kinds[last : last + 2] == [kinds[last]] * 2 and _begins(codes, last):
            count -= 1
        for index in range(at, at + period):
            step = offsets[index + period] - offsets[index] if count > 1 else 0
            runs.append(FoldedRun(events[index], count, step, at))
        at += period * count
    return runs


def _begins(codes: list[int], at: int) -> bool:
    """Whether the event at which two runs meet, which could be of either, is one more of what comes behind it."""
    return codes[at] == codes[at + 1] != codes[at - 1]


def _kinds(pieces: Iterable[Piece]) -> list[int]:
    """A number per event: equal where kind, instruction, memory and size are."""
    # Traces are long, and the hashes of memories and of enumerations take long: they are asked for as seldom as can be.
    arenas: dict[Arena | None, int] = {}
    numbers: dict[int, int] = {}
    known: dict[tuple[int, str, int, int], int] = {}
    kinds: list[int] = []
    for piece in pieces:
        turn = []
        for kind, _, detail, arena, _, size, _ in piece.events:
            number = numbers.get(id(arena))
            if number is None:
                number = numbers[id(arena)] = arenas.setdefault(arena, len(arenas))
            turn.append(known.setdefault((id(kind), detail, number, size), len(known)))
        kinds += turn * piece.turns
    return kinds


def _best(kinds: list[int], offsets: list[int], at: int) -> tuple[int, int]:
    """The period and the number of repetitions that cover the most events from ``at`` on."""
    plain = _plain_repetitions(kinds, offsets, at)
    best = (1, plain)
    if plain > LONGEST_PERIOD:
        return best
    kind = kinds[at]
    for period in range(2, min(LONGEST_PERIOD, (len(kinds) - at) // 3) + 1):
        moved = offsets[at + period] - offsets[at]
        if kinds[at + period] != kind or offsets[at + 2 * period] - offsets[at + period] != moved:
            continue
        count = _repetitions(kinds, offsets, at, period)
        # A plain run is easier to read: a longer period has to explain much more.
        if count >= 3 and count * period > max(best[0] * best[1], 2 * plain):
            best = (period, count)
    return best


def _plain_repetitions(kinds: list[int], offsets: list[int], at: int) -> int:
    """How many events from ``at`` on are of one kind and a constant step apart."""
    end = at + 1
    if end == len(kinds):
        return 1
    kind, step = kinds[at], offsets[end] - offsets[at]
    while end < len(kinds) and kinds[end] == kind and offsets[end] - offsets[end - 1] == step:
        end += 1
    return end - at


def _repetitions(kinds: list[int], offsets: list[int], at: int, period: int) -> int:
    """How often the ``period`` events from ``at`` on come one after the other, each a constant step on."""
    group = kinds[at : at + period]
    steps = list(map(sub, offsets[at + period : at + 2 * period], offsets[at : at + period]))
    count, total = 1, len(kinds)
    while at + (count + 1) * period <= total:
        base = at + count * period
        if kinds[base : base + period] != group:
            break
        if count > 1 and list(map(sub, offsets[base : base + period], offsets[base - period : base])) != steps:
            break
        count += 1
    return count
