# SPDX-License-Identifier: GPL-2.0-or-later
"""The tables in which a kernel's or a module's code says where it is to be patched.

Linux puts them into sections of well-known names and finds its way in them by sections, not by symbols; so does
this module. It reads them after relocation, so that it is all the same whether the file was linked already. The
forms changed over time, and no record says which it is in; but every record names an instruction, so the form is
the one in which all of them do.

Sources: ``arch/x86/include/asm/{jump_label,alternative,bug}.h``, ``include/linux/jump_label.h``,
``include/asm-generic/bug.h``, from 4.14 to 7.x.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

from l1dflush.routine.model import JumpSite, PatchSites, Section, Symbol

JUMPS, ALTERNATIVES, BUGS = "__jump_table", ".altinstructions", "__bug_table"
RETURNS, TRACING = ".return_sites", "__mcount_loc"
TABLES = frozenset({JUMPS, ALTERNATIVES, BUGS, RETURNS, TRACING})
# Where a kernel's linker script puts a table into another section it has these names around it
# (``include/asm-generic/vmlinux.lds.h``, ``arch/x86/kernel/vmlinux.lds.S``).
_AROUND = {
    JUMPS: ("__start___jump_table", "__stop___jump_table"),
    ALTERNATIVES: ("__alt_instructions", "__alt_instructions_end"),
    BUGS: ("__start___bug_table", "__stop___bug_table"),
    RETURNS: ("__return_sites", "__return_sites_end"),
    TRACING: ("__start_mcount_loc", "__stop_mcount_loc"),
}

# In the key of a jump-label record: the site's sense, and a mark for the tool that rewrites jumps into nops.
_INVERTED, _KEY_BITS = 1, 3
# How nops of two and of five bytes begin, in 64-bit and 32-bit kernels.
_NOPS = (b"\x66\x90", b"\x0f\x1f", b"\x66\x66", b"\x3e\x8d", b"\x8d\x74", b"\x90\x90", b"\x66\x0f")
_ENDBR = b"\xf3\x0f\x1e\xfa"
# ud2 and ud1, which may have a prefix.
_TRAPS = (b"\x0f\x0b", b"\x0f\xb9", b"\x67")
# A trap that reports a warning: bit 0 of a bug record's flags.
_WARNING = 1


def patch_sites(sections: Sequence[Section], symbols: Mapping[str, Symbol], bits: Literal[32, 64]) -> PatchSites:
    """The patch sites of the image that ``sections`` and ``symbols`` make up.

    A record that names no code is left out, and a tracing site where no function begins; of jump labels, which
    decide about paths, the first record that makes no sense is told as ``damage``.
    """
    if not any(section.name in TABLES for section in sections):
        return PatchSites()
    code = _Code(sections)
    tables = {name: [_Table(s, bits) for s in sections if s.name == name and s.data] for name in TABLES}
    jumps: dict[int, JumpSite] = {}
    damage = ""
    name = _names(symbols, sections)
    for table in tables[JUMPS]:
        for number, (site, jump) in enumerate(_jumps(table, code, name)):
            if not _may_be_patched(code, site, jump.target, table) or jumps.get(site, jump) != jump:
                damage = damage or f"record {number} of {JUMPS} names no jump to where it says, and no nop"
            jumps[site] = jump
    if any(table.size % table.word for table in tables[JUMPS]):
        damage = damage or f"{JUMPS} ends in the middle of a record"
    functions = {s.address for s in symbols.values() if s.function}
    alternatives, replaced = _alternatives(tables[ALTERNATIVES], code)
    return PatchSites(
        jumps=jumps,
        alternatives=alternatives,
        replaced=replaced,
        returns=frozenset(at for table in tables[RETURNS] for at in _places(table, code, table.near)),
        tracing=frozenset(
            at for table in tables[TRACING] for at in _tracing(table, code) if functions & {at, at - len(_ENDBR)}
        ),
        traps=dict(trap for table in tables[BUGS] for trap in _traps(table, code)),
        damage=damage,
    )


def linked_tables(
    named: Iterable[tuple[str, int, int]], loaded: Sequence[Section], symbols: Mapping[str, Symbol]
) -> list[Section]:
    """The tables of a linked file, of which only segments are ``loaded``: ``named`` are its sections' names, addresses
    and sizes. A table that has no section lies between two symbols."""
    places = {(name, address, size) for name, address, size in named if name in TABLES and size}
    for name, (first, last) in _AROUND.items():
        if first in symbols and last in symbols and symbols[first].address < symbols[last].address:
            places.add((name, symbols[first].address, symbols[last].address - symbols[first].address))
    found = []
    for name, address, size in sorted(places):
        home = next((s for s in loaded if s.address <= address and address + size <= s.address + len(s.data)), None)
        if home is not None:
            data = home.data[address - home.address :][:size]
            found.append(Section(name, address, data, size, 1, home.writable, False))
    return found


def _may_be_patched(code: _Code, site: int, target: int, table: _Table) -> bool:
    """Whether there is what a kernel would patch at a jump label's place: a jump to its target, or a nop."""
    near, far = code.at(site, 2) or b"", code.at(site, 5) or b""
    if near.startswith(b"\xeb"):
        return site + 2 + int.from_bytes(near[1:], "little", signed=True) == target
    if far.startswith(b"\xe9"):
        return table.address(site + 5 + int.from_bytes(far[1:], "little", signed=True)) == target
    return near.startswith(_NOPS) and code.at(target) is not None


