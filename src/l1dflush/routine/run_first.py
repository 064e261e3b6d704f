# SPDX-License-Identifier: GPL-2.0-or-later
"""Functions that the user has run before a routine: what they leave in memory is what it finds."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import replace

from l1dflush.arguments import FUNCTION, RUN_FIRST
from l1dflush.errors import InputError
from l1dflush.routine.model import FirstRun, Image, OriginKind, Routine
from l1dflush.routine.options import LoadOptions


def preceded(routines: Sequence[Routine], options: LoadOptions) -> list[Routine]:
    """``routines`` with the functions that ``options`` has run before them, which are themselves no candidates.

    Raises InputError for a name that is not a function here.
    """
    if not options.run_first:
        return list(routines)
    if routines[0].origin.kind is OriginKind.BUILT_IN:
        raise InputError("a built-in routine is a single function", where=str(RUN_FIRST))
    made = [
        replace(routine, first=tuple(_found(routine.image, name) for name in options.run_first)) for routine in routines
    ]
    rest = [one for one in made if one.name not in options.run_first or one.name == options.function]
    if not rest:
        raise InputError(
            "nothing is left to be judged",
            where=str(RUN_FIRST),
            hint=f"{FUNCTION.given('NAME')} says what is the flush",
        )
    return rest


def _found(image: Image, name: str) -> FirstRun:
    symbol = image.symbols.get(name)
    if symbol is not None and symbol.function and symbol.defined:
        return FirstRun(name, symbol.address, symbol.address + symbol.size if symbol.size else None)
    known = [one.name for one in image.symbols.values() if one.function and one.defined]
    near = difflib.get_close_matches(name, known[:5000], n=3) or known[:12]
    what = f"'{name}' is only referenced there, not defined" if symbol is not None else f"no function '{name}'"
    raise InputError(what, where=str(RUN_FIRST), hint=f"the functions here: {', '.join(near)}" if near else None)
