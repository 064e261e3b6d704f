# SPDX-License-Identifier: GPL-2.0-or-later
"""What the abstract machine's terms are called: memory that an address leads to, and where a value comes from."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from l1dflush import _core
from l1dflush.routine.model import STACK_ARGUMENT, Routine, Section
from l1dflush.tracing.bindings import ARGUMENTS
from l1dflush.tracing.decode import GENERAL, Instruction
from l1dflush.tracing.effects import Form
from l1dflush.tracing.facts import Field, Subject
from l1dflush.tracing.first import STACKS_APART
from l1dflush.tracing.lift import Lifter
from l1dflush.tracing.memory_names import in_memory
from l1dflush.tracing.model import FLAGS_AT_ENTRY, MANY, POINTER_ALIGNMENT, Arena, ArenaKind
from l1dflush.tracing.operands import register_name
from l1dflush.tracing.region import STACK as STACK_REGION
from l1dflush.tracing.region import Region, RegionKind
from l1dflush.tracing.undefined import ALL_FLAGS

# Beyond this many sources, values loaded from memory are summed up.
MOST_SOURCES = 32
# How long a name of a loaded value's address may be.
LONGEST_NAME = 60
# Memory is named through so many pointers, and then so.
MOST_NESTED, UNNAMED = 4, "…"

# The machine's own bases, and where a symbol can come from.
STACK, RETURN = 0, 1
_MEMORY, _RESULT = 1, 2
_STACK_NAME = "the stack pointer"
AFTER = " after "

# Flags of the system, by P-code's names.
_FLAG_NAMES = {"IF": "the interrupt flag", "AC": "the alignment check flag", "TF": "the trap flag"}


class Names:
    """Names things of one routine's run. Arenas are those of :mod:`l1dflush.tracing.model`."""

    def __init__(self, routine: Routine, lifter: Lifter) -> None:
        self._routine = routine
        self._lifter = lifter
        self._machine = lifter.machine
        self._width = routine.image.bits // 8
        self._arenas: dict[int, tuple[Arena, int]] = {}
        self._symbol_names: dict[int, str] = {}
        # By term, as far as they do not depend on what asks.
        self._sources: dict[int, tuple[str, ...]] = {}
        self._bases: dict[int, int] = {}
        self._nested = 0
        # Regions, and what symbols in them stand for.
        self._pointers: dict[int, str] = {}
        # Names that are made of a place and an offset from it.
        self._fields: dict[str, Field] = {}
        self._parameters = {p.register.upper(): p.name for p in routine.parameters}

    def leads_to_itself(self, value: _core.Value, part: _core.Value, name: str) -> None:
        """Says that ``value`` is what is at first in the memory called ``name``; ``part`` of it is not known."""
        self._pointers[value.term] = name
        self._symbol_names[self._machine.described(part)[5]] = name

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
            return Arena("stack", ArenaKind.STACK, STACK_REGION, self._width, sources=(_STACK_NAME,)), 0
        inside = self._base_of(region)
        if inside in self._lifter.bases.section_of:
            return self._section_arena(self._lifter.bases.section_of[inside]), 0
        if inside in self._lifter.bases.external_of:
            name = self._lifter.bases.external_of[inside]
            alignment = self._lifter.bases.alignment_of.get(inside, POINTER_ALIGNMENT)
            outside = Region(RegionKind.SYMBOL, (name,))
            return Arena(f"external:{name}", ArenaKind.SYMBOL, outside, alignment, sources=(f"&{name}",)), 0
        names = self.sources(value)
        if (per_cpu := self._segment_arena(region)) is not None:
            return per_cpu, 0
        if region in self._pointers or self._machine.described(value)[0] == "symbol":
            told = (self._pointers[region],) if region in self._pointers else names
            pointed = Region(RegionKind.POINTED, told)
            return Arena(f"term:{region}", ArenaKind.INPUT, pointed, POINTER_ALIGNMENT, sources=names), 0
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
        computed = Region(RegionKind.COMPUTED, names)
        arena = Arena(f"term:{region}", ArenaKind.INPUT, computed, alignment, sources=names, computed=True)
        return arena, ones & (alignment - 1)

    def may_be_code(self, arena: Arena, one: int, other: int) -> bool:
        """Whether what lies between two offsets of an arena may be the routine's code: its address was computed from
        that of an executable section."""
        kind, _, region = arena.key.partition(":")
        if kind != "term":
            return False
        bases, image = self._lifter.bases, self._routine.image
        if not image.linked:
            used = set(self._machine.symbols_in(self._machine.terms.value(int(region))))
            code = (number for number, section in bases.section_of.items() if section.executable)
            return any(self._is(number, symbol) for number in code for symbol in used)
        # All its addresses are numbers, or so far behind one symbol: what is added to the index says what is meant.
        _, _, _, _, addends, _ = self._machine.described(self._machine.terms.value(int(region)))
        behind = [0, *(atom.term for atom, factor in addends if factor == 1)]
        _, distance = self._arenas[int(region)]
        places = [bases.in_linked(base, at - distance) for base in behind for at in (one, other)]
        return any(place is not None and place[0].executable for place in places)

    def _segment_arena(self, region: int) -> Arena | None:
        """Per-CPU or per-thread memory: a place at fs or gs, or the copy there of a section or an outside symbol."""
        found = self._in_segment(region)
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

    def _in_segment(self, region: int) -> tuple[str, int | None] | None:
        """The segment register that a region is relative to, and the base that is added to it, if there is one; None if
        the region is anything else."""
        value = self._machine.terms.value(region)
        kind, _, _, _, addends, _ = self._machine.described(value)
        atoms = [value] if kind == "symbol" else [atom for atom, factor in addends if factor == 1]
        if kind not in ("symbol", "sum") or len(atoms) > 2 or (kind == "sum" and len(addends) != len(atoms)):
            return None
        segments = {self._machine.slot(part.slot).term: name for name, part in self._lifter.segments.items()}
        found = [segments[atom.term] for atom in atoms if atom.term in segments]
        others = [self._base_of(atom.term) for atom in atoms if atom.term not in segments]
        if len(found) != 1 or None in others:
            return None
        return found[0], others[0] if others else None

    def _base_of(self, region: int) -> int | None:
        """The section's or outside symbol's base that a region is."""
        bases = self._lifter.bases
        if len(self._bases) < len(bases.section_of) + len(bases.external_of):  # some are made while the code runs
            self._bases = {self._machine.base(n).term: n for n in (*bases.section_of, *bases.external_of)}
        return self._bases.get(region)

    def _element(self, value: _core.Value, offset: int) -> tuple[str, int] | None:
        """``area + cpu*65536`` and where in the region's term ``area`` begins, for an element of a variable; None if it
        is nothing of the kind."""
        bases, machine = self._lifter.bases, self._machine
        kind, bits, _, _, addends, _ = machine.described(value)
        at = bases.in_linked(0, offset) if self._routine.image.linked else None
        for atom, factor in addends if kind == "sum" else ():
            if factor == 1 and (of := next((n for n in bases.section_of if machine.base(n).term == atom.term), None)):
                at = bases.in_linked(atom.term, offset) or (bases.section_of[of], offset)
                addends = [one for one in addends if one != (atom, factor)]
        if at is None or not addends:
            return None
        section, inside = at
        symbol, behind = self._symbol_at(section.address + inside, section.address)
        if symbol.startswith("["):
            return None
        text = symbol
        for atom, factor in addends:
            sign, size = ("+", factor) if factor < 1 << (bits - 1) else ("-", (1 << bits) - factor)
            text += f" {sign} {'+'.join(self.sources(atom))}" + (f"*{size}" if size != 1 else "")
        return text, offset - behind

    def held(self) -> list[str]:
        """The variables whose initial value was taken to be there still."""
        sections = self._lifter.bases.section_of
        names = [self._symbol_at(sections[base].address + at, sections[base].address)[0]
                 for base, at in self._machine.held if base in sections]  # fmt: skip
        return [f"`{name}`" for name in dict.fromkeys(names)]

    def nobody_gave(self, sources: Iterable[str]) -> list[str]:
        """Those of ``sources`` that are registers which are no argument, or the flags at entry, or what a call leaves
        in a register in which it returns nothing."""
        bits = self._routine.image.bits
        arguments = self._parameters or {register_name(name, bits): name for name in ARGUMENTS[bits]}
        registers = {
            register_name(name, bits).lower() for name in GENERAL if register_name(name, bits) not in arguments
        }
        used_up = {register_name(name, bits).lower() for name in GENERAL} - {"rdx", "edx"}
        named = {name: name.partition(AFTER)[0] for name in dict.fromkeys(sources)}
        return [
            name
            for name, register in named.items()
            if name in registers or name == FLAGS_AT_ENTRY or (register != name and register in used_up)
        ]

    def called(self, to: _core.Value) -> str:
        """The name of what is called: an outside symbol, or where the address comes from."""
        outside = self._lifter.bases.external_of
        for number, name in outside.items():
            if self._machine.base(number).term == to.term and to.term:
                return f"{name}+{to.constant:#x}" if to.constant else name
        return "+".join(self.sources(to)) if to.term else f"{to.constant:#x}"

    def sources(self, value: _core.Value) -> tuple[str, ...]:
        """The names of the symbols in a value, sorted; not all if there are very many."""
        known = self._sources.get(value.term)
        if known is None:
            known = few(self.symbol(number) for number in self._machine.symbols_in(value))
            if self._nested == 0 or not any(UNNAMED in name for name in known):
                self._sources[value.term] = known
        return known

    def key(self, value: _core.Value) -> str | None:
        """The static key whose state a value is."""
        if value.constant:
            return None
        states = {self._machine.slot(part.slot).term: name for part, name in self._lifter.keys.values()}
        return states.get(value.term)

    def made_of(self, value: _core.Value, by: Callable[[Instruction, int], bool]) -> bool:
        """Whether something of a value is a result of which ``by`` says so, given the instruction and the slot."""
        for symbol in self._machine.symbols_in(value):
            kind, _, _, _, base, offset, slot = self._machine.origin(symbol)
            if kind == _RESULT and by(self._lifter.instructions[base, offset], slot):
                return True
        return False

    def holds_what_is_there(self, value: _core.Value) -> bool:
        """Whether something of a value was loaded from memory whose content is known, and is not followed: constants or
        the stack, at a place that is not known, or of a constant a part that is none of its own."""
        for symbol in self._machine.symbols_in(value):
            kind, region, *_ = self._machine.origin(symbol)
            if kind == _MEMORY and region and self._is_known_memory(region):
                return True
        return False

    def _is_known_memory(self, region: int) -> bool:
        bases = self._lifter.bases
        constant = [number for number, section in bases.section_of.items() if section.constant]
        place = self._machine.terms.value(region)
        for symbol in self._machine.symbols_in(place):
            # What is above the routine's own part of the stack is the caller's.
            if self._is(STACK, symbol) and region != self._machine.base(STACK).term:
                return True
            if any(self._is(number, symbol) for number in constant):
                return True
        return False

    def follows_links(self, value: _core.Value) -> bool:
        """Whether something of a value was loaded from where something leads that was loaded itself, as it was."""
        return any(self._is_loaded(symbol, through_loaded=True) for symbol in self._machine.symbols_in(value))

    def _is_loaded(self, symbol: int, *, through_loaded: bool = False) -> bool:
        kind, region, *_ = self._machine.origin(symbol)
        if kind != _MEMORY or not through_loaded:
            return kind == _MEMORY
        what, *_, number = self._machine.described(self._machine.terms.value(region)) if region else ("", 0)
        return what == "symbol" and self._is_loaded(number)

    def in_memory(self, symbols: Iterable[int]) -> dict[str, str]:
        """Of those symbols that were in memory at first, and have no plain name, the names, and what they are bound by:
        with their size where it is not a pointer's."""
        found = {}
        for symbol in symbols:
            kind, _, _, size, *_ = self._machine.origin(symbol)
            name = self.symbol(symbol)
            if kind == _MEMORY and in_memory(name) is not None:
                found[name] = name if size == self._width else f"{name}:{size}"
        return found

    def subject(self, name: str) -> Subject:
        """A value as what a decision is about, by its name."""
        return Subject(name, field=self._fields.get(name))

    def symbol(self, symbol: int) -> str:
        """What a symbol is called."""
        known = self._symbol_names.get(symbol)
        if known is None:
            # A list is followed link by link, and a link may be computed from several.
            self._nested += 1
            known = self._name(symbol) if self._nested <= MOST_NESTED else UNNAMED
            self._nested -= 1
            if UNNAMED not in known or self._nested == 0:
                self._symbol_names[symbol] = known
        return known

    def _name(self, symbol: int) -> str:
        kind, region, offset, _, at_base, at_offset, slot = self._machine.origin(symbol)
        if kind == _MEMORY:
            return self._memory_name(region, offset)
        if kind == _RESULT:
            return self._result_name(self._lifter.instructions[at_base, at_offset], slot)
        if symbol in self._lifter.bases.distance_to:
            return f"&{self._lifter.bases.distance_to[symbol]}"
        for number, section in self._lifter.bases.section_of.items():
            if self._is(number, symbol):
                return section.name
        for number, name in self._lifter.bases.external_of.items():
            if self._is(number, symbol):
                # Its address, which is not what it holds.
                return f"&{name}"
        if self._is(STACK, symbol):
            return _STACK_NAME
        if self._is(RETURN, symbol):
            return "the return address"
        key = next((name for part, name in self._lifter.keys.values() if part.slot == slot), None)
        if key is not None:
            return key
        kept = self._lifter.kept_name(slot)
        if kept is not None:
            return kept
        name = self._lifter.register_name(slot)
        if name in ALL_FLAGS | {"DF"}:
            return FLAGS_AT_ENTRY
        if name in _FLAG_NAMES:
            return _FLAG_NAMES[name]
        return self._parameters.get(name, name.lower().replace("_offset", ""))

    def _result_name(self, insn: Instruction, slot: int) -> str:
        """``what alloc_pages returned``, ``rdx after alloc_pages``, ``rdtsc result``."""
        if insn.address < 0:
            # Of the caller that is made up for what runs first.
            return f"{insn.mnemonic} in {self._lifter.kept_name(slot) or self._lifter.register_name(slot).lower()}"
        if insn.effect.form not in (Form.CALL, Form.JUMP):
            return f"{insn.mnemonic} result"
        target = insn.operands[0]
        symbol = self._lifter.bases.outside_at(target) if isinstance(target, int) else None
        name = symbol.name if symbol is not None else insn.text.partition(" ")[2]
        register = self._lifter.register_name(slot)
        if register in ALL_FLAGS:
            return f"flags after {name}"
        return f"what {name} returned" if register in ("RAX", "EAX") else f"{register.lower()}{AFTER}{name}"

    def _memory_name(self, region: int, offset: int) -> str:
        """``flush_pages``, ``[rdi+0x1c]``, ``stack_arg1``, ``gs:0x28``: what was in memory there at first."""
        bases = self._lifter.bases
        linked = bases.in_linked(region, offset)
        if linked is not None:
            symbol, offset = self._symbol_at(linked[0].address + linked[1], linked[0].address)
            return self._behind(symbol, offset)
        inside = None if region == 0 else self._base_of(region)
        if inside is not None:
            return self._place_name(inside, offset)
        if region == 0:
            return f"[{offset & ((1 << self._routine.image.bits) - 1):#x}]"
        if (per_cpu := self._in_segment(region)) is not None:
            segment, base = per_cpu
            if base is None:
                return f"{segment}:{offset:#x}"
            return self._place_name(base, offset, f"{segment}:")
        if region == self._machine.base(STACK).term and (argument := self._argument_name(offset)):
            return argument
        names = ["stack" if name == _STACK_NAME else name for name in self.sources(self._machine.terms.value(region))]
        inner = "+".join(names)
        if len(inner) > LONGEST_NAME:
            inner = f"{inner[: LONGEST_NAME - 3]}..."
        return self._behind(f"[{inner}", offset, "]")

    def _argument_name(self, offset: int) -> str:
        """``stack_arg1``, or its name in C: what lies so far above the return address; empty below it. Of functions
        that are run before the routine, whose stack lies below its own, ``stack_arg1 of prepare``."""
        firsts, of = self._routine.first, ""
        if firsts and offset < -STACKS_APART // 2:
            # Behind the caller's return address, and each finds its arguments in the same place.
            offset += STACKS_APART + self._width
            of = f" of {firsts[0].name}" if len(firsts) == 1 else " of what runs first"
        elif self._routine.partial:
            return ""
        if offset < 0:
            return ""
        number, inside = divmod(offset, self._width)
        argument = f"{STACK_ARGUMENT}{number + 1}"
        argument = argument if of else self._parameters.get(argument.upper(), argument)
        return f"{argument}+{inside:#x}{of}" if inside else f"{argument}{of}"

    def _behind(self, base: str, offset: int, end: str = "") -> str:
        """``[rdi+0x1c]``: the name of a place by its distance from another one."""
        field = Field(base, offset, end)
        self._fields[field.name] = field
        return field.name

    def _place_name(self, base: int, offset: int, before: str = "") -> str:
        """``flush_pages+0x8``: a place behind a section's or an outside symbol's beginning."""
        section = self._lifter.bases.section_of.get(base)
        symbol = self._lifter.bases.external_of.get(base, "")
        if section is not None:
            symbol, offset = self._symbol_at(section.address + offset, section.address)
        return self._behind(f"{before}{symbol}", offset)

    def _symbol_at(self, address: int, lowest: int) -> tuple[str, int]:
        """The data symbol that the address is nearest behind, and how far."""
        if (slot := self._routine.image.slot_at(address)) is not None:
            return slot.name, 0
        found = [
            (symbol.address, name)
            for name, symbol in self._routine.image.symbols.items()
            if symbol.defined and not symbol.function and lowest <= symbol.address <= address
        ]
        if not found:
            return f"[{address:#x}]", 0
        at, name = max(found)
        return name, address - at

    def _is(self, base: int, symbol: int) -> bool:
        value = self._machine.base(base)
        return bool(value.term) and self._machine.described(value)[5] == symbol


def few(sources: Iterable[str]) -> tuple[str, ...]:
    """The names, sorted. A sum over a buffer comes from thousands of values: of those loaded from memory behind
    pointers some are kept, and :data:`MANY` stands for the others."""
    names = sorted(set(sources))
    if len(names) <= MOST_SOURCES:
        return tuple(names)
    loaded = [name for name in names if name.startswith("[")]
    dropped = set(loaded[MOST_SOURCES // 2 :])
    return tuple(sorted({MANY, *(name for name in names if name not in dropped)}))
