# SPDX-License-Identifier: GPL-2.0-or-later
"""A walk over a buffer: the same word in every set, as a few loops over stretches of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from l1dflush.cache.geometry import Geometry


@dataclass(frozen=True, slots=True)
class Stretch:
    """One loop: a load from every line from byte ``begin`` up to ``end`` of the buffer, upwards."""

    begin: int
    end: int


@dataclass(frozen=True, slots=True)
class Walk:
    """The loops of a flush, one after the other. ``step`` is the cache's line, ``buffer_bytes`` the buffer's size.

    Every stretch is made of whole ways (one line of each set, ``way_bytes``), so that each set sees the same word.
    """

    stretches: tuple[Stretch, ...]
    step: int
    way_bytes: int

    @property
    def buffer_bytes(self) -> int:
        """What has to be allocated."""
        return max(stretch.end for stretch in self.stretches)

    @property
    def loads(self) -> int:
        """How many loads there are, over all sets."""
        return sum(stretch.end - stretch.begin for stretch in self.stretches) // self.step


def walk_of(word: Sequence[int], geometry: Geometry) -> Walk:
    """The walk that makes the accesses of ``word`` (line numbers, 0 being the buffer's first way) in every set.

    Lines in ascending order are one loop. Raises ValueError for a word without accesses.
    """
    if not word:
        raise ValueError("a walk has a line")
    way = geometry.sets * geometry.line
    stretches: list[Stretch] = []
    for line in word:
        begin = line * way
        if stretches and stretches[-1].end == begin:
            stretches[-1] = Stretch(stretches[-1].begin, begin + way)
        else:
            stretches.append(Stretch(begin, begin + way))
    return Walk(tuple(stretches), geometry.line, way)
