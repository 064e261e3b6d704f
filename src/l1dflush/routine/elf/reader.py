# SPDX-License-Identifier: GPL-2.0-or-later
"""An x86 ELF file, read with pyelftools after a check that the file is as large as it says.

pyelftools trusts what it reads: a table may claim any number of rows, a name goes on to the next NUL however
far away, and making one section may read a whole other table. So what a table claims is checked before its
rows are read, everything is capped, and two things are done here, with the structures' sizes from pyelftools:
names are looked up, and rows of symbols and relocations are taken apart, which pyelftools does at some 25
microseconds a row (ten seconds for what is allowed).
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any, Literal, NamedTuple, NoReturn

from elftools.common.exceptions import ELFError
from elftools.common.utils import struct_parse
from elftools.elf.constants import SH_FLAGS, SHN_INDICES
from elftools.elf.elffile import ELFFile
from elftools.elf.enums import ENUM_ST_INFO_BIND, ENUM_ST_INFO_TYPE
from elftools.elf.sections import Section
from elftools.elf.segments import Segment

from l1dflush.cache.cpus import Isa
from l1dflush.errors import InputError
from l1dflush.routine.other_processors import what_else

# Far above any kernel module, far below what would take noticeable time or memory.
MAX_SECTIONS = 100_000
MAX_SYMBOLS = 120_000
MAX_RELOCATIONS = 300_000
MAX_SEGMENTS = 1_000
MAX_NAME = 4096
MAX_NAMES_TOTAL = 32 << 20

_SUPPORTED = "x86-64 and 32-bit x86 (i386) are supported"
_OTHERS: dict[object, Isa] = {
    "EM_ARM": "arm",
    "EM_AARCH64": "arm",
    "EM_PPC": "power",
    "EM_PPC64": "power",
    "EM_RISCV": "riscv",
}
_KINDS = {number: name for name, number in ENUM_ST_INFO_TYPE.items() if isinstance(number, int)}
_BINDINGS = {number: name for name, number in ENUM_ST_INFO_BIND.items() if isinstance(number, int)}


class ElfSymbol(NamedTuple):
    """A row of the symbol table. ``kind`` and ``binding`` are called as in pyelftools (``STT_FUNC``).

    ``section`` is an index, or one of ``SHN_UNDEF``, ``-SHN_ABS``, ``-SHN_COMMON`` (negative, because with
    very many sections the plain numbers are ordinary indexes).
    """

    name: str
    value: int
    size: int
    kind: str
    binding: str
    section: int
    visibility: int = 0  # st_other's lowest two bits: 0 is the default one, 3 protected


class ElfRelocation(NamedTuple):
    """One relocation; ``addend`` is ``None`` when it lies in the place itself (``REL``)."""

    offset: int
    type: int
    symbol: int
    addend: int | None


# A relocation as the file has it: offset, type and symbol in one number, and for RELA the addend.
Row = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ElfFile:
    """An ELF file whose tables have been checked; section contents are read on demand.

    ``symbol_table`` is the number of the section that ``symbols`` are from; ``dynamic`` are offset and size in the file
    of what a loader reads.
    """

    elf: ELFFile
    data: bytes
    where: str
    bits: Literal[32, 64]
    type: str
    sections: tuple[Section, ...]
    segments: tuple[Segment, ...]
    symbol_table: int | None
    symbols: tuple[ElfSymbol, ...]
    dynamic: tuple[int, int] | None = None

    def content(self, section: Section) -> bytes:
        """The bytes of ``section`` in the file; empty for one without any (``.bss``)."""
        return _content(self.data, section)

    def symbol_table_at(self, index: int) -> tuple[ElfSymbol, ...]:
        """The symbols of the table that is section ``index``; none when it is not a symbol table."""
        if index == self.symbol_table:
            return self.symbols
        if index >= len(self.sections) or self.sections[index]["sh_type"] not in _SYMBOL_TABLES:
            return ()
        return _symbols(self.elf, self.data, self.where, self.sections, index)

    def relocations(self, table: Section) -> Iterator[ElfRelocation]:
        """The relocations in a relocation section. Raises InputError when its row size is wrong."""
        self._check_rows(table)
        yield from self.relocations_in(table["sh_type"], self.content(table))

    def relocations_in(self, kind: str, content: bytes) -> Iterator[ElfRelocation]:
        """The relocations in a table of a ``kind`` like that of a section."""
        if kind == "SHT_RELR":
            for offset in self._packed(content):
                yield ElfRelocation(offset, RELATIVE, 0, None)
            return
        for offset, info, *addend in self._rows(kind, content):
            yield ElfRelocation(offset, *self.type_and_symbol(info), addend[0] if addend else None)

    def _packed(self, content: bytes) -> Iterator[int]:
        """The places of a table of packed relative relocations: a word is the address of one, or, if it is odd, a bit
        for each of the words behind the last that was told (generic ABI, "Relative relocation table")."""
        width, address = self.bits // 8, 0
        for (word,) in struct.iter_unpack("<Q" if self.bits == 64 else "<I", content[: len(content) // width * width]):
            if word & 1 == 0:
                yield word
                address = word + width
                continue
            for number in range(self.bits - 1):
                if word >> (number + 1) & 1:
                    yield address + number * width
            address += (self.bits - 1) * width

    def symbols_in(self, content: bytes, names: bytes, count: int) -> Iterator[ElfSymbol]:
        """The first ``count`` rows of a table of symbols, as far as there are so many. Their sections are numbers that
        nobody looks up."""
        lookup = _Names(names, self.where)
        for name, value, extent, info, other, index in islice(_symbol_rows(self.bits, content), count):
            section = -index if index >= SHN_INDICES.SHN_LORESERVE else index
            yield _symbol(lookup(name), value, extent, info, other, section)

    def type_and_symbol(self, info: int) -> tuple[int, int]:
        """The relocation type and the symbol's number in the second field of a :data:`Row`."""
        return (info & 0xFFFF_FFFF, info >> 32) if self.bits == 64 else (info & 0xFF, info >> 8)

    def relocation_rows(self, table: Section) -> Iterator[Row]:
        """The rows of a relocation section as they are: a module has tens of thousands, of far fewer different
        ``type_and_symbol``. Raises InputError when the row size is wrong."""
        self._check_rows(table)
        return self._rows(table["sh_type"], self.content(table))

    def _rows(self, kind: str, content: bytes) -> Iterator[Row]:
        form = _ROW_FORMS[self.bits][: 4 if kind == "SHT_RELA" else 3]
        size = struct.calcsize(form)
        return struct.iter_unpack(form, content[: len(content) // size * size])

    def _check_rows(self, table: Section) -> None:
        form = (
            "P"
            if table["sh_type"] == "SHT_RELR"
            else _ROW_FORMS[self.bits][: 4 if table["sh_type"] == "SHT_RELA" else 3]
        )
        size = self.bits // 8 if form == "P" else struct.calcsize(form)
        if table["sh_entsize"] not in (0, size):
            malformed(self.where, f"relocation section {table.name} has rows of {table['sh_entsize']} bytes")


# The type of relative relocations, on both machines.
RELATIVE = 8

_ROW_FORMS = {64: "<QQq", 32: "<IIi"}
_SYMBOL_TABLES = ("SHT_SYMTAB", "SHT_DYNSYM")


def malformed(where: str, what: str) -> NoReturn:
    """Raise the InputError that says how this ELF file is broken."""
    raise InputError(f"damaged ELF file: {what}", where=where, hint="the file may be truncated")


def read_elf(data: bytes, *, where: str) -> ElfFile:
    """The checked tables of the ELF file ``data``; ``where`` names it in messages.

    Raises InputError for another architecture, and for anything that does not hold together. What
    pyelftools itself finds wrong beyond that comes out as its own ELFError.
    """
    if not data.startswith(b"\x7fELF"):
        raise InputError("not an ELF file", where=where)
    try:
        elf = ELFFile(io.BytesIO(data))
    except ELFError:
        malformed(where, "the header is cut off, or of neither 32 nor 64 bit, or of no known byte order")
    _check_kind(elf, where)
    sections = _sections(elf, data, where)
    tables = (i for kind in _SYMBOL_TABLES for i, s in enumerate(sections) if s["sh_type"] == kind)
    table = next(tables, None)
    segments = () if elf["e_type"] == "ET_REL" else tuple(_segments(elf, data, where))
    dynamic = ((s["p_offset"], s["p_filesz"]) for s in segments if s["p_type"] == "PT_DYNAMIC")
    return ElfFile(
        elf=elf,
        data=data,
        where=where,
        bits=64 if elf.elfclass == 64 else 32,
        type=elf["e_type"],
        sections=sections,
        segments=tuple(segment for segment in segments if _is_loaded(segment)),
        symbol_table=table,
        symbols=() if table is None else _symbols(elf, data, where, sections, table),
        dynamic=next(dynamic, None),
    )


def _check_kind(elf: ELFFile, where: str) -> None:
    """Raises InputError unless this is code for an x86 that can be loaded."""
    machine, kind = elf["e_machine"], elf["e_type"]
    if machine not in ("EM_386", "EM_X86_64") or not elf.little_endian:
        name = elf.get_machine_arch()
        if name == "<unknown>":
            name = f"machine number {machine}" if isinstance(machine, int) else machine.removeprefix("EM_")
        order = "" if elf.little_endian else " (big-endian)"
        isa = _OTHERS.get(machine)
        hint = _SUPPORTED if isa is None else what_else(isa)
        raise InputError(f"this is code for {name}{order}", where=where, hint=hint)
    if elf.elfclass == 32 and machine == "EM_X86_64":
        what = "this is x32 code (64-bit instructions, 32-bit pointers)"
        raise InputError(what, where=where, hint=_SUPPORTED)
    if elf.elfclass == 64 and machine == "EM_386":
        malformed(where, "a 64-bit file of 32-bit x86 code")
    if kind not in ("ET_REL", "ET_EXEC", "ET_DYN"):
        what = "a core dump" if kind == "ET_CORE" else f"an ELF file of type {kind}"
        raise InputError(f"this is {what}, not code to be loaded", where=where, hint="give an object file")


def _sections(elf: ELFFile, data: bytes, where: str) -> tuple[Section, ...]:
    start, row = elf["e_shoff"], elf.structs.Elf_Shdr.sizeof()
    if start == 0:
        return ()
    if elf["e_shentsize"] != row:
        malformed(where, f"the section table has rows of {elf['e_shentsize']} bytes instead of {row}")
    if start + row > len(data):
        malformed(where, "the section table lies outside the file")
    count = elf.num_sections()
    if count > MAX_SECTIONS:
        raise InputError(f"{count} sections; at most {MAX_SECTIONS} are read", where=where)
    if start + count * row > len(data):
        malformed(where, f"the table of {count} sections lies partly outside the file")
    # Not elf.get_section(i): it looks the name up, and for some types reads the tables they refer to.
    rows: list[Any] = [struct_parse(elf.structs.Elf_Shdr, elf.stream, start + i * row) for i in range(count)]
    for index, header in enumerate(rows):
        offset, size = header["sh_offset"], header["sh_size"]
        if header["sh_type"] in ("SHT_NULL", "SHT_NOBITS"):
            size = 0
        # A compressed section has a header of its own in the file, whatever its type.
        if (size or header["sh_flags"] & SH_FLAGS.SHF_COMPRESSED) and offset + size > len(data):
            malformed(where, f"section {index} ({size} bytes at offset {offset}) lies outside the file")
    names = elf.get_shstrndx()
    known = 0 < names < count and rows[names]["sh_type"] == "SHT_STRTAB"
    lookup = _Names(_content(data, rows[names]) if known else b"", where)
    return tuple(Section(h, lookup(h["sh_name"]) or f"section {i}", elf) for i, h in enumerate(rows))


def _segments(elf: ELFFile, data: bytes, where: str) -> Iterator[Segment]:
    """All segments, those that are loaded checked."""
    start, count, row = elf["e_phoff"], elf["e_phnum"], elf.structs.Elf_Phdr.sizeof()
    if start == 0 or count == 0:
        return
    if elf["e_phentsize"] != row or count > MAX_SEGMENTS or start + count * row > len(data):
        malformed(where, "the table of segments has rows of the wrong size or lies outside the file")
    for index in range(count):
        segment = Segment(struct_parse(elf.structs.Elf_Phdr, elf.stream, start + index * row), elf.stream)
        end = segment["p_offset"] + segment["p_filesz"]
        if _is_loaded(segment) and (end > len(data) or segment["p_filesz"] > segment["p_memsz"]):
            malformed(where, f"the segment at {segment['p_vaddr']:#x} lies outside the file")
        yield segment


def _is_loaded(segment: Segment) -> bool:
    return bool(segment["p_type"] == "PT_LOAD" and segment["p_memsz"])


def _symbols(
    elf: ELFFile, data: bytes, where: str, sections: tuple[Section, ...], number: int
) -> tuple[ElfSymbol, ...]:
    table, size = sections[number], elf.structs.Elf_Sym.sizeof()
    if table["sh_entsize"] != size:
        malformed(where, f"the symbol table has rows of {table['sh_entsize']} bytes instead of {size}")
    count = table["sh_size"] // size
    if count > MAX_SYMBOLS:
        raise InputError(f"{count} symbols; at most {MAX_SYMBOLS} are read", where=where)
    link = table["sh_link"]
    if not 0 < link < len(sections) or sections[link]["sh_type"] != "SHT_STRTAB":
        malformed(where, "the symbol table has no table of names")
    lookup = _Names(_content(data, sections[link]), where)
    wide = (s for s in sections if s["sh_type"] == "SHT_SYMTAB_SHNDX" and s["sh_link"] == number)
    wide_indexes = b"".join(_content(data, s) for s in islice(wide, 1))
    symbols = []
    rows = _symbol_rows(elf.elfclass, _content(data, table)[: count * size])
    for row, (name, value, extent, info, other, told) in enumerate(rows):
        index = told
        if index == SHN_INDICES.SHN_XINDEX:
            if row * 4 + 4 > len(wide_indexes):
                malformed(where, f"symbol {row} refers to a section number that is missing")
            (index,) = struct.unpack_from("<I", wide_indexes, row * 4)
        elif index >= SHN_INDICES.SHN_LORESERVE:
            index = -index
        if index >= len(sections):
            malformed(where, f"symbol {row} lies in section {index}, which does not exist")
        symbols.append(_symbol(lookup(name), value, extent, info, other, index))
    return tuple(symbols)


def _symbol_rows(bits: int, content: bytes) -> Iterator[tuple[int, int, int, int, int, int]]:
    """Name, value, size, type and binding, visibility, and section of each."""
    size = 24 if bits == 64 else 16
    rows = content[: len(content) // size * size]
    if bits == 32:
        yield from struct.iter_unpack("<IIIBBH", rows)
        return
    for name, info, other, index, value, extent in struct.iter_unpack("<IBBHQQ", rows):
        yield name, value, extent, info, other, index


def _symbol(name: str, value: int, size: int, info: int, other: int, section: int) -> ElfSymbol:
    return ElfSymbol(name, value, size, _KINDS.get(info & 15, ""), _BINDINGS.get(info >> 4, ""), section, other & 3)


def _content(data: bytes, section: Section) -> bytes:
    if section["sh_type"] in ("SHT_NULL", "SHT_NOBITS"):
        return b""
    return data[section["sh_offset"] : section["sh_offset"] + section["sh_size"]]


class _Names:
    """Looks names up in a string table, and stops a file whose names overlap so as to be endless."""

    def __init__(self, table: bytes, where: str) -> None:
        self._table = table
        self._where = where
        self._total = 0

    def __call__(self, offset: int) -> str:
        if offset == 0 or offset >= len(self._table):
            return ""
        end = self._table.find(b"\0", offset, offset + MAX_NAME)
        if end < 0:
            malformed(self._where, f"a name of more than {MAX_NAME} bytes, or one that does not end")
        self._total += end - offset
        if self._total > MAX_NAMES_TOTAL:
            raise InputError(f"more than {MAX_NAMES_TOTAL >> 20} MiB of names", where=self._where)
        # backslashreplace, so that the name can be printed anywhere.
        return self._table[offset:end].decode("utf-8", "backslashreplace")
