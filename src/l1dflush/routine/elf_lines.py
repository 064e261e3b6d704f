"""Line numbers: the DWARF line table (versions 2 to 5) of an object file, as far as its code is loaded.

A decoder of our own, because the table has to be relocated to *our* addresses (in an object file every
section starts at 0, so unrelocated tables of two sections collide), and because a hostile table must neither
loop nor fill memory: everything is bounded by the size of the section, and that is capped.
"""

from __future__ import annotations

import contextlib
import zlib
from bisect import bisect_right
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from l1dflush.routine.elf_reader import (
    SHF_COMPRESSED,
    SHT_REL,
    SHT_RELA,
    ElfFile,
    ElfSection,
)
from l1dflush.routine.model import SourceLine
from l1dflush.routine.relocate import Place, apply, rule_of

MAX_BYTES = 1 << 20
MAX_RELOCATIONS = 50_000
# What a minimum-length row costs is a byte, so this is never the tighter bound on an honest table.
MAX_ROWS = 400_000
MAX_FILES = 20_000
MAX_NAME = 1024


class LineTable(Mapping[int, SourceLine]):
    """Instruction addresses to source lines. Iterates over the addresses at which a line begins, and answers
    for every address up to the next one."""

    def __init__(self, rows: list[tuple[int, int, int]] | None = None, files: list[str] | None = None) -> None:
        """``rows`` are (address, index into ``files`` or -1 behind the end of a sequence, line)."""
        # A later row for one address replaces the earlier; an end only counts where nothing begins.
        last: dict[int, tuple[int, int]] = {}
        for address, file, line in rows or ():
            if file >= 0 or address not in last:
                last[address] = (file, line)
        self._addresses = sorted(last)
        self._places = [last[a] for a in self._addresses]
        self._files = files or []

    def __getitem__(self, address: int) -> SourceLine:
        index = bisect_right(self._addresses, address) - 1
        if index < 0 or self._places[index][0] < 0:
            raise KeyError(address)
        file, line = self._places[index]
        return SourceLine(self._files[file], line)

    def __iter__(self) -> Iterator[int]:
        return (a for a, (file, _) in zip(self._addresses, self._places, strict=True) if file >= 0)

    def __len__(self) -> int:
        return sum(1 for file, _ in self._places if file >= 0)


def line_table(elf: ElfFile, bases: Mapping[int, int]) -> LineTable:
    """The line table of ``elf``, whose section number i lies at ``bases[i]``. Empty when there is none, when
    it is too large to be read quickly, or from the point on where it is damaged: line numbers are a comfort,
    no reason to refuse a file."""
    section = _named(elf, ".debug_line")
    if section is None:
        return LineTable()
    content = _relocated(elf, section, bases)
    strings = {name: _plain(elf, _named(elf, name)) for name in (".debug_str", ".debug_line_str")}
    reader = _Program(strings)
    with contextlib.suppress(IndexError, ValueError):
        reader.read(content)
    return LineTable(reader.rows, reader.files)


def _named(elf: ElfFile, name: str) -> ElfSection | None:
    return next((s for s in elf.sections if s.name == name), None)


def _plain(elf: ElfFile, section: ElfSection | None) -> bytes:
    """The section's bytes, decompressed; empty when that is not possible or too much."""
    if section is None:
        return b""
    content = elf.content(section)
    if section.flags & SHF_COMPRESSED:
        header = 24 if elf.bits == 64 else 12
        if content[:4] != b"\1\0\0\0":  # ELFCOMPRESS_ZLIB
            return b""
        try:
            content = zlib.decompressobj().decompress(content[header:], 8 * MAX_BYTES)
        except zlib.error:
            return b""
    return content


