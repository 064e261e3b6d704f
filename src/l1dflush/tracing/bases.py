# SPDX-License-Identifier: GPL-2.0-or-later
"""Which addresses of an image are numbers and which are "so far behind something whose place nobody knows yet".

In a relocatable file each section, each common and each outside symbol is somewhere of its own: it is a base, a symbol
of the abstract machine, and an address is a place behind it. A linked file has numbers; one that may be loaded anywhere
is moved as a whole, so that all its addresses are so far behind one symbol.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable

from l1dflush import _core
from l1dflush.arguments import BIND
from l1dflush.errors import InputError, UndecidedError
from l1dflush.place import Place
from l1dflush.routine.elf.relocations import Relocated, Relocation
from l1dflush.routine.model import Image, Section, Symbol
from l1dflush.tracing.linkers_choice import NEAR, Narrow, NarrowPlaces, Piece, fits_signed, is_linkers, variables
from l1dflush.tracing.operations import Address

PAGE = 4096
# So many bytes behind an outside symbol are taken to be its own.
_OUTSIDE = NEAR

# Relocations whose place holds the whole address, or the lower part of one that then has to fit (psABI).
_WHOLE = frozenset({"R_X86_64_64", "R_X86_64_32", "R_X86_64_32S", "R_386_32"})
# The same in a linked file: an address in it, and a symbol's, to which nothing is added.
_OWN = frozenset({"R_X86_64_RELATIVE", "R_386_RELATIVE"})
_BARE = frozenset({"R_X86_64_GLOB_DAT", "R_X86_64_JUMP_SLOT", "R_386_GLOB_DAT", "R_386_JMP_SLOT"})
# What leads to a symbol's slot in the global offset table: from the place on, and from the table's beginning on.
_SLOT = frozenset({"R_X86_64_GOTPCREL", "R_X86_64_GOTPCRELX", "R_X86_64_REX_GOTPCRELX", "R_X86_64_GOTTPOFF"})
_SLOT_IN_TABLE = frozenset({"R_386_GOT32", "R_386_GOT32X", "R_386_TLS_GOTIE"})
_SLOTS = _SLOT | _SLOT_IN_TABLE | {"R_386_TLS_IE"}
# Those of slots that hold how far a variable is behind the thread's pointer.
_THREAD_SLOTS = frozenset({"R_X86_64_GOTTPOFF", "R_386_TLS_GOTIE", "R_386_TLS_IE"})
# The table itself, and how far behind it a symbol is.
_TABLE, _BEHIND_TABLE = "R_386_GOTPC", "R_386_GOTOFF"
# Numbers that a linker chooses: how far a thread-local variable is behind the thread's pointer (x86's lie before it) or
# its file's first one, and how large the definition is; by what is put behind the symbol's name, with the least that it
# is and what lies above the most, signed ("ELF Handling For Thread-Local Storage").
_CHOSEN = {
    "@tpoff": (-(1 << 31), 0, {"R_X86_64_TPOFF32", "R_X86_64_TPOFF64", "R_386_TLS_LE"}),
    "@ntpoff": (0, 1 << 31, {"R_386_TLS_LE_32"}),
    "@dtpoff": (0, 1 << 31, {"R_X86_64_DTPOFF32", "R_X86_64_DTPOFF64", "R_386_TLS_LDO_32"}),
    "@size": (0, 1 << 31, {"R_X86_64_SIZE32", "R_X86_64_SIZE64", "R_386_SIZE32"}),
}
_NUMBERS = frozenset(name for _, _, names in _CHOSEN.values() for name in names)
_RELATIVE = frozenset({"R_X86_64_PC32", "R_X86_64_PLT32", "R_X86_64_PC64", "R_386_PC32", "R_386_PLT32"})


class Bases:
    """The bases of one image on one machine."""

    def __init__(self, image: Image, machine: _core.Machine, roots: Iterable[int] = ()) -> None:
        """``roots`` are addresses of code that surely is in what will be linked."""
        self._image = image
        self._machine = machine
        self._sections = sorted(image.sections, key=lambda section: section.address)
        self._starts = [section.address for section in self._sections]
        self._numbers: dict[int, int] = {}
        self._externals: dict[str, int] = {}
        self._outside = {s.address: s for s in image.symbols.values() if not s.defined}
        # The global offset table, and what is known of it: slots by the place they hold, differences by the two bases.
        self._table_base: int | None = None
        self._slots: dict[Address, int] = {}
        self._differences: dict[tuple[int, int], int] = {}
        # Of sections that a linker merges: where their entries begin, and those that came up.
        self._entry_starts: dict[int, list[int]] = {}
        self._entries: dict[int, Section] = {}
        # The base of what is a number.
        self._nowhere: int | None = None
        # Where a file that is moved as a whole begins.
        self._beginning: _core.Value | None = None
        # Whose pointers the machine has not been told.
        self._unread: dict[int, Section] = {}
        self.section_of: dict[int, Section] = {}
        self.external_of: dict[int, str] = {}
        # Symbols that are how far something is from where it would be, by their numbers, and that thing's name.
        self.distance_to: dict[int, str] = {}
        # Of those that are known.
        self.alignment_of: dict[int, int] = {}
        # The variables of which a program may have a copy: where they are if it has none, and their alignment.
        self.exported: dict[str, tuple[range, int]] = {}
        self._narrow = NarrowPlaces(image, roots, self._meant)
        self._variables: list[int] | None = None
        # What a linker has placed, by the term of its beginning; and what it has seen to besides: conditions that hold.
        self.placed: dict[int, Piece] = {}
        self.fits: list[_core.Value] = []
        # Whatever is added to what leads to any of a linked file's.
        for section in self._sections if image.linked else ():
            self.of_section(section)

    def section_at(self, address: int) -> Section | None:
        """The section of the image that ``address`` lies in, or just behind; of one that a linker merges, the entry."""
        number = bisect_right(self._starts, address) - 1
        if number < 0:
            return None
        section = self._entry_at(self._sections[number], address)
        return section if address <= section.address + section.size else None

    def _entry_at(self, section: Section, address: int) -> Section:
        """See :meth:`Section.entry_at`; a section may have very many."""
        if not section.entry:
            return section
        if section.address not in self._entry_starts:
            self._entry_starts[section.address] = section.entry_starts()
        entry = section.entry_at(address, self._entry_starts[section.address])
        return self._entries.setdefault(entry.address, entry)

    def outside_at(self, address: int) -> Symbol | None:
        """The outside symbol whose place in the image is ``address``."""
        return self._outside.get(address)

    def of_section(self, section: Section) -> int:
        """The number of the section's base."""
        number = self._numbers.get(section.address)
        if number is None:
            number = self._with_content(self._start(section), section)
            self._numbers[section.address] = number
            self.section_of[number] = section
        return number

    def _start(self, section: Section) -> _core.Value:
        """Where a section is."""
        if not self._image.linked:
            if section.entry and section.writable:
                # Several may be one place.
                return self._moved(section.name, section.alignment)
            return self._symbol(section.alignment, section.size, self._narrow.of(section.address), section)
        terms = self._machine.terms
        if not self._image.movable:
            return terms.number(self._image.bits, section.address)
        first, last = self._sections[0], self._sections[-1]
        if self._beginning is None:
            self._beginning = self._symbol(PAGE, last.address + last.size - first.address)
        return terms.combine("add", self._beginning, terms.number(self._image.bits, section.address - first.address))

    def _moved(self, name: str, alignment: int, section: Section | None = None) -> _core.Value:
        """The place of something called ``name`` that may be the same as one in ``section``, or in a file that is moved
        as a whole, or as another of this kind: so far behind one symbol as nobody knows."""
        bits, terms = self._image.bits, self._machine.terms
        if section is not None and not self._image.linked:
            near = self._machine.base(self.of_section(section))
        else:
            near = self._beginning = self._beginning or self._machine.new_symbol(bits, PAGE)
        distance = self._machine.new_symbol(bits, max(alignment, 1))
        self.distance_to[self._machine.described(distance)[5]] = name
        return terms.combine("add", near, distance)

    def in_linked(self, region: int, offset: int) -> tuple[Section, int] | None:
        """The section of a linked file that lies ``offset`` behind a region's beginning, and how far in it that is;
        None if the region is not the file's."""
        beginning = self._beginning.term if self._beginning is not None else 0
        if not self._image.linked or region != beginning:
            return None
        first = self._sections[0].address if self._beginning is not None else 0
        address = (first + offset) & ((1 << self._image.bits) - 1)
        section = self.section_at(address)
        return None if section is None else (section, address - section.address)

    def _symbol(
        self, alignment: int, size: int, narrow: Narrow = Narrow.NONE, section: Section | None = None
    ) -> _core.Value:
        """The place of something of which nothing is known but its alignment, and that it fits."""
        bits, terms = self._image.bits, self._machine.terms
        room = 31 if narrow is Narrow.SIGNED | Narrow.UNSIGNED else 32 if narrow is Narrow.UNSIGNED else bits
        symbol = self._machine.new_symbol(bits, max(alignment, 1), 0, (1 << room) - 1 - max(size, 1 << 16))
        if narrow is Narrow.SIGNED:
            self.fits.append(fits_signed(terms, symbol))
        self.placed[symbol.term] = Piece.of(symbol, section)
        return symbol

    def _external(self, name: str, absent: bool = False) -> int:
        if name not in self._externals:
            if is_linkers(name):
                # It may lie anywhere in what is here, or behind it.
                symbol = self._machine.slot(self._machine.add_slot(self._image.bits, wild=True))
            elif absent:
                symbol = self._machine.new_symbol(self._image.bits)  # or 0
            else:
                symbol = self._symbol(1, _OUTSIDE, self._narrow.of(name))
            number = self._machine.add_base(symbol, _OUTSIDE, outside=True)
            self._externals[name] = number
            self.external_of[number] = name
        return self._externals[name]

    def _exported(self, of: Relocated, target: int) -> int:
        """The base of a variable of which a program may have a copy, which is then used in its place (psABI,
        R_X86_64_COPY)."""
        if of.symbol not in self._externals:
            symbol, section = self._image.symbols.get(of.symbol), self.section_at(target)
            size = symbol.size or 0 if symbol is not None else 0
            start = target - section.address if section is not None else 0
            data = section.data[start : start + size] if section is not None else b""
            writable = section is None or section.writable
            held = Section(of.symbol, target, data, size, of.exported, writable, executable=False)
            number = self._with_content(self._moved(of.symbol, of.exported, section), held)
            self._externals[of.symbol] = number
            self.external_of[number] = of.symbol
            self.alignment_of[number] = of.exported
            self.exported[of.symbol] = range(target, target + size), of.exported
        return self._externals[of.symbol]

    def _with_content(self, start: _core.Value, section: Section) -> int:
        """A new base that holds what the section holds."""
        number = self._machine.add_base(start, section.size, section.data, section.writable, unread=True)
        self._unread[number] = section
        return number

    def add_pointers(self, number: int) -> None:
        """Tells the machine what relocations put into a base, once something is loaded from it: addresses, or what
        nobody knows; and where its variables begin."""
        section, terms = self._unread.pop(number), self._machine.terms
        if section.writable:
            self._machine.set_borders(number, self._beginnings(section))
        for relocation in self._image.relocations.within(section.address, section.address + section.size):
            of = relocation.of
            size = of.size or self._image.bits // 8
            if section.executable and size not in (4, 8):
                continue  # no instruction may have one there
            at = relocation.address - section.address
            distance = self._far_from(relocation, number, at)
            if distance is not None:
                self._machine.add_pointer(number, at, distance, size)
                if size * 8 < self._image.bits:
                    self.fits.append(fits_signed(terms, distance))
                continue
            place = self._pointed_to(relocation)
            if place is None:
                value = self._machine.new_symbol(8 * size)
                self.external_of[self._machine.add_base(value, 0)] = f"{of.type} of {of.symbol or 'the file'}"
            else:
                value = self.value(place)
                value = terms.slice(value, 0, 8 * size) if size * 8 < self._image.bits else value
            self._machine.add_pointer(number, at, value)

    def _beginnings(self, section: Section) -> list[int]:
        """Where variables begin in a section, in bytes from its beginning."""
        if self._variables is None:
            self._variables = variables(self._image)
        first, behind = (bisect_left(self._variables, section.address + at) for at in (1, section.size))
        return [at - section.address for at in self._variables[first:behind]]

    def _far_from(self, relocation: Relocation, number: int, at: int) -> _core.Value | None:
        """How far what a relocation names is from the relocation's own place, or behind the global offset table, as
        tables of places in the code have it; a linker sees to it that it fits. None for others."""
        of, width = relocation.of, self._image.bits // 8
        if self._image.linked or of.size not in (4, 8) or (of.type not in _RELATIVE and of.type != _BEHIND_TABLE):
            return None
        to = self.target(of, relocation.addend, width)
        if to is None:
            return None
        begin = Address(self._table(), 0, width) if of.type == _BEHIND_TABLE else Address(number, at, width)
        return self._machine.terms.combine("subtract", self.value(to), self.value(begin))

    def _pointed_to(self, relocation: Relocation) -> Address | None:
        """The address that a relocation puts into data; None for what is none, or is not understood."""
        of = relocation.of
        if of.type in _OWN and of.target is not None and relocation.addend is not None:
            return self._inside(of.target + relocation.addend, of.size)
        if of.type in _BARE:
            if of.target is None and of.symbol:
                return Address(self._external(of.symbol, of.absent), 0, of.size)
            return self.target(of, 0, of.size)
        understood = (of.type in _WHOLE or of.type in _NUMBERS) and of.size in (4, 8)
        return self.target(of, relocation.addend, of.size) if understood else None

    def value(self, place: Address) -> _core.Value:
        """The address that a place is."""
        bits, terms = self._image.bits, self._machine.terms
        offset = terms.number(bits, place.offset & ((1 << bits) - 1))
        return terms.combine("add", self._machine.base(place.base), offset)

    def _inside(self, address: int, size: int) -> Address | None:
        """Where an address of the image is, in or just behind a section; None for one that lies in none."""
        section = self.section_at(address)
        return None if section is None else Address(self.of_section(section), address - section.address, size)

    def place_at(self, address: int) -> Address:
        """Where an address of the image is. Raises UndecidedError for one that lies in no section."""
        place = self._inside(address, self._image.bits // 8)
        if place is None:
            raise UndecidedError("jump-into-nowhere", "there is no code", where=Place(offset=address))
        return place

    def place_of(self, symbol: Symbol) -> Address:
        """Where a symbol is. Raises InputError for one that lies nowhere."""
        width = self._image.bits // 8
        if not symbol.defined:
            return Address(self._external(symbol.name), 0, width)
        place = self._inside(symbol.address, width)
        if place is None:
            raise InputError(f"'{symbol.name}' is not in the file's memory", where=str(BIND))
        return place

    def target(self, of: Relocated, addend: int | None, size: int, distance: int = 0) -> Address | None:
        """The place that a relocation names, ``distance`` behind its symbol and addend; None if that cannot be told."""
        if addend is None:
            return None
        chosen = next((name for name, (_, _, types) in _CHOSEN.items() if of.type in types), None)
        if chosen is not None:
            return Address(self._number_of(of.symbol, chosen), addend + distance, size)
        if of.absolute and of.target is not None:
            if self._nowhere is None:
                self._nowhere = self._machine.add_base(self._machine.terms.number(self._image.bits, 0), 0)
            return Address(self._nowhere, of.target + addend + distance, size)
        symbol = self._image.symbols.get(of.symbol)
        if not of.section and symbol is not None and not symbol.defined:
            return Address(self._external(of.symbol, of.absent), addend + distance, size)
        if of.exported and of.target is not None and (symbol is None or not symbol.function):
            return Address(self._exported(of, of.target), addend + distance, size)
        section = None if of.target is None else self._meant(of, of.target, addend)
        if section is None or of.target is None:
            return None
        return Address(self.of_section(section), of.target - section.address + addend + distance, size)

    def _meant(self, of: Relocated, target: int, addend: int) -> Section | None:
        """The section that a relocation names. Of one that is merged it is the entry that the symbol lies in; where the
        symbol is the section's, the one so far behind, which is in it (generic ABI, "Section Attribute Flags")."""
        section = self.section_at(target)
        number = bisect_right(self._starts, target) - 1
        whole = self._sections[number] if number >= 0 else None
        if not of.section or whole is None or not whole.entry:
            return section
        return self._entry_at(whole, target + addend) if 0 <= addend < whole.size else None

    def relocated(self, relocation: Relocation, distance: int, size: int) -> Address | None:
        """The address that an operand is which a relocation wrote. ``distance`` is what it comes to with nothing in the
        relocation's place: from that place on if the relocation is relative."""
        of = relocation.of
        if relocation.addend is None:
            return None
        total = relocation.addend + distance
        if of.type in _RELATIVE or of.type in _WHOLE or of.type in _NUMBERS:
            return self.target(of, relocation.addend, size, distance)
        if of.type in _SLOTS:
            width = self._image.bits // 8
            of_thread = of.type in _THREAD_SLOTS
            held = Address(self._number_of(of.symbol, "@tpoff"), 0, width) if of_thread else self.target(of, 0, width)
            if held is None:
                return None
            slot = self._slot(held)
            return Address(self._distance(slot, self._table()) if of.type in _SLOT_IN_TABLE else slot, total, size)
        if of.type == _TABLE:
            section = self.section_at(relocation.address)
            assert section is not None
            behind = self._distance(self._table(), self.of_section(section))
            return Address(behind, total - (relocation.address - section.address), size)
        place = self.target(of, relocation.addend, size, distance) if of.type == _BEHIND_TABLE else None
        return None if place is None else place._replace(base=self._distance(place.base, self._table()))

    def _number_of(self, symbol: str, what: str) -> int:
        """The base that is a number which a linker chooses for a symbol."""
        name = f"{symbol}{what}"
        if name not in self._externals:
            least, most, _ = _CHOSEN[what]
            bits = self._image.bits
            mask = (1 << bits) - 1
            number = self._machine.new_symbol(bits, 1, least & mask, (most - 1) & mask)
            self._externals[name] = self._machine.add_base(number, 0)
            self.external_of[self._externals[name]] = name
        return self._externals[name]

    def _slot(self, held: Address) -> int:
        """The base of the slot of the global offset table that holds an address: each lies somewhere of its own."""
        if held not in self._slots:
            width = self._image.bits // 8
            number = self._machine.add_base(self._symbol(width, width), width, b"", writable=False)
            self._machine.add_pointer(number, 0, self.value(held))
            self._slots[held] = number
            self.external_of[number] = "the global offset table"
        return self._slots[held]

    def _table(self) -> int:
        """The base of the global offset table as such."""
        if self._table_base is None:
            width = self._image.bits // 8
            self._table_base = self._machine.add_base(self._symbol(width, 1 << 16), 0)
            self.external_of[self._table_base] = "the global offset table"
        return self._table_base

    def _distance(self, base: int, of: int) -> int:
        """The base that is how far a base is behind another one."""
        if (base, of) not in self._differences:
            terms, machine = self._machine.terms, self._machine
            distance = terms.combine("subtract", machine.base(base), machine.base(of))
            self._differences[base, of] = machine.add_base(distance, 0)
        return self._differences[base, of]

    def is_relative(self, relocation: Relocation) -> bool:
        """Whether the relocation subtracts its own place."""
        return relocation.of.type in _RELATIVE | _SLOT
