# SPDX-License-Identifier: GPL-2.0-or-later
"""Checks a trace against the rules."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import pairwise

from l1dflush.place import Place
from l1dflush.routine.model import NoteKind
from l1dflush.tracing.events import Events
from l1dflush.tracing.model import STORES, TOUCHES, ArenaKind, Event, Kind, Path, Trace, is_instruction
from l1dflush.tracing.msrs import flushes_by_msr, may_flush_by_msr
from l1dflush.verdict.content import never_written
from l1dflush.verdict.found import NOTHING_MORE, About, On, Spot, said
from l1dflush.verdict.left_behind import after_flush, own_lines
from l1dflush.verdict.mechanism import mechanism
from l1dflush.verdict.places import Places
from l1dflush.verdict.rules import ANOTHER_WALK_UNDECIDED, BY_ID
from l1dflush.verdict.storage import storage
from l1dflush.verdict.verify_result import Finding, Mechanism
from l1dflush.verdict.walk import NO_EVENTS, PAGE, Buffer, fill_start, others, walk_of, walk_start

_NOTES = {
    NoteKind.REGISTER_NOT_DECLARED: "undeclared-register",
    NoteKind.NO_MEMORY_CLOBBER: "no-memory-clobber",
    NoteKind.NAMED_LABEL: "named-label",
    NoteKind.BUFFER_NOT_INITIALISED: "buffer-not-initialised",
    NoteKind.ANOTHER_WALK_UNDECIDED: ANOTHER_WALK_UNDECIDED,
}
_ENDS_LOADS = frozenset({Kind.FENCE, Kind.SERIALISE})
# Symbols up to this size in bytes are variables, not buffers.
POINTER_SIZE = 8


def finding(
    rule_id: str, about: About = NOTHING_MORE, where: Place | None = None, paths: tuple[int, ...] = ()
) -> Finding:
    """A finding of a rule; severity and advice are the rule's."""
    rule = BY_ID[rule_id]
    return Finding(
        id=rule.id,
        severity=rule.severity,
        message=said(rule.id, about),
        advice=rule.advice,
        about=about,
        where=where,
        paths=paths,
    )


def find(trace: Trace, buffer: Buffer | None, buffer_size: int | None, line: int) -> list[Finding]:
    """All findings, most severe first. ``line`` is the line size in bytes of the caches in question."""
    places = Places(trace.routine.image, buffer)
    found = list(_of_source(trace))
    found.extend(finding("undefined-register", About(name=name)) for name in trace.reads_before_written)
    outcomes: list[Mechanism] = []
    for path in trace.paths:
        walk = walk_of(path, buffer) if buffer is not None else NO_EVENTS
        if buffer is not None and walk:
            found.extend(_of_walk(trace, path, buffer, walk, places))
            found.extend(_of_extent(trace, buffer, walk, buffer_size, places, line))
        outcomes.append(mechanism(path, bool(walk), buffer))
    if buffer is not None:
        found.extend(_of_own_lines(trace.paths, buffer, places))
        found.extend(_of_memory(trace, buffer, places))
    ways = _of_outcomes(trace.paths, outcomes)
    found.extend(one for one in ways if one.id != "flush-skipped" or buffer is not None)
    unique = {(f.id, f.about, f.where): f for f in found}
    return sorted(unique.values(), key=lambda f: -f.severity.rank)


def _of_source(trace: Trace) -> Iterator[Finding]:
    for note in trace.routine.notes:
        if note.kind in _NOTES:
            yield finding(_NOTES[note.kind], About(text=note.text), note.where)


def _of_memory(trace: Trace, buffer: Buffer, places: Places) -> Iterator[Finding]:
    """What the walked memory is, if it is none that a buffer should be."""
    start = buffer.start
    where = places.where(start.pc) if start is not None else None
    name = never_written(trace, buffer)
    if name is not None:
        yield finding("zero-buffer", About(name=name), where)
    absolute = start is not None and start.arena is not None and start.arena.kind is ArenaKind.ABSOLUTE
    if start is not None and absolute and 0 <= start.offset < PAGE:
        yield finding("null-buffer", About(count=start.offset), where)


