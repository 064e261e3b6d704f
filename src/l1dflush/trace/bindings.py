"""What the user says about inputs: ``--bind NAME=VALUE``."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping
from typing import NamedTuple

from l1dflush.errors import InputError
from l1dflush.routine.model import Routine, Symbol
from l1dflush.trace.decode import REGISTERS

# Arguments in the order of the ABI, by the 64-bit names of their registers.
ARGUMENTS = {64: ("rdi", "rsi", "rdx", "rcx", "r8", "r9"), 32: ("rax", "rdx", "rcx")}
# What a function may change (psABI; in 32-bit mode as kernels are built, with -mregparm=3).
CALLER_SAVED = {
    64: ("rax", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11"),
    32: ("rax", "rcx", "rdx"),
}
BUFFER = "buffer"


class Binding(NamedTuple):
    """A register (64-bit name) or a variable that holds ``value``."""

    register: str | None
    symbol: Symbol | None
    value: int


def bound(routine: Routine, bindings: Mapping[str, str], registers: Container[str]) -> Iterator[Binding]:
    """The bindings with a number; ``registers`` are those that there are. Raises InputError for a name that is nothing
    of the routine's, and for a value that is neither a number nor ``buffer``. (Which is the buffer is settled when the
    trace is read.)"""
    by_name = {parameter.name: parameter.register for parameter in routine.parameters}
    for name, text in bindings.items():
        register = by_name.get(name) or REGISTERS.get(name, (None,))[0]
        if register is not None and register not in registers:
            register = None  # r8 in 32-bit code
        symbol = routine.image.symbols.get(name)
        if register is None and symbol is None:
            arguments = () if by_name else ARGUMENTS[routine.image.bits]
            known = [*by_name, *arguments, *routine.image.symbols]
            raise InputError(
                f"'{name}' is neither a register nor a parameter nor a symbol of {routine.name}",
                where="--bind",
                hint="known names: " + ", ".join(known[:12]),
            )
        if text == BUFFER:
            continue
        try:
            value = int(text, 0)
        except ValueError as error:
            raise InputError(f"'{text}' is no number", where=f"--bind {name}", hint="a number, or buffer") from error
        yield Binding(register, symbol if register is None else None, value)


def bind_hint(names: Iterable[str]) -> str | None:
    """How to supply the values of ``names``, if they can be named on the command line."""
    plain = [name for name in names if name.replace("_", "").replace(".", "").isalnum()]
    return " ".join(f"--bind {name}=VALUE" for name in plain) or None
