"""Picks the flush among the functions of an input: the only one whose trace walks a buffer."""

from __future__ import annotations

from collections.abc import Sequence

from l1dflush.errors import InputError, UndecidedError
from l1dflush.routine.model import Routine
from l1dflush.trace.explore import trace as run_trace
from l1dflush.trace.model import Trace
from l1dflush.verdict.options import VerifyOptions
from l1dflush.verdict.walk import mechanism, walked_arenas


def select(routines: Sequence[Routine], options: VerifyOptions) -> Trace:
    """The trace of the one routine that is the flush.

    A routine that was named, or is the only candidate, is taken as it is. Raises InputError that lists the
    candidates when none or several walk a buffer, UndecidedError when the chosen one cannot be followed.
    """
    if len(routines) == 1:
        return run_trace(routines[0], options.trace_options())
    walking: list[Trace] = []
    others: list[Trace] = []
    failed: list[tuple[Routine, UndecidedError]] = []
    for routine in routines:
        try:
            found = run_trace(routine, options.trace_options())
        except UndecidedError as error:
            failed.append((routine, error))
            continue
        (walking if any(walked_arenas(path) for path in found.paths) else others).append(found)
    if len(walking) == 1:
        return walking[0]
    # A flush that is one instruction walks nothing, but it is what the user means if it is alone.
    mechanisms = [t for t in others if any(mechanism(path, walks=False) != "skipped" for path in t.paths)]
    if not walking and len(mechanisms) == 1 and not failed:
        return mechanisms[0]
    if not walking and len(failed) == 1 and not mechanisms:
        raise failed[0][1]
    names = ", ".join(t.routine.name for t in walking) or ", ".join(routine.name for routine in routines)
    if walking:
        raise InputError(f"several functions walk a buffer: {names}", hint="pick one with --function NAME")
    reason = "" if not failed else f"; {failed[0][0].name} could not be followed: {failed[0][1].what}"
    raise InputError(f"none of these functions walks a buffer: {names}{reason}", hint="pick one with --function NAME")
