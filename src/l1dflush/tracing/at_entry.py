# SPDX-License-Identifier: GPL-2.0-or-later
"""What registers and memory hold when a routine begins: what the ABI, the kernel and the user say of it."""

from __future__ import annotations

from collections.abc import Mapping

from l1dflush import _core
from l1dflush.arguments import BIND
from l1dflush.errors import InputError
from l1dflush.routine.model import Routine
from l1dflush.tracing.bindings import bound, stack_argument
from l1dflush.tracing.decode import REGISTERS, general_registers
from l1dflush.tracing.lift import Lifter
from l1dflush.tracing.memory_names import InMemory
from l1dflush.tracing.names import RETURN, STACK, Names
from l1dflush.tracing.operands import register_name

# Where the stack protector's guard is (GCC's -mstack-protector-guard): behind a segment's base, and by name.
_GUARDS = {64: (("gs", 0x28), ("fs", 0x28)), 32: (("gs", 0x14),)}
_NAMED_GUARDS = {
    64: (("gs", "__ref_stack_chk_guard"), ("gs", "__stack_chk_guard")),
    32: (("fs", "__stack_chk_guard"), ("fs", "__ref_stack_chk_guard"), ("gs", "__stack_chk_guard")),
}
# Where per-thread and per-CPU memory has its own address: the thread's pointer and glibc's other copy of it ("ELF
# Handling For Thread-Local Storage"; ``tcbhead_t``), and what Linux adds to a per-CPU variable's address
# (``asm/percpu.h``).
_SELF = {64: (("fs", 0), ("fs", 0x10)), 32: (("gs", 0), ("gs", 8))}
_NAMED_SELF = {64: (("gs", "this_cpu_off"),), 32: (("fs", "this_cpu_off"),)}


def begin(lifter: Lifter, names: Names, routine: Routine, bind: Mapping[str, str]) -> None:
    """Tells the machine of ``lifter`` what holds at entry of ``routine``; ``bind`` is what the user says. Raises
    InputError for a binding that is none."""
    entry = _Entry(lifter, names, routine)
    entry.give_stack()
    entry.bind(bind)
    entry.keep_guards()
    entry.lead_to_themselves()


def guards_by_place(bits: int) -> dict[tuple[str, int], str]:
    """What the stack protector's guard is called, by where it is: the key of the memory, and the offset in it."""
    found = {(f"{segment}:", offset): f"{segment}:{offset:#x}" for segment, offset in _GUARDS[bits]}
    return found | {(f"{segment}:external:{name}", 0): f"{segment}:{name}" for segment, name in _NAMED_GUARDS[bits]}


