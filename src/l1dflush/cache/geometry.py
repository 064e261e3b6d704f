# SPDX-License-Identifier: GPL-2.0-or-later
"""Size, ways, sets and line size of a cache, and which set an address falls in."""

from __future__ import annotations

from dataclasses import dataclass

from l1dflush.arguments import parse_size
from l1dflush.errors import InputError


@dataclass(frozen=True, slots=True, order=True)
class Geometry:
    """``size`` and ``line`` in bytes. The set index is ``(address / line) mod sets``."""

    size: int
    ways: int
    line: int

    def __post_init__(self) -> None:
        if not 1 <= self.ways <= 16:
            raise InputError(f"a cache of {self.ways} ways", hint="1 to 16 ways are supported")
        if self.line < 4 or self.line & (self.line - 1):
            raise InputError(f"a line of {self.line} bytes", hint="a power of two from 4 bytes on")
        if self.size < 1 or self.size % (self.ways * self.line):
            raise InputError(
                f"{self.size} bytes is not a whole number of sets of {self.ways} ways of {self.line} bytes",
                hint="size = sets x ways x line",
            )
        if self.sets & (self.sets - 1):
            raise InputError(f"{self.sets} sets", hint="size / (ways x line) must be a power of two")

    @property
    def sets(self) -> int:
        """Number of sets."""
        return self.size // (self.ways * self.line)

    @classmethod
    def parse(cls, text: str) -> Geometry:
        """From ``32K,8,64``: size, ways, line. Raises InputError."""
        parts = text.split(",")
        if len(parts) != 3:
            raise InputError(f"'{text}' is not a geometry", hint="write size,ways,line like 32K,8,64")
        size, ways, line = (parse_size(part) for part in parts)
        return cls(size, ways, line)

    def __str__(self) -> str:
        size = f"{self.size // 1024} KiB" if self.size % 1024 == 0 else f"{self.size} B"
        return f"{size}, {self.ways} x {self.sets} x {self.line} B"
