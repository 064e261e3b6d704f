"""Reading a trace: which memory is the buffer, what is warm-up and what is fill, and how places are called."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from math import inf
from typing import Literal

from l1dflush.errors import InputError
from l1dflush.proof.words import PLACED
from l1dflush.routine.model import Image, Symbol
from l1dflush.trace.bindings import BUFFER
from l1dflush.trace.model import READS, STORES, TOUCHES, TRAPS, Arena, ArenaKind, Event, Kind, Path, Trace
from l1dflush.trace.msrs import flushes_by_msr, may_flush_by_msr
from l1dflush.trace.runs import FoldedRun, fold

PAGE = 4096
# Lines for finding the walk; the proof uses each cache's own line size.
LINE = 64
# Fewer accesses at a constant stride are fields of a structure, not a walk: no cache has fewer ways.
FEWEST = 4


@dataclass(frozen=True, slots=True)
class Buffer:
    """The memory that the routine walks. ``arenas`` are keys; ``primary`` is the one with the most lines;
    ``declared`` says that the user named it, so that it need not look like a walk. Offsets in bytes: ``first``
    and ``last`` of an access, ``end`` behind the last byte, each from the buffer's beginning on, which is ``begins``
    bytes behind that of ``primary``: not 0 where the buffer is a variable with others before it in its section.
    ``reach`` is what of ``primary`` is the buffer's, from and to. ``walked_by``: reads, or stores too where no path
    walks by reads."""

    arenas: frozenset[str]
    primary: Arena
    first: int
    last: int
    end: int
    declared: bool
    walked_by: frozenset[Kind] = READS
    begins: int = 0
    reach: tuple[float, float] = (-inf, inf)

    def holds(self, arena: Arena, offset: int) -> bool:
        """Whether what lies at ``offset`` of ``arena`` is the buffer's, and no variable beside it."""
        return arena.key in self.arenas and (arena != self.primary or self.reach[0] <= offset < self.reach[1])