class _Entry:
    def __init__(self, lifter: Lifter, names: Names, routine: Routine) -> None:
        self._lifter = lifter
        self._machine = lifter.machine
        self._names = names
        self._routine = routine
        self._bits = routine.image.bits
        self._width = routine.image.bits // 8
        self._mask = (1 << routine.image.bits) - 1

    def give_stack(self) -> None:
        """The stack pointer, the return address, and what the ABI says of flags."""
        machine = self._machine
        top = machine.terms.combine("subtract", machine.base(STACK), machine.terms.number(self._bits, self._width))
        machine.set_slot(0, top)
        if not self._routine.partial:
            machine.store(top, machine.base(RETURN))
            # Compilers rely on it (psABI: the direction flag is clear at entry).
            (direction,) = self._lifter.register("DF")
            machine.set_slot(direction.slot, machine.terms.number(8, 0))

    def bind(self, given: Mapping[str, str]) -> None:
        """Gives registers and variables the values that the user says they have."""
        machine, bits = self._machine, self._bits
        for one in bound(self._routine, given, general_registers(bits)):
            whole = machine.terms.number(bits, one.value & self._mask)
            if one.base is not None:
                whole = machine.terms.combine("add", self._at_entry(one.base), whole)
            if one.memory is not None:
                # Outside code that is called may change it.
                machine.store(self._place(one.memory), machine.terms.slice(whole, 0, 8 * one.size), kept=False)
            elif one.register is not None and (place := self._on_stack(one.register)) is not None:
                machine.store(place, whole, kept=False)
            elif one.register is not None:
                (part,) = self._lifter.register(register_name(one.register, bits))
                machine.set_slot(part.slot, self._put(machine.slot(part.slot), whole, one.start, one.size))
            elif one.symbol is not None:
                size = min(one.symbol.size or self._width, self._width)
                at = self._lifter.bases.place_of(one.symbol)
                value = whole
                if size < self._width:
                    value = machine.terms.number(8 * size, one.value & ((1 << 8 * size) - 1))
                    if one.base is not None:
                        what = f"{one.symbol.name} has {size} bytes, and an address has {self._width}"
                        raise InputError(what, where=BIND.of(one.symbol.name), hint="a number, or another variable")
                machine.bind(self._lifter.bases.value(at), value)

    def _on_stack(self, name: str) -> _core.Value | None:
        """Where an argument on the stack is; None for a register."""
        terms, distance = self._machine.terms, stack_argument(name, self._width)
        if distance is None:
            return None
        return terms.combine("add", self._machine.base(STACK), terms.number(8 * self._width, distance))

    def _place(self, memory: InMemory) -> _core.Value:
        """Where something in memory is."""
        terms, distance = self._machine.terms, self._machine.terms.number(self._bits, memory.distance & self._mask)
        if memory.through is not None:
            return terms.combine("add", self._at_entry(memory.through), distance)
        if memory.of:
            of = self._lifter.bases.value(self._lifter.bases.place_of(self._routine.image.symbols[memory.of]))
            distance = terms.combine("add", of, distance)
        return self._in_segment(memory.segment, distance) if memory.segment else distance

    def _at_entry(self, name: str | InMemory) -> _core.Value:
        """What a register, an argument on the stack, a variable or something in memory holds at entry."""
        if isinstance(name, str) and name in self._routine.image.symbols and name not in REGISTERS:
            name = InMemory(None, name, 0, "", 0)
        if isinstance(name, InMemory):
            return self._machine.load(self._place(name), self._width, self._lifter.bases.add_pointers)
        place = self._on_stack(name)
        if place is not None:
            return self._machine.load(place, self._width)
        (part,) = self._lifter.register(register_name(name, 8 * self._width))
        return self._machine.slot(part.slot)

    def _put(self, old: _core.Value, new: _core.Value, start: int, size: int) -> _core.Value:
        """``old`` with its bytes from ``start`` on replaced by the lowest ``size`` of ``new``."""
        terms, bits = self._machine.terms, old.bits
        first, end = 8 * start, 8 * (start + size)
        total = terms.number(bits, 0)
        for value, low, high, to in ((old, 0, first, 0), (new, 0, end - first, first), (old, end, bits, end)):
            if low < high:
                part = terms.widen(terms.slice(value, low, high - low), bits)
                moved = terms.combine("shift_left", part, terms.number(bits, to))
                total = terms.combine("add", total, moved)
        return total

    def keep_guards(self) -> None:
        """Outside functions leave the stack protector's guard alone."""
        machine, bits = self._machine, self._bits
        symbols = self._routine.image.symbols
        behind = [(segment, machine.terms.number(bits, offset)) for segment, offset in _GUARDS[bits]]
        for segment, name in _NAMED_GUARDS[bits]:
            if name in symbols:
                behind.append((segment, self._lifter.bases.value(self._lifter.bases.place_of(symbols[name]))))
        for segment, offset in behind:
            machine.keep(self._in_segment(segment, offset))

    def _in_segment(self, segment: str, offset: _core.Value) -> _core.Value:
        """The address so far behind a segment's base."""
        return self._machine.terms.combine("add", self._machine.slot(self._lifter.segments[segment].slot), offset)

    def lead_to_themselves(self) -> None:
        """What is at the places where a segment's own address belongs may lead into it, nobody knows where to."""
        machine, bits = self._machine, self._bits
        symbols = self._routine.image.symbols
        places = [(segment, machine.terms.number(bits, at), f"{segment}:{at:#x}") for segment, at in _SELF[bits]]
        for segment, name in _NAMED_SELF[bits]:
            if name in symbols:
                at = self._lifter.bases.value(self._lifter.bases.place_of(symbols[name]))
                places.append((segment, at, f"{segment}:{name}"))
        for segment, offset, name in places:
            distance = machine.new_symbol(bits)
            leads_to = self._in_segment(segment, distance)
            machine.store(self._in_segment(segment, offset), leads_to)
            self._names.leads_to_itself(leads_to, distance, name)
