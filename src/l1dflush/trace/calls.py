"""Jumps, calls and the stack of one path: what leaves the routine and what comes back."""

from __future__ import annotations

from l1dflush.errors import UndecidedError
from l1dflush.routine.model import Routine
from l1dflush.trace.bindings import ARGUMENTS, CALLER_SAVED
from l1dflush.trace.decode import Instruction, Memory, Register
from l1dflush.trace.effects import ALL_FLAGS, Form, Role
from l1dflush.trace.kernel_sites import KernelSites
from l1dflush.trace.memory import STACK_POINTER
from l1dflush.trace.model import FLAGS_AT_ENTRY, Event, Kind
from l1dflush.trace.semantics import check_reports
from l1dflush.trace.state import (
    RETURN_ADDRESS,
    FlagValue,
    State,
    lost_value,
)
from l1dflush.trace.values import Unknown, identity

# Where a path goes on behind the call of a function that does not come back.
NOWHERE = -1
# What is put between functions: int3, nop and its longer forms.
_PADDING = (b"\xcc", b"\x90", b"\x66\x90", b"\x0f\x1f", b"\x66\x0f", b"\x66\x66", b"\x66\x2e", b"\x8d", b"\x00")
# What an outside function may write behind a pointer into the stack, in bytes, if nothing saved lies before that.
LARGEST_VARIABLE = 4096


