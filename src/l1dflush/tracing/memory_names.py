# SPDX-License-Identifier: GPL-2.0-or-later
"""What is in memory at entry, by the names that reports have for it: ``[s+0x8]``, ``gs:0x28``, ``area+0x10``.

Reports name what a run loads so (:mod:`l1dflush.tracing.names`), and ``--bind`` says by the same name what it is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

_SIZE = re.compile(r"(.*[\w\]]):([1248])")
_NUMBER = re.compile(r"0[xX][0-9a-fA-F]+|[1-9]\d*|0")
_BEHIND = re.compile(rf"(.+?)\s*([+-])\s*({_NUMBER.pattern})")
_PLAIN = re.compile(r"[A-Za-z_.$][\w.$]*")
_IN_SEGMENT = re.compile(r"([fg]s):(.+)")
# As deep as reports name memory.
_DEEPEST = 4


class InMemory(NamedTuple):
    """``size`` bytes (0: as many as a pointer has), ``distance`` behind where something leads or is.

    With ``through`` that is where it leads: a register, parameter or variable, or something in memory itself. Without,
    it is the variable of the name ``of``, or, where that is empty, the beginning of the segment.
    """

    through: str | InMemory | None
    of: str
    distance: int
    segment: str
    size: int

    def __str__(self) -> str:
        """The name that reports have for it."""
        end, before = "", f"{self.segment}:" if self.segment else ""
        if self.through is not None:
            before, end = f"[{self.through}", "]"
        elif self.segment and not self.of:
            return f"{before}{self.distance:#x}"
        return f"{before}{self.of}{self.distance:+#x}{end}" if self.distance else f"{before}{self.of}{end}"

    @property
    def root(self) -> str:
        """The name that it begins with; empty for a segment's beginning."""
        if self.through is None:
            return self.of
        return self.through if isinstance(self.through, str) else self.through.root

    @property
    def pointers(self) -> Iterator[str | InMemory]:
        """What it is reached through, the last one first."""
        if self.through is not None:
            yield self.through
        if isinstance(self.through, InMemory):
            yield from self.through.pointers

    def begun_at(self, register: str) -> InMemory:
        """The same, reached through that register."""
        inner = self.through.begun_at(register) if isinstance(self.through, InMemory) else register
        return self._replace(through=inner)


def in_memory(name: str) -> InMemory | None:
    """What a name says is in memory; None for one that has another form, a plain name among them.

    >>> in_memory("[s+0x8]:4")
    InMemory(through='s', of='', distance=8, segment='', size=4)
    """
    return _read(name.strip(), _DEEPEST)


def _read(name: str, deepest: int) -> InMemory | None:
    size, segment = 0, ""
    sized = _SIZE.fullmatch(name)
    # gs:4 is a place, gs:0x28:4 has a size.
    if sized and (_IN_SEGMENT.fullmatch(sized[1]) or not _IN_SEGMENT.fullmatch(name)):
        name, size = sized[1], int(sized[2])
    if inside := _IN_SEGMENT.fullmatch(name):
        segment, name = inside.groups()
        if _NUMBER.fullmatch(name):
            return InMemory(None, "", int(name, 0), segment, size)
    if name.startswith("[") and name.endswith("]"):
        inner, distance = _parted(name[1:-1].strip())
        through = _read(inner, deepest - 1) if inner.startswith("[") and deepest else inner
        if segment or through is None or not _is_plain(through):
            return None
        if isinstance(through, InMemory) and through.size:
            return None
        return InMemory(through, "", distance, "", size)
    of, distance = _parted(name)
    if not _is_plain(of) or not (segment or distance or size):
        return None
    return InMemory(None, of, distance, segment, size)


def _is_plain(of: str | InMemory) -> bool:
    return isinstance(of, InMemory) or _PLAIN.fullmatch(of) is not None


def _parted(text: str) -> tuple[str, int]:
    """``text`` without the distance at its end, and the distance."""
    match = _BEHIND.fullmatch(text)
    if match is None:
        return text, 0
    return match[1], int(match[3], 0) * (-1 if match[2] == "-" else 1)
