# SPDX-License-Identifier: GPL-2.0-or-later
"""One instruction as operations: its values from P-code, what it does to the cache from our table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from l1dflush.assumption import Assumes, Assumption
from l1dflush.errors import UndecidedError
from l1dflush.place import Place
from l1dflush.routine.model import Section
from l1dflush.tracing.decode import Instruction, Memory, Register
from l1dflush.tracing.effects import Event as Does
from l1dflush.tracing.effects import Form, Role
from l1dflush.tracing.functions import inputs_of, is_function
from l1dflush.tracing.lower import Lowering, UnliftedError
from l1dflush.tracing.model import Kind
from l1dflush.tracing.operands import KIND, Operands, register_name
from l1dflush.tracing.operations import Address, Do, Number, Operand, Operation
from l1dflush.tracing.patched import Patched
from l1dflush.tracing.pcode import PcodeOp
from l1dflush.tracing.rows import bit_of_string, forget_results, string, values_of
from l1dflush.tracing.scans import scan
from l1dflush.tracing.slots import WORD, Part
from l1dflush.tracing.stack_rows import STACK_ROWS
from l1dflush.tracing.system_rows import (
    RAISED,
    X87,
    X87_REGISTERS,
    be_privileged,
    goes_on,
    is_privileged,
)
from l1dflush.tracing.undefined import (
    Limit,
    Origin,
    half_unknown,
    half_written,
    is_floating,
    shift_limits,
    shift_mask,
    undefined_flags,
    value_unknown,
)
from l1dflush.tracing.variants import Variants

if TYPE_CHECKING:
    from l1dflush.tracing.lift import Lifter

# They leave the registers of x87 alone.
_COMPARES = frozenset({"fcomi", "fucomi"})
_GOES_ON = frozenset({Do.SKIP, Do.SKIP_IF, Do.JUMP, Do.JUMP_IF})
# What is taken for granted about instructions.
_ASSUMED = (
    (frozenset({"vmread", "vmwrite", "invept", "invvpid", "vmptrld", "vmclear", "vmxon", "vmptrst"}),
     Assumes.VMX),
    (frozenset({"div", "idiv", "aam"}), Assumes.DIVISIONS),
    (frozenset({"str"}), Assumes.TASK_LOADED),
    (frozenset({"bound"}), Assumes.BOUNDS),
)  # fmt: skip
_EVENTS = {
    Does.FENCE: Kind.FENCE,
    Does.SERIALISE: Kind.SERIALISE,
    Does.FLUSH_ALL: Kind.FLUSH_ALL,
    Does.MSR_WRITE: Kind.MSR_WRITE,
    Does.SYSTEM_WRITE: Kind.SYSTEM_WRITE,
}
_ROLES = {
    Role.READ: (Kind.LOAD,),
    Role.WRITE: (Kind.STORE,),
    Role.UPDATE: (Kind.LOAD, Kind.STORE),
    Role.PREFETCH: (Kind.PREFETCH,),
    Role.LINE_FLUSH: (Kind.LINE_FLUSH,),
    Role.ADDRESS: (),
    Role.NON_TEMPORAL: (Kind.NON_TEMPORAL_STORE,),
}


class OneInstruction:
    """Lifts one instruction."""

    def __init__(self, lifter: Lifter, section: Section, base: int, offset: int, decoded: Instruction) -> None:
        self._lifter = lifter
        self._bits = lifter.image.bits
        self._width = self._bits // 8
        self._insn = decoded
        self._here = Address(base, offset, self._width)
        self._variants = Variants(lifter.image, lifter.bases, section, Address(base, offset, 0), decoded)
        behind = Address(base, offset + decoded.size, self._width)
        self._lowering = Lowering(lifter.slots, self._bits, behind, self._variants.address)
        self._patched = Patched(lifter.image.bits, lifter, self._lowering, decoded)
        self._operands = Operands(decoded, self._bits, lifter.register, self._lowering, self._variants, lifter.kept)

    def operations(self) -> list[Operation]:
        """All operations of the instruction. Raises UnliftedError, and UndecidedError for an exception of which nobody
        knows whether the kernel goes on behind it."""
        insn, form, o = self._insn, self._insn.effect.form, self._operands
        special = self._patched.operations()
        if special is not None:
            return special
        if form is Form.JUMP and insn.operands[0] == insn.address:
            raise UndecidedError("endless-loop", f"`{insn.text}` jumps to itself", where=Place(offset=insn.address))
        self._assume()
        if form in STACK_ROWS:
            STACK_ROWS[form](o)
            return o.operations
        if form is Form.STRING:
            string(o, self._here)
            return o.operations
        if form is Form.SCAN:
            scan(o, self._here)
            return o.operations
        if bit_of_string(o):
            return o.operations
        addresses = self._accesses()
        self._note()
        if is_privileged(insn):
            be_privileged(o)
        self._reveal(addresses)
        values = values_of(o)
        if form in (Form.END, Form.TRAP):
            self._leave()
        elif values is not None:
            values(o, addresses)
        elif form is Form.FLOAT or value_unknown(insn):
            if is_function(insn):
                self._lowering.made_of = inputs_of(o, addresses, None)
            forget_results(o, addresses)
        elif form is not Form.SKIP:
            self._from_pcode(addresses)
        # What works on MMX registers puts the top of x87's stack to 0.
        if form is Form.FLOAT or any(isinstance(one, Register) and one.full.startswith("mm") for one in insn.operands):
            goes_on(o, X87)
            if insn.mnemonic not in _COMPARES:
                goes_on(o, X87_REGISTERS)
        elif is_floating(insn):
            goes_on(o, RAISED)
        return o.operations

    def _assume(self) -> None:
        for names, kind in _ASSUMED:
            if self._insn.mnemonic in names:
                self._lifter.assumptions[Assumption(kind)] = None
        if is_floating(self._insn):
            self._lifter.assumptions[Assumption(Assumes.FLOATING_POINT)] = None

    def _from_pcode(self, addresses: Mapping[int, Operand]) -> None:
        """The values as P-code has them, but for what is undefined."""
        insn, o = self._insn, self._operands
        ops = self._variants.operations
        if insn.effect.form is Form.CALL:
            ops = [op._replace(name="CALL") if op.name == "BRANCH" else op for op in ops]
        limits = [(self._exceeds(limit), limit) for limit in shift_limits(insn)]
        narrow = [i for i, m in enumerate(insn.operands) if isinstance(m, Memory) and m.narrow and i in addresses]
        if narrow:
            if insn.effect.form is Form.CALL:
                raise UnliftedError("a call by an address that is computed in fewer bits")
            memory = insn.operands[narrow[0]]
            assert isinstance(memory, Memory)
            self._lowering.moved = addresses[narrow[0]], memory.size
        made = self._lowered(ops, addresses)
        if insn.effect.form is Form.CALL:
            # An outside function that has a pointer into the stack leaves alone what is saved there.
            made = [one._replace(detail=1) if one.what is Do.STORE else one for one in made]
            if not self._lifter.kernel.comes_back(insn, self._patched.outside):
                made = [one._replace(detail=1) if one.what in (Do.CALL, Do.CALL_TO) else one for one in made]
        through = self._lifter.kernel.goes_through(insn, self._patched.outside)
        if through is not None:
            to = {Do.CALL: Do.CALL_TO, Do.JUMP: Do.JUMP_TO}
            goes, tail = o.register(through), insn.effect.form is Form.JUMP
            made = [
                one._replace(what=to[one.what], a=goes, detail=one.detail | tail) if one.what in to else one
                for one in made
            ]
        if insn.effect.form is Form.BRANCH:
            made = self._patched.out_of_the_image(made)
        undefined = undefined_flags(insn)
        if (undefined or limits) and any(one.what in _GOES_ON for one in made):
            raise UnliftedError("results that are undefined behind a jump in it")
        before = len(o.operations)
        o.operations += [_later(one, before) for one in made]
        self._upper_halves()
        o.unknown_flags(undefined)
        for exceeds, limit in limits:
            self._blur(exceeds, limit, addresses)

    def _lowered(self, ops: Sequence[PcodeOp], addresses: Mapping[int, Operand]) -> list[Operation]:
        """P-code's operations as ours; before them what stands for all that they are given, if they make something of
        that which nobody knows."""
        o, low = self._operands, self._lowering
        # What is made in a loop would be the same in each turn.
        if not is_function(self._insn) or any(op.name in ("BRANCH", "CBRANCH") for op in ops):
            return low.lower(ops)[0]
        all_of_it = low.made_of = o.fresh(WORD)
        made, _ = low.lower(ops)
        low.made_of = None
        if low.parts_made:
            inputs = inputs_of(o, addresses, low.widest_made)
            if inputs is None:
                o.forget(all_of_it, Origin.NO_POINTER)
            else:
                o.emit(Do.COPY, all_of_it, inputs)
        return made

    def _exceeds(self, limit: Limit) -> Operand:
        """Whether a shift is by more bits than that."""
        count = self._insn.operands[-1]
        if not isinstance(count, Register) or len(self._insn.operands) == 1:
            return Number(1, 1)
        o = self._operands
        masked = o.made(Do.BIT_AND, 1, o.part(count), Number(shift_mask(self._insn), 1))
        return o.made(Do.BELOW, 1, Number(limit.most, 1), masked)

    def _blur(self, condition: Operand, limit: Limit, addresses: Mapping[int, Operand]) -> None:
        """Nobody knows what is undefined behind a shift, if the condition holds."""
        o = self._operands
        for name in sorted(limit.flags):
            bit = o.made(Do.BIT_AND, 1, o.unknown(1, Origin.NO_POINTER), Number(1, 1))
            o.emit(Do.CHOOSE, o.flag(name), condition, bit, o.flag(name))
        if limit.result:
            address = addresses.get(0)
            value = o.read(0, address)
            assert value is not None
            unknown = o.unknown(value.size, Origin.COMPUTED)
            o.write(0, o.made(Do.CHOOSE, value.size, condition, unknown, value), address)

    def _upper_halves(self) -> None:
        """Clears what a 32-bit result leaves above itself where P-code does not; what nobody can tell is unknown."""
        if self._bits == 32:
            return
        o = self._operands
        for register in half_written(self._insn):
            part = o.register(register.full)
            o.emit(Do.WIDEN, part, part._replace(size=4))
        for name in half_unknown(self._insn):
            o.forget(o.register(name)._replace(start=4, size=4), Origin.COMPUTED)

    def _accesses(self) -> dict[int, Operand]:
        """Adds the accesses to the cache; the addresses of the operands in memory, by their numbers."""
        insn, o = self._insn, self._operands
        addresses: dict[int, Operand] = {}
        for index, operand in enumerate(insn.operands):
            role = insn.effect.role(index)
            if not isinstance(operand, Memory) or role is Role.ADDRESS:
                continue
            address = o.address(index)
            # Later on the registers may hold something else.
            if isinstance(address, Part) and not self._lowering.is_temporary(address):
                address = o.made(Do.COPY, self._width, address)
            addresses[index] = address
            for kind in _ROLES[role]:
                o.access(kind, address, operand.size)
        if insn.effect.form is Form.CALL:
            stack = o.register("rsp")
            below = o.made(Do.ADD, self._width, stack, Number(-self._width, self._width))
            o.access(Kind.STORE, below, self._width)
        elif insn.effect.form is Form.RETURN:
            o.access(Kind.LOAD, o.register("rsp"), self._width)
        return addresses

    def _reveal(self, addresses: Mapping[int, Operand]) -> None:
        """What an instruction reads may come back in anything that nobody knows, if what it does with that is not
        followed: it computes in floating point, or keeps it where no register here is."""
        insn, o = self._insn, self._operands
        keeps = insn.effect.event in (Does.MSR_WRITE, Does.SYSTEM_WRITE)
        keeps |= insn.effect.form in (Form.SKIP, Form.RESULTS_UNKNOWN)
        if not (keeps or is_floating(insn) or value_unknown(insn)):
            return
        parts: list[Operand] = [o.register(name) for name in sorted(insn.effect.reads)]
        if insn.effect.event is Does.MSR_WRITE:
            parts += [o.register("rax"), o.register("rdx")]
        for index, operand in enumerate(insn.operands):
            if insn.effect.role(index) not in (Role.READ, Role.UPDATE):
                continue
            if isinstance(operand, Memory) and index in addresses:
                for at in range(0, operand.size, WORD):
                    parts.append(o.load(o.at(addresses[index], at), min(WORD, operand.size - at)))
            elif isinstance(operand, Register) and operand.general:
                parts.append(o.part(operand))
            elif isinstance(operand, Register) and operand.vector:
                parts += o.vector(operand)
        for part in parts:
            o.emit(Do.REVEAL, None, part)

    def _leave(self) -> None:
        """The path ends here, or the kernel goes on behind a trap."""
        insn, o = self._insn, self._operands
        if insn.effect.form is Form.TRAP and self._lifter.kernel.goes_on(insn):
            return
        to: Operand = None
        if insn.mnemonic.startswith("iret"):
            # The address, the segment and the flags; in 64-bit mode always the stack and its segment, too.
            size = {"iretq": 8, "iretd": 4}.get(insn.mnemonic, 2)
            stack = o.register("rsp")
            o.access(Kind.LOAD, stack, size * (5 if self._bits == 64 else 3))
            to = o.extended(o.load(stack, size))
        o.emit(Do.LEAVE, None, to)

    def _name(self, register: str) -> str:
        return register_name(register, self._bits)

    def _note(self) -> None:
        """Adds the event that an instruction is besides its accesses."""
        kind = _EVENTS.get(self._insn.effect.event)
        if self._insn.effect.form is Form.OPAQUE:
            kind = Kind.CALL
        if kind is None:
            return
        number: Operand = None
        value: Operand = None
        if kind is Kind.MSR_WRITE:
            number, value = (self._operands.register(name)._replace(size=4) for name in ("rcx", "rax"))
        self._operands.operations.append(Operation(Do.NOTE, None, number, value, detail=KIND[kind]))


def _later(operation: Operation, by: int) -> Operation:
    """The operation with ``by`` others put before all: those that go on elsewhere go there."""
    return operation._replace(detail=operation.detail + by) if operation.what in (Do.SKIP, Do.SKIP_IF) else operation
