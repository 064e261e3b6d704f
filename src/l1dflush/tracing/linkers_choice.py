# SPDX-License-Identifier: GPL-2.0-or-later
"""What a linker chooses, and what it has to see to: names that it defines itself, what must fit into 32 bits, and which
pieces cannot be in one place."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from enum import Flag
from typing import NamedTuple

from l1dflush import _core
from l1dflush.routine.elf.relocations import Relocated
from l1dflush.routine.model import Image, Section

NEAR = 1 << 24
"""So far from a symbol the code model keeps what is addressed by it (psABI, small code model)."""

# What GNU ld, gold and lld define themselves (their default scripts, ``ld --verbose``), and Linux's script for what it
# links (``vmlinux.lds.S``, ``asm-generic/sections.h``).
_LINKERS = re.compile(
    r"__(start|stop)_\w+|\.(startof|sizeof)\..+|_{0,2}(bss_start|bss_stop|data_start|executable_start|ehdr_start|end)"
    r"|_{0,2}(edata|etext|sdata|stext)|_(text|data)|__(preinit|init|fini)_array_(start|end)|__rela?_iplt_(start|end)"
    r"|_GLOBAL_OFFSET_TABLE_|_PROCEDURE_LINKAGE_TABLE_|_DYNAMIC|__GNU_EH_FRAME_HDR|__end_\w+|__(init|nosave)_(begin|end)"
    r"|_[se]inittext|__per_cpu_(start|end|load)"
)
# x86-64's kernels link it to 0: what is added to it is the CPU's area.
_PER_CPU = ".data..percpu"


def is_linkers(name: str) -> bool:
    """Whether an outside symbol of that name is the linker's: somewhere in what it links, or at a border."""
    return _LINKERS.fullmatch(name) is not None


class Narrow(Flag):
    """How relocations say that a place fits into 32 bits: zero-extended, or sign-extended."""

    NONE = 0
    UNSIGNED = 1
    SIGNED = 2


_NARROW = {"R_X86_64_32": Narrow.UNSIGNED, "R_X86_64_32S": Narrow.SIGNED}


class NarrowPlaces:
    """What fits into 32 bits, since a linker would have refused another place.

    Only what surely is linked together with the code at ``roots`` says so: its sections, and those that these refer
    to. Others a linker may drop, or it takes another file's definition. ``meant`` is the section that a relocation
    names, by its symbol's address and its addend.
    """

    def __init__(
        self, image: Image, roots: Iterable[int], meant: Callable[[Relocated, int, int], Section | None]
    ) -> None:
        self._found: dict[str | int, Narrow] = {}
        tables: dict[int, list[tuple[list[tuple[int, ...]], dict[int, Relocated | None]]]] = {}
        for base, rows, meanings in image.relocations.everything():
            tables.setdefault(base, []).append((rows, meanings))
        todo = [section.address for root in roots if (section := image.section_at(root)) is not None]
        seen: set[int] = set()
        while not image.linked and todo:
            at = todo.pop()
            if at in seen:
                continue
            seen.add(at)
            for rows, meanings in tables.get(at, ()):
                self._read(rows, meanings, meant)
                for of in meanings.values():
                    if of is not None and of.target is not None and not of.absolute and not of.replaceable:
                        section = image.section_at(of.target)
                        todo += [section.address] if section is not None else []

    def _read(
        self,
        rows: Iterable[tuple[int, ...]],
        meanings: dict[int, Relocated | None],
        meant: Callable[[Relocated, int, int], Section | None],
    ) -> None:
        narrow = {number: of for number, of in meanings.items() if of is not None and of.type in _NARROW}
        for row in rows if narrow else ():
            of = narrow.get(row[1])
            if of is None or len(row) < 3 or abs(row[2]) >= NEAR:
                continue
            section = None if of.target is None else meant(of, of.target, row[2])
            before = row[2] if section is None or of.target is None else of.target + row[2] - section.address
            # What lies before it may fit where it does not.
            if before >= 0:
                key = of.symbol if section is None else section.address
                self._found[key] = self._found.get(key, Narrow.NONE) | _NARROW[of.type]

    def of(self, what: str | int) -> Narrow:
        """What is known of an outside symbol, by its name, or of a section, by its address."""
        return self._found.get(what, Narrow.NONE)


class Piece(NamedTuple):
    """Something that a linker puts somewhere: where it begins, its size in bytes (0: it may lie within another one),
    whether another one with the same content may be in the same place, and whether it may lie in the first page."""

    begins: _core.Value
    size: int
    may_be_shared: bool
    may_be_first: bool

    @classmethod
    def of(cls, begins: _core.Value, section: Section | None) -> Piece:
        """What is known of a section's place; without one, of something else's."""
        if section is None:
            return cls(begins, 0, may_be_shared=True, may_be_first=False)
        # Of what is not written a linker may take one copy for several.
        return cls(begins, section.size, section.constant, section.name.startswith(_PER_CPU))

    def is_apart(self, other: Piece) -> bool:
        """Whether the two cannot have a byte in common."""
        return self.size > 0 and other.size > 0 and not (self.may_be_shared and other.may_be_shared)


def fits_signed(terms: _core.Terms, value: _core.Value) -> _core.Value:
    """The condition that a value is a sign-extended one of 32 bits."""
    return terms.combine("equal", terms.widen(terms.slice(value, 0, 32), value.bits, signed=True), value)


def variables(image: Image) -> list[int]:
    """The addresses at which variables begin, sorted; not those of names inside of one."""
    found = sorted(
        {(one.address, -(one.size or 0) if one.size_told else 0)
         for one in image.symbols.values() if one.defined and not one.function}
    )  # fmt: skip
    begin: list[int] = []
    behind = 0
    for address, size in found:
        if address >= behind:
            begin.append(address)
        behind = max(behind, address - size)
    return sorted(set(begin))
