# SPDX-License-Identifier: GPL-2.0-or-later
"""The sections and symbols of relocatable files get addresses, and relocations are applied.

Such a file has no addresses yet. Every allocated section gets pages of its own in the low 2 GiB with an unmapped
page behind it, so that no access reaches a neighbour unnoticed. What cannot be relocated is recorded, because it
matters only if it is reached.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Literal

from elftools.elf.constants import SH_FLAGS
from elftools.elf.sections import Section as ElfSection

from l1dflush.errors import InputError
from l1dflush.place import Place
from l1dflush.routine.definitions import Definitions, Key
from l1dflush.routine.elf.lines import LineTable, LineTables
from l1dflush.routine.elf.reader import MAX_RELOCATIONS, Row, malformed
from l1dflush.routine.elf.relocate import Relocator, Target, rule_of, type_name
from l1dflush.routine.elf.relocations import Relocated, Relocations, RelocationTable
from l1dflush.routine.elf.resolve import ABSOLUTE, COMMON, UNDEFINED, LinkInput, Reference, resolve
from l1dflush.routine.elf.symbol_table import INDIRECT, PlacedSymbol
from l1dflush.routine.model import (
    EXTERNAL_BASE,
    EXTERNAL_LIMIT,
    EXTERNAL_STRIDES,
    BadRelocation,
    Section,
)

IMAGE_BASE = 0x0040_0000
PAGE = 4096
MAX_GAP = 16 << 20
MAX_CONTENT = 64 << 20
MAX_ALIGNMENT = 2 << 20
MAX_EXTERNALS = (EXTERNAL_LIMIT - EXTERNAL_BASE) // EXTERNAL_STRIDES[0]
GOT_SYMBOL = "_GLOBAL_OFFSET_TABLE_"


@dataclass(frozen=True, slots=True)
class Placed:
    """What becomes of relocatable files: sections by the number of their file (those of no file, like common
    symbols, under -1), symbols, and the rest of an image."""

    bits: Literal[32, 64]
    sections: list[tuple[int, Section]]
    symbols: list[PlacedSymbol]
    lines: Mapping[int, Place]
    bad: list[BadRelocation]
    external_stride: int
    relocated: dict[int, int]
    relocations: Relocations


def place(inputs: Sequence[LinkInput]) -> Placed:
    """The sections and symbols of ``inputs`` at their addresses, as a linker would resolve them.

    Raises InputError when they cannot be taken together, when one does not hold together, or beyond the limits.
    """
    bits = inputs[0].elf.bits
    for one in inputs:
        if one.elf.bits != bits:
            a, b = inputs[0].elf, one.elf
            raise InputError(f"{a.where} is {a.bits}-bit code and {b.where} is {b.bits}-bit code")
    return _Layout(inputs).placed()


class _Layout:
    def __init__(self, inputs: Sequence[LinkInput]) -> None:
        self.inputs = inputs
        self.files = [one.elf for one in inputs]
        self.bits = self.files[0].bits
        # Where a message is about all of them.
        self.where = " + ".join(file.where for file in self.files)
        self.resolution = resolve(inputs)
        self._definitions = Definitions(self.files, self.resolution)
        self.bad: list[BadRelocation] = []
        self.relocated: dict[int, int] = {}
        self._tables_read: list[RelocationTable] = []
        self._named: set[tuple[int, int]] = set()
        self._meanings: dict[Reference, Relocated | None] = {}
        self._cursor = IMAGE_BASE
        self._content = 0
        commons = self._common_symbols()
        # A routine that walks on from a small variable is to be seen walking behind it, not through whatever
        # section happens to come next.
        rows = sum(1 for number in range(len(self.files)) for _ in self._allocated(number))
        share = (EXTERNAL_BASE - IMAGE_BASE - MAX_CONTENT) // (rows + len(commons) + 2)
        self._gap = max(min(share, MAX_GAP) // PAGE, 1) * PAGE
        self.bases: list[dict[int, int]] = [{} for _ in self.files]
        self.contents: list[dict[int, bytearray]] = [{} for _ in self.files]
        for number in range(len(self.files)):
            for index, section in self._allocated(number):
                self._place_section(number, index, section)
        self._commons: dict[Reference, int] = {}
        for at in commons:
            name = self.files[at.file].symbols[at.symbol].name
            size, alignment = self.resolution.common(at)
            self._commons[at] = self._place(size, self._alignment(at.file, alignment, name), name, at.file)
        self._relocate()

    def _allocated(self, number: int) -> Iterator[tuple[int, ElfSection]]:
        for index, section in enumerate(self.files[number].sections):
            if section["sh_flags"] & SH_FLAGS.SHF_ALLOC and (number, index) not in self.resolution.discarded:
                yield index, section

    def _common_symbols(self) -> list[Reference]:
        """The common symbols that nothing else defines, each name once."""
        found = []
        for number, file in enumerate(self.files):
            for index, symbol in enumerate(file.symbols):
                at = Reference(number, index)
                if symbol.section == COMMON and self.resolution.meant(at) == at:
                    found.append(at)
        return found

    def _alignment(self, number: int, alignment: int, name: str) -> int:
        if alignment & (alignment - 1) or alignment > MAX_ALIGNMENT:
            malformed(self.files[number].where, f"{name} wants an alignment of {alignment} bytes")
        return max(alignment, 1)

    def _place(self, size: int, alignment: int, name: str, number: int | None = None) -> int:
        self._content += size
        where = self.where if number is None else self.files[number].where
        if self._content > MAX_CONTENT:
            hint = f"'{name}' takes {size} bytes"
            raise InputError(f"more than {MAX_CONTENT >> 20} MiB of code and data", where=where, hint=hint)
        step = max(alignment, PAGE)
        address = -(-self._cursor // step) * step
        self._cursor = -(-(address + size) // PAGE) * PAGE + self._gap
        if self._cursor > EXTERNAL_BASE:
            raise InputError("too many sections to give each one pages of its own", where=where)
        return address

    def _place_section(self, number: int, index: int, section: ElfSection) -> None:
        file = self.files[number]
        if section["sh_flags"] & SH_FLAGS.SHF_COMPRESSED:
            malformed(file.where, f"section {section.name} is loaded but compressed")
        alignment = self._alignment(number, section["sh_addralign"], f"section {section.name}")
        self.bases[number][index] = self._place(section["sh_size"], alignment, section.name, number)
        self.contents[number][index] = bytearray(file.content(section))

    def _relocate(self) -> None:
        tables: list[tuple[bool, int, int, list[Row]]] = []
        count = 0
        for number, file in enumerate(self.files):
            for index, table in self._tables(number):
                rows = list(file.relocation_rows(table))
                count += len(rows)
                if count > MAX_RELOCATIONS:
                    raise InputError(f"more than {MAX_RELOCATIONS} relocations", where=self.where)
                data = not file.sections[index]["sh_flags"] & SH_FLAGS.SHF_EXECINSTR
                tables.append((data, number, index, rows))
        # Code first: externals are placed in this order.
        tables.sort(key=lambda table: table[0])
        infos = dict.fromkeys((number, row[1]) for _, number, _, rows in tables for row in rows)
        wanted = []
        for number, info in infos:
            kind, symbol = self.files[number].type_and_symbol(info)
            if kind:  # type 0 means that there is nothing to do
                wanted.append((info, kind, Reference(number, symbol)))
        # Of an empty section nothing is there but its labels.
        places = ((at.file, self.resolution.symbol(at)) for at in (self.resolution.meant(at) for _, _, at in wanted))
        self._named = {(file, symbol.section) for file, symbol in places if symbol is not None}
        self._externals, self.stride = self._place_externals(at for _, _, at in wanted)
        self._slots, self._got = self._place_slots((kind, at) for _, kind, at in wanted)
        targets: list[dict[int, Target]] = [{} for _ in self.files]
        for info, kind, at in wanted:
            targets[at.file][info] = self._target(kind, at)
        relocators = [Relocator(one, got=self._got) for one in targets]
        for data, number, index, rows in tables:
            file, base = self.files[number], self.bases[number][index]
            shipped = file.content(file.sections[index])
            self._tables_read.append(RelocationTable(base, shipped, rows, partial(self._meaning, number)))
            if not data:
                self._note_relocated(rows, targets[number], base)
            for offset, info, reason in relocators[number].apply(rows, self.contents[number][index], base):
                kind = file.type_and_symbol(info)[0]
                rule = rule_of(self.bits, kind)
                size = rule.size if rule is not None else self.bits // 8
                self.bad.append(BadRelocation(base + offset, size, f"{type_name(self.bits, kind)}: {reason}"))

    def _note_relocated(self, rows: Iterable[Row], targets: Mapping[int, Target], base: int) -> None:
        sizes = {info: target.rule.size for info, target in targets.items() if target.rule is not None}
        for row in rows:
            size = sizes.get(row[1], 0)
            if size > self.relocated.get(base + row[0], 0):
                self.relocated[base + row[0]] = size

    def _tables(self, number: int) -> Iterator[tuple[int, ElfSection]]:
        """The relocation sections that change allocated sections, each with the number of that section."""
        file = self.files[number]
        for table in file.sections:
            if table["sh_type"] not in ("SHT_RELA", "SHT_REL"):
                continue
            index = table["sh_info"]
            if index >= len(file.sections):
                malformed(file.where, f"{table.name} relocates section {index}, which does not exist")
            if index not in self.bases[number]:
                continue
            if table["sh_link"] != file.symbol_table and table["sh_size"]:
                malformed(file.where, f"{table.name} does not refer to the symbol table")
            yield index, table

    def _place_externals(self, referenced: Iterable[Reference]) -> tuple[dict[Key, tuple[str, int]], int]:
        """Where undefined symbols go, by name, and how far apart."""
        names: dict[Key, str] = {}
        for at in referenced:
            meant = self.resolution.meant(at)
            if self._definitions.is_outside(meant):
                symbol = self.files[meant.file].symbols[meant.symbol]
                # Not told apart where nothing else has that name: several rows of one name are one symbol.
                shared = symbol.name not in self.inputs[meant.file].own
                names.setdefault(symbol.name if shared else meant, symbol.name)
        names.pop(GOT_SYMBOL, None)
        smallest, largest = EXTERNAL_STRIDES
        stride = largest
        while stride > smallest and len(names) * stride > EXTERNAL_LIMIT - EXTERNAL_BASE:
            stride //= 2
        kept = islice(names.items(), MAX_EXTERNALS)
        return {key: (name, EXTERNAL_BASE + i * stride) for i, (key, name) in enumerate(kept)}, stride

    def _place_slots(self, wanted: Iterable[tuple[int, Reference]]) -> tuple[dict[Key, tuple[int, Reference]], int]:
        needing: dict[Key, Reference] = {}
        for kind, at in wanted:
            rule = rule_of(self.bits, kind)
            if rule is not None and rule.needs_slot:
                needing.setdefault(self._definitions.key(at), at)
        width = self.bits // 8
        got = self._place(len(needing) * width, width, "the global offset table")
        return {key: (got + width * i, at) for i, (key, at) in enumerate(needing.items())}, got

    def _target(self, kind: int, at: Reference) -> Target:
        rule = rule_of(self.bits, kind)
        if rule is None or rule.dynamic:
            return Target(None, reason="this type is not supported")
        if rule.chosen:
            return Target(rule)
        symbol = self.address_of(at)
        if isinstance(symbol, str):
            return Target(None, reason=symbol)
        return Target(rule, symbol, self._slots[self._definitions.key(at)][0] if rule.needs_slot else 0)

    def _meaning(self, number: int, info: int) -> Relocated | None:
        """What a relocation of file ``number`` means, its type and symbol being ``info``."""
        key = Reference(number, info)
        if key not in self._meanings:
            self._meanings[key] = self._meaning_of(number, info)
        return self._meanings[key]

    def _meaning_of(self, number: int, info: int) -> Relocated | None:
        file = self.files[number]
        kind, index = file.type_and_symbol(info)
        if not kind:
            return None
        rule, at = rule_of(self.bits, kind), Reference(number, index)
        meant = self.resolution.meant(at)
        defined = self.resolution.symbol(meant)
        name, section = "", False
        if index and (symbol := self.resolution.symbol(at)) is not None:
            section = symbol.kind == "STT_SECTION"
            name = file.sections[symbol.section].name if section and symbol.section > 0 else symbol.name
        target = None if self._definitions.is_outside(meant) else self.address_of(at)
        return Relocated(
            type_name(self.bits, kind),
            rule.size if rule is not None else 0,
            rule is not None and rule.formula.endswith("-P"),
            name,
            section,
            target if isinstance(target, int) else None,
            not index or (defined is not None and defined.section == ABSOLUTE),
            self._definitions.may_be_absent(meant),
            self._definitions.exported(meant)
            if rule is not None and rule.needs_slot and isinstance(target, int)
            else 0,
            self._definitions.replaceable(meant),
        )

    def address_of(self, at: Reference) -> int | str:
        """The address of what ``at`` means, or the reason why it has none."""
        if at.symbol == 0 and self.files[at.file].symbols:
            return 0
        at = self.resolution.meant(at)
        symbol = self.resolution.symbol(at)
        if symbol is None:
            return f"there is no symbol number {at.symbol}"
        if self._definitions.is_outside(at):
            if symbol.name == GOT_SYMBOL:
                return self._got
            if symbol.binding == "STB_WEAK" and symbol.kind != INDIRECT:
                return f"the weak symbol '{symbol.name}' may be absent, and then its address is 0"
            own = symbol.name in self.inputs[at.file].own
            found = self._externals.get(at if own else symbol.name)
            limit = f"no room for '{symbol.name}': more than {MAX_EXTERNALS} outside symbols are referenced"
            return limit if found is None else found[1]
        if symbol.section == COMMON:
            return self._commons[at]
        if symbol.section == ABSOLUTE:
            return symbol.value
        if symbol.kind == "STT_TLS":
            return f"'{symbol.name}' is thread-local"
        base = self.bases[at.file].get(symbol.section)
        return f"'{symbol.name}' lies in a section that is not loaded" if base is None else base + symbol.value

    def placed(self) -> Placed:
        """The result."""
        sections = [found for number in range(len(self.files)) for found in self._sections(number)]
        for at, address in self._commons.items():
            size, alignment = self.resolution.common(at)
            name = f"COMMON {self.files[at.file].symbols[at.symbol].name}"
            if size:
                sections.append((-1, Section(name, address, b"", size, max(alignment, 1), True, False)))
        if self._slots:
            sections.append((-1, self._got_section()))
        tables = [LineTable(file, bases) for file, bases in zip(self.files, self.bases, strict=True)]
        lines: Mapping[int, Place] = tables[0]
        if len(tables) > 1:
            owners = {base: n for n, bases in enumerate(self.bases) for base in bases.values()}
            lines = LineTables(tables, owners)
        symbols, relocations = list(self._symbols()), Relocations(self._tables_read)
        return Placed(self.bits, sections, symbols, lines, self.bad, self.stride, self.relocated, relocations)

    def _sections(self, number: int) -> Iterator[tuple[int, Section]]:
        relocated = {(number, index) for index, _ in self._tables(number)}
        for index, s in self._allocated(number):
            if s["sh_size"] or (number, index) in self._named:
                executable = bool(s["sh_flags"] & SH_FLAGS.SHF_EXECINSTR) and s["sh_type"] != "SHT_NOBITS"
                # Linkers leave alone what is relocated.
                merged = s["sh_flags"] & SH_FLAGS.SHF_MERGE and (number, index) not in relocated
                section = Section(
                    name=s.name,
                    address=self.bases[number][index],
                    data=bytes(self.contents[number][index]),
                    size=s["sh_size"],
                    alignment=max(s["sh_addralign"], 1),
                    writable=bool(s["sh_flags"] & SH_FLAGS.SHF_WRITE),
                    executable=executable,
                    entry=s["sh_entsize"] if merged else 0,
                    strings=bool(s["sh_flags"] & SH_FLAGS.SHF_STRINGS),
                )
                yield number, section

    def _got_section(self) -> Section:
        width = self.bits // 8
        data = bytearray()
        for slot, at in self._slots.values():
            found = self.address_of(at)
            if isinstance(found, str):
                self.bad.append(BadRelocation(slot, width, f"global offset table: {found}"))
            address = 0 if isinstance(found, str) else found
            data += (address & ((1 << self.bits) - 1)).to_bytes(width, "little")
        return Section(".got", self._got, bytes(data), len(data), width, False, False)

    def _symbols(self) -> Iterator[PlacedSymbol]:
        for name, address in self._externals.values():
            yield PlacedSymbol(name, address, 0, "STT_NOTYPE", "STB_GLOBAL", defined=False)
        for number, file in enumerate(self.files):
            own = self.inputs[number].own
            for index, symbol in enumerate(file.symbols):
                at = Reference(number, index)
                no_place = symbol.section in (UNDEFINED, ABSOLUTE)
                if no_place or symbol.kind in ("STT_SECTION", "STT_FILE") or self.resolution.meant(at) != at:
                    continue
                found = self.address_of(at)
                if symbol.name and not isinstance(found, str) and not self._definitions.is_outside(at):
                    size = self.resolution.common(at)[0] if symbol.section == COMMON else symbol.size
                    binding = "STB_LOCAL" if symbol.name in own else symbol.binding
                    why = self._definitions.replaceable(at)
                    yield PlacedSymbol(symbol.name, found, size, symbol.kind, binding, True, number, replaceable=why)