def _relocated(elf: ElfFile, section: ElfSection, bases: Mapping[int, int]) -> bytes:
    content = bytearray(_plain(elf, section))
    if len(content) > MAX_BYTES:
        return b""
    count = 0
    for table in elf.sections:
        if table.type not in (SHT_RELA, SHT_REL) or table.info != section.number:
            continue
        symbols = elf.symbols if table.link == elf.symbol_table else ()
        for relocation in elf.relocations(table):
            count += 1
            rule = rule_of(elf.bits, relocation.type)
            if rule is None or relocation.symbol >= len(symbols) or count > MAX_RELOCATIONS:
                continue
            symbol = symbols[relocation.symbol]
            # Sections that are not loaded (strings) are referred to by offset, hence 0.
            value = bases.get(symbol.section, 0) + symbol.value
            apply(rule, Place(content, 0, relocation.offset), symbol=value, addend=relocation.addend)
    return bytes(content)


@dataclass(slots=True)
class _Header:
    version: int
    minimum_length: int
    line_base: int
    line_range: int
    opcode_lengths: bytes
    wide: bool


class _Program:
    """Decodes line-number programs one after the other into rows (DWARF 5, section 6.2)."""

    def __init__(self, strings: Mapping[str, bytes]) -> None:
        self._strings = strings
        self.rows: list[tuple[int, int, int]] = []
        self.files: list[str] = []
        self._names = 0
        self._data = b""
        self._at = 0

    def read(self, data: bytes) -> None:
        """Decode all programs in ``data``; raises ValueError or IndexError where it is damaged."""
        start = 0
        while start + 12 <= len(data) and len(self.rows) < MAX_ROWS:
            length = int.from_bytes(data[start : start + 4], "little")
            wide = length == 0xFFFF_FFFF
            start += 4
            if wide:
                length = int.from_bytes(data[start : start + 8], "little")
                start += 8
            if length == 0 or start + length > len(data):
                return
            # A copy of just this unit, so that its header cannot read on through all the others.
            self._data, self._at = data[start : start + length], 0
            self._unit(wide)
            start += length

    def _fixed(self, size: int) -> int:
        start, self._at = self._at, self._at + size
        if self._at > len(self._data):
            raise ValueError("the table ends early")
        return int.from_bytes(self._data[start : self._at], "little")

    def _uleb(self) -> int:
        value = shift = 0
        while True:
            byte = self._data[self._at]
            self._at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value
            if shift > 70:
                raise ValueError("a number of more than ten bytes")

    def _sleb(self) -> int:
        start = self._at
        value = self._uleb()
        bits = 7 * (self._at - start)
        return value - (1 << bits) if value >> bits - 1 else value

    def _string(self, data: bytes | None = None, offset: int = 0) -> str:
        table = self._data if data is None else data
        start = self._at if data is None else offset
        end = table.find(b"\0", start, start + MAX_NAME)
        if end < 0:
            raise ValueError("a name does not end")
        if data is None:
            self._at = end + 1
        return table[start:end].decode("utf-8", "backslashreplace")

    def _unit(self, wide: bool) -> None:
        version = self._fixed(2)
        if not 2 <= version <= 5:
            return
        if version >= 5:
            self._fixed(2)  # sizes of addresses and of segment selectors
        header_length = self._fixed(8 if wide else 4)
        program = self._at + header_length
        minimum_length = self._fixed(1)
        if version >= 4:
            self._fixed(1)  # operations per instruction: x86 is no VLIW machine
        self._fixed(1)  # default_is_stmt
        line_base = self._fixed(1)
        line_range = self._fixed(1)
        opcode_base = self._fixed(1)
        if line_range == 0 or opcode_base == 0:
            raise ValueError("a program that cannot be decoded")
        lengths = self._data[self._at : self._at + opcode_base - 1]
        self._at += opcode_base - 1
        header = _Header(version, minimum_length, line_base - (line_base >> 7 << 8), line_range, lengths, wide)
        files = self._files_v5(wide) if version >= 5 else self._files_v2()
        base = len(self.files)
        self.files.extend(files)
        self._at = program
        # Versions up to 4 count files from 1.
        self._run(header, base - (version < 5), base, base + len(files))

    def _count(self, names: int) -> None:
        self._names += names
        if self._names > MAX_FILES:
            raise ValueError("too many files")

    def _files_v2(self) -> list[str]:
        directories = [""]
        while name := self._string():
            self._count(1)
            directories.append(name)
        files = []
        while name := self._string():
            self._count(1)
            directory = self._uleb()
            self._uleb()
            self._uleb()
            files.append(_join(directories, directory, name))
        return files

    def _files_v5(self, wide: bool) -> list[str]:
        directories = [name for name, _ in self._entries(wide)]
        # Directory 0 is the one the compiler ran in: it says nothing about the source.
        directories[:1] = [""]
        return [_join(directories, directory, name) for name, directory in self._entries(wide)]

    def _entries(self, wide: bool) -> list[tuple[str, int]]:
        formats = [(self._uleb(), self._uleb()) for _ in range(self._fixed(1))]
        count = self._uleb()
        # An entry of no fields would take no bytes, so that any number of them fits.
        if count and not formats:
            raise ValueError("entries of no fields")
        self._count(count)
        entries = []
        for _ in range(count):
            name, directory = "", 0
            for content, form in formats:
                value = self._form(form, wide)
                if content == 1 and isinstance(value, str):
                    name = value
                elif content == 2 and isinstance(value, int):
                    directory = value
            entries.append((name, directory))
        return entries

    def _form(self, form: int, wide: bool) -> str | int:
        match form:
            case 0x08:  # DW_FORM_string
                return self._string()
            case 0x0E:  # DW_FORM_strp
                return self._string(self._strings[".debug_str"], self._fixed(8 if wide else 4))
            case 0x1F:  # DW_FORM_line_strp
                return self._string(self._strings[".debug_line_str"], self._fixed(8 if wide else 4))
            case 0x0F:  # DW_FORM_udata
                return self._uleb()
            case 0x09:  # DW_FORM_block
                self._at += self._uleb()
                return 0
            case 0x0B | 0x05 | 0x06 | 0x07 | 0x1E:  # data1, 2, 4, 8, 16
                return self._fixed({0x0B: 1, 0x05: 2, 0x06: 4, 0x07: 8, 0x1E: 16}[form])
            case _:
                raise ValueError(f"form {form:#x}")

    def _run(self, header: _Header, base: int, low: int, high: int) -> None:
        """One program: ``base`` is what a file number is relative to; valid results are low..high-1."""
        address, file, line = 0, 1, 1
        constant = (255 - len(header.opcode_lengths) - 1) // header.line_range * header.minimum_length
        while self._at < len(self._data) and len(self.rows) < MAX_ROWS:
            opcode = self._fixed(1)
            row = False
            if opcode > len(header.opcode_lengths):
                adjusted = opcode - len(header.opcode_lengths) - 1
                address += adjusted // header.line_range * header.minimum_length
                line += header.line_base + adjusted % header.line_range
                row = True
            elif opcode == 0:
                size = self._uleb()
                following = self._at + size
                extended = self._fixed(1) if size else -1
                if extended == 1:  # DW_LNE_end_sequence
                    self.rows.append((address, -1, 0))
                    address, file, line = 0, 1, 1
                elif extended == 2:  # DW_LNE_set_address
                    address = self._fixed(min(size - 1, 8))
                self._at = following
            elif opcode == 1:  # DW_LNS_copy
                row = True
            elif opcode == 2:  # DW_LNS_advance_pc
                address += self._uleb() * header.minimum_length
            elif opcode == 3:  # DW_LNS_advance_line
                line += self._sleb()
            elif opcode == 4:  # DW_LNS_set_file
                file = self._uleb()
            elif opcode == 8:  # DW_LNS_const_add_pc
                address += constant
            elif opcode == 9:  # DW_LNS_fixed_advance_pc
                address += self._fixed(2)
            else:
                for _ in range(header.opcode_lengths[opcode - 1]):
                    self._uleb()
            if row:
                index = base + file
                known = low <= index < high and line > 0
                self.rows.append((address, index if known else -1, line if known else 0))


def _join(directories: list[str], index: int, name: str) -> str:
    directory = directories[index] if index < len(directories) else ""
    return f"{directory}/{name}" if directory and not name.startswith("/") else name
