"""Data flow of single instructions: which results are known, which stay the same unknown, which are new.

The emulator computes every value; this module only says which of them mean something. Three rules:

* A known result needs all its sources known.
* A copy of an unknown value, or the sum of one with known values, is the same unknown value: its marker moves
  along, so its offset is what the emulator computed.
* Everything else that comes from unknown values is a new unknown value with a marker of its own, the same one
  whenever the same operation meets the same values.
"""

from __future__ import annotations

from collections.abc import Hashable

from l1dflush.errors import UndecidedError
from l1dflush.trace.decode import Instruction, Memory, Operand, Register
from l1dflush.trace.effects import Effect, Form, Role
from l1dflush.trace.state import Access, FlagValue, State, lost_value
from l1dflush.trace.values import Unknown

Value = Unknown | FlagValue | None


class Dataflow:
    """Runs data instructions (everything but control flow, stack and string instructions) on a state."""

    def __init__(self, state: State) -> None:
        self._state = state

    def run(self, insn: Instruction) -> None:
        """Emulates ``insn`` and says what is known afterwards."""
        state = self._state
        accesses = {access.operand: access for access in state.accesses(insn)}
        for access in accesses.values():
            state.emit(insn, access)
        effect = insn.effect
        sources = self._sources(insn, accesses)
        key = self._key(insn, sources)
        stored = {i: a for i, a in accesses.items() if a.role in (Role.WRITE, Role.UPDATE)}
        results, flags, kept = self._results(insn, sources, key)
        self._emulate(insn, list(accesses.values()))
        for index, operand in enumerate(insn.operands):
            if effect.role(index) not in (Role.WRITE, Role.UPDATE):
                continue
            if isinstance(operand, Register):
                self._write_register(operand, results.get(index), key, kept)
            elif index in stored:
                self._store(stored[index], results.get(index), key)
        for register in effect.writes:
            implicit = results.get(-1)
            state.registers[register] = None
            if implicit is not None:
                state.set_unknown(register, state.fresh((key, register), [implicit]))
        by_register = effect.form is Form.SHIFT and any(isinstance(o, Register) for o in insn.operands[1:])
        for part in effect.flags_written:
            state.flags[part] = flags or (state.flags[part] if by_register else None)

    def _emulate(self, insn: Instruction, accesses: list[Access]) -> None:
        state = self._state
        went, reports = state.machine.step(insn.address)
        if went != insn.next:
            raise UndecidedError(
                "emulator-disagrees", f"`{insn.text}` did not go on behind itself", where=f"{insn.address:#x}"
            )
        check_reports(insn, reports, accesses)

    def _sources(self, insn: Instruction, accesses: dict[int, Access]) -> dict[int, Value]:
        """Unknown-ness of each source: operand index, -2 for implicit registers, -3 for flags."""
        state, effect = self._state, insn.effect
        sources: dict[int, Value] = {}
        for index, operand in enumerate(insn.operands):
            if effect.role(index) in (Role.READ, Role.UPDATE):
                value = state.value(insn, operand, accesses.get(index))
                if value is not None and value.lost and not self._only_vectors(insn):
                    raise lost_value(insn)
                sources[index] = value
        for register in effect.reads:
            if (value := state.registers[register]) is not None:
                sources[-2] = (
                    value
                    if sources.get(-2) is None
                    else state.fresh(("both", sources[-2], value), [sources[-2], value])
                )
        for part in effect.flags_read:
            if (flag := state.flags[part]) is not None:
                sources[-3] = flag
        return sources

    def _only_vectors(self, insn: Instruction) -> bool:
        """Whether all that ``insn`` writes is vectors or memory, so that a lost value only travels."""
        return (
            insn.effect.form is Form.VECTOR
            and isinstance(insn.operands[0], Register | Memory)
            and not (isinstance(insn.operands[0], Register) and insn.operands[0].general)
            and not insn.effect.flags_written
        )

    def _key(self, insn: Instruction, sources: dict[int, Value]) -> Hashable:
        """Names the operation with its operands' values: equal keys, equal results."""
        if all(value is None for value in sources.values()):
            return None
        state = self._state
        parts: list[Hashable] = [insn.mnemonic]
        for index, operand in enumerate(insn.operands):
            value = sources.get(index)
            if isinstance(operand, int):
                parts.append(operand)
            elif isinstance(operand, Register) and operand.general and insn.effect.role(index) is not Role.WRITE:
                parts.append((operand.size, operand.offset, state.machine.read(operand.full)))
            elif value is not None:
                parts.append(_identity(value))
            elif isinstance(operand, Memory) and insn.effect.role(index) is Role.READ:
                address, _ = state.address(insn, operand)
                parts.append(state.machine.peek(address, operand.size))
        parts.extend(state.machine.read(register) for register in sorted(insn.effect.reads))
        if -3 in sources:
            parts.append(_identity(sources[-3]))
        return tuple(parts)

    def _results(
        self, insn: Instruction, sources: dict[int, Value], key: Hashable
    ) -> tuple[dict[int, Value], FlagValue | None, bool]:
        """What the destinations hold afterwards (operand index, -1 for implicit registers; nothing if known),
        the flags, and whether the values are kept: the same unknown values as before, perhaps moved on.

        `_write_register` and `_store` make a new value of one that the destination is too narrow to hold.
        """
        state, effect = self._state, insn.effect
        if effect.form is Form.LEA:
            value, kept = self._lea(insn)
            return {0: value}, None, kept
        unknown = [value for value in sources.values() if value is not None]
        if not unknown:
            return {}, None, True
        names = tuple(sorted({name for value in unknown for name in value.sources}))
        flags = FlagValue(("flags", key), names, *_zero_means(insn, names)) if effect.flags_written else None
        first, second = sources.get(0), sources.get(1)
        whole = bool(insn.operands) and _size(insn.operands[0]) == state.width
        same = (
            len(insn.operands) == 2 and insn.operands[0] == insn.operands[1] and isinstance(insn.operands[0], Register)
        )
        related = isinstance(first, Unknown) and isinstance(second, Unknown) and first.uid == second.uid and whole
        match effect.form:
            case Form.MOVE:
                return {0: second}, None, True
            case Form.EXCHANGE:
                return {0: second, 1: first}, None, True
            case Form.STEP if whole:
                return {0: first}, flags, True
            case Form.ADD if whole and (first is None or second is None):
                return {0: first or second}, flags, True
            case Form.SUB | Form.XOR if same:
                return {}, None, True
            case Form.SUB | Form.COMPARE if related:
                # The difference of two places in the same memory does not depend on where it lies.
                return {}, None, True
            case Form.SUB if whole and second is None:
                return {0: first}, flags, True
            case Form.AND | Form.OR if same and whole:
                return {0: first}, flags, True
            case Form.AND if insn.operands[1] == 0:
                return {}, None, True
            case Form.AND if whole and first is not None and (alignment := _alignment(insn.operands[1], state.bits)):
                name = f"what `{'+'.join(names)}` points to, aligned to {alignment}"
                aligned = state.fresh((key, "aligned"), [first], name=name, alignment=alignment)
                return {0: aligned}, flags, False
        if any(isinstance(value, Unknown) and value.lost for value in unknown):
            combined = state.unknowns.get(("lost", insn.address), names, lost=True)
        else:
            combined = state.fresh(("value", key), unknown)
        return {**dict.fromkeys(range(len(insn.operands)), combined), -1: combined}, flags, False

    def _lea(self, insn: Instruction) -> tuple[Value, bool]:
        """The value of an address, and whether it is one unknown value moved on."""
        state = self._state
        memory, destination = insn.operands[1], insn.operands[0]
        assert isinstance(memory, Memory) and isinstance(destination, Register)
        terms: list[tuple[Unknown, int]] = []
        parts: list[Hashable] = ["lea", memory.displacement, memory.scale]
        for register, scale in ((memory.base, 1), (memory.index, memory.scale)):
            if register is not None:
                value = state.registers[register]
                parts.append(state.machine.read(register))
                if value is not None:
                    terms.append((value, scale))
        if not terms:
            return None, True
        if len(terms) == 1 and terms[0][1] == 1 and destination.size == state.width and not memory.narrow:
            return terms[0][0], True
        return state.fresh(tuple(parts), [value for value, _ in terms]), False

    def _write_register(self, register: Register, value: Value, key: Hashable, kept: bool) -> None:
        state = self._state
        if not register.general:
            assert value is None or isinstance(value, Unknown)
            state.vectors[register.full] = value
            return
        before = state.registers[register.full]
        # 32-bit results clear the upper half in 64-bit mode; narrower ones keep what was there.
        partial = register.size < 4
        if value is None:
            if before is None or not partial:
                state.registers[register.full] = None
                return
            state.set_unknown(register.full, state.fresh(("merged", before.uid, key, register.offset), [before]))
            return
        if isinstance(value, Unknown) and register.size == state.width:
            state.registers[register.full] = value
            if not kept:
                state.machine.write(register.full, value.marker)
            return
        merged = [before] if partial else []
        state.set_unknown(
            register.full,
            state.fresh(("narrow", key, register.size, register.offset, _identity(value)), [value, *merged]),
        )

    def _store(self, access: Access, value: Value, key: Hashable) -> None:
        state = self._state
        if value is None:
            state.memory.store(access.address, access.size, None)
        elif access.size > 8 and not (isinstance(value, Unknown) and value.lost):
            state.memory.forget(access.address, access.size)
        elif isinstance(value, Unknown) and access.size == state.width and not value.lost:
            state.memory.store(access.address, access.size, value)
        else:
            lost = isinstance(value, Unknown) and value.lost
            part = state.unknowns.get(("stored", key, access.size, _identity(value)), value.sources, lost=lost)
            state.memory.store(access.address, access.size, part)


