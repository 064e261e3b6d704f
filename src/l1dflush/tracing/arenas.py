# SPDX-License-Identifier: GPL-2.0-or-later
"""The arenas that addresses lie in, as :mod:`l1dflush.tracing.model` has them."""

from __future__ import annotations

from l1dflush import _core
from l1dflush.routine.model import Image, Section
from l1dflush.tracing.lift import Lifter
from l1dflush.tracing.model import POINTER_ALIGNMENT, Arena, ArenaKind
from l1dflush.tracing.names import STACK, STACK_NAME, Names
from l1dflush.tracing.region import STACK as STACK_REGION
from l1dflush.tracing.region import Region, RegionKind


class Arenas:
    """The arenas of one routine's run; ``names`` says what they come from."""

    def __init__(self, image: Image, lifter: Lifter, names: Names) -> None:
        self._image = image
        self._lifter = lifter
        self._machine = lifter.machine
        self._names = names
        self._places = names.places
        self._arenas: dict[int, tuple[Arena, int]] = {}

    def place(self, region: int, offset: int) -> tuple[Arena, int]:
        """The arena and the offset in it of an address: ``offset`` behind the term ``region`` (0: a number)."""
        linked = self._lifter.bases.in_linked(region, offset)
        if linked is not None:
            return self._apart(self._section_arena(linked[0]), linked[1])
        if region == 0:
            return Arena("absolute", ArenaKind.ABSOLUTE, Region(RegionKind.ABSOLUTE), 4096), offset
        if region not in self._arenas:
            self._arenas[region] = self._arena(region, offset)
        arena, distance = self._arenas[region]
        return self._apart(arena, offset + distance)

    def _apart(self, arena: Arena, offset: int) -> tuple[Arena, int]:
        """The same for a place in a section: one that is another name's of an exported variable is the variable's, if
        no program has a copy of it."""
        if arena.kind is ArenaKind.SECTION and self._lifter.bases.exported:
            address = int(arena.key.removeprefix("section:"), 16) + offset
            for name, (there, alignment) in self._lifter.bases.exported.items():
                if address in there:
                    key, inside = f"section:{there.start:x}", address - there.start
                    return Arena(key, ArenaKind.SECTION, arena.region, alignment, sources=(f"&{name}",)), inside
        return arena, offset

    @staticmethod
    def _section_arena(section: Section) -> Arena:
        key = f"section:{section.address:x}"
        # What is computed from its address may lie in it.
        region = Region(RegionKind.SECTION, (section.name,))
        return Arena(key, ArenaKind.SECTION, region, max(section.alignment, 1), sources=(section.name,))

    def _arena(self, region: int, offset: int) -> tuple[Arena, int]:
        """The arena of a region of which ``offset`` is the first that was accessed, and how far behind its beginning
        the region's term is."""
        value = self._machine.terms.value(region)
        if region == self._machine.base(STACK).term:
            return Arena("stack", ArenaKind.STACK, STACK_REGION, self._image.bits // 8, sources=(STACK_NAME,)), 0
        inside = self._places.base_of(region)
        if inside in self._lifter.bases.section_of:
            return self._section_arena(self._lifter.bases.section_of[inside]), 0
        if inside in self._lifter.bases.external_of:
            name = self._lifter.bases.external_of[inside]
            alignment = self._lifter.bases.alignment_of.get(inside, POINTER_ALIGNMENT)
            outside = Region(RegionKind.SYMBOL, (name,))
            return Arena(f"external:{name}", ArenaKind.SYMBOL, outside, alignment, sources=(f"&{name}",)), 0
        names = self._names.sources(value)
        if (per_cpu := self._segment_arena(region)) is not None:
            return per_cpu, 0
        leads_to_itself = self._names.pointers.get(region)
        is_symbol = self._machine.described(value)[0] == "symbol"
        if leads_to_itself is not None or (is_symbol and self._names.is_handed_over(value)):
            told = (leads_to_itself,) if leads_to_itself is not None else names
            pointed = Region(RegionKind.POINTED, told)
            known = self._names.pointer(value)
            return Arena(f"term:{region}", ArenaKind.INPUT, pointed, POINTER_ALIGNMENT, sources=names, pointer=known), 0
        # What was computed has the alignment that follows from how: so many of its lowest bits are known.
        zeros, ones, _, _ = self._machine.terms.known(value)
        settled = zeros | ones
        alignment = (settled + 1) & ~settled
        element = self._element(value, offset)
        if element is not None:
            formula, begins = element
            settled_at = (ones + begins) & (alignment - 1)
            inside_of = Region(RegionKind.ELEMENT, (formula,))
            arena = Arena(f"term:{region}", ArenaKind.INPUT, inside_of, alignment, sources=names, computed=True)
            return arena, settled_at - begins
        computed, known = Region(RegionKind.COMPUTED, names), self._names.pointer(value)
        arena = Arena(
            f"term:{region}", ArenaKind.INPUT, computed, alignment, sources=names, computed=True, pointer=known
        )
        return arena, ones & (alignment - 1)

    def may_be_code(self, arena: Arena, one: int, other: int) -> bool:
        """Whether what lies between two offsets of an arena may be the routine's code: its address was computed from
        that of an executable section."""
        kind, _, region = arena.key.partition(":")
        if kind != "term":
            return False
        bases = self._lifter.bases
        if not self._image.linked:
            used = set(self._machine.symbols_in(self._machine.terms.value(int(region))))
            code = (number for number, section in bases.section_of.items() if section.executable)
            return any(self._places.is_base(number, symbol) for number in code for symbol in used)
        # All its addresses are numbers, or so far behind one symbol: what is added to the index says what is meant.
        _, _, _, _, addends, _ = self._machine.described(self._machine.terms.value(int(region)))
        behind = [0, *(atom.term for atom, factor in addends if factor == 1)]
        _, distance = self._arenas[int(region)]
        places = [bases.in_linked(base, at - distance) for base in behind for at in (one, other)]
        return any(place is not None and place[0].executable for place in places)

    def _segment_arena(self, region: int) -> Arena | None:
        """Per-CPU or per-thread memory: a place at fs or gs, or the copy there of a section or an outside symbol."""
        found = self._places.in_segment(region)
        if found is None:
            return None
        segment, inside = found
        if inside is None:
            return Arena(f"{segment}:", ArenaKind.SEGMENT, Region(RegionKind.SEGMENT, (segment,)), POINTER_ALIGNMENT)
        if inside in self._lifter.bases.section_of:
            inner = self._section_arena(self._lifter.bases.section_of[inside])
            name = self._lifter.bases.section_of[inside].name
        else:
            name = self._lifter.bases.external_of[inside]
            inner = Arena(f"external:{name}", ArenaKind.SYMBOL, Region(RegionKind.SYMBOL, (name,)), POINTER_ALIGNMENT)
        there = Region(RegionKind.SEGMENT, (segment, name))
        return Arena(f"{segment}:{inner.key}", ArenaKind.SEGMENT, there, inner.alignment)

    def _element(self, value: _core.Value, offset: int) -> tuple[str, int] | None:
        """``area + cpu*65536`` and where in the region's term ``area`` begins, for an element of a variable; None if it
        is nothing of the kind."""
        bases, machine = self._lifter.bases, self._machine
        kind, bits, _, _, addends, _ = machine.described(value)
        at = bases.in_linked(0, offset) if self._image.linked else None
        for atom, factor in addends if kind == "sum" else ():
            if factor == 1 and (of := next((n for n in bases.section_of if machine.base(n).term == atom.term), None)):
                at = bases.in_linked(atom.term, offset) or (bases.section_of[of], offset)
                addends = [one for one in addends if one != (atom, factor)]
        if at is None or not addends:
            return None
        section, inside = at
        symbol, behind = self._places.symbol_at(section.address + inside, section.address)
        if symbol.startswith("["):
            return None
        text = symbol
        for atom, factor in addends:
            sign, size = ("+", factor) if factor < 1 << (bits - 1) else ("-", (1 << bits) - factor)
            text += f" {sign} {'+'.join(self._names.sources(atom))}" + (f"*{size}" if size != 1 else "")
        return text, offset - behind