class _Code:
    """The executable sections, and which addresses lie in them."""

    def __init__(self, sections: Iterable[Section]) -> None:
        self._sections = sorted((s for s in sections if s.executable), key=lambda s: s.address)
        self._starts = [section.address for section in self._sections]

    def at(self, address: int, size: int = 1) -> bytes | None:
        """The ``size`` bytes of code at ``address``; None when it is not code."""
        index = bisect_right(self._starts, address) - 1
        if index < 0:
            return None
        section = self._sections[index]
        start = address - section.address
        found = section.data[start : start + size]
        return found if len(found) == size else None


@dataclass(frozen=True, slots=True)
class _Table:
    """One such section: ``near`` and ``far`` read what a field refers to, by its offset."""

    section: Section
    bits: Literal[32, 64]

    @property
    def size(self) -> int:
        return len(self.section.data)

    @property
    def word(self) -> int:
        """Bytes of a pointer."""
        return self.bits // 8

    def number(self, offset: int, size: int, *, signed: bool = False) -> int:
        return int.from_bytes(self.section.data[offset : offset + size], "little", signed=signed)

    def near(self, offset: int) -> int:
        """Where a 32-bit field points to that is relative to its own place."""
        return self.address(self.section.address + offset + self.number(offset, 4, signed=True))

    def near_word(self, offset: int) -> int:
        """The same for a field of a pointer's size."""
        return self.address(self.section.address + offset + self.number(offset, self.word, signed=True))

    def far(self, offset: int) -> int:
        """Where a pointer points to."""
        return self.number(offset, self.word)

    def address(self, value: int) -> int:
        """``value`` in the width of an address."""
        return value & ((1 << self.bits) - 1)


def _rows(table: _Table, stride: int) -> range:
    """Offsets of the records; none unless they fill the table."""
    return range(0, table.size, stride) if table.size % stride == 0 else range(0)


Reader = Callable[[int], int]
Form = TypeVar("Form")


def _jumps(table: _Table, code: _Code, name: Callable[[int], str]) -> Iterator[tuple[int, JumpSite]]:
    """Relative since 4.19 (site and target 32 bits, key a pointer's size), absolute before."""
    word = table.word
    relative: tuple[int, Reader, Reader, int] = (8 + word, table.near, table.near_word, 4)
    absolute: tuple[int, Reader, Reader, int] = (3 * word, table.far, table.far, word)
    forms = (relative, absolute)
    stride, place, pointer, width = _best(
        forms, lambda form: (code.at(form[1](at)) is not None for at in _rows(table, form[0]))
    )
    for at in _rows(table, stride):
        site, target, key = place(at), place(at + width), pointer(at + 2 * width)
        yield site, JumpSite(target, name(key & ~_KEY_BITS), key & ~_KEY_BITS, bool(key & _INVERTED))


