# SPDX-License-Identifier: GPL-2.0-or-later
"""What the user says about inputs: ``--bind NAME=VALUE``."""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

from l1dflush.arguments import BIND, parse_size
from l1dflush.errors import InputError
from l1dflush.routine.model import STACK_ARGUMENT, Routine, Symbol
from l1dflush.tracing.decode import NAMES_OF_PARTS, REGISTERS
from l1dflush.tracing.memory_names import InMemory, in_memory

# Arguments in the order of the ABI, by the 64-bit names of their registers.
ARGUMENTS = {64: ("rdi", "rsi", "rdx", "rcx", "r8", "r9"), 32: ("rax", "rdx", "rcx")}
# What a function may change (psABI; in 32-bit mode as kernels are built, with -mregparm=3).
CALLER_SAVED = {
    64: ("rax", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11"),
    32: ("rax", "rcx", "rdx"),
}
BUFFER = "buffer"


class Binding(NamedTuple):
    """What holds ``value``, or, with ``base``, so much more than is there at entry: a register (64-bit name), a
    variable or something else in memory. Of a register that may be ``size`` bytes from byte ``start`` on: those that
    were named; memory has ``size`` bytes. An argument on the stack stands for a register (:data:`STACK_ARGUMENT`)."""

    register: str | None
    symbol: Symbol | None
    value: int
    base: str | InMemory | None = None
    start: int = 0
    size: int = 8
    memory: InMemory | None = None

    @property
    def name(self) -> str | InMemory | None:
        """What others can be relative to."""
        return self.memory or self.register

    def overlaps(self, other: Binding) -> bool:
        """Whether both say what the same bytes of a register or of memory are."""
        if self.memory is not None and other.memory is not None:
            first, second = self.memory.distance, other.memory.distance
            same = self.memory._replace(distance=0) == other.memory._replace(distance=0)
        else:
            first, second = self.start, other.start
            same = self.register is not None and self.register == other.register
        return same and first < second + other.size and second < first + self.size

    @property
    def leads(self) -> Iterator[str | InMemory]:
        """What has to be known before it is known where this is and what is there."""
        if self.base is not None:
            yield self.base
        for one in (self.base, self.memory):
            if isinstance(one, InMemory):
                yield from one.pointers


_RELATIVE = re.compile(r"([A-Za-z_.$][\w.$]*|\[.*\])(?:\s*([+-])\s*(\w+))?")
_ON_STACK = re.compile(rf"{STACK_ARGUMENT}([1-9]\d{{0,2}})")
_VALUES = "a number, like 65536, 0x10000 or 64K, buffer, or another input and a distance, like rdi+64K"


def stack_argument(name: str, width: int) -> int | None:
    """How many bytes above the return address an argument on the stack is; None for what is none. Each takes ``width``
    bytes (psABI, both modes)."""
    match = _ON_STACK.fullmatch(name)
    return (int(match[1]) - 1) * width if match is not None else None


def bound(routine: Routine, bindings: Mapping[str, str], registers: Container[str]) -> list[Binding]:
    """The bindings with a value, those that others are relative to first; ``registers`` are those that there are.

    Raises InputError for a name that is nothing of the routine's, and for a value that is neither a number that fits
    nor ``buffer`` nor relative to an input. (Which is the buffer is settled when the trace is read.)
    """
    names = _Names(routine, registers)
    found: list[Binding] = []
    for name, text in bindings.items():
        memory = names.in_memory(name, str(BIND))
        register, symbol = (None, None) if memory is not None else names.of(name, str(BIND))
        if text == BUFFER:
            continue
        base: str | InMemory | None = None
        try:
            value = _number(text)
        except ValueError:
            base, value = _relative(names, name, text, bindings)
        bits = 8 * (memory.size if memory is not None else names.size(name, symbol))
        if not -(1 << bits - 1) <= value < 1 << bits:
            raise InputError(f"'{text}' does not fit into {bits} bits", where=BIND.of(name))
        start = 0 if name in names.by_name or name not in REGISTERS or register is None else REGISTERS[name][2]
        if base is not None and memory is not None and memory.size < names.width:
            what = f"{name} has {memory.size} bytes, and an address has {names.width}"
            raise InputError(what, where=BIND.of(name), hint="a number")
        # What others are relative to has no size.
        at = None if memory is None else memory._replace(size=0)
        one = Binding(register, symbol, value, base, start, bits // 8, at)
        if any(one.overlaps(other) for other in found):
            raise InputError("what it says was said already, by another name", where=BIND.of(name))
        found.append(one)
    return _in_order(found)


def _number(text: str) -> int:
    """A number, or one with a unit as sizes have it: ``64K``. Raises ValueError."""
    unit = text[-1:].isalpha() and not text.lower().removeprefix("-").startswith(("0x", "0o", "0b"))
    if not unit:
        return int(text, 0)
    try:
        return -parse_size(text[1:]) if text.startswith("-") else parse_size(text)
    except InputError:
        raise ValueError(text) from None


class _Names:
    """What the names in bindings mean."""

    def __init__(self, routine: Routine, registers: Container[str]) -> None:
        self.routine = routine
        self.by_name = {parameter.name: parameter.register for parameter in routine.parameters}
        self._registers = registers
        self.width = routine.image.bits // 8

    def in_memory(self, name: str, where: str) -> InMemory | None:
        """What is in memory by that name, with its size and what it is reached through; None for any other name. Raises
        InputError for one that begins with nothing of the routine's."""
        found = None if name in self.routine.image.symbols else in_memory(name)
        if found is None:
            return None
        if found.root:
            register, _ = self.of(found.root, where)
            if register is not None and found.through is None:
                raise InputError(f"'{name}' is not a place in memory", where=where, hint=f"[{found}] is one")
            if register is not None and register != found.root:
                found = found.begun_at(register)
        return found._replace(size=found.size or self.width)

    def of(self, name: str, where: str) -> tuple[str | None, Symbol | None]:
        """The register or else the symbol of that name. Raises InputError."""
        register = self.by_name.get(name) or REGISTERS.get(name, (None,))[0]
        if register is None and not self.routine.partial and _ON_STACK.fullmatch(name):
            register = name
        elif register in REGISTERS and register not in self._registers:
            register = None  # r8 in 32-bit code
        symbol = self.routine.image.symbols.get(name)
        if register is None and symbol is None:
            bits = self.routine.image.bits
            arguments = [] if self.by_name else [NAMES_OF_PARTS[name, bits // 8, 0] for name in ARGUMENTS[bits]]
            if arguments and not self.routine.partial:
                arguments += [f"{STACK_ARGUMENT}1", f"{STACK_ARGUMENT}2"]
            known = [*self.by_name, *arguments, *self.routine.image.symbols]
            raise InputError(
                f"'{name}' is neither a register nor a parameter nor a symbol of {self.routine.name}",
                where=where,
                hint="known names: " + ", ".join(known[:12]),
            )
        return register, symbol if register is None else None

    def size(self, name: str, symbol: Symbol | None) -> int:
        """The bytes that a register of that name, or else the symbol, can hold of an input."""
        width = self.width
        if symbol is not None:
            return min(symbol.size or width, width)
        return width if name in self.by_name or name not in REGISTERS else min(REGISTERS[name][1], width)


def _relative(names: _Names, name: str, text: str, bindings: Mapping[str, str]) -> tuple[str | InMemory, int]:
    """What a value is relative to, a register or something in memory, and its distance. Raises InputError."""
    where = BIND.of(name)
    match = _RELATIVE.fullmatch(text)
    if match is None:
        raise InputError(f"'{text}' is not a number", where=where, hint=_VALUES)
    of, sign, number = match.groups()
    if of == BUFFER and not names.by_name.get(BUFFER):
        of = _the_buffer(names, name, bindings)
    try:
        memory = names.in_memory(of, where)
        register, symbol = (None, None) if memory is not None else names.of(of, where)
        distance = _number(number or "0")
    except (InputError, ValueError):
        raise InputError(f"'{text}' is neither a number nor relative to an input", where=where, hint=_VALUES) from None
    if sign == "-":
        distance = -distance
    if memory is not None:
        return memory._replace(size=0), distance
    if register is None:
        assert symbol is not None
        what = f"'{of}' is a variable: what it holds is known only if it is bound itself"
        raise InputError(what, where=where, hint="relative to a register or a parameter")
    return register, distance


def _the_buffer(names: _Names, name: str, bindings: Mapping[str, str]) -> str:
    """The input that is meant by `buffer` in a binding of ``name``. Raises InputError."""
    said = [one for one, value in bindings.items() if value == BUFFER]
    found = said or [one for one in names.by_name if one not in bindings]
    if len(found) == 1:
        return found[0]
    which = f"there are {', '.join(found)}" if found else "nothing says which input it is"
    raise InputError(f"which input is the buffer? {which}", where=BIND.of(name), hint=f"{BIND} NAME=buffer says it")


def _in_order(found: Sequence[Binding]) -> list[Binding]:
    """Those that others are relative to first. Raises InputError where they go round."""
    order: list[Binding] = []
    left = list(found)
    while left:
        waits = {one.name for one in left if one.name is not None}
        ready = [one for one in left if waits.isdisjoint(one.leads)]
        if not ready:
            names = " and ".join(sorted(str(one.name or "") for one in left))
            what = f"what {names} holds is given relative to itself"
            raise InputError(what, where=str(BIND), hint="give one of them a number")
        order += ready
        left = [one for one in left if one not in ready]
    return order


def may_be_base(routine: Routine, name: str) -> bool:
    """Whether other inputs can be given relative to that one: a register, an argument, and no variable."""
    known = name in REGISTERS or _ON_STACK.fullmatch(name) is not None
    return known or name in (parameter.name for parameter in routine.parameters)


def bind_hint(names: Iterable[str], in_memory: Mapping[str, str] = MappingProxyType({})) -> str | None:
    """How to supply the values of ``names``, if they can be named on the command line: plain names, and what is in
    memory by those in ``in_memory``."""
    plain = [in_memory.get(one, one) for one in names if one in in_memory or re.fullmatch(r"[\w.]+", one, re.ASCII)]
    return " ".join(BIND.pair(name, "VALUE") for name in plain) or None


def as_reported(name: str) -> str:
    """A name in a binding as reports have it: numbers in memory's names are hexadecimal there."""
    found = in_memory(name)
    return name if found is None else str(found)
