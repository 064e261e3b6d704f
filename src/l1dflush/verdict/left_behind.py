"""What the code touches between its flush and its end: own lines, which are in the cache when it is over."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import gcd

from l1dflush.trace.model import STORES, TOUCHES, Event, Kind, Path
from l1dflush.trace.msrs import flushes_by_msr
from l1dflush.verdict.model import LeftInfo
from l1dflush.verdict.walk import LINE, Buffer, Places, fill_start, walk_of


def after_flush(path: Path, buffer: Buffer | None) -> Sequence[Event]:
    """The events behind the last access of the walk, or behind the instruction that flushes; none where the path
    does not flush."""
    walk = walk_of(path, buffer) if buffer is not None else []
    ends = [walk[-1][0]] if walk else []
    ends += [at for at, event in enumerate(path.events) if flushes_by_msr(event) or event.kind is Kind.FLUSH_ALL]
    return path.events[max(ends) + 1 :] if ends else ()


def since_fill(path: Path, buffer: Buffer | None) -> Sequence[Event]:
    """The same from the first access of the fill on, without the buffer's own: what is touched while the buffer is
    read may still be cached when it is."""
    walk = walk_of(path, buffer) if buffer is not None else []
    if not walk or buffer is None:
        return after_flush(path, buffer)
    events = path.events[walk[fill_start(walk)][0] :]
    return [event for event in events if event.arena is None or not buffer.holds(event.arena, event.offset)]


def own_lines(events: Iterable[Event]) -> list[Event]:
    """Those of ``events`` whose lines are still cached behind the last of them: touched, and not flushed since."""
    left: list[Event] = []
    for event in events:
        if event.kind is Kind.LINE_FLUSH:
            left = [e for e in left if not _surely_same_line(e, event)]
        elif event.kind in TOUCHES:
            left.append(event)
    return left


def left_behind(paths: Iterable[Path], buffer: Buffer | None, places: Places) -> tuple[LeftInfo, ...]:
    """The same for all paths that flush, as ranges of bytes by what they belong to; what outside functions touch
    is only named."""
    touched: dict[str, dict[tuple[int, int], set[bool]]] = {}
    calls: dict[str, None] = {}
    for path in paths:
        events = since_fill(path, buffer)
        calls.update((event.detail, None) for event in events if event.kind is Kind.CALL)
        for event in own_lines(events):
            name, offset = places.of(event)
            kinds = touched.setdefault(name, {}).setdefault((offset, offset + max(event.size, 1)), set())
            kinds.add(event.kind in STORES)
    ranges = [one for name, spans in touched.items() for one in _ranges(name, spans)]
    return (*ranges, *(LeftInfo(place=f"whatever {name} touches") for name in calls))


def _ranges(name: str, spans: dict[tuple[int, int], set[bool]]) -> Iterable[LeftInfo]:
    """Ranges no further apart than a line are one."""
    start, end, written = None, 0, False
    for (low, high), kinds in sorted(spans.items()):
        if start is not None and low > end + LINE:
            yield LeftInfo(place=name, first=start, last=end - 1, written=written)
            start = None
        if start is None:
            start, end, written = low, high, False
        end, written = max(end, high), written or True in kinds
    if start is not None:
        yield LeftInfo(place=name, first=start, last=end - 1, written=written)


def _surely_same_line(event: Event, flush: Event) -> bool:
    """Whether a flush of a line surely hits the line that ``event`` touched, wherever their memory lies."""
    if event.arena is None or event.arena != flush.arena:
        return False
    last = event.offset + max(event.size, 1) - 1
    return all(
        (event.offset + phase) // LINE == (last + phase) // LINE == (flush.offset + phase) // LINE
        for phase in range(0, LINE, gcd(event.arena.alignment, LINE))
    )
