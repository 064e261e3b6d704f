"""Loops that only repeat themselves, run in one go.

Instruction by instruction a 64 KiB walk costs a tenth of a second. Most of it is one straight piece of code
that jumps back to its own beginning, a thousand times. Once such a piece has been followed instruction by
instruction, the emulator may run the rest of its iterations alone if all of this holds:

* it is plain data flow ending in a branch on known flags: no call, no fork, nothing that is stepped over;
* what is known and unknown among the registers it reads before it writes them is the same at its beginning
  and at its end, so that it is the same in every iteration; so are the flags, which are known;
* the unknown values that it loads, and what it computes from them (a sum of them, say), reach neither an address, nor
  memory, nor a flag that is read: :func:`spread` follows them through the registers.

Then only two things can differ between iterations: whether the memory it loads is defined, and which memory
that is. Both are checked afterwards for every single access; where one differs, :class:`IrregularLoopError`
makes the explorer start over and take this loop step by step. So this module decides speed, never the result.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import cycle
from operator import itemgetter

from l1dflush.trace.budget import CLOCK_EVERY, Budget
from l1dflush.trace.conditions import unknown_flags
from l1dflush.trace.decode import Instruction, Memory, Register
from l1dflush.trace.effects import Form, Role
from l1dflush.trace.model import Arena, ArenaKind, Event, Kind
from l1dflush.trace.semantics import is_plain
from l1dflush.trace.state import Access, FlagValue, State
from l1dflush.trace.values import Unknown

_WIDTHS = (1, 2, 4, 8)
_LOADS = (Role.READ, Role.UPDATE)
_STORES = (Role.WRITE, Role.UPDATE)


class IrregularLoopError(Exception):
    """The loop at ``head`` does not repeat itself after all."""

    def __init__(self, head: int) -> None:
        super().__init__(f"{head:#x}")
        self.head = head


@dataclass(frozen=True, slots=True)
class _Slot:
    """One memory access of the loop body, as the emulator will report it."""

    pc: int
    mnemonic: str
    write: bool
    size: int
    undefined: bool
    arena: Arena
    base: int
    known_address: bool


class Loops:
    """Watches the instructions of a path go by and runs regular loops ahead."""

    def __init__(self, state: State, irregular: set[int], budget: Budget) -> None:
        self._state = state
        self._budget = budget
        self._irregular = irregular
        self._head = -1
        self._body: list[Instruction] = []
        self._slots: list[_Slot] = []
        # The unknown values that the first iteration loads, and the numbers of the instructions that load one or make
        # a new one otherwise.
        self._loaded: list[Unknown] = []
        self._loading: set[int] = set()
        self._making: set[int] = set()
        self._at_head: dict[str, Unknown | None] = {}
        self._flags_at_head: dict[str, FlagValue | None] = {}
        self._regular = False
        self._fresh_before = 0
        # Of the instruction at hand: its memory operands, and whether what they hold was defined before it ran.
        self._accesses: list[Access] = []
        self._defined: dict[int, bool] = {}

    def before(self, insn: Instruction) -> None:
        """Called before an instruction is run step by step."""
        if not self._body:
            self._head = insn.address
            self._at_head = dict(self._state.registers)
            self._slots, self._loaded, self._regular = [], [], insn.address not in self._irregular
            self._loading, self._making = set(), set()
            self._flags_at_head = dict(self._state.flags)
        self._body.append(insn)
        self._fresh_before = self._state.fresh_made
        self._accesses = []
        if not self._regular:
            return
        known = unknown_flags(self._state, insn.effect.flags_read) is None
        branch = insn.effect.form is Form.BRANCH and not insn.effect.reads and known
        plain = is_plain(insn.effect) and insn.effect.form is not Form.VECTOR and not insn.repeat
        self._regular = (plain and len(self._body) <= 256) or branch
        if self._regular:
            self._accesses = self._state.accesses(insn)
            self._regular = all(access.size in _WIDTHS for access in self._accesses)
            defined = self._state.memory.defined
            self._defined = {a.operand: defined(a.address, a.size) for a in self._accesses}
            for access in self._accesses:
                self._slots.extend(self._slots_of(insn, access))

    def _slots_of(self, insn: Instruction, access: Access) -> Iterator[_Slot]:
        undefined = not self._defined[access.operand]
        where = access.arena, access.address - access.offset, access.origin is None
        if access.role in _LOADS:
            yield _Slot(insn.address, insn.mnemonic, False, access.size, undefined, *where)
        if access.role in _STORES:
            yield _Slot(insn.address, insn.mnemonic, True, access.size, False, *where)

    def after(self, insn: Instruction, pc: int) -> None:
        """Called when it has run and the next address is known."""
        if self._regular and self._state.fresh_made != self._fresh_before:
            # New unknown values are fine only where they come of what is loaded, see above.
            self._making.add(len(self._body) - 1)
        self._regular = self._regular and all(self._harmless(insn, access) for access in self._accesses)
        if pc not in (insn.next, self._head):
            self._body = []

    def _harmless(self, insn: Instruction, access: Access) -> bool:
        """Whether an access did only what the next iterations may repeat: stored something known, loaded
        something known, or loaded an unknown value into a register, or took it in there."""
        if access.role in _STORES:
            return self._state.memory.defined(access.address, access.size)
        if self._defined[access.operand]:
            return True
        register = insn.operands[0] if insn.operands else None
        if insn.effect.role(0) not in _STORES or not isinstance(register, Register) or register.size < 4:
            return False
        value = self._state.registers[register.full]
        if value is not None:
            self._loaded.append(value)
        self._loading.add(len(self._body) - 1)
        return True

    def run_ahead(self, pc: int) -> int:
        """Called after a jump to ``pc``: runs the loop to its end if it is regular; returns where to go on."""
        body, self._body = self._body, []
        if not body or pc != self._head or not self._regular or body[-1].effect.form is not Form.BRANCH:
            return pc
        if any(insn.effect.form is Form.BRANCH for insn in body[:-1]):
            return pc
        reached = spread(body, self._loading)
        if reached is None or not self._making <= reached.by or not self._same_as_at_head(body, reached.at_head):
            return pc
        until = body[-1].next
        stopped_at, reports = self._state.machine.run(pc, until, self._budget)
        if stopped_at != until:
            self._budget.spend(self._budget.left + 1, stopped_at)
        self._take_over(reports)
        iterations = len(reports) // len(self._slots) if self._slots else 0
        self._budget.spend(iterations * len(body), pc)
        for register in sorted(reached.at_end):
            value = self._state.registers[register]
            key = ("last of loop", pc, register, value.uid if value is not None else "", len(self._state.events))
            self._state.set_unknown(register, self._state.fresh(key, [value, *self._loaded]))
        return until

    def _same_as_at_head(self, body: list[Instruction], other: set[str]) -> bool:
        """Whether the next iteration begins as this one did, but for registers that nothing depends on."""
        registers = self._state.registers
        for name in read_before_written(body) - other:
            now, then = registers[name], self._at_head[name]
            if (now.uid if now else None) != (then.uid if then else None):
                return False
        for part, flags in self._state.flags.items():
            # Unknown flags that the body sets are new ones in every iteration.
            touched = any(part in insn.effect.flags_written for insn in body)
            if flags is not None and (touched or flags != self._flags_at_head[part]):
                return False
            if flags is None and self._flags_at_head[part] is not None and reads_flag_first(body, part):
                return False
        return True

    def _take_over(self, reports: list[tuple[int, int, int]]) -> None:
        """Checks every access against the body's and appends its event."""
        slots, count = self._slots, len(self._slots)
        if not slots:
            return
        if len(reports) % count:
            raise IrregularLoopError(self._head)
        undefined = all(self._in_reach(slot, reports[index::count]) for index, slot in enumerate(slots))
        if not undefined:
            self._check_each(reports)
        kinds = [(Kind.STORE if slot.write else Kind.LOAD, slot.pc, slot.mnemonic, slot.arena) for slot in slots]
        bases = [slot.base for slot in slots]
        # Thousands at a time: this line is a quarter of the time that a trace takes.
        make = tuple.__new__
        self._state.events += [
            make(Event, (kind, pc, mnemonic, arena, report[0] - base, report[1]))
            for (kind, pc, mnemonic, arena), base, report in zip(cycle(kinds), cycle(bases), reports, strict=False)
        ]

    def _in_reach(self, slot: _Slot, mine: list[tuple[int, int, int]]) -> bool:
        """Checks what all accesses of one slot have in common: size, direction, and that they stay in the memory
        that the first one touched. Returns whether it is sure that all of them load undefined memory."""
        if not mine:
            return slot.undefined and not slot.write
        if set(map(itemgetter(1, 2), mine)) != {(slot.size, slot.write)}:
            raise IrregularLoopError(self._head)
        low = min(map(itemgetter(0), mine))
        high = max(map(itemgetter(0), mine)) + slot.size
        memory = self._state.memory
        if max(abs(low - slot.base), abs(high - slot.base)) >= self._state.unknowns.reach:
            raise IrregularLoopError(self._head)
        segment = slot.arena.key.partition(":")[0] if slot.arena.kind is ArenaKind.SEGMENT else ""
        ends = (low, high - 1)
        if slot.known_address and any(memory.resolve(at, None, segment)[0] != slot.arena for at in ends):
            raise IrregularLoopError(self._head)
        return slot.undefined and not slot.write and memory.untouched(low, high)

    def _check_each(self, reports: list[tuple[int, int, int]]) -> None:
        """Compares what every load finds with what the loads of the first iteration found, in order, because
        the loop's own stores define memory."""
        memory, slots, count = self._state.memory, self._slots, len(self._slots)
        for index, (address, size, write) in enumerate(reports):
            if index % CLOCK_EVERY == 0:
                self._budget.check_clock(self._head)
            slot = slots[index % count]
            if write:
                memory.store(address, size, None)
            elif memory.defined(address, size) is slot.undefined or (
                slot.undefined and any(memory.state(address, size))
            ):
                raise IrregularLoopError(self._head)


