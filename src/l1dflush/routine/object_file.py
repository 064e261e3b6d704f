"""Object files: an ELF file becomes an :class:`Image`, its relocations applied, and its functions routines.

A relocatable file (``.o``) has no addresses yet; every allocated section gets pages of its own in the low
2 GiB with an unmapped page behind it, so that no access reaches a neighbour unnoticed. A linked file keeps
the addresses it has. What cannot be relocated is recorded, because it matters only if it is reached.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from elftools.common.exceptions import ELFError
from elftools.elf.constants import SH_FLAGS, SHN_INDICES
from elftools.elf.sections import Section as ElfSection

from l1dflush.errors import InputError
from l1dflush.routine.elf_lines import LineTable
from l1dflush.routine.elf_reader import (
    MAX_RELOCATIONS,
    ElfFile,
    ElfRelocation,
    ElfSymbol,
    malformed,
    read_elf,
)
from l1dflush.routine.kernel_tables import patch_sites
from l1dflush.routine.model import (
    EXTERNAL_BASE,
    EXTERNAL_LIMIT,
    EXTERNAL_STRIDE,
    BadRelocation,
    Image,
    Origin,
    Routine,
    Section,
    SourceLine,
    SourceNote,
)
from l1dflush.routine.relocate import Place, apply, rule_of, type_name
from l1dflush.routine.symbol_table import PlacedSymbol, entry_points, symbols_by_name, with_distinct_names

IMAGE_BASE = 0x0040_0000
PAGE = 4096
MAX_GAP = 16 << 20
MAX_CONTENT = 64 << 20
MAX_ALIGNMENT = 2 << 20
MAX_EXTERNALS = (EXTERNAL_LIMIT - EXTERNAL_BASE) // EXTERNAL_STRIDE
# More than anybody would want to wait for.
MAX_CANDIDATES = 20_000
GOT_SYMBOL = "_GLOBAL_OFFSET_TABLE_"


@dataclass(frozen=True, slots=True)
class ObjectImage(Image):
    """An :class:`Image` that also knows where its functions begin: name to address."""

    entry_points: dict[str, int] = field(default_factory=dict)


def load_image(data: bytes, *, where: str) -> ObjectImage:
    """The memory image of the x86 ELF file ``data``; ``where`` names the file in messages.

    Raises InputError when it is for another architecture, damaged, or beyond the limits.
    """
    try:
        elf = read_elf(data, where=where)
        if elf.type != "ET_REL":
            # A linked file is the rarer case.
            from l1dflush.routine.linked_file import load_linked  # noqa: PLC0415

            linked = load_linked(elf)
            return _image(elf, linked.sections, linked.symbols, {}, tuple(linked.bad))
        return _Layout(elf).image()
    except InputError:
        raise
    except ELFError as error:
        raise InputError(f"damaged ELF file: {error}", where=where) from error
    except Exception as error:
        # The checks above are meant to be complete. Should one be missing, a hostile file still must not
        # end in a traceback; the type is named so that the hole can be found.
        raise InputError(f"damaged ELF file ({type(error).__name__})", where=where) from error


def routines_from_image(
    image: Image,
    *,
    origin: Origin,
    function: str | None,
    source_available: bool = False,
    notes: tuple[SourceNote, ...] = (),
) -> list[Routine]:
    """The functions of ``image``, or the one that is called ``function``.

    Raises InputError when there is no code or no function of that name.
    """
    if isinstance(image, ObjectImage):
        entries = image.entry_points
    else:
        entries = {s.name: s.address for s in image.symbols.values() if s.defined and s.function}
    chosen = entries if function is None else {function: _find(image, entries, function, origin.source)}
    if not chosen:
        raise InputError("there is no machine code in it", where=origin.source)
    if len(chosen) > MAX_CANDIDATES:
        what = f"it has {len(chosen)} functions"
        raise InputError(what, where=origin.source, hint="name one with --function")
    routines = []
    for name, address in chosen.items():
        symbol = image.symbols.get(name)
        end = None
        if symbol is not None and symbol.address == address and symbol.size:
            end = address + symbol.size
        routines.append(
            Routine(
                name=name,
                origin=origin,
                image=image,
                entry=address,
                end=end,
                notes=notes,
                source_available=source_available,
            )
        )
    return routines


def _find(image: Image, entries: dict[str, int], function: str, where: str) -> int:
    if function in entries:
        return entries[function]
    symbol = image.symbols.get(function)
    if symbol is not None:
        if not symbol.defined:
            raise InputError(f"'{function}' is only referenced there, not defined", where=where)
        if any(s.executable and s.address <= symbol.address < s.address + s.size for s in image.sections):
            return symbol.address
        raise InputError(f"'{function}' is data, not code", where=where)
    names = list(entries)
    # difflib is slow: on a file with very many functions only the likelier ones are compared.
    if len(names) > 3000:
        names = [n for n in names if n[:2] == function[:2] or function in n][:3000]
    near = difflib.get_close_matches(function, names, n=5, cutoff=0.4)
    count = len(entries)
    hint = f"nearest of {count}: {', '.join(near)}" if near else f"it has {count} functions, none of a similar name"
    raise InputError(f"no function '{function}'", where=where, hint=hint)


def _image(
    elf: ElfFile,
    sections: list[Section],
    symbols: list[PlacedSymbol],
    lines: Mapping[int, SourceLine],
    bad: tuple[BadRelocation, ...],
) -> ObjectImage:
    distinct = with_distinct_names(symbols)
    by_name = symbols_by_name(distinct, sections)
    return ObjectImage(
        bits=elf.bits,
        sections=tuple(sections),
        symbols=by_name,
        lines=lines,
        bad_relocations=bad,
        patch_sites=patch_sites(sections, by_name, elf.bits),
        entry_points=entry_points(distinct, sections),
    )


class _Layout:
    """Gives the sections and symbols of a relocatable file their addresses, then applies relocations."""

    def __init__(self, elf: ElfFile) -> None:
        self.elf = elf
        self.bad: list[BadRelocation] = []
        self._cursor = IMAGE_BASE
        self._content = 0
        # A routine that walks on from a small variable is to be seen walking behind it, not through whatever
        # section happens to come next.
        rows = sum(bool(section["sh_flags"] & SH_FLAGS.SHF_ALLOC) for section in elf.sections)
        commons = sum(symbol.section == -SHN_INDICES.SHN_COMMON for symbol in elf.symbols)
        share = (EXTERNAL_BASE - IMAGE_BASE - MAX_CONTENT) // (rows + commons + 2)
        self._gap = max(min(share, MAX_GAP) // PAGE, 1) * PAGE
        self.bases: dict[int, int] = {}
        self.contents: dict[int, bytearray] = {}
        for number, section in enumerate(elf.sections):
            if section["sh_flags"] & SH_FLAGS.SHF_ALLOC:
                self._place_section(number, section)
        self._commons = {
            i: self._place(s.size, self._alignment(s.value, s.name), s.name)
            for i, s in enumerate(elf.symbols)
            if s.section == -SHN_INDICES.SHN_COMMON
        }
        pending = list(self._pending())
        self._externals = self._place_externals(pending)
        self._slots, self._got = self._place_slots(pending)
        for number, relocation in pending:
            self._relocate(number, relocation)

    def _alignment(self, alignment: int, name: str) -> int:
        if alignment & (alignment - 1) or alignment > MAX_ALIGNMENT:
            malformed(self.elf.where, f"{name} wants an alignment of {alignment} bytes")
        return max(alignment, 1)

    def _place(self, size: int, alignment: int, name: str) -> int:
        self._content += size
        if self._content > MAX_CONTENT:
            hint = f"'{name}' takes {size} bytes"
            raise InputError(f"more than {MAX_CONTENT >> 20} MiB of code and data", where=self.elf.where, hint=hint)
        step = max(alignment, PAGE)
        address = -(-self._cursor // step) * step
        self._cursor = -(-(address + size) // PAGE) * PAGE + self._gap
        if self._cursor > EXTERNAL_BASE:
            raise InputError("too many sections to give each one pages of its own", where=self.elf.where)
        return address

    def _place_section(self, number: int, section: ElfSection) -> None:
        if section["sh_flags"] & SH_FLAGS.SHF_COMPRESSED:
            malformed(self.elf.where, f"section {section.name} is loaded but compressed")
        alignment = self._alignment(section["sh_addralign"], f"section {section.name}")
        self.bases[number] = self._place(section["sh_size"], alignment, section.name)
        self.contents[number] = bytearray(self.elf.content(section))

    def _pending(self) -> Iterator[tuple[int, ElfRelocation]]:
        """The relocations of allocated sections, each with the number of the section it changes; those of code
        first: externals are placed in this order."""
        tables: list[tuple[int, ElfSection]] = []
        for table in self.elf.sections:
            if table["sh_type"] not in ("SHT_RELA", "SHT_REL"):
                continue
            number = table["sh_info"]
            if number >= len(self.elf.sections):
                malformed(self.elf.where, f"{table.name} relocates section {number}, which does not exist")
            if number in self.bases:
                tables.append((number, table))
        tables.sort(key=lambda pair: not self.elf.sections[pair[0]]["sh_flags"] & SH_FLAGS.SHF_EXECINSTR)
        count = 0
        for number, table in tables:
            if table["sh_link"] != self.elf.symbol_table and table["sh_size"]:
                malformed(self.elf.where, f"{table.name} does not refer to the symbol table")
            for relocation in self.elf.relocations(table):
                count += 1
                if count > MAX_RELOCATIONS:
                    raise InputError(f"more than {MAX_RELOCATIONS} relocations", where=self.elf.where)
                if relocation.type:
                    yield number, relocation

    def _place_externals(self, pending: list[tuple[int, ElfRelocation]]) -> dict[str, int]:
        addresses: dict[str, int] = {}
        for _, relocation in pending:
            symbol = self._symbol(relocation)
            if (
                relocation.symbol
                and symbol is not None
                and symbol.section == SHN_INDICES.SHN_UNDEF
                and symbol.name not in addresses
                and symbol.name != GOT_SYMBOL
                and len(addresses) < MAX_EXTERNALS
            ):
                addresses[symbol.name] = EXTERNAL_BASE + len(addresses) * EXTERNAL_STRIDE
        return addresses

    def _place_slots(self, pending: list[tuple[int, ElfRelocation]]) -> tuple[dict[int, int], int]:
        wanted: dict[int, None] = {}
        for _, relocation in pending:
            rule = rule_of(self.elf.bits, relocation.type)
            if rule is not None and rule.needs_slot:
                wanted[relocation.symbol] = None
        width = self.elf.bits // 8
        got = self._place(len(wanted) * width, width, "the global offset table")
        return {symbol: got + width * i for i, symbol in enumerate(wanted)}, got

    def _symbol(self, relocation: ElfRelocation) -> ElfSymbol | None:
        return self.elf.symbols[relocation.symbol] if relocation.symbol < len(self.elf.symbols) else None

    def address_of(self, index: int) -> int | str:
        """The address of symbol number ``index``, or the reason why it has none."""
        if index >= len(self.elf.symbols):
            return f"there is no symbol number {index}"
        symbol = self.elf.symbols[index]
        if index == 0:
            return 0
        if symbol.section == SHN_INDICES.SHN_UNDEF:
            if symbol.name == GOT_SYMBOL:
                return self._got
            address = self._externals.get(symbol.name)
            limit = f"no room for '{symbol.name}': more than {MAX_EXTERNALS} outside symbols are referenced"
            return limit if address is None else address
        if symbol.section == -SHN_INDICES.SHN_COMMON:
            return self._commons[index]
        if symbol.section == -SHN_INDICES.SHN_ABS:
            return symbol.value
        if symbol.kind == "STT_TLS":
            return f"'{symbol.name}' is thread-local"
        base = self.bases.get(symbol.section)
        return f"'{symbol.name}' lies in a section that is not loaded" if base is None else base + symbol.value

    def _relocate(self, number: int, relocation: ElfRelocation) -> None:
        base = self.bases[number]
        rule = rule_of(self.elf.bits, relocation.type)
        reason: str | None = "this type is not supported"
        if rule is not None:
            symbol = self.address_of(relocation.symbol)
            reason = symbol if isinstance(symbol, str) else None
            if not isinstance(symbol, str):
                reason = apply(
                    rule,
                    Place(self.contents[number], base, relocation.offset),
                    symbol=symbol,
                    addend=relocation.addend,
                    got=self._got,
                    slot=self._slots.get(relocation.symbol, 0),
                )
        if reason is not None:
            name = type_name(self.elf.bits, relocation.type)
            size = rule.size if rule is not None else self.elf.bits // 8
            self.bad.append(BadRelocation(base + relocation.offset, size, f"{name}: {reason}"))

    def image(self) -> ObjectImage:
        """The finished image."""
        sections = [
            Section(
                name=s.name,
                address=self.bases[number],
                data=bytes(self.contents[number]),
                size=s["sh_size"],
                alignment=max(s["sh_addralign"], 1),
                writable=bool(s["sh_flags"] & SH_FLAGS.SHF_WRITE),
                executable=bool(s["sh_flags"] & SH_FLAGS.SHF_EXECINSTR) and s["sh_type"] != "SHT_NOBITS",
            )
            for number, s in enumerate(self.elf.sections)
            if number in self.bases and s["sh_size"]
        ]
        for index, address in self._commons.items():
            symbol = self.elf.symbols[index]
            if symbol.size:
                sections.append(
                    Section(f"COMMON {symbol.name}", address, b"", symbol.size, max(symbol.value, 1), True, False)
                )
        if self._slots:
            sections.append(self._got_section())
        return _image(
            self.elf,
            sections,
            list(self._placed_symbols()),
            LineTable(self.elf, self.bases),
            tuple(self.bad),
        )

    def _got_section(self) -> Section:
        width = self.elf.bits // 8
        data = bytearray()
        for index, slot in self._slots.items():
            address = self.address_of(index)
            if isinstance(address, str):
                self.bad.append(BadRelocation(slot, width, f"global offset table: {address}"))
                address = 0
            data += (address & ((1 << self.elf.bits) - 1)).to_bytes(width, "little")
        return Section(".got", self._got, bytes(data), len(data), width, False, False)

    def _placed_symbols(self) -> Iterator[PlacedSymbol]:
        for name, address in self._externals.items():
            yield PlacedSymbol(name, address, 0, "STT_NOTYPE", "STB_GLOBAL", defined=False)
        for index, symbol in enumerate(self.elf.symbols):
            no_place = symbol.section in (SHN_INDICES.SHN_UNDEF, -SHN_INDICES.SHN_ABS)
            if no_place or symbol.kind in ("STT_SECTION", "STT_FILE"):
                continue
            place = self.address_of(index)
            if symbol.name and not isinstance(place, str):
                yield PlacedSymbol(symbol.name, place, symbol.size, symbol.kind, symbol.binding, defined=True)
