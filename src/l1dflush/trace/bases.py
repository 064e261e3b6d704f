"""Which addresses of an image are numbers and which are "so far behind something whose place nobody knows yet".

In a relocatable file each section, each common and each outside symbol is somewhere of its own: it is a base, a symbol
of the abstract machine, and an address is a place behind it. A linked file has numbers.
"""

from __future__ import annotations

from bisect import bisect_right

from l1dflush import _core
from l1dflush.errors import InputError
from l1dflush.routine.model import Image, Section, Symbol
from l1dflush.routine.relocations import Relocated, Relocation
from l1dflush.trace.operations import Place

# Relocations whose place holds the whole address, or the lower part of one that then has to fit (psABI).
_NARROW_UNSIGNED = frozenset({"R_X86_64_32"})
_WHOLE = frozenset({"R_X86_64_64", "R_X86_64_32", "R_X86_64_32S", "R_386_32"})
_RELATIVE = frozenset({"R_X86_64_PC32", "R_X86_64_PLT32", "R_X86_64_PC64", "R_386_PC32", "R_386_PLT32"})


class Bases:
    """The bases of one image on one machine."""

    def __init__(self, image: Image, machine: _core.Machine) -> None:
        self._image = image
        self._machine = machine
        self._sections = sorted(image.sections, key=lambda section: section.address)
        self._starts = [section.address for section in self._sections]
        self._numbers: dict[int, int] = {}
        self._externals: dict[str, int] = {}
        self._outside = {s.address: s for s in image.symbols.values() if not s.defined}
        self.section_of: dict[int, Section] = {}
        self.external_of: dict[int, str] = {}
        self._narrow = self._fit_in_32_bits()

    def _fit_in_32_bits(self) -> set[str | int]:
        """Names of outside symbols, and addresses of sections, that some relocation puts into 32 bits, zero-extended: a
        linker would have refused another place."""
        found: set[str | int] = set()
        for _, _, meanings in self._image.relocations.everything():
            for of in meanings.values():
                if of is None or of.type not in _NARROW_UNSIGNED:
                    continue
                section = None if of.target is None else self.section_at(of.target)
                found.add(of.symbol if section is None else section.address)
        return found

    def section_at(self, address: int) -> Section | None:
        """The section of the image that ``address`` lies in, or just behind."""
        number = bisect_right(self._starts, address) - 1
        if number < 0:
            return None
        section = self._sections[number]
        return section if address <= section.address + section.size else None

    def outside_at(self, address: int) -> Symbol | None:
        """The outside symbol whose place in the image is ``address``."""
        return self._outside.get(address)

    def of_section(self, section: Section) -> int:
        """The number of the section's base."""
        number = self._numbers.get(section.address)
        if number is None:
            bits = self._image.bits
            if self._image.linked:
                symbol = self._machine.terms.number(bits, section.address)
            else:
                symbol = self._symbol(section.alignment, section.size, section.address in self._narrow)
            number = self._machine.add_base(symbol, section.size, section.data, section.writable)
            self._numbers[section.address] = number
            self.section_of[number] = section
            if not self._image.linked:
                self._add_pointers(number, section)
        return number

    def _symbol(self, alignment: int, size: int, narrow: bool) -> _core.Value:
        bits = self._image.bits
        most = (1 << (32 if narrow else bits)) - 1 - max(size, 1 << 16)
        return self._machine.new_symbol(bits, max(alignment, 1), 4096, most)

    def _external(self, name: str) -> int:
        if name not in self._externals:
            symbol = self._symbol(1, 1 << 24, name in self._narrow)
            number = self._machine.add_base(symbol, 1 << 24, outside=True)
            self._externals[name] = number
            self.external_of[number] = name
        return self._externals[name]

    def _add_pointers(self, number: int, section: Section) -> None:
        for relocation in self._image.relocations.within(section.address, section.address + section.size):
            of = relocation.of
            if of.type in _WHOLE and of.size in (4, 8):
                place = self.target(of, relocation.addend, of.size)
                if place is None:
                    continue
                value = self.value(place)
                if of.size * 8 < self._image.bits:
                    value = self._machine.terms.slice(value, 0, of.size * 8)
                self._machine.add_pointer(number, relocation.address - section.address, value)

    def value(self, place: Place) -> _core.Value:
        """The address that a place is."""
        bits, terms = self._image.bits, self._machine.terms
        offset = terms.number(bits, place.offset & ((1 << bits) - 1))
        return terms.combine("add", self._machine.base(place.base), offset)

    def place_of(self, symbol: Symbol) -> Place:
        """Where a symbol is. Raises InputError for one that lies nowhere."""
        width = self._image.bits // 8
        if not symbol.defined:
            return Place(self._external(symbol.name), 0, width)
        section = self.section_at(symbol.address)
        if section is None:
            raise InputError(f"'{symbol.name}' is not in the file's memory", where="--bind")
        return Place(self.of_section(section), symbol.address - section.address, width)

    def target(self, of: Relocated, addend: int | None, size: int) -> Place | None:
        """The place that a relocation names, ``addend`` behind its symbol; None if that cannot be told."""
        if addend is None:
            return None
        symbol = self._image.symbols.get(of.symbol)
        if not of.section and symbol is not None and not symbol.defined:
            return Place(self._external(of.symbol), addend, size)
        section = None if of.target is None else self.section_at(of.target)
        if section is None or of.target is None:
            return None
        return Place(self.of_section(section), of.target - section.address + addend, size)

    def relocated(self, relocation: Relocation, distance: int, size: int) -> Place | None:
        """The address that an operand is which a relocation wrote. ``distance`` is what it comes to with nothing in the
        relocation's place: from that place on if the relocation is relative."""
        of = relocation.of
        if relocation.addend is None:
            return None
        understood = of.type in _RELATIVE or of.type in _WHOLE
        return self.target(of, relocation.addend + distance, size) if understood else None

    def is_relative(self, relocation: Relocation) -> bool:
        """Whether the relocation subtracts its own place."""
        return relocation.of.type in _RELATIVE
