# SPDX-License-Identifier: GPL-2.0-or-later
"""An instruction translated several times, to see what of it is a number and what an address.

P-code has no mark for what a relocation has written, or for what lies near the code. What moves when another number is
in the relocation's place is an address that the relocation names; what moves when the instruction is elsewhere is near
the code; and everything else has to be the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

from l1dflush.errors import UndecidedError
from l1dflush.place import Place
from l1dflush.routine.elf.relocations import Relocation
from l1dflush.routine.model import Image, Section
from l1dflush.tracing.bases import Bases
from l1dflush.tracing.decode import Instruction, Memory, decoder_of
from l1dflush.tracing.lower import UnliftedError
from l1dflush.tracing.operations import Address, Number, Operand
from l1dflush.tracing.pcode import PcodeOp, Varnode
from l1dflush.tracing.translation import translator

# Where an instruction is translated, and what that and a relocated number are moved by to see what depends on them.
_AT, _MOVED_BY, _CHANGED_BY = 0x40_0000, 0x10_0000, 0x1000
# What is put into a relocated place. With 0 some instructions are translated as others: a call of what is behind it is
# taken for a way to read the instruction pointer.
_FILLER = 0x100_0000


class Variants:
    """One instruction of an image, at ``place`` in ``section``. Raises UnliftedError, and UndecidedError for code that
    a relocation wrote."""

    def __init__(self, image: Image, bases: Bases, section: Section, place: Address, decoded: Instruction) -> None:
        self._bits = image.bits
        self._width = image.bits // 8
        self._bases = bases
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
        variants = [(self._plain, at)]
        if not self._numbered:
            variants.append((self._plain, at + _MOVED_BY))
            variants += [(self._with(r, _FILLER + _CHANGED_BY), at) for r in self._relocations]
        self._variants = tuple(variants)
        # Of each instruction, even where its values are not taken from there: it says whether its length is right.
        self._pcode = translator(self._bits).translate(self._variants)

    @cached_property
    def _decoded(self) -> list[Instruction]:
        return [self._decoder.decode(code, at) for code, at in self._variants]

    def displacement(self, index: int) -> Operand:
        """The part of a memory operand's address that is not a register."""
        memory = self._insn.operands[index]
        assert isinstance(memory, Memory)
        mask = (1 << self._bits) - 1
        if not self._relocations and (memory.base is not None or memory.index is not None):
            return Number(memory.displacement & mask, self._width)
        numbers = []
        for variant in self._decoded:
            memory = variant.operands[index]
            assert isinstance(memory, Memory)
            numbers.append(memory.displacement & mask)
        total = self._operand(numbers, self._width)
        return self.address(Varnode("ram", total.value, self._width)) if isinstance(total, Number) else total

    def immediate(self, index: int, size: int) -> Operand:
        """The operand that is a number, in so many bytes."""
        numbers = []
        for variant in self._decoded:
            number = variant.operands[index]
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
                raise UndecidedError("relocation", what, where=Place(offset=start))

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

    def _near(self, address: int, size: int) -> Address:
        """An address in the section that the code is in."""
        distance = address - self._at
        if distance >= 1 << (self._bits - 1):
            distance -= 1 << self._bits
        return Address(self._base, self._offset + distance, size)

    def address(self, node: Varnode) -> Operand:
        """The address of an operand in P-code's memory space."""
        if node.place is not None:
            return node.place._replace(size=self._width)
        if self._numbered:
            section = self._bases.section_at(node.offset)
            if section is not None:
                number = self._bases.of_section(section)
                return Address(number, node.offset - section.address, self._width)
        return Number(node.offset, self._width)

    @cached_property
    def operations(self) -> list[PcodeOp]:
        """The P-code of the instruction, with places for what is an address. Raises UnliftedError."""
        # Most have nothing that moves, and stay as they are.
        return [
            PcodeOp(op.name, op.out and self._placed(op.out), tuple(map(self._placed, op.inputs)))
            if (op.out is not None and op.out.others) or any(node.others for node in op.inputs)
            else op
            for op in self._pcode
        ]

    def _placed(self, node: Varnode) -> Varnode:
        if not node.others:
            return node
        operand = self._operand([node.offset, *node.others], node.size if node.space == "const" else self._width)
        return Varnode(node.space, node.offset, node.size, operand if isinstance(operand, Address) else None)
