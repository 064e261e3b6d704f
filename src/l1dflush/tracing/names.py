# SPDX-License-Identifier: GPL-2.0-or-later
"""What the abstract machine's terms are called: where a value comes from, and what memory it was loaded from."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from l1dflush import _core
from l1dflush.routine.model import STACK_ARGUMENT, Routine
from l1dflush.tracing.bindings import ARGUMENTS
from l1dflush.tracing.decode import GENERAL, Instruction, general_registers
from l1dflush.tracing.effects import Form
from l1dflush.tracing.facts import Field, Subject
from l1dflush.tracing.first import STACKS_APART
from l1dflush.tracing.known_places import KnownPlaces
from l1dflush.tracing.lift import Lifter
from l1dflush.tracing.memory_names import in_memory
from l1dflush.tracing.model import FLAGS_AT_ENTRY, MANY, Pointer
from l1dflush.tracing.operands import register_name
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
STACK_NAME = "the stack pointer"
AFTER = " after "

# Flags of the system, by P-code's names.
_FLAG_NAMES = {"IF": "the interrupt flag", "AC": "the alignment check flag", "TF": "the trap flag"}


class Names:
    """Names the values of one routine's run."""

    def __init__(self, routine: Routine, lifter: Lifter) -> None:
        self._routine = routine
        self._lifter = lifter
        self._machine = lifter.machine
        self._width = routine.image.bits // 8
        self.places = KnownPlaces(routine.image, lifter)
        self._symbol_names: dict[int, str] = {}
        # By term, as far as they do not depend on what asks.
        self._sources: dict[int, tuple[str, ...]] = {}
        self._nested = 0
        # Regions, and what symbols in them stand for.
        self.pointers: dict[int, str] = {}
        # Names that are made of a place and an offset from it.
        self._fields: dict[str, Field] = {}
        self._parameters = {p.register.upper(): p.name for p in routine.parameters}

    def leads_to_itself(self, value: _core.Value, part: _core.Value, name: str) -> None:
        """Says that ``value`` is what is at first in the memory called ``name``; ``part`` of it is not known."""
        self.pointers[value.term] = name
        self._symbol_names[self._machine.described(part)[5]] = name

    def held(self) -> list[str]:
        """The variables whose initial value was taken to be there still."""
        sections = self._lifter.bases.section_of
        names = [self.places.symbol_at(sections[base].address + at, sections[base].address)[0]
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
            if self.places.is_base(STACK, symbol) and region != self._machine.base(STACK).term:
                return True
            if any(self.places.is_base(number, symbol) for number in constant):
                return True
        return False

    def pointer(self, value: _core.Value) -> Pointer | None:
        """What is known of an address that is a symbol; None for any other."""
        what, *_, number = self._machine.described(value)
        if what != "symbol":
            return None
        kind, region, *_ = self._machine.origin(number)
        of = self._machine.symbols_in(self._machine.terms.value(region)) if kind == _MEMORY and region else ()
        # What an instruction makes of its operands, and nobody follows, may be one of these.
        return Pointer(self._machine.is_wild(number) or kind == _RESULT, region if of else 0, frozenset(of))

    def is_handed_over(self, value: _core.Value) -> bool:
        """Whether a symbol was handed in, in a register or in memory, or returned by outside code; and is not the
        return address, a register of the system's, or what an instruction made that is not followed."""
        number = self._machine.described(value)[5]
        kind, _, _, _, base, offset, slot = self._machine.origin(number)
        if kind == _RESULT:
            insn = self._lifter.instructions[base, offset]
            return insn.address < 0 or insn.effect.form in (Form.CALL, Form.JUMP)
        if kind == _MEMORY:
            return True
        if self.places.is_base(RETURN, number):
            return False
        bits = self._routine.image.bits
        return slot in {self._lifter.register(register_name(name, bits))[0].slot for name in general_registers(bits)}

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
            if self.places.is_base(number, symbol):
                return section.name
        for number, name in self._lifter.bases.external_of.items():
            if self.places.is_base(number, symbol):
                # Its address, which is not what it holds.
                return f"&{name}"
        if self.places.is_base(STACK, symbol):
            return STACK_NAME
        if self.places.is_base(RETURN, symbol):
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
            symbol, offset = self.places.symbol_at(linked[0].address + linked[1], linked[0].address)
            return self._behind(symbol, offset)
        inside = None if region == 0 else self.places.base_of(region)
        if inside is not None:
            return self._place_name(inside, offset)
        if region == 0:
            return f"[{offset & ((1 << self._routine.image.bits) - 1):#x}]"
        if (per_cpu := self.places.in_segment(region)) is not None:
            segment, base = per_cpu
            if base is None:
                return f"{segment}:{offset:#x}"
            return self._place_name(base, offset, f"{segment}:")
        if region == self._machine.base(STACK).term and (argument := self._argument_name(offset)):
            return argument
        names = ["stack" if name == STACK_NAME else name for name in self.sources(self._machine.terms.value(region))]
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
            symbol, offset = self.places.symbol_at(section.address + offset, section.address)
        return self._behind(f"{before}{symbol}", offset)


def few(sources: Iterable[str]) -> tuple[str, ...]:
    """The names, sorted. A sum over a buffer comes from thousands of values: of those loaded from memory behind
    pointers some are kept, and :data:`MANY` stands for the others."""
    names = sorted(set(sources))
    if len(names) <= MOST_SOURCES:
        return tuple(names)
    loaded = [name for name in names if name.startswith("[")]
    dropped = set(loaded[MOST_SOURCES // 2 :])
    return tuple(sorted({MANY, *(name for name in names if name not in dropped)}))