def _of_outcomes(paths: Sequence[Path], outcomes: Sequence[Mechanism]) -> Iterator[Finding]:
    """What may replace the walk on other paths: an MSR write, or nothing."""
    found: dict[tuple[str, str], list[int]] = {}
    for number, (path, outcome) in enumerate(zip(paths, outcomes, strict=True)):
        written = next((event.detail for event in Events.of(path.events).shapes() if flushes_by_msr(event)), "")
        if written:
            found.setdefault(("msr-path", written), []).append(number)
        elif outcome == "msr-write-of-an-unknown-value":
            unknown = next(event.detail for event in Events.of(path.events).shapes() if may_flush_by_msr(event))
            found.setdefault(("msr-value-unknown", unknown), []).append(number)
        elif outcome == "skipped":
            found.setdefault(("flush-skipped", ""), []).append(number)
    for (rule, name), numbers in found.items():
        yield finding(rule, About(name=name, on=On.of(len(numbers), len(paths))), paths=tuple(numbers))


def _of_walk(trace: Trace, path: Path, buffer: Buffer, walk: Events, places: Places) -> Iterator[Finding]:
    # From the fill on: what the routine touches between warm-up and fill is in no set's way.
    events = Events.of(path.events)
    first, last = walk.position(fill_start(walk)), walk.position(-1)
    inside = others(events[first:last], buffer)
    own = _times(inside.where(lambda event: event.kind in TOUCHES), places)
    if own:
        memory = tuple(replace(spot, times=count) for spot, count in own.most_common())
        where = next(places.where(e.pc) for e in inside.shapes() if e.kind in TOUCHES)
        yield finding("own-line-in-walk", About(memory=memory), where)
    for event in inside.shapes():
        if event.kind is Kind.CALL:
            about = About(name=event.detail, instruction=is_instruction(event))
            yield finding("outside-call", about, places.where(event.pc))
    start = walk_start(events, buffer)
    walked = storage(trace.routine.image, start) if start is not None else None
    # A variable that lies beside the buffer in the same section is not the buffer.
    stored = walk.where(lambda event: event.kind in STORES)
    stores = [event for event in stored if storage(trace.routine.image, event) == walked]
    if stores:
        yield finding(
            "buffer-written",
            About(count=len(stores), memory=(places.spot(stores[0]),)),
            places.where(stores[0].pc),
        )
    if not any(event.kind in _ENDS_LOADS for event in events[last + 1 :].shapes()):
        yield finding("no-fence", where=places.where(walk[-1].pc))
    yield from _of_warm_up(events, walk, places)


def _times(events: Events, places: Places) -> Counter[Spot]:
    """How often each place is touched."""
    found: Counter[Spot] = Counter()
    for piece in events.pieces:
        if any(piece.steps):
            found.update(map(places.spot, Events((piece,))))
        else:
            for event in piece.events:
                found[places.spot(event)] += piece.turns
    return found


def _of_own_lines(paths: Iterable[Path], buffer: Buffer, places: Places) -> Iterator[Finding]:
    """What of the routine's own is touched behind the walk, on any path."""
    touched: dict[Spot, None] = {}
    for path in paths:
        if walk_of(path, buffer):
            # The return address is read by every function: not worth a finding.
            left = (e for e in own_lines(after_flush(path, buffer)) if e.detail not in ("ret", "jmp"))
            touched.update((places.spot(event), None) for event in left)
    if touched:
        yield finding("own-lines-left", About(memory=tuple(touched)))


def _of_warm_up(events: Events, walk: Events, places: Places) -> Iterator[Finding]:
    start = fill_start(walk)
    warmed = walk[:start].units(PAGE, whole=False)
    cold = sum(
        end - low for first, last in walk[start:].units(PAGE, whole=False) for low, end in warmed.gaps(first, last)
    )
    where = places.where(walk[start].pc)
    if cold:
        about = About(count=cold, of=cold + len(warmed)) if warmed else NOTHING_MORE
        yield finding("no-warm-up", about, where)
    elif not any(e.kind in _ENDS_LOADS for e in events[walk.position(start - 1) : walk.position(start)].shapes()):
        yield finding("no-serialisation", where=where)


