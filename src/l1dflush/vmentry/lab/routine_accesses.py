# SPDX-License-Identifier: GPL-2.0-or-later
"""A flush routine in the model machine: the accesses of its own run, emulated and recorded, in order.

Nothing is taken from its description: the events of its trace are what it does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from l1dflush.errors import InputError, UndecidedError
from l1dflush.sandbox.judged import trace_of
from l1dflush.tracing.region import BUFFER
from l1dflush.verdict.options import VerifyOptions
from l1dflush.verdict.verify_result import EventInfo
from l1dflush.vmentry.lab.memory import LINE, PAGE

_TOUCHES = frozenset({"load", "store", "prefetch"})
_OPTIONAL = frozenset({"string-store", "non-temporal-store"})


@dataclass(frozen=True, slots=True, eq=False)
class RoutineAccesses:
    """One run. ``place``: per access, -1 for the buffer, otherwise the number of one of ``own``, the routine's other
    memory by name; ``line``: the number of the line in it, counted from its first page. ``own_pages``: how many pages
    of each are touched; ``own_lowest``: the offset at which the first of these begins, below 0 for a stack. All of it
    is taken to begin at a page. ``buffer_pages``: how much of the buffer is read."""

    name: str
    place: NDArray[np.int64]
    line: NDArray[np.int64]
    own: tuple[str, ...]
    own_pages: tuple[int, ...]
    own_lowest: tuple[int, ...]
    buffer_pages: int


_NONE = np.empty(0, dtype=np.int64)
NO_ACCESSES = RoutineAccesses("", _NONE, _NONE, (), (), (), 0)
"""Where the CPU's own command flushes."""


def routine_accesses(source: str | Sequence[str], options: VerifyOptions) -> RoutineAccesses:
    """Runs the routine on the emulated CPU; of several paths the one that reads the buffer most often is taken.

    Raises InputError and UndecidedError: also where no path reads a buffer, or where it flushes single lines.
    """
    found = trace_of(source, options)
    paths = [path for path in found.paths if any(event.region == BUFFER for event in path.events)]
    if not paths:
        raise UndecidedError("no-software-walk", "no path reads a buffer", where=found.routine.name)
    path = max(paths, key=lambda one: sum(event.region == BUFFER for event in one.events))
    if any(event.kind == "line-flush" for event in path.events):
        raise InputError("a routine that flushes single lines is not modelled", where=found.routine.name)
    if any(event.kind in _OPTIONAL for event in path.events):
        what = "stores that need not bring their lines in (rep stos, non-temporal ones) are not modelled"
        raise InputError(what, where=found.routine.name)
    touched = [event for event in path.events if event.kind in _TOUCHES and event.offset is not None]
    own = tuple(dict.fromkeys(str(event.region) for event in touched if event.region != BUFFER))
    place, line = _accesses(touched, own)
    if line[place < 0].min() < 0:
        raise InputError("it reads in front of its buffer", where=found.routine.name)
    # What grows downwards, as a stack does, begins below 0: each gets as many pages as it spans.
    own_pages, own_lowest = [], []
    for number in range(len(own)):
        mine = line[place == number]
        first = int(mine.min()) // (PAGE // LINE)
        line[place == number] -= first * (PAGE // LINE)
        own_lowest.append(first * PAGE)
        own_pages.append(int(mine.max()) // (PAGE // LINE) - first + 1)
    pages = int(line[place < 0].max()) // (PAGE // LINE) + 1
    return RoutineAccesses(found.routine.name, place, line, own, tuple(own_pages), tuple(own_lowest), pages)


def _accesses(events: Sequence[EventInfo], own: tuple[str, ...]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    numbers = {name: number for number, name in enumerate(own)}
    place, line = [], []
    for event in events:
        assert event.offset is not None
        # One that crosses a border touches both lines.
        for one in range(event.offset // LINE, (event.offset + max(event.size, 1) - 1) // LINE + 1):
            place.append(-1 if event.region == BUFFER else numbers[str(event.region)])
            line.append(one)
    return np.array(place, dtype=np.int64), np.array(line, dtype=np.int64)
