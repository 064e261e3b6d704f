"""One way through a routine: control flow, the stack, and the forks.

Data instructions are :mod:`l1dflush.trace.semantics`, string instructions :mod:`l1dflush.trace.strings`,
those that are stepped over :mod:`l1dflush.trace.skipped`; loops that only repeat themselves are handed to
:mod:`l1dflush.trace.loops`. A branch on an unknown value asks the script that the explorer wrote; a path
that runs past its script takes the branch as not taken.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable

from l1dflush.errors import UndecidedError
from l1dflush.routine.model import Routine
from l1dflush.trace.budget import Budget
from l1dflush.trace.conditions import condition_holds, unknown_flags
from l1dflush.trace.decode import Decoder, Instruction, Memory, Register
from l1dflush.trace.effects import ALL_FLAGS, OPPOSITE, SAME, Form, Role
from l1dflush.trace.loops import Loops
from l1dflush.trace.machine import is_external
from l1dflush.trace.memory import STACK_POINTER
from l1dflush.trace.model import Decision, Event, Kind, Path
from l1dflush.trace.semantics import Dataflow, check_reports, is_plain
from l1dflush.trace.skipped import step_over
from l1dflush.trace.state import (
    ARGUMENTS,
    CALLER_SAVED,
    RETURN_ADDRESS,
    FlagValue,
    State,
    TraceOptions,
    bind_hint,
    lost_value,
)
from l1dflush.trace.strings import element_count, run_string
from l1dflush.trace.values import Unknown, identity

# What an outside function may write behind a pointer into the stack, in bytes, if nothing saved lies before that.
LARGEST_VARIABLE = 4096


class PathRun:
    """Runs one path. ``script`` holds the outcomes of its first decisions, ``irregular`` the loop heads that
    must be run instruction by instruction, ``deadline`` is a time.monotonic() value."""

    def __init__(
        self,
        routine: Routine,
        options: TraceOptions,
        decoder: Decoder,
        script: tuple[bool, ...],
        irregular: set[int],
        deadline: float,
    ) -> None:
        self.state = State(routine, options)
        self.decisions: list[Decision] = []
        self.outcomes: list[bool] = []
        self._routine = routine
        self._options = options
        self._decoder = decoder
        self._script = script
        self._decided: dict[Hashable, bool] = {}
        self._forks_at: Counter[int] = Counter()
        self._budget = Budget(options.max_instructions, options.max_seconds, deadline)
        self._dataflow = Dataflow(self.state)
        self._instructions: dict[int, Instruction] = {}
        self._loops = Loops(self.state, irregular, self._budget)

    def run(self) -> Path:
        """Runs to the return. Raises UndecidedError for what cannot be followed."""
        pc = self._routine.entry
        self._budget.check_clock(pc)
        while pc != RETURN_ADDRESS:
            insn = self._fetch(pc)
            self._budget.spend(1, pc)
            self._loops.before(insn)
            pc = self._execute(insn)
            self._loops.after(insn, pc)
            if pc != insn.next:
                if pc == insn.address and insn.effect.form is Form.JUMP:
                    raise UndecidedError("endless-loop", f"`{insn.text}` jumps to itself", where=f"{pc:#x}")
                pc = self._loops.run_ahead(pc)
            self._budget.check_accesses(len(self.state.events), pc)
        return Path(tuple(self.decisions), tuple(self.state.events), self._budget.spent)

    def _fetch(self, pc: int) -> Instruction:
        insn = self._instructions.get(pc)
        if insn is not None:
            return insn
        section = self.state.memory.section_at(pc)
        if section is None or not section.executable:
            raise UndecidedError("jump-into-nowhere", "the routine goes on where there is no code", where=f"{pc:#x}")
        start = pc - section.address
        code = section.data[start : start + 15]
        if not code:
            raise UndecidedError(
                "jump-into-nowhere", f"the routine runs off the end of {section.name}", where=f"{pc:#x}"
            )
        insn = self._decoder.decode(code, pc)
        for bad in self._routine.image.bad_relocations:
            if bad.address < insn.next and pc < bad.address + bad.size:
                raise UndecidedError("relocation", bad.reason, where=f"{pc:#x}")
        self._instructions[pc] = insn
        return insn

    def _execute(self, insn: Instruction) -> int:
        """Runs one instruction; returns the address of the next."""
        form = insn.effect.form
        if is_plain(insn.effect):
            if insn.repeat:
                raise UndecidedError(
                    "unclassified-instruction", f"the instruction `{insn.text}`", where=f"{insn.address:#x}"
                )
            self._dataflow.run(insn)
            return insn.next
        match form:
            case Form.BRANCH:
                return self._branch(insn)
            case Form.JUMP:
                return self._jump(insn)
            case Form.CALL:
                return self._call(insn)
            case Form.RETURN:
                return self._return(insn)
            case Form.PUSH | Form.POP | Form.LEAVE:
                self._stack(insn)
            case Form.CONDITIONAL_MOVE:
                self._conditional_move(insn)
            case Form.STRING:
                count = element_count(self.state, insn)
                self._budget.spend(max(count - 1, 0), insn.address)
                self._budget.check_accesses(len(self.state.events) + count, insn.address)
                run_string(self.state, insn, count, self._budget)
            case Form.SKIP | Form.RESULTS_UNKNOWN | Form.VECTOR_SKIP:
                step_over(self.state, insn, self._budget.spent)
            case _:
                raise AssertionError(form)
        return insn.next

    # --- forks -----------------------------------------------------------------------------------------

    def _decide(self, insn: Instruction, condition: str, value: FlagValue) -> bool:
        """Whether ``condition`` holds for unknown flags: as decided before, as scripted, or not at first."""
        self.state.check_used(value.sources)
        plain = SAME.get(condition, condition)
        negated = plain in OPPOSITE
        key = (value.key, OPPOSITE.get(plain, plain))
        holds = self._decided.get(key)
        if holds is None:
            index = len(self.outcomes)
            taken = self._script[index] if index < len(self._script) else False
            self.outcomes.append(taken)
            holds = taken != negated
            self._decided[key] = holds
            meaning = ""
            if OPPOSITE.get(plain, plain) == "e":
                meaning = value.zero if holds else value.nonzero
            self.decisions.append(Decision(insn.address, insn.text, value.sources, taken, meaning))
            self._forks_at[insn.address] += 1
            if self._forks_at[insn.address] > self._options.max_paths:
                raise too_many_paths(self._options.max_paths, value.sources, insn.address, self.state.pointers)
        return holds != negated

    def _branch(self, insn: Instruction) -> int:
        target = insn.operands[0]
        assert isinstance(target, int)
        condition = insn.mnemonic[1:]
        unknown = unknown_flags(self.state, insn.effect.flags_read)
        if "rcx" in insn.effect.reads and (count := self.state.registers["rcx"]) is not None:
            if count.lost:
                raise lost_value(insn)
            condition = "e"
            key = identity((insn.mnemonic, self.state.content("rcx")))
            unknown = FlagValue(key, count.sources, *_count_means(self.state, count))
        if unknown is None:
            went = self.state.machine.step(insn.address)[0]
            if went not in (target, insn.next):
                raise UndecidedError(
                    "emulator-disagrees", f"`{insn.text}` went to {went:#x}", where=f"{insn.address:#x}"
                )
            return went
        if insn.mnemonic == "loop":
            raise UndecidedError(
                "loop-count-unknown",
                "`loop` with an unknown count",
                where=f"{insn.address:#x}",
                hint=bind_hint(unknown.sources),
            )
        return target if self._decide(insn, condition, unknown) else insn.next

    def _conditional_move(self, insn: Instruction) -> None:
        """A conditional move between unknown flags is a fork like a branch; the memory operand is read anyway."""
        state = self.state
        accesses = state.accesses(insn)
        for access in accesses:
            state.emit(insn, access)
        destination, source = insn.operands
        assert isinstance(destination, Register)
        unknown = unknown_flags(state, insn.effect.flags_read)
        moves = (
            self._decide(insn, insn.mnemonic[4:], unknown)
            if unknown
            else condition_holds(insn.mnemonic[4:], state.machine.flags())
        )
        # How far the value was moved on: a narrow one is not, whatever memory holds in its place.
        moved_on = not accesses or accesses[0].size == state.width
        value = before = state.registers[destination.full]
        bits, whole = state.machine.read(destination.full), state.content(destination.full)
        if moves:
            value = state.value(insn, source, accesses[0] if accesses else None)
            if accesses:
                bits = int.from_bytes(state.machine.peek(accesses[0].address, accesses[0].size), "little")
            else:
                assert isinstance(source, Register)
                bits = state.machine.read(source.full)
        if value is not None and value.lost:
            raise lost_value(insn)
        if destination.size == 2:
            # The rest of the register stays.
            if not moves:
                return
            if value is not None or before is not None:
                new = bits & 0xFFFF if value is None else (value.uid, bits - value.marker if moved_on else 0)
                origin: Hashable = ("narrow", new, whole)
                state.set_unknown(destination.full, state.fresh(origin, [value, before]))
                return
        if destination.size == state.width:
            state.registers[destination.full] = value
            state.machine.write(destination.full, bits)
        elif value is not None:
            origin = ("narrow", value.uid, bits - value.marker if moved_on or not moves else 0, destination.size)
            state.set_unknown(destination.full, state.fresh(origin, [value]))
        else:
            state.registers[destination.full] = None
            keep = state.machine.read(destination.full) & ~0xFFFF if destination.size == 2 else 0
            state.machine.write(destination.full, keep | bits & ((1 << 8 * destination.size) - 1))

    # --- jumps, calls, the stack -----------------------------------------------------------------------

    def _target(self, insn: Instruction) -> tuple[int, Unknown | None]:
        """Where an indirect or direct jump goes; emits the load of an indirect one."""
        operand = insn.operands[0]
        if isinstance(operand, int):
            return operand, None
        access = None
        if isinstance(operand, Memory):
            access = self.state.access(insn, 0, operand)
            self.state.emit(insn, access)
        value = self.state.value(insn, operand, access)
        if access is not None:
            return int.from_bytes(self.state.machine.peek(access.address, self.state.width), "little"), value
        assert isinstance(operand, Register)
        return self.state.machine.read(operand.full), value

    def _jump(self, insn: Instruction) -> int:
        target, unknown = self._target(insn)
        if unknown is not None:
            raise UndecidedError(
                "indirect-jump",
                f"`{insn.text}` goes where {' and '.join(unknown.sources)} says",
                where=f"{insn.address:#x}",
            )
        if is_external(target):
            self._outside_call(insn, target, None)
            return self._pop_return(insn)
        return target

    def _call(self, insn: Instruction) -> int:
        target, unknown = self._target(insn)
        pushed = self.state.stack_access(-self.state.width, self.state.width, Role.WRITE)
        self.state.emit(insn, pushed)
        if unknown is not None or is_external(target):
            self.state.memory.forget(pushed.address, pushed.size)
            self._outside_call(insn, target, unknown)
            return insn.next
        self.state.memory.store(pushed.address, pushed.size, None)
        self.state.saved.add(pushed.address)
        self.state.machine.poke(pushed.address, insn.next.to_bytes(pushed.size, "little"))
        self.state.machine.write("rsp", pushed.address)
        return target

    def _outside_call(self, insn: Instruction, target: int, unknown: Unknown | None) -> None:
        """A function that is not here is taken to return, having changed what the ABI lets it change."""
        state = self.state
        symbol = None if unknown is not None else state.memory.symbol_at(target)
        name = (
            symbol.name if symbol is not None else "+".join(unknown.sources) if unknown is not None else f"{target:#x}"
        )
        state.events.append(Event(Kind.CALL, insn.address, name))
        state.memory.outside_call()
        for register in ARGUMENTS[state.bits]:
            # A pointer into the stack is a pointer to a variable.
            if (value := state.registers[register]) is not None and STACK_POINTER in value.sources:
                state.memory.forget_up_to(state.machine.read(register), state.saved, LARGEST_VARIABLE)
        for register in CALLER_SAVED[state.bits]:
            what = f"what {name} returned" if register == "rax" else f"{register} after {name}"
            state.set_unknown(register, state.unknowns.get(("call", name, register, state.memory.version), {what}))
        for part in ALL_FLAGS:
            key = identity(("flags after call", name, state.memory.version))
            state.flags[part] = FlagValue(key, (f"flags after {name}",))
        state.vectors.clear()

    def _return(self, insn: Instruction) -> int:
        return self._pop_return(
            insn, extra=insn.operands[0] if insn.operands and isinstance(insn.operands[0], int) else 0
        )

    def _pop_return(self, insn: Instruction, extra: int = 0) -> int:
        state = self.state
        access = state.stack_access(0, state.width, Role.READ)
        state.emit(insn, access)
        if state.memory.load(access.address, access.size, access.arena, access.offset, access.origin) is not None:
            raise UndecidedError(
                "return-address-unknown", "the return address is not the caller's", where=f"{insn.address:#x}"
            )
        target = int.from_bytes(state.machine.peek(access.address, state.width), "little")
        state.machine.write("rsp", access.address + state.width + extra)
        return target

    def _stack(self, insn: Instruction) -> None:
        state, width = self.state, self.state.width
        if insn.effect.form is Form.LEAVE:
            state.registers["rsp"] = state.registers["rbp"]
            state.machine.write("rsp", state.machine.read("rbp"))
            self._pop_into(insn, "rbp")
            return
        operand = insn.operands[0]
        if isinstance(operand, Register | Memory) and operand.size != width:
            raise UndecidedError(
                "unclassified-instruction", f"the instruction `{insn.text}`", where=f"{insn.address:#x}"
            )
        if insn.effect.form is Form.POP:
            if not isinstance(operand, Register):
                raise UndecidedError(
                    "unclassified-instruction", f"the instruction `{insn.text}`", where=f"{insn.address:#x}"
                )
            self._pop_into(insn, operand.full)
            return
        access = None
        if isinstance(operand, Memory):
            access = state.access(insn, 0, operand)
            state.emit(insn, access)
        value = state.value(insn, operand, access)
        if value is not None and value.lost:
            raise lost_value(insn)
        pushed = state.stack_access(-width, width, Role.WRITE)
        state.emit(insn, pushed)
        _, reports = state.machine.step(insn.address)
        check_reports(insn, reports, [a for a in (access, pushed) if a is not None])
        state.memory.store(pushed.address, width, value)
        state.saved.add(pushed.address)

    def _pop_into(self, insn: Instruction, register: str) -> None:
        state, width = self.state, self.state.width
        access = state.stack_access(0, width, Role.READ)
        state.emit(insn, access)
        value = state.memory.load(access.address, width, access.arena, access.offset, access.origin)
        if value is not None and value.lost:
            raise lost_value(insn)
        state.machine.write("rsp", access.address + width)
        state.machine.write(register, int.from_bytes(state.machine.peek(access.address, width), "little"))
        state.registers[register] = value


def _count_means(state: State, count: Unknown) -> tuple[str, str]:
    """What it means that a count in rcx is zero, and that it is not."""
    if state.machine.read("rcx") != count.marker:
        return "", ""
    what = " and ".join(f"`{name}`" for name in count.sources)
    return f"{what} is zero", f"{what} is not zero"


def too_many_paths(limit: int, sources: tuple[str, ...], pc: int, pointers: set[str]) -> UndecidedError:
    """The error of a routine that forks too often: a loop whose end depends on something unknown, mostly."""
    missing = [name for name in sources if name not in pointers]
    return UndecidedError(
        "too-many-paths",
        f"more than {limit} paths; the last fork depends on {' and '.join(sources)}",
        where=f"{pc:#x}",
        hint=bind_hint(missing),
    )
