# SPDX-License-Identifier: GPL-2.0-or-later
"""Which other function of the input writes the variables that a routine could not be followed for."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace

from l1dflush.arguments import RUN_FIRST
from l1dflush.errors import InputError, UndecidedError
from l1dflush.routine.load import load
from l1dflush.routine.model import Routine, Symbol
from l1dflush.tracing.abstract import trace
from l1dflush.tracing.model import STORES
from l1dflush.tracing.options import TraceOptions
from l1dflush.verdict.options import VerifyOptions
from l1dflush.verdict.storage import storage

# So many functions are run to see what they write, each for so long.
MOST_RUN = 16
_SHORT = TraceOptions(max_seconds=0.5, max_paths=16, max_instructions=500_000)
_NAME = re.compile(r"\[*([A-Za-z_.$][\w.$]*)")


def told(
    error: UndecidedError, source: str | Sequence[str], routine: Routine, options: VerifyOptions
) -> UndecidedError:
    """``error``, with a hint at the functions that write what it is about, if there are any."""
    names = {match[1] for name in error.names if (match := _NAME.match(name))}
    if not names or options.run_first:
        return error
    found = list(dict.fromkeys(_writers(source, routine, names, options)))
    if not found:
        return error
    hint = f"{RUN_FIRST.given(found[0][0])}, which writes `{found[0][1]}`"
    return error.but(hint=hint)


def _writers(
    source: str | Sequence[str], routine: Routine, names: set[str], options: VerifyOptions
) -> Iterator[tuple[str, str]]:
    """Functions, each with the variable among ``names`` that it writes."""
    try:
        whole = load(source, replace(options.load_options(), function=None, start=None, until=(), whole=True))[0]
    except InputError:
        return
    image = whole.image
    if not any(name in image.symbols and not image.symbols[name].function for name in names):
        return
    functions = [one for one in image.symbols.values() if one.function and one.defined and one.name != routine.name]
    for function in functions[:MOST_RUN] if len(functions) <= 4 * MOST_RUN else ():
        variable = _written(whole, function, names)
        if variable is not None:
            yield function.name, variable


def _written(whole: Routine, function: Symbol, names: set[str]) -> str | None:
    end = function.address + function.size if function.size else None
    one = replace(whole, name=function.name, entry=function.address, end=end, until=frozenset(), parameters=())
    try:
        found = trace(replace(one, partial=False), _SHORT)
    except UndecidedError:
        return None
    stores = (event for path in found.paths for event in path.events if event.kind in STORES)
    symbols = (storage(whole.image, event) for event in stores)
    return next((symbol.name for symbol in symbols if symbol is not None and symbol.name in names), None)
