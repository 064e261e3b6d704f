# SPDX-License-Identifier: GPL-2.0-or-later
"""Whether the buffer is a variable that is zero at first and that nothing of what was given stores into.

Then its pages may be one page: those of a process that were never written are the same page of zeros, and a hypervisor
merges equal ones. Where the source shows an allocation, :mod:`l1dflush.routine.c.buffer_content` looks at it.
"""

from __future__ import annotations

from collections.abc import Iterator

from l1dflush.routine.model import Image, NoteKind, OriginKind, Symbol
from l1dflush.tracing.events import Events
from l1dflush.tracing.model import STORES, Kind, Trace
from l1dflush.verdict.storage import storage
from l1dflush.verdict.walk import PAGE, Buffer

# So far before and behind a variable an operand's relocation may lead that means it.
_NEAR = 16


def never_written(trace: Trace, buffer: Buffer | None) -> str | None:
    """The name of such a variable, larger than a page, if the buffer is one; None where something may store into it,
    or not all of the code that may is there: a linked file, a patch, an outside call."""
    routine = trace.routine
    origins = routine.origin.combined or (routine.origin,)
    partial_text = any(one.kind in (OriginKind.PATCH, OriginKind.BUILT_IN) for one in origins)
    if buffer is None or buffer.start is None or routine.image.linked or partial_text or routine.left_out:
        return None
    symbol = storage(routine.image, buffer.start)
    if symbol is None or not symbol.defined or not symbol.size_told or (symbol.size or 0) <= PAGE:
        return None
    elsewhere = any(note.kind is NoteKind.USED_ELSEWHERE and note.text == symbol.name for note in routine.notes)
    if elsewhere or not _is_zero(routine.image, symbol) or _is_changed(trace, buffer):
        return None
    return None if _others_know(trace, symbol) else symbol.name


def _is_zero(image: Image, symbol: Symbol) -> bool:
    section = image.section_at(symbol.address)
    if section is None or not section.writable:
        return False
    start = symbol.address - section.address
    return not any(section.data[start : start + (symbol.size or 0)])


def _is_changed(trace: Trace, buffer: Buffer) -> bool:
    """Whether a path stores into it, or calls what may."""
    for path in trace.paths:
        for event in (*Events.of(path.before).shapes(), *Events.of(path.events).shapes()):
            into = event.kind in STORES and (event.arena is None or event.arena.key in buffer.arenas)
            if into or event.kind is Kind.CALL:
                return True
    return False


def _others_know(trace: Trace, symbol: Symbol) -> bool:
    """Whether something that was not run refers to the variable."""
    used = trace.routine.used
    return any(not any(start <= at < end for start, end in used) for at in _references(trace.routine.image, symbol))


def _references(image: Image, symbol: Symbol) -> Iterator[int]:
    """Where relocations lead to the variable."""
    low, high = symbol.address - _NEAR, symbol.address + (symbol.size or 0) + _NEAR
    for section in image.sections:
        for at, addend, of in image.relocations.within(section.address, section.address + section.size):
            if (of.symbol == symbol.name and not of.section) or (
                of.section and of.target is not None and low <= of.target + (addend or 0) <= high
            ):
                yield at
