# SPDX-License-Identifier: GPL-2.0-or-later
"""Line numbers: the DWARF line table (versions 2 to 5) of an object file, as far as its code is loaded.

pyelftools decodes it, one unit (a source file's program) at a time and only when an address in it is asked
for: it takes some 10 microseconds a byte, and a kernel module has a megabyte. Which unit that is the
relocations say: in an object file every sequence of lines begins at an address that is one. They are applied
here, because a section has an address only in our image, and because pyelftools takes longer.

pyelftools' own way to the table leads through all of ``.debug_info``, which would have to be relocated and
could be hostile too; so its parts are used as they are: the structure of the header, and the line program.
"""

from __future__ import annotations

import io
import struct
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

from elftools.common.utils import struct_parse
from elftools.dwarf.lineprogram import LineProgram
from elftools.dwarf.structs import DWARFStructs

from l1dflush.errors import InputError
from l1dflush.place import Place
from l1dflush.routine.elf.reader import ElfFile
from l1dflush.routine.elf.relocate import StorageUnit, apply, rule_of

MAX_BYTES = 8 << 20
MAX_RELOCATIONS = 300_000
MAX_UNITS = 20_000
# What is decoded of one table, in bytes: two seconds' worth, and far more than any one source file has.
MAX_DECODED = 192 << 10
MAX_ENTRIES = 20_000
MAX_NAME = 1024

_FORMS = {
    0x05: "DW_FORM_data2",
    0x06: "DW_FORM_data4",
    0x07: "DW_FORM_data8",
    0x08: "DW_FORM_string",
    0x09: "DW_FORM_block",
    0x0B: "DW_FORM_data1",
    0x0E: "DW_FORM_strp",
    0x0F: "DW_FORM_udata",
    0x1E: "DW_FORM_data16",
    0x1F: "DW_FORM_line_strp",
}
_STRINGS = {"DW_FORM_strp": ".debug_str", "DW_FORM_line_strp": ".debug_line_str"}

Rows = list[tuple[int, Place | None]]


class LineTable(Mapping[int, Place]):
    """Instruction addresses to source lines. Iterates over the addresses at which a line begins, and answers
    for every address up to the next one.

    Nothing is read before the first question. What is missing, too large or damaged has no lines: they are a
    comfort, no reason to refuse a file, and the only error is KeyError.
    """

    def __init__(self, elf: ElfFile, bases: Mapping[int, int]) -> None:
        """The line table of ``elf``, whose section number i lies at ``bases[i]``."""
        self._elf = elf
        self._bases = bases
        self._sequences: list[tuple[int, int]] | None = None
        self._content = b""
        self._strings: dict[str, bytes] = {}
        self._units: list[tuple[int, int]] = []
        self._decoded: dict[int, Rows] = {}
        self._budget = MAX_DECODED

    def __getitem__(self, address: int) -> Place:
        sequences = self._load()
        index = bisect_right(sequences, address, key=lambda s: s[0]) - 1
        if index >= 0:
            rows = self._rows(sequences[index][1])
            row = bisect_right(rows, address, key=lambda r: r[0]) - 1
            if row >= 0 and (place := rows[row][1]) is not None:
                return place
        raise KeyError(address)

    def __iter__(self) -> Iterator[int]:
        units = {unit for _, unit in self._load()}
        # Damaged units overlap, and only one of them answers for an address.
        return (a for a in sorted({a for unit in units for a, _ in self._rows(unit)}) if a in self)

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def _load(self) -> list[tuple[int, int]]:
        """Where sequences begin and in which unit, sorted."""
        if self._sequences is None:
            self._content, starts = _relocated(self._elf, self._bases)
            self._strings = {name: _debug_section(self._elf, name)[1] for name in _STRINGS.values()}
            self._units = _units(self._content)
            found = ((address, bisect_right(self._units, (at + 1,)) - 1) for at, address in starts)
            self._sequences = sorted((a, unit) for a, unit in found if unit >= 0)
        return self._sequences

    def _rows(self, unit: int) -> Rows:
        if unit not in self._decoded:
            start, end = self._units[unit]
            if end - start > self._budget:
                return []
            self._budget -= end - start
            self._decoded[unit] = decode(self._content[start:end], self._elf.bits, self._strings)
        return self._decoded[unit]


