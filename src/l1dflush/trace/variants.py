"""An instruction translated several times, to see what of it is a number and what an address.

P-code has no mark for what a relocation has written, or for what lies near the code. What moves when another number is
in the relocation's place is an address that the relocation names; what moves when the instruction is elsewhere is near
the code; and everything else has to be the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any, NamedTuple

import pypcode

from l1dflush.errors import UndecidedError
from l1dflush.routine.model import Image, Section
from l1dflush.routine.relocations import Relocation
from l1dflush.trace.bases import Bases
from l1dflush.trace.decode import Instruction, Memory, decoder_of
from l1dflush.trace.lower import PcodeOp, UnliftedError, Varnode
from l1dflush.trace.operations import Number, Operand, Place

# Where an instruction is translated, and what that and a relocated number are moved by to see what depends on them.
_AT, _MOVED_BY, _CHANGED_BY = 0x40_0000, 0x10_0000, 0x1000
# What is put into a relocated place. With 0 some instructions are translated as others: a call of what is behind it is
# taken for a way to read the instruction pointer.
_FILLER = 0x100_0000


class _Variant(NamedTuple):
    """The instruction as it is translated with one of the numbers in it moved, or none."""

    decoded: Instruction
    ops: list[tuple[str, tuple[str, int, int] | None, tuple[tuple[str, int, int], ...]]]


class Variants:
    """One instruction of an image, at ``place`` in ``section``. Raises UnliftedError, and UndecidedError for code that
    a relocation wrote."""

    def __init__(
        self, image: Image, bases: Bases, context: pypcode.Context, section: Section, place: Place, decoded: Instruction
    ) -> None:
        self._bits = image.bits
        self._width = image.bits // 8
        self._bases = bases
        self._context = context
        self._decoder = decoder_of(image.bits)
        self._base, self._offset, _ = place
        self._insn = decoded
        self._numbered = image.linked and not image.movable
        code = section.data[self._offset : self._offset + decoded.size]
        start = decoded.address
        near = [] if image.linked else image.relocations.within(max(section.address, start - 7), start + decoded.size)
        self._relocations = [r for r in near if r.address + max(r.of.size, 1) > start]
        self._check_relocations()
        self._plain = self._empty(code)
        self._at = at = start if self._numbered else _AT
        self._first = self._translated(self._plain, at)
        self._others = [] if self._numbered else [self._translated(self._plain, at + _MOVED_BY)]
        self._others += [self._translated(self._with(r, _FILLER + _CHANGED_BY), at) for r in self._relocations]
        if not all(_alike(self._first, other) for other in self._others):
            raise UnliftedError("what it does depends on what a relocation puts into it, or on where it is")

    def displacement(self, index: int) -> Operand:
        """The part of a memory operand's address that is no register."""
        numbers = []
        for variant in (self._first, *self._others):
            memory = variant.decoded.operands[index]
            assert isinstance(memory, Memory)
            numbers.append(memory.displacement & ((1 << self._bits) - 1))
        total = self._operand(numbers, self._width)
        return self.address(Varnode("ram", total.value, self._width)) if isinstance(total, Number) else total

    def immediate(self, index: int, size: int) -> Operand:
        """The operand that is a number, in so many bytes."""
        numbers = []
        for variant in (self._first, *self._others):
            number = variant.decoded.operands[index]
            assert isinstance(number, int)
            numbers.append(number & ((1 << 8 * size) - 1))
        return self._operand(numbers, size)

    def _check_relocations(self) -> None:
        start = self._insn.address
        for r in self._relocations:
            first = r.address - start
            inside = any(low <= first and first + r.of.size <= high for low, high in self._insn.numbers)
            if r.of.size not in (4, 8) or not inside:
                what = f"`{self._insn.text}` is code that a relocation wrote"
                raise UndecidedError("relocation", what, where=f"{start:#x}")

    def _empty(self, code: bytes) -> bytes:
        """The instruction with the same in all its relocated places."""
        plain = bytearray(code)
        for r in self._relocations:
            first = r.address - self._insn.address
            plain[first : first + r.of.size] = _FILLER.to_bytes(r.of.size, "little")
        return bytes(plain)

    def _with(self, relocation: Relocation, number: int) -> bytes:
        changed = bytearray(self._plain)
        first = relocation.address - self._insn.address
        changed[first : first + relocation.of.size] = number.to_bytes(relocation.of.size, "little")
        return bytes(changed)

    def _operand(self, values: Sequence[int], size: int) -> Operand:
        """A number of the instruction, given as it is, moved, and with each relocated place changed."""
        mask = (1 << 8 * size) - 1
        number = values[0]
        if self._numbered:
            return Number(number, size)
        by_address = (values[1] - number) & mask
        by_place = [r for r, value in zip(self._relocations, values[2:], strict=True) if value != number]
        if not by_address and not by_place:
            return Number(number, size)
        if by_address not in (0, _MOVED_BY & mask) or len(by_place) > 1:
            raise UnliftedError("an operand that depends on where the code is in an unusual way")
        if not by_place:
            return self._near(number, size)
        (relocation,) = by_place
        changed = values[2 + self._relocations.index(relocation)]
        if (changed - number) & mask != _CHANGED_BY or bool(by_address) != self._bases.is_relative(relocation):
            raise UnliftedError("an operand that a relocation changes in an unusual way")
        distance = number - _FILLER
        if by_address:
            # A relative one takes its own place off: so far is the operand from it.
            distance -= self._at + (relocation.address - self._insn.address)
        elif distance > mask >> 1:
            distance -= mask + 1
        place = self._bases.relocated(relocation, distance, size)
        if place is None:
            raise UnliftedError(f"the relocation {relocation.of.type} is not understood")
        return place

    def _near(self, address: int, size: int) -> Place:
        """An address in the section that the code is in."""
        distance = address - self._at
        if distance >= 1 << (self._bits - 1):
            distance -= 1 << self._bits
        return Place(self._base, self._offset + distance, size)

    def address(self, node: Varnode) -> Operand:
        """The address of an operand in P-code's memory space."""
        if node.place is not None:
            return node.place._replace(size=self._width)
        if self._numbered:
            section = self._bases.section_at(node.offset)
            if section is not None:
                number = self._bases.of_section(section)
                return Place(number, node.offset - section.address, self._width)
        return Number(node.offset, self._width)

    @cached_property
    def operations(self) -> list[PcodeOp]:
        """The P-code of the instruction, with places for what is an address. Raises UnliftedError."""

        def node(first: tuple[str, int, int], *rest: tuple[str, int, int]) -> Varnode:
            space, offset, size = first
            if space not in ("const", "ram") or self._numbered:
                return Varnode(space, offset, size)
            width = size if space == "const" else self._width
            operand = self._operand([offset, *(r[1] for r in rest)], width)
            return Varnode(space, offset, size, operand if isinstance(operand, Place) else None)

        ops = []
        for number, (name, out, inputs) in enumerate(self._first.ops):
            rows = [variant.ops[number] for variant in self._others]
            made = None if out is None else node(out, *(row[1] for row in rows if row[1] is not None))
            operands = tuple(node(v, *(row[2][i] for row in rows)) for i, v in enumerate(inputs))
            ops.append(PcodeOp(name, made, operands))
        return ops

    def _translated(self, code: bytes, at: int) -> _Variant:
        """What the two decoders make of an instruction at ``at``. Raises UnliftedError if they disagree."""
        decoded = self._decoder.decode(code, at)
        try:
            translation = self._context.translate(code, at, max_instructions=1)
        except Exception as error:
            raise UnliftedError(f"it cannot be translated ({type(error).__name__})") from None
        ops = []
        for op in translation.ops:
            inputs = [_node(v) for v in op.inputs]
            name = str(op.opcode).rpartition(".")[2]
            if name == "IMARK":
                if inputs[0][2] != len(code):
                    raise UnliftedError("the decoders do not agree on its length")
                continue
            if name in ("LOAD", "STORE", "CALLOTHER"):
                inputs = inputs[1:]
            ops.append((name, _node(op.output) if op.output is not None else None, tuple(inputs)))
        return _Variant(decoded, ops)


def _node(v: Any) -> tuple[str, int, int]:
    return v.space.name, v.offset, v.size


def _alike(one: _Variant, other: _Variant) -> bool:
    """Whether two translations are the same but for numbers."""

    def shape(variant: _Variant) -> object:
        return [
            (name, out if out is None or out[0] != "ram" else (out[0], out[2]),
             [(v[0], v[2]) if v[0] in ("const", "ram") else v for v in inputs])
            for name, out, inputs in variant.ops
        ]  # fmt: skip

    return shape(one) == shape(other)
