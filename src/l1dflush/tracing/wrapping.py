# SPDX-License-Identifier: GPL-2.0-or-later
"""Paths on which an object would go on at the other end of the address space.

A loop that compares a pointer with the end of its buffer before the first turn goes nowhere if the end lies below the
pointer: if adding the size wraps. No object lies like that, and the end of one can be told from its beginning (C11,
6.5.8); Linux has none in the last page (`IS_ERR_VALUE`), so the last access of a walk may lie a bit before its end.
What an integer does in the same place can happen. So a path is dropped only for what is surely an object: where the
decision had gone the other way, every path accesses that memory, and if the bytes between its accesses are in one piece
nothing decides as this path did; and where they are not, that is what was decided. That is granted, and said so.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence

from l1dflush import _core
from l1dflush.assumption import Assumes, Assumption
from l1dflush.tracing.operations import EVENT
from l1dflush.tracing.possible import Possibility

GRANTED = Assumption(Assumes.NOT_ACROSS_END)
# What the machine itself decides: a loop that goes down asks the same behind its last turn.
OFF_ENDS = Assumption(Assumes.OFF_ENDS)
PAGE = 4096

# A path as the core has it: decisions, events and their runs, and more.
RunPath = tuple[
    list[tuple[int, int, _core.Value, bool, bool, bool, int, int]], bytes, list[tuple[int, int]], int, int, bool
]


def without_wrapping(
    machine: _core.Machine, paths: Sequence[RunPath], asked: Possibility, accesses: Collection[int]
) -> tuple[list[RunPath], list[Assumption]]:
    """``paths`` without those that wrap, and what is granted for that; ``accesses`` are the kinds of events that show
    that memory is there."""
    keys = [
        [(condition.term, holds != bool(condition.constant)) for _, _, condition, holds, *_ in one[0]] for one in paths
    ]
    extents = [_extents(one, accesses) for one in paths]
    regions = {region: asked.symbols_in(machine.terms.value(region)) for one in extents for region in one}
    left = set(range(len(paths)))
    granted: dict[Assumption, None] = {}
    found = [
        (at, number, region)
        for number, one in enumerate(paths)
        for at, region in _compared(machine, one, regions, asked)
    ]
    # The last decisions first: what is gone on the other side is no path there.
    for at, number, region in sorted(found, reverse=True):
        term, holds = keys[number][at]
        other = [*keys[number][:at], (term, not holds)]
        there = [extents[one].get(region) for one in left if keys[one][: at + 1] == other]
        surely = [extent for extent in there if extent is not None]
        if number not in left or not there or len(surely) < len(there):
            continue
        low, high = max(low for low, _ in surely), min(high for _, high in surely)
        # The last access may be what is compared, or what lies a bit before it.
        within = -PAGE if high - low > 3 * PAGE else 0
        wraps, exactly = (_wraps(machine, region, low, high, beyond) for beyond in (PAGE, within))
        in_last_page = _carries(machine, region, low, PAGE)
        decided = [(condition, holds) for _, _, condition, holds, *_ in paths[number][0]]
        condition, holds = decided[at]
        # A check for an error number (the last page) is not a question about where an object ends.
        would = [*decided[:at], (in_last_page, False), (condition, not holds)]
        is_end = exactly is not None and asked([*would, (exactly, True)]) is False
        if wraps is None or not is_end:
            continue
        if asked([*decided, (wraps, False)]) is False:
            left.discard(number)
            granted[GRANTED] = None
        elif asked([*decided, (wraps, False), (_in_first_page(machine, region, low), False)]) is False:
            left.discard(number)
            granted[GRANTED] = granted[OFF_ENDS] = None
    return [one for number, one in enumerate(paths) if number in left], list(granted)


def _compared(
    machine: _core.Machine, path: RunPath, regions: Mapping[int, frozenset[int]], asked: Possibility
) -> Iterator[tuple[int, int]]:
    """Which decisions compare an address in one of the regions with something, or one that is made of the same unknown
    values, as it is if one of them was rounded. ``regions`` has these values for each."""
    for at, (_, _, condition, *_) in enumerate(path[0]):
        op, _, _, operands, _, _ = machine.described(condition)
        if op == "below":
            made_of = {asked.symbols_in(value) for value in operands if value.term}
            yield from ((at, region) for region, symbols in regions.items() if symbols in made_of)


def _extents(path: RunPath, accesses: Collection[int]) -> dict[int, tuple[int, int]]:
    """From where up to where each region is accessed, by its term."""
    found: dict[int, tuple[int, int]] = {}
    events = EVENT.iter_unpack(path[1])
    for turns, period in path[2]:
        for _ in range(period):
            kind, size, _, region, _, offset, step = next(events)
            if region == 0 or kind not in accesses:
                continue
            low, high = found.get(region, (offset, offset))
            last = offset + (turns - 1) * step
            found[region] = min(low, offset, last), max(high, offset + size, last + size)
    return found


def _wraps(machine: _core.Machine, region: int, low: int, high: int, beyond: int) -> _core.Value | None:
    """That the bytes from offset ``low`` up to ``high`` of a region, and so many ``beyond``, go on at the other end;
    None if they cannot, or are fewer than a page: then they need not be in one piece with what is compared."""
    if not PAGE < high - low <= (1 << machine.terms.value(region).bits) - 1 - PAGE:
        return None
    wraps = _carries(machine, region, low, high - low - 1 + beyond)
    return wraps if wraps.term else None


def _in_first_page(machine: _core.Machine, region: int, low: int) -> _core.Value:
    """That what is at offset ``low`` of a region lies in the first page."""
    terms = machine.terms
    bits = terms.value(region).bits
    at = terms.combine("add", terms.value(region), terms.number(bits, low & ((1 << bits) - 1)))
    return terms.combine("below", at, terms.number(bits, PAGE))


def _carries(machine: _core.Machine, region: int, low: int, distance: int) -> _core.Value:
    """That what lies so far behind offset ``low`` of a region is at the other end of the address space."""
    terms = machine.terms
    base = terms.value(region)
    first = terms.combine("add", base, terms.number(base.bits, low & ((1 << base.bits) - 1)))
    return terms.combine("carries", first, terms.number(base.bits, distance))
