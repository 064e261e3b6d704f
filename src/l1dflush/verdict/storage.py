# SPDX-License-Identifier: GPL-2.0-or-later
"""Whose storage an event touches."""

from __future__ import annotations

from l1dflush.routine.model import Image, Symbol
from l1dflush.tracing.model import ArenaKind, Event


def storage(image: Image, event: Event) -> Symbol | None:
    """The symbol whose own storage an event touches, or that it lies behind."""
    if event.arena is None or event.arena.kind not in (ArenaKind.SECTION, ArenaKind.SYMBOL):
        return None
    return symbol_behind(image, event.arena.key, event.offset)


def symbol_behind(image: Image, key: str, offset: int) -> Symbol | None:
    """The symbol at or before ``offset`` in the outside symbol's or the section's arena called ``key``."""
    kind, _, name = key.partition(":")
    if kind != "section":
        return image.symbols.get(name)
    base = int(name, 16)
    address = base + offset
    if (slot := image.slot_at(address)) is not None:
        return slot
    symbols = [
        symbol
        for symbol in image.symbols.values()
        if symbol.defined and not symbol.function and base <= symbol.address <= address
    ]
    # One that it lies in, rather than a mark of the linker's.
    inside = [symbol for symbol in symbols if symbol.size_told and address < symbol.address + (symbol.size or 0)]
    return max(inside or symbols, key=lambda symbol: (symbol.address, symbol.size or 0), default=None)
