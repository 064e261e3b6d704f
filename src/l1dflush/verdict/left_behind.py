# SPDX-License-Identifier: GPL-2.0-or-later
"""What the code touches between its flush and its end: own lines, which are in the cache when it is over."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from math import gcd

from l1dflush.tracing.events import Events
from l1dflush.tracing.model import STORES, TOUCHES, Event, Kind, Path
from l1dflush.tracing.msrs import flushes_by_msr
from l1dflush.tracing.region import Region, RegionKind
from l1dflush.verdict.places import Places
from l1dflush.verdict.verify_result import LeftInfo
from l1dflush.verdict.walk import LINE, NO_EVENTS, Buffer, fill_start, others, walk_of


def after_flush(path: Path, buffer: Buffer | None) -> Events:
    """The events behind the last access of the walk, or behind the instruction that flushes; none where the path
    does not flush."""
    events = Events.of(path.events)
    flushes = events.where(lambda event: flushes_by_msr(event) or event.kind is Kind.FLUSH_ALL)
    walk = walk_of(path, buffer) if buffer is not None else NO_EVENTS
    ends = [one.position(-1) for one in (walk, flushes) if one]
    return events[max(ends) + 1 :] if ends else NO_EVENTS


def since_fill(path: Path, buffer: Buffer | None) -> Events:
    """The same from the first access of the fill on, without the buffer's own: what is touched while the buffer is
    read may still be cached when it is."""
    walk = walk_of(path, buffer) if buffer is not None else NO_EVENTS
    if not walk or buffer is None:
        return after_flush(path, buffer)
    events = Events.of(path.events)[walk.position(fill_start(walk)) :]
    return others(events, buffer)


def own_lines(events: Events) -> list[Event]:
    """Those of ``events`` whose lines are still cached behind the last of them: touched, and not flushed since. Of the
    same again and again there is one."""
    left: list[Event] = []
    for event in _changing(events):
        if event.kind is Kind.LINE_FLUSH:
            left = [e for e in left if not _surely_same_line(e, event)]
        elif event.kind in TOUCHES:
            left.append(event)
    return left


def _changing(events: Events) -> Iterator[Event]:
    """The events, but of a turn of which none moves on only one."""
    for piece in events.pieces:
        yield from Events((piece,)) if any(piece.steps) else piece.events


def left_behind(paths: Iterable[Path], buffer: Buffer | None, places: Places) -> tuple[LeftInfo, ...]:
    """The same for all paths that flush, as ranges of bytes by what they belong to; what outside functions touch
    is only named."""
    touched: dict[Region, dict[tuple[int, int], set[bool]]] = {}
    calls: dict[str, None] = {}
    for path in paths:
        events = since_fill(path, buffer)
        calls.update((event.detail, None) for event in events.shapes() if event.kind is Kind.CALL)
        for event in own_lines(events):
            region, offset = places.of(event)
            assert region is not None
            kinds = touched.setdefault(region, {}).setdefault((offset, offset + max(event.size, 1)), set())
            kinds.add(event.kind in STORES)
    ranges = [one for region, spans in touched.items() for one in _ranges(region, spans)]
    return (*ranges, *(LeftInfo(region=Region(RegionKind.CALLEE, (name,))) for name in calls))


def _ranges(region: Region, spans: dict[tuple[int, int], set[bool]]) -> Iterable[LeftInfo]:
    """Ranges no further apart than a line are one."""
    start, end, written = None, 0, False
    for (low, high), kinds in sorted(spans.items()):
        if start is not None and low > end + LINE:
            yield LeftInfo(region=region, first=start, last=end - 1, written=written)
            start = None
        if start is None:
            start, end, written = low, high, False
        end, written = max(end, high), written or True in kinds
    if start is not None:
        yield LeftInfo(region=region, first=start, last=end - 1, written=written)


def _surely_same_line(event: Event, flush: Event) -> bool:
    """Whether a flush of a line surely hits the line that ``event`` touched, wherever their memory lies."""
    if event.arena is None or event.arena != flush.arena:
        return False
    last = event.offset + max(event.size, 1) - 1
    return all(
        (event.offset + phase) // LINE == (last + phase) // LINE == (flush.offset + phase) // LINE
        for phase in range(0, LINE, gcd(event.arena.alignment, LINE))
    )
