# SPDX-License-Identifier: GPL-2.0-or-later
"""Reading a trace: which memory is the buffer, what is warm-up and what is fill."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from math import inf, isfinite

from l1dflush.arguments import BIND
from l1dflush.errors import InputError
from l1dflush.proof.placements import PLACED
from l1dflush.routine.model import Image
from l1dflush.tracing import bindings
from l1dflush.tracing.events import Events, Piece
from l1dflush.tracing.model import READS, STORES, TOUCHES, Arena, ArenaKind, Event, Kind, Path, Trace
from l1dflush.tracing.region import Region, RegionKind
from l1dflush.tracing.runs import FoldedRun, fold
from l1dflush.verdict.storage import storage

PAGE = 4096
# Lines for finding the walk; the proof uses each cache's own line size.
LINE = 64
# Fewer accesses at a constant stride are fields of a structure, not a walk: no cache has fewer ways.
FEWEST = 4
NO_EVENTS = Events(())


@dataclass(frozen=True, slots=True)
class Buffer:
    """The memory that the routine walks. ``arenas`` are keys; ``primary`` is the one with the most lines;
    ``declared`` says that the user named it, so that it need not look like a walk. Offsets in bytes: ``first``
    and ``last`` of an access, ``end`` behind the last byte, each from the buffer's beginning on, which is ``begins``
    bytes behind that of ``primary``: not 0 where the buffer is a variable with others before it in its section.
    ``reach`` is what of ``primary`` is the buffer's, from and to; ``start`` is where the walk begins, as
    :func:`walk_start` has it for all paths. ``walked_by``: reads, or stores too where no path
    walks by reads. ``sources``: what the places of all of it were computed from."""

    arenas: frozenset[str]
    primary: Arena
    first: int
    last: int
    end: int
    declared: bool
    walked_by: frozenset[Kind] = READS
    begins: int = 0
    reach: tuple[float, float] = (-inf, inf)
    start: Event | None = None
    sources: frozenset[str] = frozenset()

    def holds(self, arena: Arena, offset: int) -> bool:
        """Whether what lies at ``offset`` of ``arena`` is the buffer's, and no variable beside it."""
        return arena.key in self.arenas and (arena != self.primary or self.reach[0] <= offset < self.reach[1])


def walked_arenas(path: Path, by: frozenset[Kind] = READS) -> list[Arena]:
    """Arenas in which the path reads at least a page, or makes other accesses, in order of appearance.

    That is a page at a constant stride, or as many different lines as a page has, in whatever order.
    """
    found: dict[str, Arena] = {}
    reads = Events.of(path.events).where(lambda event: event.kind in by and event.arena is not None)
    keys = _far_apart(reads)
    # Folding takes long, and on most paths little of what is read can be a walk.
    reads = reads.where(partial(is_in, keys=keys)) if keys else NO_EVENTS
    lines: dict[str, int] = {}
    for run in fold(reads):
        arena = run.event.arena
        assert arena is not None
        if arena.key in found:
            continue
        if not (run.step and run.span >= PAGE and run.count >= FEWEST):
            # Its lines are counted only where that decides.
            if arena.key not in lines:
                lines[arena.key] = len(reads.where(partial(is_in, keys=(arena.key,))).units(LINE, whole=False))
            if lines[arena.key] < PAGE // LINE:
                continue
        found[arena.key] = arena
    return list(found.values())


