"""Instructions that are stepped over, because the emulator cannot run them or must not decide their results."""

from __future__ import annotations

from l1dflush.trace.decode import Instruction, Register
from l1dflush.trace.effects import Event as Effect
from l1dflush.trace.effects import Form, Role
from l1dflush.trace.model import Event, Kind
from l1dflush.trace.state import Access, FlagValue, State
from l1dflush.trace.values import identity

_KINDS = {
    Effect.FENCE: Kind.FENCE,
    Effect.SERIALISE: Kind.SERIALISE,
    Effect.FLUSH_ALL: Kind.FLUSH_ALL,
    Effect.MSR_WRITE: Kind.MSR_WRITE,
}


def step_over(state: State, insn: Instruction, spent: int) -> None:
    """Records what ``insn`` does and what is unknown or lost afterwards; ``spent`` counts instructions.

    Only vector registers may be lost: the effects table names no other instruction whose results are not
    unknown or untouched.
    """
    accesses = state.accesses(insn)
    for access in accesses:
        state.emit(insn, access)
    kind = _KINDS.get(insn.effect.event)
    if kind is not None:
        detail = _msr(state) if kind is Kind.MSR_WRITE else insn.mnemonic
        state.events.append(Event(kind, insn.address, detail))
    if insn.effect.form in (Form.RESULTS_UNKNOWN, Form.SUCCEEDS):
        _forget_results(state, insn, accesses, spent)
    elif insn.effect.form is Form.VECTOR_SKIP:
        _lose_vectors(state, insn)
    elif insn.effect.form is Form.SEGMENT_CHANGE:
        state.segments_moved = insn.text
    elif insn.effect.form is Form.OPAQUE:
        state.events.append(Event(Kind.CALL, insn.address, insn.mnemonic))
        state.memory.outside_call()


# The bases of fs and gs, and what swapgs puts there (SDM volume 4).
_SEGMENT_MSRS = frozenset({0xC0000100, 0xC0000101, 0xC0000102})


def _msr(state: State) -> str:
    """The MSR that is written and the low half of the value, as far as they are known."""
    number, value = (
        None if state.registers[r] is not None else state.machine.read(r) & 0xFFFF_FFFF for r in ("rcx", "rax")
    )
    shown = "an unknown MSR" if number is None else f"MSR {number:#x}"
    if number is None or number in _SEGMENT_MSRS:
        state.segments_moved = f"a write to {shown}"
    return f"{shown} = {'an unknown value' if value is None else hex(value)}"


def _forget_results(state: State, insn: Instruction, accesses: list[Access], spent: int) -> None:
    question = tuple(state.content(register) for register in sorted(insn.effect.reads))
    # cpuid gives the same answer to the same question; the others need not.
    key = (insn.mnemonic, question, 0 if insn.mnemonic == "cpuid" else spent)
    written = [
        operand for index, operand in enumerate(insn.operands) if insn.effect.role(index) in (Role.WRITE, Role.UPDATE)
    ]
    named = [operand.full for operand in written if isinstance(operand, Register)]
    for register in sorted({*insn.effect.writes, *named}):
        state.set_unknown(register, state.unknowns.get((*key, register), {f"{insn.mnemonic} {register}"}))
    for access in accesses:
        if access.role in (Role.WRITE, Role.UPDATE):
            state.memory.forget(access.address, access.size)
    if insn.effect.form is Form.SUCCEEDS:
        # VMsucceed clears all six flags (SDM volume 3, section 31.2).
        state.machine.clear_flags()
        state.flags.update(dict.fromkeys(insn.effect.flags_written))
        state.memory.assumptions.setdefault("VMX instructions (vmread, vmwrite and the like) do not fail")
        return
    for part in insn.effect.flags_written:
        state.flags[part] = FlagValue(identity(key), (f"{insn.mnemonic} flags",))


def _lose_vectors(state: State, insn: Instruction) -> None:
    first = insn.operands[0] if insn.operands else None
    # vzeroupper and vzeroall name no register.
    written = [first.full] if isinstance(first, Register) else list(state.vectors)
    for name in written:
        state.vectors[name] = state.unknowns.get(("lost", name), {f"{insn.mnemonic} result"}, lost=True)