class LineTables(Mapping[int, Place]):
    """The line tables of several files as one."""

    def __init__(self, tables: Sequence[LineTable], owners: Mapping[int, int]) -> None:
        """``owners`` says which of ``tables`` is for the code that begins at an address and goes on up to the
        next."""
        self._tables = tables
        self._starts = sorted(owners)
        self._owners = owners

    def __getitem__(self, address: int) -> Place:
        index = bisect_right(self._starts, address) - 1
        if index < 0:
            raise KeyError(address)
        return self._tables[self._owners[self._starts[index]]][address]

    def __iter__(self) -> Iterator[int]:
        return (address for table in self._tables for address in table)

    def __len__(self) -> int:
        return sum(len(table) for table in self._tables)


def _debug_section(elf: ElfFile, name: str) -> tuple[int, bytes]:
    """Number and bytes, decompressed, of the section ``name``; no bytes where that is impossible or too much."""
    number = next((i for i, s in enumerate(elf.sections) if s.name == name), 0)
    # A size of 0 would mean "no limit" to the decompressor.
    if not number or not 0 < elf.sections[number].data_size <= MAX_BYTES:
        return number, b""
    try:
        return number, elf.sections[number].data()
    except Exception:
        return number, b""


def _relocated(elf: ElfFile, bases: Mapping[int, int]) -> tuple[bytes, list[tuple[int, int]]]:
    """The table with its relocations applied, and those that refer to loaded sections: (offset, address)."""
    number, plain = _debug_section(elf, ".debug_line")
    content = bytearray(plain)
    tables = [s for s in elf.sections if s["sh_type"] in ("SHT_RELA", "SHT_REL") and s["sh_info"] == number]
    rows = (r for t in tables if t["sh_link"] == elf.symbol_table for r in elf.relocations(t))
    starts: list[tuple[int, int]] = []
    try:
        relocations = list(islice(rows, MAX_RELOCATIONS + 1)) if plain else []
    except InputError:
        relocations = []
    if len(relocations) > MAX_RELOCATIONS:
        return b"", []
    for relocation in relocations:
        rule = rule_of(elf.bits, relocation.type)
        if rule is None or rule.chosen or relocation.symbol >= len(elf.symbols):
            continue
        symbol = elf.symbols[relocation.symbol]
        # Sections that are not loaded (strings) are referred to by offset, hence 0.
        value = bases.get(symbol.section, 0) + symbol.value
        place = StorageUnit(content, 0, relocation.offset)
        wrong = apply(rule, place, symbol=value, addend=relocation.addend)
        if wrong is None and symbol.section in bases:
            address = int.from_bytes(content[relocation.offset : relocation.offset + rule.size], "little")
            starts.append((relocation.offset, address))
    return bytes(content), starts


def _units(content: bytes) -> list[tuple[int, int]]:
    """From where to where the units in ``content`` reach, up to the first that does not hold together."""
    bounds: list[tuple[int, int]] = []
    start = 0
    while start + 4 <= len(content) and len(bounds) < MAX_UNITS:
        head, length = _initial_length(content, start)
        if length == 0 or start + head + length > len(content):
            break
        bounds.append((start, start + head + length))
        start += head + length
    return bounds


def _initial_length(content: bytes, at: int) -> tuple[int, int]:
    """Size and value of the length that a unit begins with; one of 12 bytes also means 64-bit offsets."""
    if content[at : at + 4] == b"\xff\xff\xff\xff":
        return 12, int.from_bytes(content[at + 4 : at + 12], "little")
    return 4, int.from_bytes(content[at : at + 4], "little")


def decode(unit: bytes, bits: int, strings: Mapping[str, bytes]) -> Rows:
    """The rows of one unit, sorted; ``None`` where there is no line. Nothing when the unit is damaged."""
    try:
        return _decode(unit, bits, strings)
    except Exception:
        # pyelftools ends in nearly anything on a damaged table, ZeroDivisionError included.
        return []


