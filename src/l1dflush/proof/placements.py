# SPDX-License-Identifier: GPL-2.0-or-later
"""Where memory may lie among a cache's sets, as far as its alignment tells.

The buffer's lines fall into known sets. Every other arena (the stack, a variable) lies somewhere unknown. Two own
arenas lie side by side at worst: the end of one and the beginning of the other may share a line.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain, combinations, product
from math import gcd, prod

from l1dflush.cache.geometry import Geometry
from l1dflush.errors import UndecidedError
from l1dflush.proof.touches import Stretch, Touches, lines_in_order, renamed
from l1dflush.tracing.model import MANY, Arena, ArenaKind

# Beyond this many placements of several buffers relative to each other the question is not asked any more: each of
# them means all words anew.
MAX_BUFFER_PLACEMENTS = 512
# And for ways in which lines of the same set may be one.
MAX_SHARED = 64
PAGE = 4096
# Memory whose alignment is known. A pointer that is handed in is taken to be page-aligned.
PLACED = frozenset({ArenaKind.SECTION, ArenaKind.SYMBOL, ArenaKind.STACK, ArenaKind.SEGMENT})


@dataclass(frozen=True, slots=True)
class Line:
    """A line of memory: the arena and the offset of its first byte in it, for the report."""

    arena: Arena
    offset: int


@dataclass(slots=True)
class Placement:
    """What of an own arena falls into one set. ``low`` and ``high`` are its first and its last line, if they
    are among those touched here; ``begins`` and ``ends`` are the bytes of these lines at which the arena's
    accesses may begin and end."""

    stretches: tuple[Stretch, ...] = ()
    low: int | None = None
    high: int | None = None
    begins: set[int] = field(default_factory=set)
    ends: set[int] = field(default_factory=set)

    def may_precede(self, other: Placement) -> bool:
        """Whether its last line may also be the first line of ``other``."""
        return self.high is not None and other.low is not None and min(self.ends) <= max(other.begins)


class OwnLines:
    """Gives numbers to lines that are not the buffer's: they are negative, the buffer's are not."""

    def __init__(self) -> None:
        self._lines: list[Line] = []

    def __getitem__(self, number: int) -> Line:
        return self._lines[-1 - number]

    def add(self, line: Line) -> int:
        """The number of one more."""
        self._lines.append(line)
        return -len(self._lines)


def refuse_related(arenas: Sequence[Arena]) -> None:
    """Two pointers computed from the same unknown value may point to the same lines, or to others: UndecidedError."""
    for one, other in combinations(arenas, 2):
        # Where the names were too many to keep, nobody knows whether they share one.
        unclear = MANY in (*one.sources, *other.sources) and one.sources and other.sources
        if unclear or not _computed_from(one, other).isdisjoint(_computed_from(other, one)):
            raise UndecidedError("memory-may-overlap", f"{one.region} and {other.region} may be the same memory")


def _computed_from(arena: Arena, beside: Arena) -> set[str]:
    """The names of what the arena's place was computed from, seen from another: two places in per-CPU memory are two,
    but what is computed from its base may be any of it."""
    per_cpu = arena.kind is ArenaKind.SEGMENT and beside.kind is not ArenaKind.SEGMENT
    return {*arena.sources, *([arena.key.partition(":")[0]] if per_cpu else [])}


def buffer_placements(
    arenas: Sequence[Arena], geometry: Geometry, aligned_at: int | None
) -> Iterable[dict[Arena, int]]:
    """Where offset 0 of each buffer may lie within a line and, but for the first, within a way.

    A pointer that is handed in is taken to be page-aligned. Sets are counted from the first buffer's. ``aligned_at``:
    as if the first one's byte there lay at the beginning of a page. Raises UndecidedError if there are too many ways.
    """
    way = geometry.line * geometry.sets
    choices = []
    for number, arena in enumerate(arenas):
        known = arena.alignment if arena.kind in PLACED or arena.computed else PAGE
        extent = way if number else geometry.line
        if aligned_at is not None and not number:
            first = -aligned_at % extent
            choices.append(range(first, first + 1))
        else:
            choices.append(range(0, extent, gcd(known, extent)))
    if (count := prod(len(choice) for choice in choices)) > MAX_BUFFER_PLACEMENTS:
        raise UndecidedError("buffers-everywhere", f"{len(arenas)} buffers can lie in {count} ways among the sets")
    return (dict(zip(arenas, choice, strict=True)) for choice in product(*choices))


def in_any_set(per_set: Iterable[Sequence[Stretch]], geometry: Geometry) -> list[Placement]:
    """What of an arena may fall into one set: what is done in any of these sets, which may be nothing."""
    groups = sorted(per_set, key=lambda stretches: (stretches[0].begin, stretches[0].turn[0].place))
    found: dict[object, Placement] = {}
    if len(groups) < geometry.sets:
        found[_shape(())] = Placement()
    for stretches in groups:
        found.setdefault(_shape(stretches), Placement(tuple(stretches)))
    return list(found.values())


def own_placements(arena: Arena, touches: Touches, geometry: Geometry, lines: OwnLines) -> list[Placement]:
    """The same for an own arena, for all its places within a line."""
    size = geometry.line
    spots = sorted(touches.spots(arena))
    begin, end = spots[0][0], max(offset + max(length, 1) for offset, length in spots)
    # Nothing else lies on the stack.
    shares = arena.kind is not ArenaKind.STACK
    found: dict[object, Placement] = {}
    # The placements with the first and with the last line, where the same accesses share lines.
    known: dict[object, tuple[Placement | None, Placement | None]] = {}
    for phase in range(0, size, gcd(arena.alignment, size)):
        alike = phase if touches.moves(arena) else _shares_of_lines(spots, phase, size)
        if alike not in known:
            per_set = touches.by_set(arena, phase)
            numbers = dict.fromkeys(line for stretches in per_set.values() for line in lines_in_order(stretches))
            ids = {number: lines.add(Line(arena, number * size - phase)) for number in numbers}
            low, high = (ids[(begin + phase) // size], ids[(end + phase - 1) // size]) if shares else (None, None)
            if len(per_set) < geometry.sets:
                found.setdefault(_shape(()), Placement())
            known[alike] = _added(found, [renamed(one, ids) for one in per_set.values()], low, high)
        with_low, with_high = known[alike]
        if with_low is not None:
            with_low.begins.add((begin + phase) % size)
        if with_high is not None:
            with_high.ends.add((end + phase - 1) % size + 1)
    return list(found.values())


def _shares_of_lines(spots: Sequence[tuple[int, int]], phase: int, size: int) -> object:
    """What is the same for places within a line at which the same accesses touch the same line."""
    lines = [((offset + phase) // size, (offset + phase + max(length, 1) - 1) // size) for offset, length in spots]
    return tuple((first - lines[0][0], last - lines[0][0]) for first, last in lines)


def _added(
    found: dict[object, Placement], per_set: Iterable[tuple[Stretch, ...]], low: int | None, high: int | None
) -> tuple[Placement | None, Placement | None]:
    """Adds what is done in each set; the placements with the lines ``low`` and ``high``."""
    with_low = with_high = None
    for stretches in per_set:
        here = lines_in_order(stretches)
        new = Placement(stretches, low if low in here else None, high if high in here else None)
        placement = found.setdefault(_shape(stretches, low, high), new)
        with_low = placement if low in here else with_low
        with_high = placement if high in here else with_high
    return with_low, with_high


def _shape(stretches: Sequence[Stretch], *marked: int | None) -> object:
    """What is the same for placements that give the same words; ``marked`` are lines that are told apart."""
    names = {line: number for number, line in enumerate(lines_in_order(stretches))}
    # What is marked and not here is none of the lines.
    return renamed(stretches, names), tuple(names.get(line) for line in marked if line is not None)


def shared_lines(choice: Sequence[Placement]) -> Iterator[dict[int, int]]:
    """The ways in which own arenas in the same set may share lines: the first is that they do not."""
    pairs = [
        (one.high, other.low)
        for one, other in chain(combinations(choice, 2), combinations(choice[::-1], 2))
        if one.may_precede(other) and one.high is not None and other.low is not None
    ]
    if 1 << len(pairs) > MAX_SHARED:
        raise UndecidedError("own-lines-everywhere", f"{len(choice)} pieces of memory may share lines")
    for count in range(len(pairs) + 1):
        for chosen in combinations(pairs, count):
            same: dict[int, int] = {}
            for one, other in chosen:
                kept, gone = same.get(one, one), same.get(other, other)
                same = {line: kept if to == gone else to for line, to in same.items()} | {gone: kept}
            yield same
