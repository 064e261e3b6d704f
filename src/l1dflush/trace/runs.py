"""Folding: a trace has a thousand events and a person reads ten lines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from l1dflush.trace.model import Event

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
    step; so does a group of up to :data:`LONGEST_PERIOD` events that repeats itself at least three times.
    """
    runs: list[FoldedRun] = []
    at = 0
    while at < len(events):
        period, count = _best(events, at)
        for index in range(period):
            event = events[at + index]
            step = events[at + period + index].offset - event.offset if count > 1 else 0
            runs.append(FoldedRun(event, count, step, at))
        at += period * count
    return runs


def _best(events: Sequence[Event], at: int) -> tuple[int, int]:
    """The period and the number of repetitions that cover the most events from ``at`` on."""
    plain = _repetitions(events, at, 1)
    best = (1, plain)
    if plain > LONGEST_PERIOD:
        return best
    for period in range(2, LONGEST_PERIOD + 1):
        count = _repetitions(events, at, period)
        # A plain run is easier to read: a longer period has to explain much more.
        if count >= 3 and count * period > max(best[0] * best[1], 2 * plain):
            best = (period, count)
    return best


def _repetitions(events: Sequence[Event], at: int, period: int) -> int:
    count = 1
    total = len(events)
    while at + (count + 1) * period <= total:
        base = at + (count - 1) * period
        if not all(_alike(events[base + i], events[base + period + i]) for i in range(period)):
            break
        if count > 1 and any(
            events[base + period + i].offset - events[base + i].offset
            != events[at + period + i].offset - events[at + i].offset
            for i in range(period)
        ):
            break
        count += 1
    return count


def _alike(one: Event, other: Event) -> bool:
    return one.kind is other.kind and one.detail == other.detail and one.arena == other.arena and one.size == other.size
