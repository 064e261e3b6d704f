"""Instructions that are stepped over, because the emulator cannot run them or must not decide their results."""

from __future__ import annotations

from l1dflush.trace.decode import Instruction, Register
from l1dflush.trace.effects import Event as Effect
from l1dflush.trace.effects import Form
from l1dflush.trace.model import Event, Kind
from l1dflush.trace.state import FlagValue, State
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
    for access in state.accesses(insn):
        state.emit(insn, access)
    kind = _KINDS.get(insn.effect.event)
    if kind is not None:
        detail = _msr(state) if kind is Kind.MSR_WRITE else insn.mnemonic
        state.events.append(Event(kind, insn.address, detail))
    if insn.effect.form is Form.RESULTS_UNKNOWN:
        _forget_results(state, insn, spent)
    elif insn.effect.form is Form.VECTOR_SKIP:
        _lose_vectors(state, insn)


def _msr(state: State) -> str:
    """The MSR that is written and the low half of the value, as far as they are known."""
    number, value = (
        None if state.registers[r] is not None else state.machine.read(r) & 0xFFFF_FFFF for r in ("rcx", "rax")
    )
    shown = "an unknown MSR" if number is None else f"MSR {number:#x}"
    return f"{shown} = {'an unknown value' if value is None else hex(value)}"


def _forget_results(state: State, insn: Instruction, spent: int) -> None:
    question = tuple(state.content(register) for register in sorted(insn.effect.reads))
    # cpuid gives the same answer to the same question; the others need not.
    key = (insn.mnemonic, question, 0 if insn.mnemonic == "cpuid" else spent)
    named = [operand.full for operand in insn.operands if isinstance(operand, Register)]
    for register in sorted({*insn.effect.writes, *named}):
        state.set_unknown(register, state.unknowns.get((*key, register), {f"{insn.mnemonic} {register}"}))
    for part in insn.effect.flags_written:
        state.flags[part] = FlagValue(identity(key), (f"{insn.mnemonic} flags",))


def _lose_vectors(state: State, insn: Instruction) -> None:
    first = insn.operands[0] if insn.operands else None
    # vzeroupper and vzeroall name no register.
    written = [first.full] if isinstance(first, Register) else list(state.vectors)
    for name in written:
        state.vectors[name] = state.unknowns.get(("lost", name), {f"{insn.mnemonic} result"}, lost=True)