def _zero_means(insn: Instruction, names: tuple[str, ...]) -> tuple[str, str]:
    """What a set and a clear zero flag say after ``insn``, in words; empty where it is not simple."""
    what = " and ".join(f"`{name}`" for name in names)
    first, second = (*insn.operands, None, None)[:2]
    same = first == second and isinstance(first, Register)
    form = insn.effect.form
    if (form is Form.COMPARE and second == 0) or (same and form in (Form.TEST, Form.AND, Form.OR)) or form is Form.OR:
        return f"{what} is zero", f"{what} is not zero"
    if form is Form.COMPARE and isinstance(second, int):
        return f"{what} is {second:#x}", f"{what} is not {second:#x}"
    if form in (Form.TEST, Form.AND) and isinstance(second, int) and second > 0 and second & (second - 1) == 0:
        bit = second.bit_length() - 1
        return f"bit {bit} of {what} is clear", f"bit {bit} of {what} is set"
    return "", ""


def _identity(value: Value) -> Hashable:
    return value.key if isinstance(value, FlagValue) else (value.uid if value is not None else None)


def _size(operand: Operand) -> int:
    return operand.size if isinstance(operand, Register | Memory) else 0


def _alignment(mask: Operand, bits: int) -> int | None:
    """The alignment in bytes that an AND with this immediate gives, if it is of the form -2^n."""
    if not isinstance(mask, int):
        return None
    low = -mask if mask < 0 else (1 << bits) - mask
    return low if 1 < low <= 1 << 24 and low & (low - 1) == 0 else None


