# SPDX-License-Identifier: GPL-2.0-or-later
"""What a place in an image's code is called: the same in every part of a report."""

from __future__ import annotations

from bisect import bisect_right
from math import inf

from l1dflush.place import Place
from l1dflush.routine.model import Image


class CodeNames:
    """Names the places in one image's code."""

    def __init__(self, image: Image) -> None:
        self._image = image
        self._functions: list[tuple[int, int, str]] | None = None

    def where(self, pc: int) -> Place:
        """The line of an instruction if known, else how far it is behind the beginning of a
        function, or its address where nothing has a name."""
        line = self._image.lines.get(pc)
        if line is not None:
            return line
        if self._functions is None:
            found = (s for s in self._image.symbols.values() if s.function)
            self._functions = sorted((s.address, s.address + (s.size or 0), s.name) for s in found)
        index = bisect_right(self._functions, (pc, inf, "")) - 1
        if index >= 0 and (self._functions[index][0] == pc or pc < self._functions[index][1]):
            start, _, name = self._functions[index]
            return Place(function=name, offset=pc - start)
        section = self._image.section_at(pc)
        # The image of a built-in routine is nothing but its code.
        if section is None or not self._functions:
            return Place(offset=pc)
        return Place(function=section.name, offset=pc - section.address)
