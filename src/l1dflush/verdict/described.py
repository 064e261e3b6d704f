# SPDX-License-Identifier: GPL-2.0-or-later
"""What was read, run and found, as the result has it."""

from __future__ import annotations

from collections.abc import Iterable
from weakref import WeakKeyDictionary

from l1dflush.assumption import Assumes, Assumption
from l1dflush.proof.conditions import Conditions
from l1dflush.routine.identity import digest
from l1dflush.routine.model import NoteKind, Routine
from l1dflush.tracing.events import Events
from l1dflush.tracing.model import ArenaKind, Kind, Path, Trace, is_instruction
from l1dflush.tracing.region import Region, RegionKind
from l1dflush.tracing.runs import FoldedRun, fold
from l1dflush.verdict.content import never_written
from l1dflush.verdict.options import VerifyOptions
from l1dflush.verdict.places import Places, absolute
from l1dflush.verdict.storage import storage
from l1dflush.verdict.verify_result import (
    AssumptionInfo,
    BufferInfo,
    DecisionInfo,
    EventInfo,
    Mechanism,
    OutsideInfo,
    PathInfo,
    RoutineInfo,
    Run,
    Scope,
    TracePath,
)
from l1dflush.verdict.walk import PAGE, Buffer, all_events, is_in, placement

TAKEN_FOR_GRANTED = tuple(
    map(
        Assumption,
        (
            Assumes.PROGRAM_ORDER,
            Assumes.PAGE_ALIGNED,
            Assumes.SET_INDEX,
            Assumes.INPUTS_APART,
            Assumes.POINTERS_ALIGNED,
            Assumes.CACHED,
            Assumes.UNCHANGED,
            Assumes.FLAT_SEGMENTS,
            Assumes.CALLEES_KEEP,
        ),
    )
)
APART = Assumption(Assumes.INPUTS_APART)
AT_ENTRY = Assumption(Assumes.ENTRY_STATE)
"""Not inside of one: nobody knows there what came before."""


def scope(trace: Trace, buffer: Buffer | None, options: VerifyOptions, of_cpus: tuple[Assumption, ...] = ()) -> Scope:
    kinds = {note.kind for note in trace.routine.notes}
    content_seen = bool(kinds & {NoteKind.BUFFER_INITIALISED, NoteKind.BUFFER_NOT_INITIALISED})
    content_seen = content_seen or never_written(trace, buffer) is not None
    unchecked = () if content_seen else (Assumption(Assumes.PAGES_DIFFER),)
    granted = (
        *_granted(trace, buffer),
        *(() if trace.routine.partial else (AT_ENTRY,)),
        *_of_stores(trace, buffer),
        *_between_flushes(options),
        *_of_compiler(trace.routine, options),
        *of_cpus,
        *trace.assumptions,
    )
    particular = tuple(one for one in granted if one not in (*TAKEN_FOR_GRANTED, AT_ENTRY)) + unchecked
    if _inputs(trace) > 1:
        particular = (APART, *particular)
    return scope_of(options.conditions, granted, unchecked, particular)


def _inputs(trace: Trace) -> int:
    """How many pieces of memory the routine gets from outside and accesses."""
    arenas = {event.arena for path in trace.paths for event in Events.of(path.events).shapes()}
    return len({arena.key for arena in arenas if arena is not None and arena.kind is ArenaKind.INPUT})


def scope_of(
    conditions: Conditions,
    granted: tuple[Assumption, ...],
    unchecked: tuple[Assumption, ...] = (),
    particular: tuple[Assumption, ...] = (),
) -> Scope:
    touches = conditions.touches
    others = Assumption(Assumes.OTHERS, (str(touches),) if touches else ())
    return Scope(
        start=str(conditions.start),
        start_meaning=conditions.start.meaning,
        all_ways_valid=conditions.start.all_ways_valid,
        touches=touches,
        taken_for_granted=assumed(granted),
        not_modelled=assumed((others, Assumption(Assumes.OTHER_PLACES), *unchecked)),
        particular=assumed(particular),
    )


def assumed(found: Iterable[Assumption]) -> tuple[AssumptionInfo, ...]:
    """As a result has them."""
    return tuple(AssumptionInfo(kind=one.kind, names=one.names, text=str(one)) for one in found)


def _granted(trace: Trace, buffer: Buffer | None) -> tuple[Assumption, ...]:
    placed = placement(trace, buffer) if buffer is not None else None
    if placed is None or placed.alignment >= PAGE:
        return TAKEN_FOR_GRANTED
    # The proof is for every place that this alignment leaves.
    place = Assumption(Assumes.ALIGNED, (placed.name, str(placed.alignment)))
    return tuple(place if one.kind is Assumes.PAGE_ALIGNED else one for one in TAKEN_FOR_GRANTED)


