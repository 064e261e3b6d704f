"""Reads the tables of an x86 ELF file, trusting nothing that the file says.

Every offset, size, index and count is checked before it is used, and everything is capped, so that a damaged
or hostile file ends in one :class:`InputError` and costs neither time nor memory.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple, NoReturn

from l1dflush.errors import InputError

MAGIC = b"\x7fELF"
ET_REL, ET_EXEC, ET_DYN = 1, 2, 3
EM_386, EM_X86_64 = 3, 62
SHT_PROGBITS, SHT_SYMTAB, SHT_STRTAB, SHT_RELA, SHT_NOBITS, SHT_REL, SHT_DYNSYM = 1, 2, 3, 4, 8, 9, 11
SHT_SYMTAB_SHNDX = 18
SHF_WRITE, SHF_ALLOC, SHF_EXECINSTR, SHF_TLS, SHF_COMPRESSED = 0x1, 0x2, 0x4, 0x400, 0x800
SHN_UNDEF, SHN_LORESERVE, SHN_ABS, SHN_COMMON, SHN_XINDEX = 0, 0xFF00, 0xFFF1, 0xFFF2, 0xFFFF
STB_LOCAL, STB_GLOBAL, STB_WEAK = 0, 1, 2
STT_NOTYPE, STT_OBJECT, STT_FUNC, STT_SECTION, STT_FILE, STT_COMMON, STT_TLS, STT_GNU_IFUNC = (
    *range(7),
    10,
)
PT_LOAD = 1

# Far above any kernel module, far below what would take noticeable time or memory.
MAX_SECTIONS = 100_000
MAX_SYMBOLS = 120_000
MAX_RELOCATIONS = 300_000
MAX_SEGMENTS = 1_000
MAX_NAME = 4096
MAX_NAMES_TOTAL = 32 << 20

_PEOPLE_SAY = {
    2: "SPARC",
    8: "MIPS",
    20: "PowerPC",
    21: "PowerPC64",
    22: "IBM Z",
    40: "ARM",
    43: "SPARC64",
    50: "IA-64",
    183: "AArch64",
    243: "RISC-V",
    258: "LoongArch",
}


class ElfSection(NamedTuple):
    """A row of the section table, with its name looked up."""

    number: int
    name: str
    type: int
    flags: int
    address: int
    offset: int
    size: int
    link: int
    info: int
    alignment: int
    entry_size: int


class ElfSymbol(NamedTuple):
    """A row of the symbol table. ``section`` is an index, or one of ``SHN_UNDEF``, ``-SHN_ABS``,
    ``-SHN_COMMON`` (negative, because with very many sections the plain numbers are ordinary indexes)."""

    name: str
    value: int
    size: int
    kind: int
    binding: int
    section: int


class ElfSegment(NamedTuple):
    """A ``PT_LOAD`` row of the program header table."""

    flags: int
    offset: int
    address: int
    file_size: int
    memory_size: int


class ElfRelocation(NamedTuple):
    """One relocation; ``addend`` is ``None`` when it lies in the place itself (``REL``)."""

    offset: int
    type: int
    symbol: int
    addend: int | None


@dataclass(frozen=True, slots=True)
class ElfFile:
    """An ELF file whose tables have been checked; section contents are read on demand."""

    data: bytes
    where: str
    bits: Literal[32, 64]
    type: int
    machine: int
    sections: tuple[ElfSection, ...]
    segments: tuple[ElfSegment, ...]
    symbols: tuple[ElfSymbol, ...]
    symbol_table: int | None

    def content(self, section: ElfSection) -> bytes:
        """The bytes of ``section`` in the file; empty for one without any (``.bss``)."""
        if section.type == SHT_NOBITS:
            return b""
        return self.data[section.offset : section.offset + section.size]

    def symbol_table_at(self, index: int) -> tuple[ElfSymbol, ...]:
        """The symbols of the table that is section ``index``; none when it is no symbol table."""
        if index == self.symbol_table:
            return self.symbols
        if not index < len(self.sections) or self.sections[index].type not in (SHT_SYMTAB, SHT_DYNSYM):
            return ()
        return _read_symbols(self.data, self.where, self.bits, self.sections, self.sections[index])

    def relocations(self, section: ElfSection) -> Iterator[ElfRelocation]:
        """The rows of a relocation section. Raises InputError when its row size is wrong."""
        wide, with_addend = self.bits == 64, section.type == SHT_RELA
        row = struct.Struct(("<QQ" if wide else "<II") + (("q" if wide else "i") if with_addend else ""))
        if section.entry_size not in (0, row.size):
            malformed(self.where, f"relocation section {section.name} has rows of {section.entry_size} bytes")
        content = self.content(section)
        shift, mask = (32, 0xFFFF_FFFF) if wide else (8, 0xFF)
        for fields in row.iter_unpack(content[: len(content) // row.size * row.size]):
            addend = fields[2] if with_addend else None
            yield ElfRelocation(fields[0], fields[1] & mask, fields[1] >> shift, addend)


def malformed(where: str, what: str) -> NoReturn:
    """Raise the InputError that says how this ELF file is broken."""
    raise InputError(f"damaged ELF file: {what}", where=where, hint="the file may be truncated")


def read_elf(data: bytes, *, where: str) -> ElfFile:
    """The checked tables of the ELF file ``data``; ``where`` names it in messages.

    Raises InputError for another architecture, and for anything that does not hold together.
    """
    bits, file_type, machine = _read_ident(data, where)
    header = struct.Struct("<QQQIHHHHHH" if bits == 64 else "<IIIIHHHHHH")
    if len(data) < 24 + header.size:
        malformed(where, "the header is cut off")
    (_, phoff, shoff, _, _, phentsize, phnum, shentsize, shnum, shstrndx) = header.unpack_from(data, 24)
    sections = _read_sections(data, where, bits=bits, shoff=shoff, shentsize=shentsize, shnum=shnum, shstrndx=shstrndx)
    segments: tuple[ElfSegment, ...] = ()
    if file_type != ET_REL:
        segments = _read_segments(data, where, bits=bits, phoff=phoff, phentsize=phentsize, phnum=phnum)
    table = _pick_symbol_table(sections)
    symbols: tuple[ElfSymbol, ...] = ()
    if table is not None:
        symbols = _read_symbols(data, where, bits, sections, table)
    return ElfFile(
        data=data,
        where=where,
        bits=bits,
        type=file_type,
        machine=machine,
        sections=sections,
        segments=segments,
        symbols=symbols,
        symbol_table=None if table is None else table.number,
    )


def _read_ident(data: bytes, where: str) -> tuple[Literal[32, 64], int, int]:
    if not data.startswith(MAGIC):
        raise InputError("not an ELF file", where=where)
    if len(data) < 52:
        malformed(where, "the header is cut off")
    wide, order = data[4], data[5]
    if order not in (1, 2) or wide not in (1, 2):
        malformed(where, "neither 32 nor 64 bit, or of no known byte order")
    file_type, machine = struct.unpack_from("<HH" if order == 1 else ">HH", data, 16)
    if machine not in (EM_386, EM_X86_64) or order == 2:
        _refuse_architecture(where, machine, order)
    if wide == 1 and machine == EM_X86_64:
        raise InputError("this is x32 code (64-bit instructions, 32-bit pointers)", where=where, hint=_SUPPORTED)
    if wide == 2 and machine == EM_386:
        malformed(where, "a 64-bit file of 32-bit x86 code")
    if file_type not in (ET_REL, ET_EXEC, ET_DYN):
        kind = "a core dump" if file_type == 4 else f"an ELF file of type {file_type}"
        raise InputError(f"this is {kind}, not code to be loaded", where=where, hint="give an object file")
    return (64 if wide == 2 else 32), file_type, machine


_SUPPORTED = "x86-64 and 32-bit x86 (i386) are supported"


def _refuse_architecture(where: str, machine: int, order: int) -> NoReturn:
    name = _PEOPLE_SAY.get(machine)
    if name is None:
        # Only now: the list of all machines is long, and loading it takes longer than the rest.
        from elftools.elf.enums import ENUM_E_MACHINE  # noqa: PLC0415

        names = {v: k for k, v in ENUM_E_MACHINE.items() if isinstance(v, int)}
        name = str(names.get(machine, f"machine number {machine}")).removeprefix("EM_")
    if order == 2:
        name += " (big-endian)"
    raise InputError(f"this is code for {name}", where=where, hint=_SUPPORTED)


def _read_sections(
    data: bytes, where: str, *, bits: int, shoff: int, shentsize: int, shnum: int, shstrndx: int
) -> tuple[ElfSection, ...]:
    if shoff == 0:
        return ()
    row = struct.Struct("<IIQQQQIIQQ" if bits == 64 else "<IIIIIIIIII")
    if shentsize != row.size:
        malformed(where, f"the section table has rows of {shentsize} bytes instead of {row.size}")
    if shoff + row.size > len(data):
        malformed(where, "the section table lies outside the file")
    first = row.unpack_from(data, shoff)
    # The gABI's way out when the counts do not fit into 16 bits: the real ones are in row 0.
    count = shnum or first[5]
    names_index = first[6] if shstrndx == SHN_XINDEX else shstrndx
    if count > MAX_SECTIONS:
        raise InputError(f"{count} sections; at most {MAX_SECTIONS} are read", where=where)
    if shoff + count * row.size > len(data):
        malformed(where, f"the table of {count} sections lies partly outside the file")
    rows = list(row.iter_unpack(data[shoff : shoff + count * row.size]))
    for index, fields in enumerate(rows[1:], start=1):
        kind, offset, size = fields[1], fields[4], fields[5]
        if kind not in (0, SHT_NOBITS) and offset + size > len(data):
            malformed(where, f"section {index} ({size} bytes at offset {offset}) lies outside the file")
    names = b""
    if 0 < names_index < count and rows[names_index][1] == SHT_STRTAB:
        names = data[rows[names_index][4] : rows[names_index][4] + rows[names_index][5]]
    lookup = _Names(names, where)
    return tuple(
        ElfSection(index, lookup(fields[0]) or f"section {index}", *fields[1:]) for index, fields in enumerate(rows)
    )


def _read_segments(
    data: bytes, where: str, *, bits: int, phoff: int, phentsize: int, phnum: int
) -> tuple[ElfSegment, ...]:
    row = struct.Struct("<IIQQQQQQ" if bits == 64 else "<IIIIIIII")
    if phoff == 0 or phnum == 0:
        return ()
    if phentsize != row.size or phnum > MAX_SEGMENTS or phoff + phnum * row.size > len(data):
        malformed(where, "the table of segments has rows of the wrong size or lies outside the file")
    segments = []
    for fields in row.iter_unpack(data[phoff : phoff + phnum * row.size]):
        if bits == 64:
            kind, flags, offset, address, _, file_size, memory_size, _ = fields
        else:
            kind, offset, address, _, file_size, memory_size, flags, _ = fields
        if kind != PT_LOAD or memory_size == 0:
            continue
        if offset + file_size > len(data) or file_size > memory_size:
            malformed(where, f"the segment at {address:#x} lies outside the file")
        segments.append(ElfSegment(flags, offset, address, file_size, memory_size))
    return tuple(segments)


def _pick_symbol_table(sections: tuple[ElfSection, ...]) -> ElfSection | None:
    for wanted in (SHT_SYMTAB, SHT_DYNSYM):
        for section in sections:
            if section.type == wanted:
                return section
    return None


def _read_symbols(
    data: bytes, where: str, bits: int, sections: tuple[ElfSection, ...], table: ElfSection
) -> tuple[ElfSymbol, ...]:
    row = struct.Struct("<IBBHQQ" if bits == 64 else "<IIIBBH")
    if table.entry_size != row.size:
        malformed(where, f"the symbol table has rows of {table.entry_size} bytes instead of {row.size}")
    count = table.size // row.size
    if count > MAX_SYMBOLS:
        raise InputError(f"{count} symbols; at most {MAX_SYMBOLS} are read", where=where)
    if not 0 < table.link < len(sections) or sections[table.link].type != SHT_STRTAB:
        malformed(where, "the symbol table has no table of names")
    strings = sections[table.link]
    lookup = _Names(data[strings.offset : strings.offset + strings.size], where)
    wide_indexes = b""
    for section in sections:
        if section.type == SHT_SYMTAB_SHNDX and section.link == table.number:
            wide_indexes = data[section.offset : section.offset + section.size]
    symbols = []
    rows = row.iter_unpack(data[table.offset : table.offset + count * row.size])
    for number, fields in enumerate(rows):
        if bits == 64:
            name, info, _, index, value, size = fields
        else:
            name, value, size, info, _, index = fields
        if index == SHN_XINDEX:
            if number * 4 + 4 > len(wide_indexes):
                malformed(where, f"symbol {number} refers to a section number that is missing")
            (index,) = struct.unpack_from("<I", wide_indexes, number * 4)
        elif index >= SHN_LORESERVE:
            index = -index
        if index >= len(sections):
            malformed(where, f"symbol {number} lies in section {index}, which does not exist")
        symbols.append(ElfSymbol(lookup(name), value, size, info & 15, info >> 4, index))
    return tuple(symbols)


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