def _of_extent(
    trace: Trace,
    buffer: Buffer,
    walk: Events,
    buffer_size: int | None,
    places: Places,
    line: int,
) -> Iterator[Finding]:
    """Where the walk goes: beyond the end, over a variable's storage, past lines that it leaves out."""
    reads = walk.where(lambda event: event.kind in buffer.walked_by and event.arena == buffer.primary)
    lowest = walk_start(reads, buffer)
    if lowest is None:
        return
    begin, _, end = reads.bounds()
    beyond: list[Event] = []
    if buffer_size is not None and (begin < 0 or end > buffer_size):
        beyond = [event for event in reads if event.offset < 0 or event.offset + event.size > buffer_size]
    symbol = storage(trace.routine.image, lowest)
    if symbol is None and buffer.primary.kind is ArenaKind.SECTION:
        yield from _of_section(trace, end, lowest, places)
    if symbol is not None and not buffer.declared:
        span = end - lowest.offset
        known = symbol.size is not None and symbol.size > 0
        if not known or (symbol.size or 0) <= POINTER_SIZE:
            about = About(name=symbol.name, of=symbol.size if known else None, count=span)
            yield finding("own-storage", about, places.where(lowest.pc))
        elif span > (symbol.size or 0):
            about = About(name=f"`{symbol.name}`", of=symbol.size, count=span - (symbol.size or 0))
            yield finding("outside-buffer", about, places.where(lowest.pc))
    if beyond:
        about = About(count=len(beyond), of=buffer_size, memory=(places.spot(beyond[0]),))
        yield finding("outside-buffer", about, places.where(beyond[0].pc))
    begins = buffer.begins // line if buffer.begins % line == 0 else 0
    yield from _of_gaps(walk.where(lambda event: event.kind in buffer.walked_by), places, line, begins)


def _of_section(trace: Trace, end: int, lowest: Event, places: Places) -> Iterator[Finding]:
    """A walk through a section in which nothing has a name."""
    assert lowest.arena is not None
    base = int(lowest.arena.key.removeprefix("section:"), 16)
    section = trace.routine.image.section_at(base)
    assert section is not None
    beyond = end - section.entry_at(base).size
    if beyond > 0:
        about = About(name=section.name, of=end - beyond, count=beyond)
        yield finding("outside-buffer", about, places.where(lowest.pc))


def _of_gaps(walk: Events, places: Places, line: int, begins: int) -> Iterator[Finding]:
    """Lines left out within the pages of the walk, which are counted from its line ``begins`` on."""
    touched = walk.units(line)
    per_page = max(PAGE // line, 1)
    pages: Counter[int] = Counter()
    for low, high in touched:
        for page in range((low - begins) // per_page, (high - begins - 1) // per_page + 1):
            start = begins + page * per_page
            pages[page] += min(high, start + per_page) - max(low, start)
    # A page of which hardly a line is read is where a walk begins or ends by one too many, not a page of it.
    whole = max(pages.values())
    most = [page for page, count in pages.items() if count >= whole / 2]
    first, last = min(most), max(most)
    if first > 0 and walk[0].arena is not None and walk[0].arena.kind is ArenaKind.INPUT:
        first = 0
    # Between the lines that are touched, not line by line: a walk in large steps may span terabytes.
    start, end = begins + first * per_page, begins + (last + 1) * per_page
    arena = walk[0].arena
    if arena is not None and arena.computed and arena.alignment < PAGE:
        # Nobody knows where its pages begin: another path may count from another line.
        start, end = min(low for low, _ in touched), max(high for _, high in touched)
    missing = [(low - begins, high - begins - 1) for low, high in touched.gaps(start, end)]
    if not missing:
        return
    where = places.where(walk[-1].pc)
    steps: Counter[int] = Counter()
    for (low, high), (following, _) in pairwise([*touched, (None, 0)]):
        if high - low > 1:
            steps[1] += high - low - 1
        if following is not None:
            steps[following - high + 1] += 1
    usual = steps.most_common(1)[0][0] if steps else 1
    if usual > 1:
        yield finding("skipped-line", About(step=usual * line, count=usual - 1, of=usual), where)
        return
    region = places.spot(walk[0]).region
    spots = tuple(Spot(region, low * line, last=high * line) for low, high in missing)
    yield finding("skipped-line", About(memory=spots, count=sum(high - low + 1 for low, high in missing)), where)