def _of_stores(trace: Trace, buffer: Buffer | None) -> tuple[Assumption, ...]:
    shapes = all_events(trace.paths).shapes()
    stored = buffer is not None and any(is_in(e, buffer.arenas) for e in shapes if e.kind is Kind.STORE)
    return (Assumption(Assumes.STORES_ALLOCATE),) if stored else ()


def _between_flushes(options: VerifyOptions) -> tuple[Assumption, ...]:
    if not options.conditions.start.steady:
        return ()
    together = (Assumption(Assumes.SAME_BUFFER),) if options.then else ()
    return (Assumption(Assumes.UNTOUCHED_BETWEEN), *together)


def _of_compiler(routine: Routine, options: VerifyOptions) -> tuple[Assumption, ...]:
    if not routine.origin.compiled:
        return ()
    return (Assumption(Assumes.AS_COMPILED, (str(options.optimize),)),)


def routine_info(routine: Routine) -> RoutineInfo:
    return RoutineInfo(
        name=routine.name,
        kind=routine.origin.kind,
        source=routine.origin.source,
        sources=routine.origin.sources,
        detail=routine.origin.detail,
        bits=routine.image.bits,
        sha256=digest(routine),
        code_bytes=len(routine.code),
        run_first=tuple(one.name for one in routine.first),
    )


def buffer_info(trace: Trace, buffer: Buffer | None, options: VerifyOptions) -> BufferInfo | None:
    if buffer is None:
        return None
    region, size = buffer.primary.region, options.buffer_size
    symbol = storage(trace.routine.image, buffer.start) if buffer.start is not None else None
    if symbol is not None:
        region, size = Region(RegionKind.SYMBOL, (symbol.name,)), size or symbol.size
    elif buffer.primary.kind is ArenaKind.ABSOLUTE:
        region = absolute(buffer.begins, trace.routine.image.bits)
    return BufferInfo(
        region=region, first=buffer.first, last=buffer.last, bytes_spanned=buffer.end - buffer.first, size=size
    )


def outside(trace: Trace) -> tuple[OutsideInfo, ...]:
    shapes = all_events(trace.paths).shapes()
    called = {event.detail: "called" for event in shapes if event.kind is Kind.CALL and not is_instruction(event)}
    return tuple(OutsideInfo(name=name, stands_for=text) for name, text in {**called, **trace.stubs}.items())


def _decisions(path: Path, places: Places) -> tuple[DecisionInfo, ...]:
    return tuple(DecisionInfo(fact=one.fact, where=places.where(one.pc)) for one in path.decisions)


def path_info(path: Path, places: Places, outcome: Mechanism) -> PathInfo:
    loads = places.in_buffer(Events.of(path.events).where(lambda event: event.kind is Kind.LOAD))
    return PathInfo(
        outcome=outcome,
        decisions=_decisions(path, places),
        loads=len(loads),
        instructions=path.instructions,
        runs=tuple(_run(run, places) for run in fold(path.events)),
        end=path.end,
    )


def trace_path(path: Path, places: Places) -> TracePath:
    return TracePath(
        decisions=_decisions(path, places),
        instructions=path.instructions,
        end=path.end,
        runs=tuple(_run(run, places) for run in fold(path.events)),
        before=tuple(_run(run, places) for run in fold(path.before)),
        events=tuple(
            EventInfo(
                kind=event.kind.value,
                pc=event.pc,
                where=places.where(event.pc),
                instruction=event.detail,
                region=places.of(event)[0],
                offset=places.of(event)[1] if event.arena is not None else None,
                size=event.size,
            )
            for event in path.events
        ),
    )


# The runs of a report, of which paths have most in common.
_told: WeakKeyDictionary[Places, dict[FoldedRun, Run]] = WeakKeyDictionary()


def _run(run: FoldedRun, places: Places) -> Run:
    told = _told.setdefault(places, {})
    if (known := told.get(run)) is not None:
        return known
    region, offset = places.of(run.event)
    known = told[run] = Run(
        kind="somewhere" if is_instruction(run.event) else run.event.kind.value,
        instruction=run.event.detail,
        region=region,
        count=run.count,
        first=offset,
        last=offset + run.last - run.event.offset,
        step=run.step,
        size=run.event.size,
        where=places.where(run.event.pc),
        together=run.together,
    )
    return known
