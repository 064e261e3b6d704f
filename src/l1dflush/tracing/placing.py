# SPDX-License-Identifier: GPL-2.0-or-later
"""Paths that no placement takes.

A path may compare addresses of pieces whose places only the linker knows. Whatever it chooses, pieces do not overlap,
and what it had to make fit does fit: a path that needs anything else is none. That nothing lies in the first page,
where programs and kernels have no memory so that a null pointer leads nowhere, is not a linker's rule: a path that
needs something there is dropped too, but this is granted, and said so.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import combinations

from l1dflush import _core
from l1dflush.assumption import Assumes, Assumption
from l1dflush.tracing.bases import Bases
from l1dflush.tracing.linkers_choice import Piece
from l1dflush.tracing.possible import Decided, Possibility
from l1dflush.tracing.wrapping import PAGE, RunPath

# Of so many pieces in one path's decisions the places are looked at.
_MOST_PIECES = 32


class Placing:
    """Looks at the paths of one run on ``machine``; ``granted`` is what was taken for granted."""

    def __init__(self, machine: _core.Machine, bases: Bases, asked: Possibility) -> None:
        self.granted: list[Assumption] = []
        self._machine = machine
        self._bases = bases
        self._asked = asked
        # Of conditions, by their terms: the pieces in them, and all unknown values.
        self._in: dict[int, frozenset[int]] = {}
        self._fits = [(fit, asked.symbols_in(fit)) for fit in bases.fits if fit.term]

    def possible(self, paths: Sequence[RunPath]) -> list[RunPath]:
        """``paths`` without those that need what no linker does. Where it was not found out the path is not settled."""
        conditions = {condition.term: condition for path in paths for _, _, condition, *_ in path[0]}
        placed = self._bases.placed
        self._in = {
            term: symbols
            for term, condition in conditions.items()
            if not placed.keys().isdisjoint(symbols := self._asked.symbols_in(condition))
        }
        return [one for path in paths if (one := self._settled(path)) is not None] if self._in else list(paths)

    def _settled(self, path: RunPath) -> RunPath | None:
        """The path; None if nothing takes it."""
        symbols = frozenset[int]().union(*(self._in.get(condition.term, ()) for _, _, condition, *_ in path[0]))
        pieces = [self._bases.placed[term] for term in sorted(symbols) if term in self._bases.placed][:_MOST_PIECES]
        if not pieces:
            return path
        decided = [(condition, holds) for _, _, condition, holds, *_ in path[0]]
        linked = [*self._apart(pieces), *((fit, True) for fit, of in self._fits if of <= symbols)]
        answer = self._asked([*decided, *linked]) if linked else True
        if answer is False:
            return None
        elsewhere = list(self._not_first(pieces))
        if elsewhere and self._asked([*decided, *linked, *elsewhere]) is False:
            self.granted = [Assumption(Assumes.NOT_IN_FIRST_PAGE)]
            return None
        return path if answer else (*path[:-1], False)

    def _apart(self, pieces: Iterable[Piece]) -> Iterator[Decided]:
        """That no two overlap: each begins behind the other one's end, around the end of the address space."""
        terms = self._machine.terms
        for one, other in combinations(pieces, 2):
            if one.is_apart(other):
                for first, second in ((one, other), (other, one)):
                    distance = terms.combine("subtract", second.begins, first.begins)
                    yield terms.combine("below", distance, terms.number(distance.bits, first.size)), False

    def _not_first(self, pieces: Iterable[Piece]) -> Iterator[Decided]:
        """That none of those that may not lie in the first page does."""
        terms = self._machine.terms
        for one in pieces:
            if not one.may_be_first:
                yield terms.combine("below", one.begins, terms.number(one.begins.bits, PAGE)), False