@dataclass(frozen=True, slots=True)
class Spread:
    """Where loaded values get to: the registers that hold something of them at the head of a later iteration and at its
    end, and the numbers of the instructions ``by`` which they got there."""

    at_head: set[str]
    at_end: set[str]
    by: set[int]


def spread(body: list[Instruction], loading: set[int]) -> Spread | None:
    """How what the instructions number ``loading`` load gets on from register to register, over any number of
    iterations; ``None`` if it may get into an address, into memory or into a flag that is read."""
    at_head: set[str] = set()
    while True:
        now, flags, by = set(at_head), set[str](), set[int]()
        for number, insn in enumerate(body):
            reads, writes, whole, addresses, stores = _registers(insn)
            if now & addresses or flags & insn.effect.flags_read:
                return None
            if number in loading or now & reads:
                if stores:
                    return None
                by.add(number)
                now |= writes
                flags |= insn.effect.flags_written
            else:
                now -= whole
                # Shifts may leave them as they are.
                if insn.effect.form not in (Form.SHIFT, Form.ROTATE):
                    flags -= insn.effect.flags_written
        if flags:
            return None
        if now <= at_head:
            return Spread(at_head, now, by)
        at_head |= now


def _registers(insn: Instruction) -> tuple[set[str], set[str], set[str], set[str], bool]:
    """The registers whose values an instruction uses, those it writes, of these the ones of which nothing stays, those
    in addresses; and whether it stores to memory."""
    reads, writes, addresses = set(insn.effect.reads), set(insn.effect.writes), set[str]()
    kept: set[str] = set()
    stores = False
    if insn.effect.form in (Form.XOR, Form.SUB) and len(set(insn.operands)) == 1:
        # Of the register's old value nothing is left, however wide: one of less than 32 bits is not told apart.
        (register,) = set(insn.operands)
        if isinstance(register, Register) and register.size >= 4:
            return reads, {register.full}, {register.full}, addresses, False
    for index, operand in enumerate(insn.operands):
        role = insn.effect.role(index)
        if isinstance(operand, Memory):
            addresses |= {name for name in (operand.base, operand.index) if name is not None}
            stores = stores or role in _STORES
        elif isinstance(operand, Register):
            # A write of less than 32 bits keeps the rest of the register.
            if role is not Role.WRITE or operand.size < 4:
                reads.add(operand.full)
                kept.add(operand.full)
            if role in _STORES:
                writes.add(operand.full)
    return reads, writes, writes - kept, addresses, stores


def read_before_written(body: list[Instruction]) -> set[str]:
    """General registers whose value at the beginning of ``body`` matters to it."""
    written: set[str] = set()
    live: set[str] = set()
    for insn in body:
        reads, writes, _, addresses, _ = _registers(insn)
        live |= (reads | addresses) - written
        written |= writes
    return live


def reads_flag_first(body: list[Instruction], part: str) -> bool:
    """Whether ``body`` reads a part of the flags before it writes it. Shifts may leave it as it is."""
    for insn in body:
        if part in insn.effect.flags_read:
            return True
        if part in insn.effect.flags_written:
            return insn.effect.form in (Form.SHIFT, Form.ROTATE)
    return False
