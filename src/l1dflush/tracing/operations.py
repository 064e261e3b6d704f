# SPDX-License-Identifier: GPL-2.0-or-later
"""The operations of the abstract machine, as Python packs them: ``core/machine/program.hpp`` says what each does."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from enum import IntEnum, auto
from typing import NamedTuple

from l1dflush import _core
from l1dflush.errors import InputError
from l1dflush.tracing.slots import Part


class Do(IntEnum):
    """What an operation does; in the order of the core's enum of that name."""

    COPY = 0
    LOAD = auto()
    STORE = auto()
    ADD = auto()
    SUBTRACT = auto()
    MULTIPLY = auto()
    DIVIDE = auto()
    DIVIDE_SIGNED = auto()
    REMAINDER = auto()
    REMAINDER_SIGNED = auto()
    MULTIPLY_HIGH = auto()
    MULTIPLY_HIGH_SIGNED = auto()
    BIT_AND = auto()
    BIT_OR = auto()
    BIT_XOR = auto()
    COMPLEMENT = auto()
    NEGATE = auto()
    SHIFT_LEFT = auto()
    SHIFT_RIGHT = auto()
    SHIFT_RIGHT_SIGNED = auto()
    WIDEN = auto()
    WIDEN_SIGNED = auto()
    SLICE = auto()
    JOIN = auto()
    EQUAL = auto()
    NOT_EQUAL = auto()
    BELOW = auto()
    BELOW_OR_EQUAL = auto()
    BELOW_SIGNED = auto()
    BELOW_OR_EQUAL_SIGNED = auto()
    CARRIES = auto()
    CARRIES_SIGNED = auto()
    BORROWS_SIGNED = auto()
    TRUTH_AND = auto()
    TRUTH_OR = auto()
    TRUTH_XOR = auto()
    TRUTH_NOT = auto()
    COUNT_ONES = auto()
    COUNT_LEADING_ZEROS = auto()
    EVEN_ONES = auto()
    CHOOSE = auto()
    IF_KNOWN = auto()
    UNKNOWN = auto()
    RESULT = auto()
    ACCESS = auto()
    NOTE = auto()
    REVEAL = auto()
    LEAVE_STACK = auto()
    SKIP = auto()
    SKIP_IF = auto()
    JUMP = auto()
    JUMP_IF = auto()
    JUMP_TO = auto()
    CALL = auto()
    CALL_TO = auto()
    COME_BACK = auto()
    LEAVE = auto()


def check_core(operations: Sequence[str]) -> None:
    """Raises InputError if the core's ``operations`` are not these: a core of another version would do others."""
    if tuple(operations) != tuple(one.name.lower() for one in Do):
        what = "this compiled part is of another version than the Python files beside it"
        raise InputError(what, where=_core.__file__, hint="install l1dflush again")


# An older one does not say which it has.
check_core(getattr(_core, "OPERATIONS", ()))


class Number(NamedTuple):
    """A number of ``size`` bytes."""

    value: int
    size: int


class Address(NamedTuple):
    """The address ``offset`` bytes behind base ``base``, of which ``size`` bytes are taken."""

    base: int
    offset: int
    size: int


Operand = Number | Part | Address | None
# What instructions make of their operands alone, in the core by number.
RESULTS = (
    "cpuid rax", "cpuid rbx", "cpuid rcx", "cpuid rdx", "crc32", "vmread", "CF", "PF", "ZF", "rdmsr rax", "rdmsr rdx",
    "kept", "inputs", "part",
)  # fmt: skip
# An event as the core has it: kind, size, number of the instruction, region, 0, offset, what that moves on by.
EVENT = struct.Struct("<HHIIIqq")
_OPERAND = struct.Struct("<BBBBIQ")
_HEAD = struct.Struct("<BBHI")
_NONE = bytes(_OPERAND.size)
_NUMBER, _SLOT, _PLACE = 1, 2, 3


class Operation(NamedTuple):
    """One operation; ``size``, ``detail`` and ``alignment`` are what the core's type says."""

    what: Do
    out: Operand = None
    a: Operand = None
    b: Operand = None
    c: Operand = None
    size: int = 0
    detail: int = 0
    alignment: int = 0


def part_made(out: Part, of: Part, number: int, origin: int) -> Operation:
    """Part ``number`` of what an instruction makes of all that ``of`` stands for."""
    return Operation(Do.RESULT, out, of, Number(number, 4), size=RESULTS.index("part"), detail=origin)


def _packed(operand: Part | Number | Address) -> bytes:
    if isinstance(operand, Part):
        return _OPERAND.pack(_SLOT, operand.size, operand.start, 0, operand.slot, 0)
    if isinstance(operand, Number):
        return _OPERAND.pack(_NUMBER, operand.size, 0, 0, 0, operand.value & ((1 << 8 * operand.size) - 1))
    return _OPERAND.pack(_PLACE, operand.size, 0, 0, operand.base, operand.offset & 0xFFFF_FFFF_FFFF_FFFF)


def packed(operations: list[Operation]) -> bytes:
    """The operations as the core reads them: 72 bytes each."""
    parts = []
    for one in operations:
        parts.append(_HEAD.pack(one.what, one.size, one.alignment, one.detail))
        # Few have all four.
        parts += [_NONE if operand is None else _packed(operand) for operand in one[1:5]]
    return b"".join(parts)