def check_reports(insn: Instruction, reports: list[tuple[int, int, int]], accesses: list[Access]) -> None:
    """The emulator must have touched exactly what the effects table says. Raises UndecidedError otherwise.

    It reports a 16-byte load as two and may report one access in pieces, so pieces are compared.
    """
    for address, size, write in reports:
        roles = (Role.WRITE, Role.UPDATE) if write else (Role.READ, Role.UPDATE)
        if not any(a.role in roles and a.address <= address and address + size <= a.address + a.size for a in accesses):
            break
    else:
        touched = {(address, bool(write)) for address, _, write in reports}
        if all(
            (a.role is Role.WRITE or (a.address, False) in touched)
            and (a.role is Role.READ or (a.address, True) in touched)
            for a in accesses
        ):
            return
    raise UndecidedError(
        "emulator-disagrees",
        f"the emulator and the effects table disagree about `{insn.text}`",
        where=f"{insn.address:#x}",
    )


def is_plain(effect: Effect) -> bool:
    """Whether :class:`Dataflow` runs instructions of this form."""
    return effect.form in _PLAIN


_PLAIN = frozenset(
    {
        Form.PLAIN, Form.MOVE, Form.LEA, Form.ADD, Form.SUB, Form.STEP, Form.SHIFT, Form.AND, Form.OR, Form.XOR,
        Form.COMPARE, Form.TEST, Form.EXCHANGE, Form.VECTOR,
    }
)  # fmt: skip