def walked_arenas(path: Path, by: frozenset[Kind] = READS) -> list[Arena]:
    """Arenas in which the path reads at least a page, or makes other accesses, in order of appearance.

    That is a page at a constant stride, or as many different lines as a page has, in whatever order.
    """
    found: dict[str, Arena] = {}
    lines: dict[str, set[int]] = {}
    reads = [event for event in path.events if event.kind in by and event.arena is not None]
    for event in reads:
        assert event.arena is not None
        lines.setdefault(event.arena.key, set()).add(event.offset // LINE)
    for run in fold(reads):
        arena = run.event.arena
        assert arena is not None
        if (run.step and run.span >= PAGE and run.count >= FEWEST) or len(lines[arena.key]) >= PAGE // LINE:
            found.setdefault(arena.key, arena)
    return list(found.values())


def find_buffer(trace: Trace, bind: Iterable[tuple[str, str]]) -> Buffer | None:
    """The buffer of a trace: what --bind names, else every arena that some path walks. None without a walk.

    Raises InputError if --bind names a buffer that no path reads.
    """
    declared = [name for name, value in bind if value == BUFFER]
    arenas: dict[str, Arena] = {}
    if declared:
        # A variable's own storage is the buffer only if nothing is read through it: an array, not a pointer.
        for name in declared:
            arenas |= _declared(trace, name, _pointed_to) or _declared(trace, name, _is_storage)
        if not arenas:
            raise InputError(f"no path reads what {declared[0]} points to", where=f"--bind {declared[0]}=buffer")
    else:
        arenas = _walked(trace.paths, READS) or _walked(trace.paths, STORES)
        if not arenas:
            return None
    touched: dict[str, set[int]] = {key: set() for key in arenas}
    extent: dict[str, list[tuple[int, int]]] = {key: [] for key in arenas}
    for event in _events(trace.paths):
        if event.arena is not None and event.arena.key in touched and event.kind in TOUCHES:
            touched[event.arena.key].add(event.offset // LINE)
            extent[event.arena.key].append((event.offset, event.offset + event.size))
    primary = max(arenas, key=lambda key: len(touched[key]))
    read = any(e.kind in READS and e.arena is not None and e.arena.key in arenas for e in _events(trace.paths))
    by = READS if (read if declared else _walked(trace.paths, READS)) else TOUCHES
    begins, reach = _within(trace, arenas[primary], by)
    mine = [(start - begins, end - begins) for start, end in extent[primary] if reach[0] <= start < reach[1]]
    starts = [start for start, _ in mine]
    last = max(end for _, end in mine)
    keys = frozenset(arenas)
    return Buffer(keys, arenas[primary], min(starts), max(starts), last, bool(declared), by, begins, reach)


def _walked(paths: Iterable[Path], by: frozenset[Kind]) -> dict[str, Arena]:
    return {arena.key: arena for path in paths for arena in walked_arenas(path, by)}


def _within(trace: Trace, arena: Arena, by: frozenset[Kind]) -> tuple[int, tuple[float, float]]:
    """Where in ``arena`` the walked variable begins, and what of the arena is walked or that variable's."""
    longest = _longest_run(_events(trace.paths), arena, by)
    if arena.kind is not ArenaKind.SECTION or longest is None:
        return 0, (-inf, inf)
    low, high = sorted((longest.event.offset, longest.last))
    symbol = storage(trace.routine.image, longest.event._replace(offset=low))
    if symbol is None:
        return 0, (-inf, inf)
    begins = symbol.address - int(arena.key.removeprefix("section:"), 16)
    # Its first line may begin before it.
    start = min(begins, low) - LINE + 1
    return begins, (start, max(begins + symbol.size, high + 1) if symbol.size else inf)


def _events(paths: Sequence[Path]) -> Iterable[Event]:
    return (event for path in paths for event in path.events)


def _declared(trace: Trace, name: str, belongs: Callable[[Trace, Event, str], bool]) -> dict[str, Arena]:
    touched = (event for event in _events(trace.paths) if event.arena is not None and belongs(trace, event, name))
    return {event.arena.key: event.arena for event in touched if event.arena is not None}


def _pointed_to(trace: Trace, event: Event, name: str) -> bool:
    assert event.arena is not None
    parameter = next((p.name for p in trace.routine.parameters if p.register == name), name)
    return event.arena.name in (f"what `{name}` points to", f"what `{parameter}` points to")


def _is_storage(trace: Trace, event: Event, name: str) -> bool:
    assert event.arena is not None
    symbol = storage(trace.routine.image, event)
    return event.arena.name == f"`{name}`" or (symbol is not None and symbol.name == name)


def storage(image: Image, event: Event) -> Symbol | None:
    """The symbol whose own storage an event touches, or that it lies behind."""
    if event.arena is None or event.arena.kind not in (ArenaKind.SECTION, ArenaKind.SYMBOL):
        return None
    return _symbol_behind(image, event.arena.key, event.offset)


def _symbol_behind(image: Image, key: str, offset: int) -> Symbol | None:
    """The symbol at or before ``offset`` in the outside symbol's or the section's arena called ``key``."""
    kind, _, name = key.partition(":")
    if kind != "section":
        return image.symbols.get(name)
    base = int(name, 16)
    section = next(s for s in image.sections if s.address == base)
    address = base + offset
    symbols = [
        symbol
        for symbol in image.symbols.values()
        if symbol.defined and not symbol.function and section.address <= symbol.address <= address
    ]
    # One that it lies in, rather than a mark of the linker's.
    inside = [symbol for symbol in symbols if symbol.size_told and address < symbol.address + (symbol.size or 0)]
    return max(inside or symbols, key=lambda symbol: (symbol.address, symbol.size or 0), default=None)


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a buffer lies that is a variable's own storage: ``name`` for the report, the offset in bytes of its
    beginning in its arena, and the alignment in bytes that the input gives it."""

    name: str
    offset: int
    alignment: int


def placement(trace: Trace, buffer: Buffer) -> Placement | None:
    """Where the buffer lies, if the input says so; ``None`` for memory that a pointer leads to."""
    start = walk_start(_events(trace.paths), buffer)
    if start is None or buffer.primary.kind not in PLACED:
        return None
    symbol = storage(trace.routine.image, start)
    if symbol is None:
        return Placement("the buffer", start.offset, buffer.primary.alignment)
    offset = symbol.address - int(buffer.primary.key.removeprefix("section:"), 16)
    known = buffer.primary.alignment | offset
    return Placement(f"`{symbol.name}`", offset, known & -known)


def walk_of(path: Path, buffer: Buffer) -> list[tuple[int, Event]]:
    """The path's accesses to the buffer with their positions; empty if the path does not walk it."""
    found = [
        (at, event)
        for at, event in enumerate(path.events)
        if event.arena is not None and event.kind in TOUCHES and buffer.holds(event.arena, event.offset)
    ]
    reads = [event for _, event in found if event.kind in buffer.walked_by]
    if not reads or buffer.declared:
        return found if reads else []
    low, high = min(e.offset for e in reads), max(e.offset + e.size for e in reads)
    # A stray read of the buffer is not a walk.
    return found if high - low > PAGE - LINE and len({e.offset // LINE for e in reads}) > 1 else []


def walk_start(events: Iterable[Event], buffer: Buffer) -> Event | None:
    """The read with the lowest offset among those of the longest run in the largest buffer: where the walk
    begins. Other reads of the same section, of a variable that lies beside the buffer, are no part of it."""
    longest = _longest_run(events, buffer.primary, buffer.walked_by)
    return None if longest is None else longest.event._replace(offset=min(longest.event.offset, longest.last))


def _longest_run(events: Iterable[Event], arena: Arena, by: frozenset[Kind]) -> FoldedRun | None:
    runs = fold([event for event in events if event.kind in by and event.arena == arena])
    return max(runs, key=lambda run: (run.span, run.count), default=None)


Mechanism = Literal[
    "software walk", "MSR write", "cache instruction", "MSR write of an unknown value", "skipped", "trap"
]
BY_COMMAND: frozenset[Mechanism] = frozenset({"MSR write", "cache instruction", "MSR write of an unknown value"})
"""One instruction flushes, or may."""


def mechanism(path: Path, walks: bool) -> Mechanism:
    """How a path flushes. A walk counts first: what an MSR write does cannot be proved."""
    if walks:
        return "software walk"
    if any(flushes_by_msr(event) for event in path.events):
        return "MSR write"
    if any(event.kind is Kind.FLUSH_ALL for event in path.events):
        return "cache instruction"
    if any(may_flush_by_msr(event) for event in path.events):
        return "MSR write of an unknown value"
    return "trap" if path.end in TRAPS else "skipped"


def fill_start(walk: Sequence[tuple[int, Event]]) -> int:
    """Index in ``walk`` of the first access of the fill.

    The warm-up touches each page once: it ends where an access goes to a page that was touched before. Where
    that is the second access already, there was no warm-up.
    """
    pages: set[int] = set()
    for index, (_, event) in enumerate(walk):
        page = event.offset // PAGE
        if page in pages:
            return 0 if index == 1 else index
        pages.add(page)
    return 0


class Places:
    """Names for places, the same in every part of a report."""

    def __init__(self, image: Image, buffer: Buffer | None) -> None:
        self._image = image
        self._buffer = buffer
        self._symbols: dict[tuple[str, int], tuple[str, int]] = {}
        self._functions: list[tuple[int, int, str]] | None = None

    def of(self, event: Event) -> tuple[str, int]:
        """What an event touches: a name, and the offset in bytes in it."""
        arena = event.arena
        if arena is None:
            return "", 0
        if self._buffer is not None and self._buffer.holds(arena, event.offset):
            # Behind an outside call the pointer is loaded anew, and may be another one of the same name.
            if arena.name != self._buffer.primary.name:
                return arena.name, event.offset
            return BUFFER, event.offset - (self._buffer.begins if arena == self._buffer.primary else 0)
        if arena.kind is ArenaKind.STACK:
            return "stack", event.offset
        if arena.kind is ArenaKind.SEGMENT:
            return self._in_segment(arena, event.offset)
        known = self._symbols.get((arena.key, event.offset))
        if known is None:
            symbol = storage(self._image, event)
            known = arena.name, event.offset
            if symbol is not None and arena.kind is ArenaKind.SECTION:
                base = int(arena.key.removeprefix("section:"), 16)
                known = symbol.name, base + event.offset - symbol.address
            elif symbol is not None:
                known = symbol.name, event.offset
            self._symbols[arena.key, event.offset] = known
        return known

    def _in_segment(self, arena: Arena, offset: int) -> tuple[str, int]:
        segment, _, inner = arena.key.partition(":")
        if not inner:
            return segment, offset
        symbol = _symbol_behind(self._image, inner, offset)
        if symbol is None:
            return arena.name, offset
        kind, _, base = inner.partition(":")
        return f"{segment}:{symbol.name}", offset if kind == "external" else int(base, 16) + offset - symbol.address

    def text(self, event: Event) -> str:
        """The same as one word: ``buffer+0x1040``."""
        name, offset = self.of(event)
        return f"{name}{offset:+#x}" if offset else name

    def line(self, arena: Arena, offset: int) -> str:
        """A place given by arena and offset."""
        return self.text(Event(Kind.LOAD, 0, "", arena, offset, 1))

    def where(self, pc: int) -> str:
        """file:line of an instruction if known, else ``function+0x1c``, or its address where nothing has a name."""
        line = self._image.lines.get(pc)
        if line is not None:
            return str(line)
        if self._functions is None:
            found = (s for s in self._image.symbols.values() if s.function)
            self._functions = sorted((s.address, s.address + (s.size or 0), s.name) for s in found)
        index = bisect_right(self._functions, (pc, inf, "")) - 1
        if index >= 0 and (self._functions[index][0] == pc or pc < self._functions[index][1]):
            start, _, name = self._functions[index]
            return f"{name}+{pc - start:#x}" if pc > start else name
        section = self._image.section_at(pc)
        # The image of a built-in routine is nothing but its code.
        if section is None or not self._functions:
            return f"{pc:#x}"
        return f"{section.name}+{pc - section.address:#x}"
