"""Which of a path's events are judged, and what else the path does that their words do not say."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from l1dflush.errors import UndecidedError
from l1dflush.trace.model import Event, Kind, Path
from l1dflush.trace.msrs import is_harmless, msr_write
from l1dflush.verdict.walk import Buffer, Places, walk_of

_NOT_KNOWN = "which memory may be accessed, and whether it is cached, is not known after"


@dataclass(frozen=True, slots=True)
class JudgedPart:
    """The ``events`` that the words of a walking path are made of.

    ``doubt``: why the words can prove that nothing is left, but not that something is. ``unknown``: why they can do
    neither.
    """

    events: Sequence[Event]
    doubt: UndecidedError | None = None
    unknown: UndecidedError | None = None

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
    walk = walk_of(path, buffer)
    first, last = walk[0][0], walk[-1][0]
    calls = [at for at, event in enumerate(path.events[:last]) if event.kind is Kind.CALL]
    doubt = None
    if any(event.kind is Kind.FLUSH_ALL for event in path.events):
        doubt = UndecidedError("cache-instruction", "the walk is not enough, but wbinvd or invd may be")
    if calls and first < calls[-1]:
        first = calls[-1] + 1
        name = path.events[calls[-1]].detail
        doubt = doubt or UndecidedError("outside-call", f"what {name} does, called during the walk, is not known")
    return JudgedPart(path.events[first : last + 1], doubt, _settings(path.events[:last], places))


def _settings(events: Iterable[Event], places: Places) -> UndecidedError | None:
    """Why it is not known what memory is cached, or may be accessed, behind these events."""
    for event in events:
        if event.kind is Kind.SYSTEM_WRITE:
            what = f"{_NOT_KNOWN} `{event.detail}`"
            return UndecidedError("system-register-written", what, where=places.where(event.pc))
        write = msr_write(event)
        if write is None or (write.number is not None and is_harmless(write.number)):
            continue
        which = "an MSR whose number is not known" if write.number is None else f"MSR {write.number:#x}"
        what = f"{_NOT_KNOWN} the write of {which}"
        hint = None if write.number is not None else "--bind NAME=VALUE for what its number comes from"
        return UndecidedError("msr-may-change-the-cache", what, where=places.where(event.pc), hint=hint)
    return None
