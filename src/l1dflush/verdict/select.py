# SPDX-License-Identifier: GPL-2.0-or-later
"""Picks the flush among the functions of an input: the only one whose trace walks a buffer."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from l1dflush import arguments
from l1dflush.arguments import FUNCTION
from l1dflush.assumption import Assumes, Assumption
from l1dflush.errors import InputError, UndecidedError, some_of
from l1dflush.routine.elf.symbol_table import speaks_of_cache, speaks_of_flush
from l1dflush.routine.model import NoteKind, Routine, SourceNote
from l1dflush.tracing.abstract import trace as run_trace
from l1dflush.tracing.events import Events
from l1dflush.tracing.model import READS, STORES, UNTIL, Arena, Event, Path, Trace
from l1dflush.tracing.scan import CodeMap, scan
from l1dflush.verdict.mechanism import BY_COMMAND, mechanism
from l1dflush.verdict.options import VerifyOptions
from l1dflush.verdict.walk import LINE, PAGE, all_events, is_in, walked_arenas

# So many are traced without a look at their code first.
FEW = 8
# So many are traced although their loops do not step by lines.
MOST_TRIED = 40
# Behind the first one of a large input.
LATER_GROUPS = 4
# So many are told with the reason why they could not be followed.
MOST_TOLD = 3
# Names that an error lists.
MOST_LISTED = 12


def _pick() -> str:
    return f"pick one with {FUNCTION.form('NAME')}"


def select(routines: Sequence[Routine], options: VerifyOptions) -> Trace:
    """The trace of the one routine that is the flush.

    A routine that was named, or is the only candidate, is taken as it is. Else those are tried whose name speaks
    of a flush, then all others. Raises InputError that lists the candidates when none or several walk a buffer,
    UndecidedError when the chosen one cannot be followed.
    """
    if len(routines) == 1:
        return _come_to_end(run_trace(routines[0], options.trace_options()))
    named = [r for r in routines if speaks_of_flush(r.name)]
    tried = _Tried(options, time.monotonic() + options.max_seconds)
    entries = [routine.entry for routine in routines]
    code = None
    if len(routines) > FEW:
        # Whoever sets a flush up, or is asked about it, has such a name, too.
        cache = {r.entry: r for r in named if speaks_of_cache(r.name)}
        few = scan(routines[0].image, entries, cache)
        tried.run((r for r in cache.values() if r.entry in few.likely & few.reading), later=LATER_GROUPS)
        if (found := tried.found()) is not None:
            return _come_to_end(_doubted(tried, found, routines, named, few))
        code = scan(routines[0].image, entries)
    groups = list(_groups(routines, named, code))
    for number, group in enumerate(groups, 1):
        tried.run([routine for routine in group if not tried.knows(routine)], later=len(groups) - number)
        found = tried.found()
        if found is not None:
            return _come_to_end(_doubted(tried, found, routines, named, code))
    tried.run_slow()
    if (found := tried.found()) is not None:
        return _come_to_end(_doubted(tried, found, routines, named, code))
    stored = tried.stored()
    if stored is not None:
        return _come_to_end(_doubted(tried, stored, routines, named, code))
    # Nobody walks; whose code looks like it would, with other values or without what could not be followed, is meant.
    likely = code.likely if code is not None else frozenset(routine.entry for routine in routines)
    failed = [(routine, error) for routine, error in tried.failed if routine.entry in likely]
    if len(failed) == 1:
        raise NotFollowedError(*failed[0])
    meant = likely & {routine.entry for routine in named}
    still = [trace for trace in (*tried.storing, *tried.others) if trace.routine.entry in meant]
    if code is not None and len(still) == 1 and not failed:
        return _come_to_end(still[0])
    listed = named or routines
    first = (failed or tried.failed)[:MOST_TOLD]
    reason = "".join(f"; {routine.name} could not be followed: {error.what}" for routine, error in first)
    if not tried.storing and not tried.others and len(first) == len(listed):
        what = "; ".join(f"{routine.name}: {error.what}" for routine, error in first)
        raise NoWalkError(f"none of these functions could be followed: {what}", (), hint=_pick())
    names = _list(routine.name for routine in listed)
    followed = tuple(t.routine.name for t in (*tried.storing, *tried.others) if not any(_flushes(p) for p in t.paths))
    if any(symbol.function for symbol in routines[0].image.symbols.values()):
        raise NoWalkError(f"none of these functions walks a buffer: {names}{reason}", followed, hint=_pick())
    what = f"it has no symbol table, and none of its pieces of code walks a buffer: {names}{reason}"
    where = routines[0].origin.source
    raise NoWalkError(what, followed, where=where, hint="--range A:B takes a piece, by address")


class NoWalkError(InputError):
    """No function walks a buffer; ``followed`` are those that were run on every path and flush in no other way."""

    def __init__(self, what: str, followed: tuple[str, ...], *, where: str | None = None, hint: str) -> None:
        super().__init__(what, where=where, hint=hint)
        self.followed = followed


def _flushes(path: Path) -> bool:
    """Whether a path that walks no buffer flushes all the same, or may: by one instruction, or in steps unknown."""
    return mechanism(path, walks=False, buffer=None) in (*BY_COMMAND, "perhaps-a-walk")


def _doubted(
    tried: _Tried, found: Trace, routines: Sequence[Routine], named: Sequence[Routine], code: CodeMap | None
) -> Trace:
    """The flush that was found, which says what else could have been it: as a note what looks like a walk, else as
    an assumption."""

    def looks(routine: Routine) -> CodeMap:
        """Of a large input there is a map. Of C each function has an image of its own."""
        return code or scan(routine.image, (one.entry for one in routines if one.image is routine.image))

    if code is None and named:
        # A name that speaks of a flush, and was enough, may hide a walk that has another one.
        rest = [routine for routine in routines if routine not in named]
        tried.run(r for r in rest if not tried.knows(r) and r.entry in looks(r).likely & looks(r).reading)
    notes, names = [], []
    for routine, error in tried.failed:
        # Of few also what loops in another way, unless it is only its name that counts against it.
        suspect = code is None and (not named or routine in named)
        here = looks(routine)
        if routine.entry in here.reading and (suspect or routine.entry in here.likely):
            text = f"{routine.name} may be the flush as well, and could not be followed: {error.what}"
            notes.append(SourceNote(NoteKind.ANOTHER_WALK_UNDECIDED, text, error.place))
        else:
            names.append(f"{routine.name}: {error.what}")
    unseen = [routine.name for routine in named if code is not None and not tried.knows(routine)]
    for kind, which in ((Assumes.CHOSEN_NOT_FOLLOWED, names), (Assumes.CHOSEN_NOT_RUN, unseen)):
        if which:
            note = Assumption(kind, (found.routine.name, *which))
            found = replace(found, assumptions=(*found.assumptions, note))
    return replace(found, routine=replace(found.routine, notes=(*found.routine.notes, *notes)))


class NotFollowedError(UndecidedError):
    """The only function that looks like a flush could not be followed; ``routine`` is that function."""

    def __init__(self, routine: Routine, error: UndecidedError) -> None:
        super().__init__(error.cause, error.what, where=error.place, hint=error.hint, names=error.names)
        self.routine = routine


def _groups(routines: Sequence[Routine], named: Sequence[Routine], code: CodeMap | None) -> Iterator[Sequence[Routine]]:
    """What is tried one after the other: few functions as they are, of many those that look like a flush, and
    then those that nobody named but that are called."""
    known = {routine.entry for routine in named}
    others = [routine for routine in routines if routine.entry not in known]
    if code is None:
        yield from (named, others)
        return
    yield [routine for routine in named if code.may_flush(routine.entry)]
    yield [routine for routine in others if routine.entry in code.likely]
    nameless = [
        replace(routines[0], name=f"code at {entry:#x}", entry=entry, end=None, parameters=())
        for entry in sorted(code.unlabelled)
    ]
    if nameless:
        looks = scan(routines[0].image, (*(routine.entry for routine in routines), *code.unlabelled))
        yield [routine for routine in nameless if routine.entry in looks.likely]
    rest = [routine for routine in others if routine.entry in code.promising - code.likely]
    # Of hundreds that only might be one nobody wants to wait for all.
    yield rest if len(rest) <= MOST_TRIED else []


def _come_to_end(trace: Trace) -> Trace:
    """The trace, if some path ends where the user wants it to."""
    if trace.routine.until and not any(path.end == UNTIL for path in trace.paths):
        raise InputError(
            "no path of the routine comes there",
            where=str(arguments.UNTIL),
            hint=f"what ends with a return needs {arguments.BEGIN} only",
        )
    return trace


@dataclass
class _Tried:
    """Traces of candidates, by what they turned out to be."""

    options: VerifyOptions
    deadline: float
    walking: list[Trace] = field(default_factory=list)
    storing: list[Trace] = field(default_factory=list)
    others: list[Trace] = field(default_factory=list)
    failed: list[tuple[Routine, UndecidedError]] = field(default_factory=list)

    def run(self, routines: Iterable[Routine], later: int = 0) -> None:
        """Traces ``routines``, behind which ``later`` groups may come. Each has its share of the time that is left; one
        for which that is not enough has another, of what the others left over."""
        first, again = list(routines), list[Routine]()
        while first or again:
            routine, is_new = (first.pop(0), True) if first else (again.pop(0), False)
            left = self.deadline - time.monotonic()
            if left <= 0:
                error = UndecidedError("budget", f"no time was left of {self.options.max_seconds:g} seconds")
                self.failed.append((routine, error))
                continue
            share = left / (1 + len(first) + len(again) + later)
            try:
                trace = run_trace(routine, replace(self.options.trace_options(), max_seconds=share))
            except UndecidedError as error:
                if error.cause == "budget" and is_new and share < left:
                    again.append(routine)
                else:
                    self.failed.append((routine, error))
                continue
            kind = self.walking if any(walked_arenas(path) for path in trace.paths) else self.others
            if kind is self.others and any(walked_arenas(path, STORES) for path in trace.paths):
                kind = self.storing
            kind.append(trace)

    def run_slow(self) -> None:
        """Traces those once more for which time was too short, in what is left of it."""
        slow = [routine for routine, error in self.failed if error.cause == "budget"]
        self.failed = [(routine, error) for routine, error in self.failed if routine not in slow]
        self.run(slow)

    def knows(self, routine: Routine) -> bool:
        """Whether it was tried."""
        traces = (*self.walking, *self.storing, *self.others)
        tried = [*(trace.routine for trace in traces), *(one for one, _ in self.failed)]
        return any(routine.image is one.image and routine.entry == one.entry for one in tried)

    def found(self) -> Trace | None:
        """The only one that walks a buffer, or the only one that flushes at all; None if nobody does.

        Raises InputError when several do.
        """
        walking: Sequence[Trace] = self.walking
        if len(walking) > 1:
            walking = _innermost(_callers(_by_lines(walking)))
        if len(walking) > 1:
            walking = [trace for trace in walking if not _copies(trace)] or walking
        if len(walking) > 1:
            names = _list(trace.routine.name for trace in walking)
            raise InputError(f"several functions walk a buffer: {names}", hint=_pick())
        # A flush that is one instruction walks nothing, but it is what the user means if it is alone.
        flushing = [t for t in (*self.storing, *self.others) if any(_flushes(path) for path in t.paths)]
        if not walking and len(flushing) == 1 and not self.failed:
            return flushing[0]
        return walking[0] if walking else None

    def stored(self) -> Trace | None:
        """The only one that walks by stores and has a name that speaks of a flush: most that stores to much memory does
        so for what is stored. Raises InputError when several do."""
        named = [trace for trace in self.storing if speaks_of_flush(trace.routine.name)]
        if len(named) > 1:
            names = _list(trace.routine.name for trace in named)
            raise InputError(f"several functions walk a buffer by stores: {names}", hint=_pick())
        return named[0] if named else None


def _by_lines(walking: Sequence[Trace]) -> Sequence[Trace]:
    """Those that read more than a line of each page, if any does: who touches pages only warms the TLB."""
    return [trace for trace in walking if any(_reads_lines(path) for path in trace.paths)] or walking


def _reads_lines(path: Path) -> bool:
    for arena in walked_arenas(path):
        reads = all_events((path,)).where(partial(_reads_from, arena=arena))
        if len(reads.units(LINE, whole=False)) > len(reads.units(PAGE, whole=False)):
            return True
    return False


def _reads_from(event: Event, arena: Arena) -> bool:
    return event.kind in READS and event.arena == arena


def _callers(walking: Sequence[Trace]) -> Sequence[Trace]:
    """Without those that another one calls, or has in it, and walks besides: they are parts of it."""
    places = [_reads_at(trace) for trace in walking]
    return [trace for trace, mine in zip(walking, places, strict=True) if not any(mine < other for other in places)]


def _reads_at(trace: Trace) -> frozenset[str]:
    """Where in the source, or in the code, a routine walks."""
    found: set[str] = set()
    for path in trace.paths:
        for arena in walked_arenas(path):
            found |= {
                str(trace.routine.image.lines.get(pc) or f"{pc:#x}")
                for pc in {event.pc for event in all_events((path,)).shapes() if _reads_from(event, arena)}
            }
    return frozenset(found)


def _innermost(walking: Sequence[Trace]) -> Sequence[Trace]:
    """Those that walk by themselves: whoever calls the flush, or falls into it, walks too."""
    own = [trace for trace in walking if _walks_itself(trace)]
    return own or walking


def _walks_itself(trace: Trace) -> bool:
    routine = trace.routine
    end = routine.entry + len(routine.code)
    return any(
        routine.entry <= event.pc < end
        for path in trace.paths
        for arena in walked_arenas(path)
        for event in all_events((path,)).shapes()
        if _reads_from(event, arena)
    )


def _copies(trace: Trace) -> bool:
    """Whether a routine stores as much as it walks: it reads in order to write, not in order to have read."""
    walked = {arena.key for path in trace.paths for arena in walked_arenas(path)}
    every = all_events(trace.paths)
    stored = _lines(every.where(lambda event: event.arena is not None and event.kind in STORES))
    return stored >= _lines(every.where(lambda e: e.arena is not None and e.arena.key in walked and e.kind in READS))


def _lines(events: Events) -> int:
    """How many lines they begin in."""
    keys = {event.arena.key for event in events.shapes() if event.arena is not None}
    return sum(len(events.where(partial(is_in, keys=(key,))).units(LINE, whole=False)) for key in keys)


def _list(names: Iterable[str]) -> str:
    return some_of(list(names), MOST_LISTED)
