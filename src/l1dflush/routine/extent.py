# SPDX-License-Identifier: GPL-2.0-or-later
"""A part of a routine: from a label, up to a label.

For a flush that is only a piece of a larger routine, or was inlined into one.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import replace

from l1dflush.arguments import BEGIN, UNTIL
from l1dflush.errors import InputError
from l1dflush.routine.model import Image, Routine
from l1dflush.routine.options import LoadOptions


def narrowed(routines: Sequence[Routine], options: LoadOptions) -> list[Routine]:
    """``routines`` as far as ``options`` wants them: one that begins at ``options.start``, all of them ending at
    ``options.until``.

    Raises InputError for a label that is not there or is not code.
    """
    if options.start is None and not options.until:
        return list(routines)
    first = routines[0]
    until = frozenset(code_address(first.image, label, str(UNTIL)) for label in options.until)
    if options.start is None:
        return [replace(routine, until=until) for routine in routines]
    entry = code_address(first.image, options.start, str(BEGIN))
    whole = next((r for r in routines if r.entry == entry), None)
    if whole is not None and (options.function in (None, whole.name)):
        return [replace(whole, until=until)]
    behind = [address for address in until if address > entry]
    return [
        replace(
            first,
            name=options.start,
            entry=entry,
            end=min(behind) if behind else _end_of_function(first.image, entry),
            until=until,
            parameters=(),
            partial=True,
        )
    ]


def code_address(image: Image, label: str, option: str) -> int:
    """The address of ``label``: a symbol, a symbol or section and an offset (``name+0x1c``), or an address; as in a
    trace.

    Raises InputError, which names ``option``, for one that is not there or is not code.
    """
    name, plus, distance = label.partition("+")
    symbol = image.symbols.get(label) or image.symbols.get(name)
    section = next((s for s in image.sections if plus and s.executable and s.name == name), None)
    try:
        if symbol is None:
            address = int(label, 0) if section is None else section.address + int(distance, 0)
        else:
            address = symbol.address + (int(distance, 0) if plus and symbol.name == name else 0)
    except ValueError:
        near = difflib.get_close_matches(name, list(image.symbols)[:5000], n=3)
        hint = f"a symbol, like {', '.join(near)}" if near else "a symbol, symbol+offset, or an address from a trace"
        raise InputError(f"there is no label '{label}'", where=option, hint=hint) from None
    if symbol is not None and not symbol.defined:
        raise InputError(f"'{label}' is only referenced there, not defined", where=option)
    if not any(s.executable and s.address <= address < s.address + len(s.data) for s in image.sections):
        raise InputError(f"there is no code at '{label}'", where=option)
    return address


def _end_of_function(image: Image, address: int) -> int | None:
    around = (s for s in image.symbols.values() if s.function and s.size and s.address <= address < s.address + s.size)
    return next((s.address + (s.size or 0) for s in around), None)
