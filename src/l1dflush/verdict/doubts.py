# SPDX-License-Identifier: GPL-2.0-or-later
"""Why the verdict on a routine as a whole is not known, whatever the prover says about the words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import combinations

from l1dflush.arguments import BIND, FUNCTION
from l1dflush.errors import UndecidedError
from l1dflush.routine.model import NoteKind
from l1dflush.tracing.events import Events
from l1dflush.tracing.model import READS, ArenaKind, Event, Kind, Path, Trace, is_instruction
from l1dflush.tracing.msrs import may_flush_by_msr
from l1dflush.verdict.mechanism import may_be_of, mechanism
from l1dflush.verdict.part import fills_by_call
from l1dflush.verdict.places import Places
from l1dflush.verdict.question import Flush
from l1dflush.verdict.rules import ANOTHER_WALK_UNDECIDED
from l1dflush.verdict.walk import FEWEST, LINE, PAGE, all_events, walk_of

NO_WALK = "no-software-walk"
_STACK = ArenaKind.STACK


def no_walk(trace: Trace, places: Places) -> UndecidedError:
    """Why there is nothing to prove."""
    filled = fills_by_call(trace.paths, places)
    if filled is not None:
        return filled
    used = {mechanism(path, walks=False, buffer=None) for path in trace.paths}
    what = "no path reads as much as a page at a constant stride, or as many different lines as a page has"
    if "msr-write" in used:
        what = "no path reads a buffer; what an MSR write does cannot be proved from outside"
    elif "cache-instruction" in used:
        what = "no path reads a buffer; what wbinvd or invd does cannot be proved from outside"
    calls: Counter[str] = Counter()
    for piece in all_events(trace.paths).where(lambda event: event.kind is Kind.CALL).pieces:
        calls.update({event.detail: piece.turns for event in piece.events if not is_instruction(event)})
    often = [name for name, count in calls.items() if count >= FEWEST]
    if often:
        # What is called again and again may read the buffer.
        return UndecidedError(NO_WALK, what, hint=f"give the file that has {often[0]}, too")
    again = _read_again(trace.paths)
    if again is None:
        return UndecidedError(NO_WALK, what)
    times, event = again
    told = f"{what}; a loop reads {places.text(event)} {times} times, which stays the same place"
    return UndecidedError(NO_WALK, told, where=places.where(event.pc), hint="its index or pointer does not move")


def _read_again(paths: Sequence[Path]) -> tuple[int, Event] | None:
    """What the longest loop reads that is as long as a walk, reads the same place in each turn and nothing that moves
    on; and how often."""
    found: list[tuple[int, Event]] = []
    for path in paths:
        for piece in Events.of(path.events).pieces:
            events = enumerate(piece.events)
            reads = [n for n, event in events if event.kind in READS and event.arena and event.arena.kind is not _STACK]
            if reads and piece.turns >= PAGE // LINE and not any(piece.steps[n] for n in reads):
                found.append((piece.turns, piece.events[reads[0]]))
    return max(found, key=lambda one: one[0], default=None)


def doubt(traces: Iterable[Trace], every_path: bool, places: Places) -> UndecidedError | None:
    """Why what was proved may not be what was meant; None if nothing else can have been."""
    for trace in traces:
        for note in trace.routine.notes:
            if note.kind is NoteKind.ANOTHER_WALK_UNDECIDED:
                what = f"{trace.routine.name} was judged, but {note.text}"
                return UndecidedError(
                    ANOTHER_WALK_UNDECIDED, what, hint=f"{FUNCTION.form('NAME')} says which one is meant"
                )
        if every_path and (found := unknown_command(trace.paths, places)) is not None:
            return found
    return None


def unknown_steps(trace: Trace, flush: Flush) -> UndecidedError | None:
    """That a path which seems to skip the flush may walk the buffer, and not all of it: in steps that are not known."""
    buffer, walking = flush.buffer, {id(path) for path in flush.paths}
    for path in trace.paths:
        if mechanism(path, id(path) in walking, buffer) == "perhaps-a-walk":
            near = all_events((path,)).where(lambda e: e.arena is not None and may_be_of(e.arena, buffer.sources))
            event = next(event for event in near.shapes() if event.arena is not None and event.arena.computed)
            what = f"a path that does not read {buffer.primary.region} may do so at places that are not known"
            where = flush.places.where(event.pc)
            return UndecidedError("memory-may-overlap", what, where=where, hint=f"{BIND} what the step comes from")
    return None


def same_memory(flush: Flush) -> UndecidedError | None:
    """That two pieces of memory which are both read for the flush may be one: then it reads fewer lines than it
    seems."""
    for path in flush.paths:
        first: dict[str, Event] = {}
        for event in walk_of(path, flush.buffer).shapes():
            if event.arena is not None:
                first.setdefault(event.arena.key, event)
        for one, other in combinations(first.values(), 2):
            assert one.arena is not None and other.arena is not None
            if one.arena.may_be(other.arena):
                what = f"{one.arena.region} and {other.arena.region} are both read, and may be the same memory"
                hint = f"{BIND} what they come from"
                return UndecidedError("memory-may-overlap", what, where=flush.places.where(other.pc), hint=hint)
    return None


def unknown_command(paths: Sequence[Path], places: Places) -> UndecidedError | None:
    """That on some path an MSR write may be the flush command, or not, and nothing else flushes."""
    for path in paths:
        if mechanism(path, walks=False, buffer=None) != "msr-write-of-an-unknown-value":
            continue
        event = next(event for event in all_events((path,)).shapes() if may_flush_by_msr(event))
        names = event.msr.sources if event.msr is not None else ()
        hint = BIND.pair(names[0] if len(names) == 1 else "NAME", "VALUE")
        return UndecidedError("msr-value-unknown", event.detail, where=places.where(event.pc), hint=hint)
    return None
