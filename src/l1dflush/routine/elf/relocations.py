# SPDX-License-Identifier: GPL-2.0-or-later
"""The relocations of an image as the file has them: what its bytes alone do not say."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple


class Relocated(NamedTuple):
    """What all relocations of one type against one symbol have in common.

    ``type`` is the psABI's name; ``size`` that of the place in bytes, 0 if it is not known. ``relative`` tells whether
    the place's own address is subtracted. ``symbol`` is the symbol's name or, with ``section``, the name of the section
    that it stands for. ``target`` is the symbol's address in the image, ``None`` if it has none there; it is a number
    that stays as it is if the symbol is ``absolute``. ``absent`` tells that it may be any number: there may be no such
    symbol (a weak one that is not defined here). ``exported`` is the alignment in bytes that the definition has in this
    file, if a loader may take another one for it; else 0. ``replaceable`` is why a linker may take another file's
    definition instead, and empty if it may not.
    """

    type: str
    size: int
    relative: bool
    symbol: str
    section: bool
    target: int | None
    absolute: bool = False
    absent: bool = False
    exported: int = 0
    replaceable: str = ""


class Relocation(NamedTuple):
    """One relocation: the address of its place in the image, and the addend (``None`` if it cannot be told)."""

    address: int
    addend: int | None
    of: Relocated


class RelocationTable(NamedTuple):
    """The relocations of one section, which lies at ``base``: rows of offset, a number that ``meaning`` knows, and the
    addend unless it is in the place; ``shipped`` is the section's content before anything was changed."""

    base: int
    shipped: bytes
    rows: Sequence[tuple[int, ...]]
    meaning: Callable[[int], Relocated | None]


class Relocations:
    """All relocations of an image, looked up by address. A large file has very many, and few are ever asked for."""

    def __init__(self, tables: Sequence[RelocationTable] = ()) -> None:
        self._tables = tables
        self._sorted: dict[int, list[tuple[int, ...]]] = {}

    def within(self, start: int, end: int) -> list[Relocation]:
        """The relocations whose places begin from ``start`` up to ``end``, by address."""
        found: list[Relocation] = []
        for table, rows in self._rows(start, end):
            for row in rows:
                of = table.meaning(row[1])
                if of is not None:
                    found.append(Relocation(table.base + row[0], _addend(row, of, table.shipped), of))
        return sorted(found, key=lambda relocation: relocation.address)

    def count(self, start: int, end: int) -> int:
        """How many rows :meth:`within` looks at."""
        return sum(len(rows) for _, rows in self._rows(start, end))

    def everything(self) -> Iterator[tuple[int, list[tuple[int, ...]], dict[int, Relocated | None]]]:
        """Each table as it is: its section's address, its rows, and what the numbers in them mean."""
        for table in self._tables:
            numbers = sorted({row[1] for row in table.rows})
            yield table.base, list(table.rows), {number: table.meaning(number) for number in numbers}

    def _rows(self, start: int, end: int) -> Iterator[tuple[RelocationTable, Sequence[tuple[int, ...]]]]:
        for number, table in enumerate(self._tables):
            if table.base <= start < table.base + max(len(table.shipped), 1):
                if number not in self._sorted:
                    self._sorted[number] = sorted(table.rows)
                rows = self._sorted[number]
                first, behind = (bisect_left(rows, (at - table.base,)) for at in (start, end))
                yield table, rows[first:behind]


def _addend(row: tuple[int, ...], of: Relocated, shipped: bytes) -> int | None:
    if len(row) > 2:
        return row[2]
    place = shipped[row[0] : row[0] + of.size]
    return int.from_bytes(place, "little", signed=True) if of.size and len(place) == of.size else None
