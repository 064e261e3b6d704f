# SPDX-License-Identifier: GPL-2.0-or-later
"""The operands of one instruction: where they are, which accesses they are, how they are read and written."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from hashlib import blake2b
from typing import Literal

from l1dflush.tracing.decode import Instruction, Memory, Register
from l1dflush.tracing.lower import Lowering, UnliftedError
from l1dflush.tracing.model import Kind
from l1dflush.tracing.operations import RESULTS, Do, Number, Operand, Operation
from l1dflush.tracing.slots import WORD, Part
from l1dflush.tracing.undefined import ALL_FLAGS, Origin, alignment_of
from l1dflush.tracing.variants import Variants

KINDS = tuple(Kind)
KIND = {kind: number for number, kind in enumerate(KINDS)}
# P-code's name of what has all of a vector register.
_WHOLE_VECTOR = "ZMM"


def register_name(register: str, bits: int) -> str:
    """P-code's name of a general register, of which ``register`` is the 64-bit name."""
    return register.upper() if bits == 64 else f"E{register[1:].upper()}"


class Operands:
    """Writes the operations of one instruction into ``operations``.

    ``register_parts`` says where a register is, by P-code's name for it. Addresses are computed here and not by P-code,
    which has those in fewer bits than the mode's and the segments of string instructions wrong.
    """

    def __init__(
        self,
        insn: Instruction,
        bits: Literal[32, 64],
        register_parts: Callable[[str], Sequence[Part]],
        lowering: Lowering,
        variants: Variants,
        kept: Callable[[str], Part],
    ) -> None:
        self.insn = insn
        self.bits = bits
        self.width = bits // 8
        self.operations: list[Operation] = []
        self._register_parts = register_parts
        self._lowering = lowering
        self._variants = variants
        # What the processor keeps, by a name of ours.
        self.kept = kept

    # --- operations

    def emit(self, what: Do, out: Operand = None, a: Operand = None, b: Operand = None, c: Operand = None) -> None:
        """Adds an operation."""
        self.operations.append(Operation(what, out, a, b, c))

    def fresh(self, size: int) -> Part:
        """A temporary of so many bytes."""
        return self._lowering.fresh(size)

    def made(self, what: Do, size: int, a: Operand = None, b: Operand = None, c: Operand = None) -> Part:
        """What an operation makes, in a temporary of so many bytes."""
        out = self.fresh(size)
        self.emit(what, out, a, b, c)
        return out

    def unknown(self, size: int, origin: Origin) -> Part:
        """Something of at most 8 bytes that nobody knows."""
        out = self.fresh(size)
        self.forget(out, origin)
        return out

    def result(self, name: str, size: int, *of: Operand, origin: Origin) -> Part:
        """What the instruction makes of up to three values, which nobody knows: the same for the same. ``name`` is one
        of :data:`l1dflush.tracing.operations.RESULTS`."""
        out = self.fresh(size)
        a, b, c = (*of, None, None, None)[:3]
        self.operations.append(Operation(Do.RESULT, out, a, b, c, size=RESULTS.index(name), detail=origin))
        return out

    def stands_for(self, name: str, values: Iterable[Operand]) -> Part:
        """One value that is the same again for the same name and the same values, and else another one."""
        number = int.from_bytes(blake2b(name.encode(), digest_size=WORD).digest(), "little")
        total: Operand = Number(number, WORD)
        left = [*values]
        while True:
            made = self.result("inputs", WORD, total, *left[:2], origin=Origin.NO_POINTER)
            left = left[2:]
            if not left:
                return made
            total = made

    def forget(self, part: Part, origin: Origin) -> None:
        """Nobody knows what is there from now on."""
        self.operations.append(self._lowering.not_known(part, origin))

    def skip_if(self, condition: Operand) -> int:
        """Goes on elsewhere if the condition holds (None: always); where is said by :meth:`land`, given the result."""
        self.emit(Do.SKIP if condition is None else Do.SKIP_IF, None, condition)
        return len(self.operations) - 1

    def land(self, skip: int) -> None:
        """Here is where ``skip`` goes on."""
        self.operations[skip] = self.operations[skip]._replace(detail=len(self.operations))

    # --- registers

    def register(self, name: str) -> Part:
        """Where a general register is, by its 64-bit name: all of it."""
        (part,) = self._register_parts(register_name(name, self.bits))
        return part

    def part(self, register: Register) -> Part:
        """Where a general register's operand is."""
        return self.register(register.full)._replace(start=register.offset, size=register.size)

    def whole(self, name: str) -> Part:
        """Where another register of at most 8 bytes is, by P-code's name."""
        (part,) = self._register_parts(name)
        return part

    def flag(self, name: str) -> Part:
        """Where a flag is: CF, PF, ZF, SF, OF, DF."""
        return self.whole(name)

    def moved(self, name: str, size: int, by: int) -> None:
        """Adds to a general register, of which so many bytes are taken."""
        part = self.register(name)._replace(size=size)
        if size == self.width:
            self.emit(Do.ADD, part, part, Number(by, size))
        else:
            self.set_register(name, self.made(Do.ADD, size, part, Number(by, size)))

    def set_register(self, name: str, value: Operand) -> None:
        """Puts a value into the lowest bytes of a general register: 32 bits clear the rest of 64."""
        assert value is not None
        register = self.register(name)
        if self.bits == 64 and value.size == 4:
            self.emit(Do.WIDEN, register, value)
        else:
            self.emit(Do.COPY, register._replace(size=value.size), value)

    def set_flag(self, name: str, value: Operand) -> None:
        """Puts 0 or 1 into a flag."""
        self.emit(Do.COPY, self.flag(name), value)

    def unknown_flags(self, names: Iterable[str] = ALL_FLAGS) -> None:
        """Nobody knows these flags from now on."""
        for name in sorted(names):
            self.emit(Do.BIT_AND, self.flag(name), self.unknown(1, Origin.NO_POINTER), Number(1, 1))

    def forget_vector(self, register: Register, kept_above: bool, origin: Origin) -> None:
        """Nobody knows a vector operand from now on; what is above it stays or is zero."""
        parts = self._register_parts(f"{_WHOLE_VECTOR}{register.full[1:]}")
        for number, part in enumerate(parts):
            if number * WORD < register.size:
                self.forget(part, origin)
            elif not kept_above:
                self.emit(Do.COPY, part, Number(0, part.size))

    def vector(self, register: Register) -> list[Part]:
        """Where a vector register's operand is."""
        return [*self._register_parts(f"{_WHOLE_VECTOR}{register.full[1:]}")][: -(-register.size // WORD)]

    # --- memory

    def address(self, index: int, moved: Operand = None) -> Operand:
        """The address of the memory operand with that number, as things are now; ``moved`` is added to the offset in
        its segment."""
        memory = self.insn.operands[index]
        assert isinstance(memory, Memory)
        size = memory.width
        total = self._variants.displacement(index)
        assert total is not None
        if total.size != size:
            total = total._replace(size=size)
        for name, scale in ((memory.base, 1), (memory.index, memory.scale)):
            if name is None:
                continue
            operand: Operand = self.register(name)._replace(size=size)
            if scale != 1:
                operand = self.made(Do.MULTIPLY, size, operand, Number(scale, size))
            nothing = isinstance(total, Number) and total.value & ((1 << 8 * size) - 1) == 0
            total = operand if nothing else self.made(Do.ADD, size, total, operand)
        if moved is not None:
            total = self.made(Do.ADD, size, total, moved)
        return self.in_segment(memory, self.extended(total))

    def extended(self, offset: Operand) -> Operand:
        """An offset of fewer bytes than addresses have, zero-extended."""
        assert offset is not None
        return offset if offset.size == self.width else self.made(Do.WIDEN, self.width, offset)

    def in_segment(self, memory: Memory, offset: Operand) -> Operand:
        """The address that is so far from the beginning of the operand's segment."""
        if memory.segment is None:
            return offset
        return self.made(Do.ADD, self.width, offset, self.whole(f"{memory.segment.upper()}_OFFSET"))

    def at(self, address: Operand, distance: int) -> Operand:
        """So many bytes on."""
        return address if distance == 0 else self.made(Do.ADD, self.width, address, Number(distance, self.width))

    def access(self, kind: Kind, address: Operand, size: int) -> None:
        """An access to the cache."""
        alignment = alignment_of(self.insn, size)
        self.operations.append(Operation(Do.ACCESS, None, address, size=size, detail=KIND[kind], alignment=alignment))

    def load(self, address: Operand, size: int) -> Part:
        """What is in memory, up to 8 bytes of it; no access to the cache."""
        return self.made(Do.LOAD, size, address)

    def store(self, address: Operand, value: Operand) -> None:
        """Puts a value into memory; no access to the cache."""
        self.emit(Do.STORE, None, address, value)

    def forget_memory(self, address: Operand, size: int, origin: Origin) -> None:
        """Nobody knows so many bytes of memory from now on."""
        done = 0
        while done < size:
            length = next(n for n in (WORD, 4, 2, 1) if n <= size - done)
            self.store(self.at(address, done), self.unknown(length, origin))
            done += length

    # --- any operand

    def read(self, index: int, address: Operand = None) -> Operand:
        """What an operand is, of at most 8 bytes; of one in memory ``address`` is where it is."""
        operand = self.insn.operands[index]
        if isinstance(operand, Register):
            if not operand.general:
                raise UnliftedError(f"what it does with {operand.full}")
            return self.part(operand)
        if isinstance(operand, Memory):
            return self.load(address, operand.size)
        return self.immediate(index, self.width)

    def lowest(self, index: int, address: Operand = None) -> Part:
        """The first bytes, at most 8, of an operand that is a vector or in memory."""
        operand = self.insn.operands[index]
        if isinstance(operand, Memory):
            return self.load(address, min(operand.size, WORD))
        assert isinstance(operand, Register)
        return self._register_parts(f"{_WHOLE_VECTOR}{operand.full[1:]}")[0]

    def immediate(self, index: int, size: int) -> Operand:
        """A number of the instruction, which may be an address."""
        return self._variants.immediate(index, size)

    def write(self, index: int, value: Operand, address: Operand = None) -> None:
        """Puts a value into an operand, whose size it has."""
        operand = self.insn.operands[index]
        if isinstance(operand, Memory):
            self.store(address, value)
        else:
            assert isinstance(operand, Register)
            if operand.offset:
                self.emit(Do.COPY, self.part(operand), value)
            else:
                self.set_register(operand.full, value)

    def forget_operand(self, index: int, address: Operand, origin: Origin, kept_above: bool = False) -> None:
        """Nobody knows an operand from now on."""
        operand = self.insn.operands[index]
        if isinstance(operand, Memory):
            self.forget_memory(address, operand.size, origin)
        elif isinstance(operand, Register) and operand.vector:
            self.forget_vector(operand, kept_above, origin)
        elif isinstance(operand, Register) and operand.general:
            self.write(index, self.unknown(operand.size, origin))
        else:
            raise UnliftedError(f"what it writes to {self.insn.text.partition(' ')[2]}")