def _best(forms: Sequence[Form], fits: Callable[[Form], Iterable[bool]]) -> Form:
    """The form that fits the largest part of the records; the first of equals."""

    def share(form: Form) -> float:
        found = list(fits(form))
        return sum(found) / len(found) if found else 0.0

    return max(forms, key=share)


def _alternatives(tables: Sequence[_Table], code: _Code) -> tuple[dict[int, tuple[int, ...]], dict[int, int]]:
    """A record: the instruction, its replacement, feature (16 bits, or since 6.3 32 with flags above), both
    lengths, and until 5.12 how much of the instruction is padding. The features of each, and its length."""
    sites: dict[int, tuple[int, ...]] = {}
    lengths: dict[int, int] = {}
    for table in tables:

        def fits(stride: int, table: _Table = table) -> Iterator[bool]:
            # The replacement may be empty, and then lie at its section's end; its length says so.
            for at in _rows(table, stride):
                yield code.at(table.near(at)) is not None
                if table.number(at + _length_at(stride) + 1, 1):
                    yield code.at(table.near(at + 4)) is not None

        stride = _best((12, 13, 14), fits)
        for at in _rows(table, stride):
            site, feature = table.near(at), table.number(at + 8, 2)
            if code.at(site) is not None:
                sites[site] = (*sites.get(site, ()), feature)
                lengths[site] = max(lengths.get(site, 0), table.number(at + _length_at(stride), 1))
    return sites, lengths


def _length_at(stride: int) -> int:
    """Where in a record of alternatives the instruction's length is."""
    return 12 if stride == 14 else 10


def _places(table: _Table, code: _Code, read: Reader, stride: int = 4) -> Iterator[int]:
    return (place for at in _rows(table, stride) if code.at(place := read(at)) is not None)


def _tracing(table: _Table, code: _Code) -> Iterator[int]:
    return _places(table, code, table.far, table.word)


def _traps(table: _Table, code: _Code) -> Iterator[tuple[int, bool]]:
    """Records of 8 bytes (place, flags), 12 (place, file, line, flags; or on i386 before 5.x absolute), or since
    6.19 16 (with a format): each begins with the address of an undefined instruction. Yields it, and whether the
    kernel goes on behind it."""
    forms = [(stride, read) for stride in (8, 12, 16) for read in (table.near, lambda at: table.number(at, 4))]
    # Of several that fit the shortest: reading every second record would miss the others.
    stride, read = _best(
        forms, lambda form: ((code.at(form[1](at), 2) or b"").startswith(_TRAPS) for at in _rows(table, form[0]))
    )
    for at in _rows(table, stride):
        # Without the line number the flags come earlier, and padding follows.
        flags = table.number(at + 4, 2) if stride == 8 else table.number(at + stride - 2, 2)
        if code.at(place := read(at)) is not None:
            yield place, bool(flags & _WARNING)


def _names(symbols: Mapping[str, Symbol], sections: Sequence[Section]) -> Callable[[int], str]:
    """Gives an address in data its symbol's name, or what there is instead."""
    exact: dict[int, str] = {}
    for symbol in symbols.values():
        if not symbol.function:
            exact.setdefault(symbol.address, symbol.name)
    starts = sorted(exact)

    def name(address: int) -> str:
        if address in exact:
            return exact[address]
        section = next((s for s in sections if s.address <= address < s.address + s.size), None)
        index = bisect_right(starts, address) - 1
        if index >= 0 and (section is None or starts[index] >= section.address):
            distance = address - starts[index]
            # A key inside a structure, or of an array.
            if section is not None or distance < 4096:
                return f"{exact[starts[index]]}+{distance:#x}"
        return f"{section.name}+{address - section.address:#x}" if section is not None else f"{address:#x}"

    return name
