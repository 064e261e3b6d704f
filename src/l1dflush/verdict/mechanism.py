# SPDX-License-Identifier: GPL-2.0-or-later
"""How a path flushes: by a walk, by one instruction, perhaps, or not."""

from __future__ import annotations

from collections import Counter

from l1dflush.tracing.events import Events
from l1dflush.tracing.model import MANY, TOUCHES, TRAPS, Arena, Event, Kind, Path
from l1dflush.tracing.msrs import flushes_by_msr, may_flush_by_msr
from l1dflush.verdict.verify_result import Mechanism
from l1dflush.verdict.walk import FEWEST, LINE, PAGE, Buffer

BY_COMMAND: frozenset[Mechanism] = frozenset({"msr-write", "cache-instruction", "msr-write-of-an-unknown-value"})
"""One instruction flushes, or may."""


def mechanism(path: Path, walks: bool, buffer: Buffer | None) -> Mechanism:
    """How a path flushes. A walk counts first: what an MSR write does cannot be proved."""
    if walks:
        return "software-walk"
    shapes = list(Events.of(path.events).shapes())
    if any(flushes_by_msr(event) for event in shapes):
        return "msr-write"
    if any(event.kind is Kind.FLUSH_ALL for event in shapes):
        return "cache-instruction"
    if any(may_flush_by_msr(event) for event in shapes):
        return "msr-write-of-an-unknown-value"
    if path.end in TRAPS:
        return "trap"
    return "perhaps-a-walk" if _may_walk(path, buffer) else "skipped"


def _may_walk(path: Path, buffer: Buffer | None) -> bool:
    """Whether a path makes as many accesses as a walk has, at places that were computed from what the buffer's was, or
    without a buffer from the same: in steps that are not known, each is a piece of memory of its own."""
    touches = Events.of(path.events).where(lambda event: event.kind in TOUCHES and _is_computed(event))
    if buffer is not None:
        known = buffer.sources
        near = touches.where(lambda event: event.arena is not None and may_be_of(event.arena, known))
        return len(near) >= FEWEST and len({event.arena for event in near.shapes()}) > 1
    by_source: Counter[str] = Counter()
    for arena in {event.arena for event in touches.shapes()}:
        by_source.update(arena.sources if arena is not None else ())
    return max(by_source.values(), default=0) >= PAGE // LINE


def _is_computed(event: Event) -> bool:
    return event.arena is not None and event.arena.computed


def may_be_of(arena: Arena, sources: frozenset[str]) -> bool:
    """Whether the place of an arena was computed from one of ``sources``, or nobody knows from what."""
    return bool(sources) and (MANY in arena.sources or not sources.isdisjoint(arena.sources))
