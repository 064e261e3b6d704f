# SPDX-License-Identifier: GPL-2.0-or-later
"""Which of a path's events are judged, and what else the path does that their words do not say."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from l1dflush.arguments import BIND
from l1dflush.errors import UndecidedError
from l1dflush.tracing.events import Events
from l1dflush.tracing.model import OPTIONAL_STORES, Event, Kind, Path, is_instruction
from l1dflush.tracing.msrs import is_harmless
from l1dflush.verdict.places import Places
from l1dflush.verdict.walk import Buffer, held, walk_of

FILLS_BY_REP_STOS = "fills-by-rep-stos"
NON_TEMPORAL = "non-temporal-stores"
FILLERS = frozenset(
    {"memset", "memcpy", "memmove", "mempcpy", "bzero", "explicit_bzero", "memzero_explicit", "__memset", "__memcpy"}
    | {"__memmove", "__memset_chk", "__memcpy_chk", "__memmove_chk", "__builtin_memset", "clear_page", "copy_page"}
)
"""Functions that libraries and kernels make of repeated string instructions, or of non-temporal stores."""
_NOT_KNOWN = "which memory may be accessed, and whether it is cached, is not known after"


@dataclass(frozen=True, slots=True)
class JudgedPart:
    """The ``events`` that the words of a walking path are made of.

    ``doubt``: why the words can prove that nothing is left, but not that something is. ``unknown``: why they can do
    neither. ``instead``: of stores that need not bring their lines in, the events if all do, if none does, and if all
    push them out, where they may: what is left in each of these is left on any CPU. ``ahead`` and
    ``behind``: those before the first and behind the last such store, if some are the buffer's. What they leave nothing
    of, the whole leaves nothing of: those behind it from any state on.
    """

    events: Events
    doubt: UndecidedError | None = None
    unknown: UndecidedError | None = None
    instead: tuple[Events, ...] = ()
    ahead: Events | None = None
    behind: Events | None = None

    def only(self, events: Events | None) -> JudgedPart:
        """The same of what is ahead of these stores, or behind; all of it where there is nothing."""
        if events is None:
            return self
        unknown = self.unknown if self.unknown is not None and self.unknown.cause != NON_TEMPORAL else None
        return JudgedPart(events, self.doubt, unknown)

    @property
    def more(self) -> UndecidedError | None:
        """What the path does besides, if anything, for questions that are about the words alone."""
        return self.unknown or self.doubt


def judged_part(path: Path, buffer: Buffer, places: Places) -> JudgedPart:
    """The judged part of a path that walks ``buffer``.

    Nobody knows what an outside function does, so the proof starts anew behind the last call before the walk's
    end: any state again. What wbinvd and invd do cannot be proved. And where it is not known any more what memory is
    cached, nothing can be said.
    """
    walk, every = walk_of(path, buffer), Events.of(path.events)
    first, last = walk.position(0), walk.position(-1)
    calls = every[:last].where(lambda event: event.kind is Kind.CALL)
    doubt = None
    if any(event.kind is Kind.FLUSH_ALL for event in every.shapes()):
        doubt = UndecidedError("cache-instruction", "the walk is not enough, but wbinvd or invd may be")
    if calls and first < calls.position(-1):
        first = calls.position(-1) + 1
        what = f"what {calls[-1].detail} does, called during the walk, is not known"
        if is_instruction(calls[-1]):
            what = f"which lines {calls[-1].detail} touches during the walk is not known"
        doubt = doubt or UndecidedError("outside-call", what)
    events = every[first : last + 1]
    unknown = _settings([*Events.of(path.before).shapes(), *every[:last].shapes()], places)
    if unknown is not None:
        return JudgedPart(events, doubt, unknown)
    if doubt is None and (filler := next(_fillers(every[last:].shapes()), None)) is not None:
        doubt = by_call(filler, places)
    optional = next((event for event in events.shapes() if event.kind in OPTIONAL_STORES), None)
    if optional is None:
        return JudgedPart(events, doubt)
    instead = () if doubt is not None else tuple(_instead(events))
    non_temporal = next((event for event in events.shapes() if event.kind is Kind.NON_TEMPORAL_STORE), None)
    if non_temporal is not None:
        what = f"`{non_temporal.detail}` is a non-temporal store: its line may come in, stay, or be pushed out"
        unknown = UndecidedError(NON_TEMPORAL, what, where=places.where(non_temporal.pc))
    what = (
        f"whether the walk is enough depends on the stores of `rep {optional.detail}`, which need not bring lines in,"
    )
    doubt = doubt or UndecidedError(FILLS_BY_REP_STOS, what, where=places.where(optional.pc))
    stores = events.where(lambda event: event.kind in OPTIONAL_STORES)
    ahead, behind = events.within(first, stores.position(0)), events.within(stores.position(-1) + 1, last + 1)
    pieces = [piece if held(piece, buffer) else None for piece in (ahead, behind)]
    return JudgedPart(events, doubt, unknown, instead, *pieces)


def _instead(events: Events) -> Iterator[Events]:
    def with_kind(kind: Kind) -> Events:
        return events.changed(lambda event: event._replace(kind=kind) if event.kind in OPTIONAL_STORES else event)

    yield with_kind(Kind.STORE)
    yield events.where(lambda event: event.kind not in OPTIONAL_STORES)
    if any(event.kind is Kind.NON_TEMPORAL_STORE for event in events.shapes()):
        yield with_kind(Kind.LINE_FLUSH)


def _fillers(events: Iterable[Event]) -> Iterator[Event]:
    return (event for event in events if event.kind is Kind.CALL and event.detail in FILLERS)


def by_call(event: Event, places: Places) -> UndecidedError:
    """That a function that stores as it likes is called."""
    what = (
        f"it is not known whether stores bring lines in (`rep stos` need not) that are made by {event.detail}, called"
    )
    return UndecidedError(FILLS_BY_REP_STOS, what, where=places.where(event.pc))


def fills_by_call(paths: Iterable[Path], places: Places) -> UndecidedError | None:
    """The same for the first such call on any path."""
    found = next((event for path in paths for event in _fillers(Events.of(path.events).shapes())), None)
    return None if found is None else by_call(found, places)


def _settings(events: Iterable[Event], places: Places) -> UndecidedError | None:
    """Why it is not known what memory is cached, or may be accessed, behind these events."""
    for event in events:
        if event.kind is Kind.SYSTEM_WRITE:
            what = f"{_NOT_KNOWN} `{event.detail}`"
            return UndecidedError("system-register-written", what, where=places.where(event.pc))
        write = event.msr
        if write is None or (write.number is not None and is_harmless(write.number)):
            continue
        which = "an MSR whose number is not known" if write.number is None else f"MSR {write.number:#x}"
        what = f"{_NOT_KNOWN} the write of {which}"
        hint = None if write.number is not None else f"{BIND.pair('NAME', 'VALUE')} for what its number comes from"
        return UndecidedError("msr-may-change-the-cache", what, where=places.where(event.pc), hint=hint)
    return None