class Calls:
    """Runs the instructions that go elsewhere or use the stack. What goes elsewhere returns where it goes on."""

    def __init__(self, state: State, routine: Routine, kernel: KernelSites) -> None:
        self._state = state
        self._routine = routine
        self._kernel = kernel
        symbols = routine.image.symbols.values()
        self._extents = {s.address: s.address + s.size for s in symbols if s.function and s.size}

    def _target(self, insn: Instruction) -> tuple[int, Unknown | None]:
        """Where an indirect or direct jump goes; emits the load of an indirect one."""
        operand = insn.operands[0]
        if isinstance(operand, int):
            return operand, None
        access = None
        if isinstance(operand, Memory):
            access = self._state.access(insn, 0, operand)
            self._state.emit(insn, access)
        value = self._state.value(insn, operand, access)
        if access is not None:
            return int.from_bytes(self._state.machine.peek(access.address, self._state.width), "little"), value
        assert isinstance(operand, Register)
        return self._state.machine.read(operand.full), value

    def jump(self, insn: Instruction) -> int:
        """Runs `jmp`. One to an outside function returns to the caller, one to the return thunk is a return."""
        target, unknown = self._target(insn)
        if unknown is not None:
            raise UndecidedError(
                "indirect-jump",
                f"`{insn.text}` goes where {' and '.join(unknown.sources)} says",
                where=f"{insn.address:#x}",
            )
        self._kernel.jumps_out(insn.address, target)
        return self.gone_to(insn, target)

    def gone_to(self, insn: Instruction, target: int) -> int:
        """Where a path goes on that jumps to ``target``: from an outside function it comes back to the caller."""
        symbol = self._state.memory.external_at(target)
        if symbol is None:
            self._assume(target)
            return target
        if not self._kernel.is_return(insn.address, symbol):
            self._outside_call(insn, target, None)
        return self._pop_return(insn)

    def call(self, insn: Instruction) -> int:
        """Runs `call`: goes into functions that are here, and takes others to return."""
        target, unknown = self._target(insn)
        symbol = None if unknown is not None else self._state.memory.external_at(target)
        if symbol is not None and self._kernel.is_tracing(insn.address, symbol):
            return insn.next
        if unknown is not None or symbol is not None:
            pushed = self._state.stack_access(-self._state.width, self._state.width, Role.WRITE)
            self._state.emit(insn, pushed)
            self._state.memory.forget(pushed.address, pushed.size)
            self._outside_call(insn, target, unknown)
            return insn.next if self._may_return(insn) else NOWHERE
        self._push(insn, insn.next, None)
        self._assume(target)
        return target

    def _assume(self, target: int) -> None:
        if text := self._kernel.goes_by(target):
            self._state.memory.assumptions.setdefault(text)

    def _may_return(self, insn: Instruction) -> bool:
        """Whether an outside call may come back: behind one that cannot a compiler puts no code, so there the
        function ends, and padding or the next one follows."""
        if insn.next not in self._extents.values():
            return True
        section = self._state.memory.section_at(insn.next)
        behind = section.data[insn.next - section.address :][:2] if section is not None else b""
        if behind and insn.next not in self._extents and not behind.startswith(_PADDING):
            return True
        name = self._state.events[-1].detail
        self._state.memory.assumptions.setdefault(f"{name} does not return: its caller ends behind the call")
        return False

    def _outside_call(self, insn: Instruction, target: int, unknown: Unknown | None) -> None:
        """A function that is not here is taken to return, having changed what the ABI lets it change."""
        state = self._state
        symbol = None if unknown is not None else state.memory.symbol_at(target)
        name = (
            symbol.name if symbol is not None else "+".join(unknown.sources) if unknown is not None else f"{target:#x}"
        )
        state.events.append(Event(Kind.CALL, insn.address, name))
        state.memory.outside_call()
        for register in ARGUMENTS[state.bits]:
            # A pointer into the stack is a pointer to a variable; whoever had it once may have kept it.
            if (value := state.registers[register]) is not None and STACK_POINTER in value.sources:
                state.memory.escaped.add(state.machine.read(register))
        for pointer in state.memory.escaped:
            state.memory.forget_up_to(pointer, state.saved, LARGEST_VARIABLE)
        for register in CALLER_SAVED[state.bits]:
            what = f"what {name} returned" if register == "rax" else f"{register} after {name}"
            key = ("call", name, register, state.memory.version)
            state.set_unknown(register, state.unknowns.get(key, {what}, exact=state.width))
        for part in ALL_FLAGS:
            flags = identity(("flags after call", name, state.memory.version))
            state.flags[part] = FlagValue(flags, (f"flags after {name}",))
        state.vectors.clear()

    def come_back(self, insn: Instruction) -> int:
        """Runs `ret`."""
        return self._pop_return(
            insn, extra=insn.operands[0] if insn.operands and isinstance(insn.operands[0], int) else 0
        )

    def _pop_return(self, insn: Instruction, extra: int = 0) -> int:
        state = self._state
        access = state.stack_access(0, state.width, Role.READ)
        state.emit(insn, access)
        # Inside a function, what nobody pushed since was there before: the way back to the caller.
        above = self._routine.partial and access.offset >= -state.width
        untouched = above and not any(state.memory.state(access.address, access.size))
        value = state.memory.load(access.address, access.size, access.arena, access.offset, access.origin)
        if value is not None and untouched:
            return RETURN_ADDRESS
        if value is not None:
            raise UndecidedError(
                "return-address-unknown", "the return address is not the caller's", where=f"{insn.address:#x}"
            )
        target = int.from_bytes(state.machine.peek(access.address, state.width), "little")
        state.machine.write("rsp", access.address + state.width + extra)
        return target

    def check_end(self, insn: Instruction) -> None:
        """Looks at an instruction that ends a path. Raises UndecidedError for a return from an interrupt that goes on
        in the same code: that is how some serialise."""
        state = self._state
        if insn.mnemonic.startswith("iret"):
            # The address, the segment and the flags; in 64-bit mode always the stack and its segment, too.
            frame = state.stack_access(0, state.width * (5 if state.bits == 64 else 3), Role.READ)
            state.emit(insn, frame)
            top = state.stack_access(0, state.width, Role.READ)
            known = state.memory.state(top.address, top.size) == b"\x01" * top.size
            if known and int.from_bytes(state.machine.peek(top.address, top.size), "little") != RETURN_ADDRESS:
                what = f"`{insn.text}` returns to an address that the routine itself put there"
                raise UndecidedError("returns-to-itself", what, where=f"{insn.address:#x}")
        if insn.mnemonic in ("vmlaunch", "vmresume"):
            state.memory.assumptions.setdefault("vmlaunch and vmresume do not fail")

    def stack(self, insn: Instruction) -> None:
        """Runs `push`, `pop` and `leave`."""
        state, width = self._state, self._state.width
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

    def flags(self, insn: Instruction) -> None:
        """Flags on their way to or from the stack. The emulator does not run it: loading a marker as flags would
        change the direction and could single-step."""
        state = self._state
        if insn.effect.form is Form.PUSH_FLAGS:
            # Each time another value: what it says about interrupts changes in ways that are not followed.
            value = state.unknowns.get(("pushed flags", len(state.events)), {FLAGS_AT_ENTRY})
            state.pushed_directions[value.uid] = state.machine.direction()
            self._push(insn, value.marker, value)
            return
        flags_popped, bits = self._pop(insn)
        if flags_popped is None:
            state.machine.set_direction(-1 if bits & 0x400 else 1)
        elif flags_popped.uid in state.pushed_directions and bits == flags_popped.marker:
            state.machine.set_direction(state.pushed_directions[flags_popped.uid])
        else:
            state.direction_lost = True
        flags = FlagValue(identity(("popped flags", len(self._state.events))), (FLAGS_AT_ENTRY,))
        state.flags.update(dict.fromkeys(ALL_FLAGS, flags))

    def _pop_into(self, insn: Instruction, register: str) -> None:
        value, bits = self._pop(insn)
        if value is not None and value.lost:
            raise lost_value(insn)
        self._state.machine.write(register, bits)
        self._state.registers[register] = value

    def _push(self, insn: Instruction, bits: int, value: Unknown | None) -> None:
        """Puts ``bits`` onto the stack, which stand for ``value`` if that is unknown."""
        state, width = self._state, self._state.width
        pushed = state.stack_access(-width, width, Role.WRITE)
        state.emit(insn, pushed)
        state.machine.poke(pushed.address, bits.to_bytes(width, "little"))
        state.memory.store(pushed.address, width, value)
        state.saved.add(pushed.address)
        state.machine.write("rsp", pushed.address)

    def _pop(self, insn: Instruction) -> tuple[Unknown | None, int]:
        """Takes a value off the stack: what is unknown of it, and its bits."""
        state, width = self._state, self._state.width
        popped = state.stack_access(0, width, Role.READ)
        state.emit(insn, popped)
        value = state.memory.load(popped.address, width, popped.arena, popped.offset, popped.origin)
        state.machine.write("rsp", popped.address + width)
        return value, int.from_bytes(state.machine.peek(popped.address, width), "little")
