# SPDX-License-Identifier: GPL-2.0-or-later
"""P-code to operations of the abstract machine: one instruction's values, without what it does to the cache.

P-code has operands of any size; here they have at most 8 bytes, so that wider ones are taken apart. What has no
exact counterpart gives results that nobody knows, which is always right.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from l1dflush.tracing.operations import Address, Do, Number, Operand, Operation, part_made
from l1dflush.tracing.pcode import NOTHING, PcodeOp, Varnode
from l1dflush.tracing.slots import WORD, Part, Slots
from l1dflush.tracing.undefined import Origin


class UnliftedError(Exception):
    """The instruction cannot be brought to operations; the message completes "`INSTRUCTION`: ..."."""


_PLAIN = {
    "COPY": Do.COPY,
    "INT_ADD": Do.ADD,
    "INT_SUB": Do.SUBTRACT,
    "INT_MULT": Do.MULTIPLY,
    "INT_DIV": Do.DIVIDE,
    "INT_SDIV": Do.DIVIDE_SIGNED,
    "INT_REM": Do.REMAINDER,
    "INT_SREM": Do.REMAINDER_SIGNED,
    "INT_AND": Do.BIT_AND,
    "INT_OR": Do.BIT_OR,
    "INT_XOR": Do.BIT_XOR,
    "INT_NEGATE": Do.COMPLEMENT,
    "INT_2COMP": Do.NEGATE,
    "INT_LEFT": Do.SHIFT_LEFT,
    "INT_RIGHT": Do.SHIFT_RIGHT,
    "INT_SRIGHT": Do.SHIFT_RIGHT_SIGNED,
    "INT_ZEXT": Do.WIDEN,
    "INT_SEXT": Do.WIDEN_SIGNED,
    "SUBPIECE": Do.SLICE,
    "PIECE": Do.JOIN,
    "INT_EQUAL": Do.EQUAL,
    "INT_NOTEQUAL": Do.NOT_EQUAL,
    "INT_LESS": Do.BELOW,
    "INT_LESSEQUAL": Do.BELOW_OR_EQUAL,
    "INT_SLESS": Do.BELOW_SIGNED,
    "INT_SLESSEQUAL": Do.BELOW_OR_EQUAL_SIGNED,
    "INT_CARRY": Do.CARRIES,
    "INT_SCARRY": Do.CARRIES_SIGNED,
    "INT_SBORROW": Do.BORROWS_SIGNED,
    "BOOL_AND": Do.TRUTH_AND,
    "BOOL_OR": Do.TRUTH_OR,
    "BOOL_XOR": Do.TRUTH_XOR,
    "BOOL_NEGATE": Do.TRUTH_NOT,
    "POPCOUNT": Do.COUNT_ONES,
    "LZCOUNT": Do.COUNT_LEADING_ZEROS,
    "PARITY": Do.EVEN_ONES,
}
# Floating-point operations that come to yes or no.
_CONDITIONS = frozenset({"FLOAT_EQUAL", "FLOAT_NOTEQUAL", "FLOAT_LESS", "FLOAT_LESSEQUAL", "FLOAT_NAN"})
_BY_PARTS = {"COPY", "INT_AND", "INT_OR", "INT_XOR", "INT_NEGATE"}
_EXTENSIONS = {"INT_ZEXT": Do.MULTIPLY_HIGH, "INT_SEXT": Do.MULTIPLY_HIGH_SIGNED}


class Lowering:
    """Lowers the operations of one instruction.

    ``slots`` are the machine's; ``behind`` is the place of the next instruction, ``bits`` the width of an address.
    ``memory`` makes the operand of an address in P-code's own memory space.
    """

    def __init__(self, slots: Slots, bits: int, behind: Address, memory: Callable[[Varnode], Operand]) -> None:
        self._slots = slots
        self._bits = bits
        self._behind = behind
        self._memory = memory
        self._operations: list[Operation] = []
        self._temporaries: dict[int, int] = {}
        # Temporaries of P-code, as (first byte, byte behind, where its parts are).
        self._uniques: list[tuple[int, int, list[Part]]] = []
        self._extended: dict[Varnode, tuple[str, Varnode]] = {}
        self._number = 0
        self._count = 0
        # Where the operand in memory is, and how many bytes it has, if P-code has the address wrong.
        self.moved: tuple[Operand, int] | None = None
        # What stands for all that the results are made of which nobody knows, if they are the same for the same; how
        # many parts there are of such, and of how many bytes the widest result is.
        self.made_of: Part | None = None
        self.parts_made = 0
        self.widest_made = 0

    def is_temporary(self, part: Part) -> bool:
        """Whether it is one that :meth:`fresh` made."""
        return self._slots.is_temporary(part.slot)

    def fresh(self, size: int) -> Part:
        """A temporary that this instruction did not use yet."""
        number = self._temporaries.get(size, 0)
        self._temporaries[size] = number + 1
        return self._slots.temporary(size, number)

    def not_known(self, part: Part, origin: Origin) -> Operation:
        """What makes something new of a part that nobody knows; or the same again of the same, see :attr:`made_of`."""
        if self.made_of is None:
            return Operation(Do.UNKNOWN, part, detail=origin)
        self.parts_made += 1
        return part_made(part, self.made_of, self.parts_made - 1, origin)

    def lower(self, ops: Sequence[PcodeOp]) -> tuple[list[Operation], list[int]]:
        """The operations of what :func:`shortened` made, and for each P-code operation which is its first. Raises
        UnliftedError."""
        self._lay_out(ops)
        self._count = len(ops)
        starts: list[int] = []
        for self._number, op in enumerate(ops):
            starts.append(len(self._operations))
            self._one(op)
        starts.append(len(self._operations))
        for number, operation in enumerate(self._operations):
            if operation.what in (Do.SKIP, Do.SKIP_IF):
                self._operations[number] = operation._replace(detail=starts[operation.detail])
        return self._operations, starts

    def _lay_out(self, ops: Sequence[PcodeOp]) -> None:
        """Gives P-code's temporaries slots: those that overlap are one."""
        spans: list[list[int]] = []
        nodes = [v for op in ops for v in (op.out, *op.inputs) if v is not None and v.space == "unique"]
        for start, end in sorted({(v.offset, v.offset + v.size) for v in nodes}):
            if spans and start < spans[-1][1]:
                spans[-1][1] = max(spans[-1][1], end)
            else:
                spans.append([start, end])
        for start, end in spans:
            size = end - start
            if size > WORD:
                parts = [self.fresh(min(WORD, size - at)) for at in range(0, size, WORD)]
            else:
                parts = [self.fresh(size)]
            self._uniques.append((start, end, parts))

    def parts(self, node: Varnode) -> Sequence[Operand]:
        """The operand in parts of at most 8 bytes, the lowest first."""
        if node.space == "const":
            if node.place is not None:
                return [node.place]
            sizes = [min(WORD, node.size - at) for at in range(0, node.size, WORD)]
            return [Number(node.offset >> 8 * WORD * number, size) for number, size in enumerate(sizes)]
        if node.space == "register":
            try:
                return self._slots.register(node.offset, node.size)
            except KeyError:
                raise UnliftedError("it uses a register that is not known") from None
        if node.space == "unique":
            start, _, slots = next(span for span in self._uniques if span[0] <= node.offset < span[1])
            found: list[Operand] = []
            at, left = node.offset - start, node.size
            while left > 0:
                slot, within = slots[at // WORD], at % WORD
                length = min(left, WORD - within)
                found.append(Part(slot.slot, within, length))
                at, left = at + length, left - length
            return found
        if node.space == "ram":
            return self._load(self._address(self._memory(node), node.size), node.size)
        raise UnliftedError(f"it uses P-code's space {node.space}")

    def _emit(self, what: Do, out: Operand = None, a: Operand = None, b: Operand = None, c: Operand = None) -> None:
        self._operations.append(Operation(what, out, a, b, c))

    def _address(self, address: Operand, size: int) -> Operand:
        """Where memory really is of which P-code has ``address``."""
        if self.moved is None:
            return address
        if size != self.moved[1]:
            raise UnliftedError("its address has fewer bits than others, and its P-code takes parts of what is there")
        return self.moved[0]

    def _at(self, address: Operand, distance: int) -> Operand:
        if distance == 0:
            return address
        moved = self.fresh(self._bits // 8)
        self._emit(Do.ADD, moved, address, Number(distance, self._bits // 8))
        return moved

    def _load(self, address: Operand, size: int) -> list[Operand]:
        parts: list[Operand] = []
        for at in range(0, size, WORD):
            part = self.fresh(min(WORD, size - at))
            self._emit(Do.LOAD, part, self._at(address, at))
            parts.append(part)
        return parts

    def _store(self, address: Operand, node: Varnode) -> None:
        at = 0
        for part in self.parts(node):
            assert part is not None
            self._emit(Do.STORE, None, self._at(address, at), part)
            at += part.size

    def _single(self, node: Varnode) -> Operand:
        """The operand, which has at most 8 bytes."""
        if node.space == "const" and node.size <= WORD:
            return node.place or Number(node.offset, node.size)
        parts = self.parts(node)
        if len(parts) == 1:
            return parts[0]
        if node.size > WORD:
            raise UnliftedError(f"an operand of {node.size} bytes")
        whole = self.fresh(node.size)
        low, high = parts
        self._emit(Do.JOIN, whole, high, low)
        return whole

    def _one(self, op: PcodeOp) -> None:
        name = op.name
        if name == NOTHING.name:
            return
        if name in ("BRANCH", "CBRANCH", "BRANCHIND", "CALL", "CALLIND", "RETURN"):
            self._go(op)
        elif name == "LOAD":
            assert op.out is not None
            address = self._address(self._single(op.inputs[0]), op.out.size)
            self._write(op.out, self._load(address, op.out.size))
        elif name == "STORE":
            self._store(self._address(self._single(op.inputs[0]), op.inputs[1].size), op.inputs[1])
        elif op.out is None:
            return  # CALLOTHER without a result: what it does is in the table
        elif op.out.size > WORD or any(v.size > WORD for v in op.inputs):
            self._wide(op, op.out)
        elif name in _PLAIN:
            self._plain(op, op.out)
        else:
            self._unknown(op.name, op.out)

    def _plain(self, op: PcodeOp, out: Varnode) -> None:
        what = _PLAIN[op.name]
        operands = [self._single(v) for v in op.inputs]
        target, whole = self._target(out)
        self._emit(what, target, *operands)
        if not whole:
            self._put(out, target)

    def _target(self, out: Varnode) -> tuple[Operand, bool]:
        """Where a result of at most 8 bytes goes at first, and whether it stays there."""
        if out.space == "ram":
            return self.fresh(out.size), False
        parts = self.parts(out)
        return (parts[0], True) if len(parts) == 1 else (self.fresh(out.size), False)

    def _put(self, out: Varnode, target: Operand) -> None:
        """Moves a result on from where it went at first."""
        if out.space == "ram":
            self._emit(Do.STORE, None, self._address(self._memory(out), out.size), target)
            return
        parts = self.parts(out)
        if len(parts) > 1:
            at = 0
            for part in parts:
                assert part is not None
                self._emit(Do.SLICE, part, target, Number(at, WORD))
                at += part.size

    def _write(self, out: Varnode, values: Sequence[Operand]) -> None:
        """Copies parts of 8 bytes each, and a last one of the rest."""
        if out.space == "ram":
            address = self._address(self._memory(out), out.size)
            for number, value in enumerate(values):
                self._emit(Do.STORE, None, self._at(address, number * WORD), value)
            return
        if len(values) == 1:
            target, whole = self._target(out)
            self._emit(Do.COPY, target, values[0])
            if not whole:
                self._put(out, target)
            return
        parts = self.parts(out)
        if [p and p.size for p in parts] != [v and v.size for v in values]:
            raise UnliftedError("an operand that lies across registers")
        for part, value in zip(parts, values, strict=True):
            self._emit(Do.COPY, part, value)

    def _unknown(self, name: str, out: Varnode) -> None:
        """A result that nobody knows. One of floating-point numbers depends on MXCSR; a comparison of them is no
        pointer, and a number may be one that was converted."""
        values: list[Operand] = []
        for at in range(0, out.size, WORD):
            part = self.fresh(min(WORD, out.size - at))
            origin = Origin.POINTER if name.startswith("FLOAT_") else Origin.COMPUTED
            if name in _CONDITIONS:
                origin = Origin.NO_POINTER
            self._operations.append(self.not_known(part, origin))
            self.widest_made = max(self.widest_made, out.size)
            if name in _CONDITIONS:
                self._emit(Do.BIT_AND, part, part, Number(1, 1))
            values.append(part)
        self._write(out, values)

    def _wide(self, op: PcodeOp, out: Varnode) -> None:
        """An operation with operands of more than 8 bytes."""
        first = op.inputs[0] if op.inputs else out
        if op.name in _BY_PARTS:
            columns = [self.parts(v) for v in op.inputs]
            values: list[Operand] = []
            for operands in zip(*columns, strict=True):
                sizes = {o.size for o in operands if o is not None}
                if len(sizes) != 1:
                    raise UnliftedError("operands that lie across registers")
                part = self.fresh(sizes.pop())
                self._emit(_PLAIN[op.name], part, *operands)
                values.append(part)
            self._write(out, values)
        elif op.name in _EXTENSIONS and first.size == WORD and out.size == 2 * WORD:
            low = self.fresh(WORD)
            self._emit(Do.COPY, low, self._single(first))
            high = self.fresh(WORD)
            if op.name == "INT_ZEXT":
                self._emit(Do.COPY, high, Number(0, WORD))
            else:
                self._emit(Do.SHIFT_RIGHT_SIGNED, high, low, Number(63, WORD))
            self._write(out, [low, high])
            self._extended[out] = (op.name, first)
        elif op.name == "INT_ZEXT":
            values = list(self.parts(first))
            short = values[-1]
            assert short is not None
            if short.size < WORD:
                values[-1] = self.fresh(WORD)
                self._emit(Do.WIDEN, values[-1], short)
            have = len(values) * WORD
            values += [Number(0, min(WORD, out.size - at)) for at in range(have, out.size, WORD)]
            self._write(out, values)
        elif op.name == "SUBPIECE" and op.inputs[1].space == "const":
            within = op.inputs[1].offset
            inner = Varnode(first.space, first.offset + within, min(out.size, first.size - within), None)
            if first.space == "const" or inner.size != out.size:
                raise UnliftedError("a part of a wide number")
            self._write(out, self.parts(inner))
        elif op.name == "INT_MULT" and all(v in self._extended for v in op.inputs):
            kinds = {self._extended[v][0] for v in op.inputs}
            if len(kinds) != 1:
                self._unknown(op.name, out)
                return
            x, y = (self._single(self._extended[v][1]) for v in op.inputs)
            low, high = self.fresh(WORD), self.fresh(WORD)
            self._emit(Do.MULTIPLY, low, x, y)
            self._emit(_EXTENSIONS[kinds.pop()], high, x, y)
            self._write(out, [low, high])
        else:
            self._unknown(op.name, out)

    def _skip(self, condition: Operand, number: int) -> None:
        """Goes on at a P-code operation, if a condition holds."""
        what = Do.SKIP if condition is None else Do.SKIP_IF
        self._operations.append(Operation(what, None, condition, detail=number))

    def _go(self, op: PcodeOp) -> None:
        to = op.inputs[0]
        condition = self._single(op.inputs[1]) if op.name == "CBRANCH" else None
        if op.name == "RETURN":
            self._emit(Do.COME_BACK, None, self._single(to))
        elif op.name in ("BRANCHIND", "CALLIND"):
            what = Do.JUMP_TO if op.name == "BRANCHIND" else Do.CALL_TO
            self._emit(what, None, self._single(to))
        elif to.space == "const":
            # So many P-code operations on.
            ahead = to.offset if to.offset < 1 << 31 else to.offset - (1 << 8 * to.size)
            self._skip(condition, self._number + ahead)
        else:
            place = self._memory(to)
            if not isinstance(place, Address):
                raise UnliftedError("it goes to an address that is a number in a file that was not linked")
            if place == self._behind and op.name != "CALL":
                # What is put behind the operations of P-code is not jumped over.
                self._skip(condition, self._count)
            elif condition is not None:
                self._emit(Do.JUMP_IF, None, condition, place)
            else:
                self._emit(Do.CALL if op.name == "CALL" else Do.JUMP, None, place)