def _decode(unit: bytes, bits: int, strings: Mapping[str, bytes]) -> Rows:
    head, _ = _initial_length(unit, 0)
    wide = head == 12
    structs = DWARFStructs(little_endian=True, dwarf_format=64 if wide else 32, address_size=bits // 8)
    stream = _Bounded(unit)
    (version,) = struct.unpack_from("<H", unit, head)
    # Behind the field that says how long the header is: version 5 has two sizes before it.
    at = head + 2 + 2 * (version >= 5) + (8 if wide else 4)
    if version >= 5:
        # From version 4 on the last of six numbers says how many more there are.
        _check_entries(stream, at + 6 + max(unit[at + 5] - 1, 0), structs)
    header = struct_parse(structs.Dwarf_lineprog_header, stream, 0)
    files = _files(header, strings)
    program = LineProgram(header, stream, structs, at + header["header_length"], len(unit))
    rows: dict[int, Place | None] = {}
    for entry in program.get_entries():
        state = entry.state
        if state is None:
            continue
        place = None
        if not state.end_sequence and state.line > 0 and state.file < len(files) and files[state.file]:
            place = Place(files[state.file], state.line)
        # A later row for one address replaces the earlier; an end only counts where nothing begins.
        if place is not None or state.address not in rows:
            rows[state.address] = place
    return sorted(rows.items(), key=lambda row: row[0])


class _Bounded(io.BytesIO):
    """A unit's bytes for pyelftools, which reads numbers a byte at a time and of any length.

    A number goes on while bytes have their highest bit set, so a hostile one takes quadratic time. No honest
    number or file name has 256 such bytes; opcodes do, but before each pyelftools calls ``seek``.
    """

    _high = 0

    def seek(self, offset: int, whence: int = 0) -> int:
        self._high = 0
        return super().seek(offset, whence)

    def read(self, size: int | None = -1) -> bytes:
        data = super().read(size)
        self._high = self._high + 1 if data >= b"\x80" else 0
        if self._high > 255:
            raise ValueError("a number without end")
        return data


def _check_entries(stream: io.BytesIO, at: int, structs: DWARFStructs) -> None:
    """Raises ValueError or KeyError if the directories and files of a header of version 5, at ``at``, could
    take long: pyelftools reads any number of entries, even such as have no fields and so take no bytes."""
    byte, number = structs.Dwarf_uint8(""), structs.Dwarf_uleb128("")
    stream.seek(at)
    for _ in ("directories", "files"):
        forms = []
        for _ in range(byte.parse_stream(stream)):
            number.parse_stream(stream)  # what it is
            forms.append(structs.Dwarf_dw_form[_FORMS[number.parse_stream(stream)]])
        count = number.parse_stream(stream)
        if count * max(len(forms), 1) > MAX_ENTRIES:
            raise ValueError("too many entries")
        for form in forms * count:
            form.parse_stream(stream)


def _files(header: Any, strings: Mapping[str, bytes]) -> list[str]:
    """The file names by the number they have in the program; '' for one that is not known."""
    if header["version"] >= 5:
        forms = {f["content_type"]: f["form"] for f in header["file_name_entry_format"]}
        kind = forms.get("DW_LNCT_path", "")
        files = [(e.get("DW_LNCT_path"), e.get("DW_LNCT_directory_index", 0)) for e in header["file_names"]]
        named = {f["content_type"]: f["form"] for f in header["directory_entry_format"]}
        directories = [
            _name(e.get("DW_LNCT_path"), named.get("DW_LNCT_path", ""), strings) for e in header["directories"]
        ]
        # Directory 0 is the one the compiler ran in: it says nothing about the source.
        directories[:1] = [""]
    else:
        kind = "DW_FORM_string"
        files = [(b"", 0), *((f["name"], f["dir_index"]) for f in header["file_entry"])]
        directories = ["", *(_name(d, kind, strings) for d in header["include_directory"])]
    return [_join(directories, index, _name(name, kind, strings)) for name, index in files]


def _name(value: object, form: str, strings: Mapping[str, bytes]) -> str:
    """The text of a name, which is stored in place or as an offset into a section of names."""
    if isinstance(value, int) and form in _STRINGS:
        table = strings[_STRINGS[form]]
        value = table[value : value + MAX_NAME].partition(b"\0")[0]
    return value[:MAX_NAME].decode("utf-8", "backslashreplace") if isinstance(value, bytes) else ""


def _join(directories: Sequence[str], index: int, name: str) -> str:
    directory = directories[index] if index < len(directories) else ""
    return f"{directory}/{name}" if directory and name and not name.startswith("/") else name
