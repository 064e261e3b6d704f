# SPDX-License-Identifier: GPL-2.0-or-later
"""What the places of events are called, the same in every part of a report."""

from __future__ import annotations

from l1dflush.place import Place
from l1dflush.routine.code_names import CodeNames
from l1dflush.routine.model import Image
from l1dflush.tracing.events import Events
from l1dflush.tracing.model import Arena, ArenaKind, Event, Kind
from l1dflush.tracing.region import BUFFER, Region, RegionKind
from l1dflush.verdict.found import Spot
from l1dflush.verdict.storage import storage, symbol_behind
from l1dflush.verdict.walk import NO_EVENTS, Buffer, held


def absolute(address: int, bits: int) -> Region:
    """Where an address is that is a number."""
    return Region(RegionKind.ABSOLUTE, (f"{address & ((1 << bits) - 1):#x}",))


class Places:
    """What the places of events are, the same in every part of a report."""

    def __init__(self, image: Image, buffer: Buffer | None) -> None:
        self._image = image
        self._buffer = buffer
        self._symbols: dict[tuple[str, int], tuple[Region, int]] = {}
        self._code = CodeNames(image)

    def of(self, event: Event) -> tuple[Region | None, int]:
        """What an event touches, and the offset in bytes in it; None for one that touches no memory."""
        return self._of(event.arena, event) if event.arena is not None else (None, 0)

    def _of(self, arena: Arena, event: Event) -> tuple[Region, int]:
        if self._buffer is not None and self._buffer.holds(arena, event.offset):
            # Behind an outside call the pointer is loaded anew, and may be another one of the same name.
            if arena.region != self._buffer.primary.region:
                return arena.region, event.offset
            return BUFFER, event.offset - (self._buffer.begins if arena == self._buffer.primary else 0)
        if arena.kind is ArenaKind.SEGMENT:
            return self._in_segment(arena, event.offset)
        known = self._symbols.get((arena.key, event.offset))
        if known is None:
            symbol = storage(self._image, event)
            known = arena.region, event.offset
            if arena.kind is ArenaKind.ABSOLUTE:
                known = absolute(event.offset, self._image.bits), 0
            elif symbol is not None and arena.kind is ArenaKind.SECTION:
                base = int(arena.key.removeprefix("section:"), 16)
                known = Region(RegionKind.SYMBOL, (symbol.name,)), base + event.offset - symbol.address
            elif symbol is not None:
                known = Region(RegionKind.SYMBOL, (symbol.name,)), event.offset
            self._symbols[arena.key, event.offset] = known
        return known

    def in_buffer(self, events: Events) -> Events:
        """Those of ``events`` whose place is called the buffer."""
        buffer = self._buffer
        if buffer is None:
            return NO_EVENTS
        return held(events, buffer).where(lambda e: e.arena is not None and e.arena.region == buffer.primary.region)

    def _in_segment(self, arena: Arena, offset: int) -> tuple[Region, int]:
        segment, _, inner = arena.key.partition(":")
        if not inner:
            return arena.region, offset
        symbol = symbol_behind(self._image, inner, offset)
        if symbol is None:
            return arena.region, offset
        kind, _, base = inner.partition(":")
        behind = offset if kind == "external" else int(base, 16) + offset - symbol.address
        return Region(RegionKind.SEGMENT, (segment, symbol.name)), behind

    def spot(self, event: Event) -> Spot:
        """The same for a finding. The event is one that touches memory."""
        region, offset = self.of(event)
        assert region is not None
        return Spot(region, offset)

    def text(self, event: Event) -> str:
        """The same as one word: ``buffer+0x1040``."""
        return str(self.spot(event))

    def line(self, arena: Arena, offset: int) -> Spot:
        """A place given by arena and offset."""
        return self.spot(Event(Kind.LOAD, 0, "", arena, offset, 1))

    def where(self, pc: int) -> Place:
        """See :meth:`CodeNames.where`."""
        return self._code.where(pc)