def _far_apart(events: Events) -> set[str]:
    """The arenas in which there are events as far apart as a walk's are at least."""
    bounds: dict[str, tuple[int, int]] = {}
    for event, last in events.ends():
        if event.arena is not None:
            low, high = bounds.get(event.arena.key, (last, last))
            bounds[event.arena.key] = min(low, event.offset, last), max(high, event.offset, last)
    return {key for key, (low, high) in bounds.items() if high - low >= PAGE - PAGE // FEWEST}


def find_buffer(trace: Trace, bind: Iterable[tuple[str, str]]) -> Buffer | None:
    """The buffer of a trace: what --bind names, else every arena that some path walks. None without a walk.

    Raises InputError if --bind names a buffer that no path reads.
    """
    declared = [bindings.as_reported(name) for name, value in bind if value == bindings.BUFFER]
    by: frozenset[Kind] = READS
    arenas: dict[str, Arena] = {}
    if declared:
        # A variable's own storage is the buffer only if nothing is read through it: an array, not a pointer.
        for name in declared:
            arenas |= _declared(trace, name, _pointed_to) or _declared(trace, name, _is_storage)
        if not arenas:
            raise InputError(f"no path reads what {declared[0]} points to", where=f"{BIND.of(declared[0])}=buffer")
    else:
        by, arenas = READS, _walked(trace.paths, READS)
        if not arenas:
            by, arenas = TOUCHES, _walked(trace.paths, STORES)
        if not arenas:
            return None
    every = all_events(trace.paths)
    touches = every.where(lambda event: event.kind in TOUCHES)
    touching = touches.where(partial(is_in, keys=arenas)).parted(lambda event: event.arena and event.arena.key)
    primary = arenas[max(arenas, key=lambda key: len(touching[key].units(LINE, whole=False)))]
    if declared and not any(event.kind in READS and is_in(event, arenas) for event in touches.shapes()):
        by = TOUCHES
    longest = _longest_run(every, primary, by)
    begins, reach = _within(trace.routine.image, primary, longest)
    start = _start_of(longest, reach)
    sources = frozenset(source for arena in arenas.values() for source in arena.sources)
    buffer = Buffer(frozenset(arenas), primary, 0, 0, 0, bool(declared), by, begins, reach, start, sources)
    first, last, end = (at - begins for at in held(touching[primary.key], buffer).bounds())
    return replace(buffer, first=first, last=last, end=end)


def _walked(paths: Iterable[Path], by: frozenset[Kind]) -> dict[str, Arena]:
    return {arena.key: arena for path in paths for arena in walked_arenas(path, by)}


def _within(image: Image, arena: Arena, longest: FoldedRun | None) -> tuple[int, tuple[float, float]]:
    """Where in ``arena`` the variable begins that the longest run walks, and what of the arena is walked or the
    variable's."""
    if arena.kind not in (ArenaKind.SECTION, ArenaKind.ABSOLUTE) or longest is None:
        return 0, (-inf, inf)
    low, high = sorted((longest.event.offset, longest.last))
    if arena.kind is ArenaKind.ABSOLUTE:
        # A fixed address is nobody's distance: counted is from where the walk begins.
        return low, (low - LINE + 1, high + LINE)
    symbol = storage(image, longest.event._replace(offset=low))
    if symbol is None:
        return 0, (-inf, inf)
    # A variable may lie before the buffer as if it was its first element.
    beside = storage(image, longest.event._replace(offset=low + abs(longest.step)))
    if beside is not None and beside != symbol and (beside.size or 0) * 2 > high - low:
        symbol, low = beside, low + abs(longest.step)
    begins = symbol.address - int(arena.key.removeprefix("section:"), 16)
    # Its first line may begin before it, but nothing of another variable is part of it.
    start = min(begins, low) - LINE + 1
    before = storage(image, longest.event._replace(offset=min(begins, low) - 1))
    if before is not None and before.size_told:
        ends = begins + before.address - symbol.address + (before.size or 0)
        start = max(start, ends) if ends <= min(begins, low) else start
    return begins, (start, max(begins + symbol.size, high + 1) if symbol.size else inf)


def is_in(event: Event, keys: Collection[str]) -> bool:
    """Whether an event touches one of the arenas."""
    return event.arena is not None and event.arena.key in keys


def all_events(paths: Sequence[Path]) -> Events:
    """Those of all paths, one path behind the other."""
    return Events(piece for path in paths for piece in Events.of(path.events).pieces)


def held(events: Events, buffer: Buffer) -> Events:
    """Those of ``events`` that touch the buffer."""
    return _cut(events, buffer).where(lambda event: event.arena is not None and buffer.holds(event.arena, event.offset))


def others(events: Events, buffer: Buffer) -> Events:
    """Those of ``events`` that do not touch the buffer."""
    return _cut(events, buffer).where(lambda event: event.arena is None or not buffer.holds(event.arena, event.offset))


def _cut(events: Events, buffer: Buffer) -> Events:
    """The same events, in pieces of which each event touches the buffer with all turns or with none."""
    pieces: list[Piece] = []
    for piece in events.pieces:
        turns = {0, piece.turns}
        for event, step in zip(piece.events, piece.steps, strict=True):
            for border in buffer.reach if step and event.arena == buffer.primary else ():
                if isfinite(border):
                    distance = int(border) - event.offset
                    turn = -(-distance // step) if step > 0 else -distance // -step + 1
                    turns.add(min(max(turn, 0), piece.turns))
        each = len(piece.events)
        if len(turns) == 2:
            pieces.append(piece)
            continue
        for one, other in pairwise(sorted(turns)):
            pieces += piece.part(one * each, other * each)
    return Events(pieces)


def _declared(trace: Trace, name: str, belongs: Callable[[Trace, Event, str], bool]) -> dict[str, Arena]:
    touched = (event for event in all_events(trace.paths) if event.arena is not None and belongs(trace, event, name))
    return {event.arena.key: event.arena for event in touched if event.arena is not None}


def ends_of(events: Events) -> Iterator[Event]:
    """Each event of a turn where it is first and where it is last."""
    for piece in events.pieces:
        for turn in {0, piece.turns - 1}:
            yield from (piece.event(turn, index) for index in range(len(piece.events)))


def _pointed_to(trace: Trace, event: Event, name: str) -> bool:
    assert event.arena is not None
    parameter = next((p.name for p in trace.routine.parameters if p.register == name), name)
    return event.arena.region in (Region(RegionKind.POINTED, (name,)), Region(RegionKind.POINTED, (parameter,)))


def _is_storage(trace: Trace, event: Event, name: str) -> bool:
    assert event.arena is not None
    symbol = storage(trace.routine.image, event)
    outside = event.arena.region == Region(RegionKind.SYMBOL, (name,))
    return outside or (symbol is not None and symbol.name == name)


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a buffer lies that is a variable's own storage: ``name`` for the report, the offset in bytes of its
    beginning in its arena, and the alignment in bytes that the input gives it."""

    name: str
    offset: int
    alignment: int


def placement(trace: Trace, buffer: Buffer) -> Placement | None:
    """Where the buffer lies, if the input says so; ``None`` for memory that a pointer leads to."""
    start = buffer.start
    if start is None or buffer.primary.kind not in PLACED:
        return None
    symbol = storage(trace.routine.image, start)
    if symbol is not None and buffer.primary.kind is ArenaKind.SYMBOL:
        return Placement(f"`{symbol.name}`", 0, buffer.primary.alignment)
    if symbol is None:
        return Placement("the buffer", start.offset, buffer.primary.alignment)
    offset = symbol.address - int(buffer.primary.key.removeprefix("section:"), 16)
    known = buffer.primary.alignment | offset
    return Placement(f"`{symbol.name}`", offset, known & -known)


def walk_of(path: Path, buffer: Buffer) -> Events:
    """The path's accesses to the buffer; empty if the path does not walk it."""
    touches = Events.of(path.events).where(lambda event: event.kind in TOUCHES and is_in(event, buffer.arenas))
    found = held(touches, buffer)
    reads = found.where(lambda event: event.kind in buffer.walked_by)
    if not reads or buffer.declared:
        return found if reads else NO_EVENTS
    low, _, high = reads.bounds()
    # A stray read of the buffer is not a walk.
    return found if high - low > PAGE - LINE and len(reads.units(LINE, whole=False)) > 1 else NO_EVENTS


def walk_start(events: Sequence[Event], buffer: Buffer) -> Event | None:
    """The read with the lowest offset among those of the longest run in the largest buffer: where the walk
    begins. Other reads of the same section, of a variable that lies beside the buffer, are no part of it."""
    return _start_of(_longest_run(events, buffer.primary, buffer.walked_by), buffer.reach)


def _start_of(longest: FoldedRun | None, reach: tuple[float, float]) -> Event | None:
    if longest is None:
        return None
    low = min(longest.event.offset, longest.last)
    return longest.event._replace(offset=low if low >= reach[0] else low + abs(longest.step))


def _longest_run(events: Sequence[Event], arena: Arena, by: frozenset[Kind]) -> FoldedRun | None:
    runs = fold(Events.of(events).where(lambda event: event.kind in by and event.arena == arena))
    return max(runs, key=lambda run: (run.span, run.count), default=None)


def fill_start(walk: Events) -> int:
    """Index in ``walk`` of the first access of the fill.

    The warm-up touches each page once: it ends where an access goes to a page that was touched before. Where
    that is the second access already, there was no warm-up.
    """
    pages: set[int] = set()
    index = 0
    for piece in walk.pieces:
        # Each on a page of its own: not one by one.
        if len(piece.events) == 1 and abs(piece.steps[0]) >= PAGE:
            touched = {offset // PAGE for offset in piece.offsets()}
            if pages.isdisjoint(touched):
                pages |= touched
                index += piece.turns
                continue
        for event in Events([piece]):
            page = event.offset // PAGE
            if page in pages:
                return 0 if index == 1 else index
            pages.add(page)
            index += 1
    return 0
