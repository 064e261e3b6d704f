# SPDX-License-Identifier: GPL-2.0-or-later
"""Where something is in a source or in code: a fact, and the one way to write it down.

A module of its own, because errors name places as well and must not wait for what documents are made of.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

STRICT = {"extra": "forbid"}
"""How facts are taken into results: as they are."""


@dataclass(frozen=True, slots=True)
class Place:
    """A line of a file, or a place in code that has no lines.

    ``line`` counts from 1; without it the place is the whole file. Without a ``file`` it is ``offset`` bytes behind the
    beginning of ``function`` (a function, or a section where nothing else has a name), or, without that too, the
    address ``offset``.

    >>> str(Place("flush.c", 12)), str(Place(function="flush", offset=28)), str(Place(offset=0x400012))
    ('flush.c:12', 'flush+0x1c', '0x400012')
    """

    __pydantic_config__: ClassVar = STRICT

    file: str | None = None
    """name of the file as the input or the debug information has it"""
    line: int | None = None
    """counted from 1; null for the whole file"""
    function: str | None = None
    """where there is no line: the function, or the section where nothing else has a name"""
    offset: int | None = None
    """in bytes from the beginning of the function; without one an address"""

    @property
    def is_address(self) -> bool:
        """Whether it is nothing but an address, which may have a name."""
        return self.file is None and self.function is None

    def __str__(self) -> str:
        if self.file is not None:
            return self.file if self.line is None else f"{self.file}:{self.line}"
        if self.function is None:
            return f"{self.offset or 0:#x}"
        return f"{self.function}+{self.offset:#x}" if self.offset else self.function
