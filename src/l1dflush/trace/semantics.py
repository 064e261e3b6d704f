"""Data flow of single instructions: which results are known, which stay the same unknown, which are new.

The emulator computes every value; this module only says which of them mean something. Three rules:

* A known result needs all its sources known.
* A copy of an unknown value, or the sum of one with known values, is the same unknown value: its marker moves
  along, so its offset is what the emulator computed.
* Everything else that comes from unknown values is a new unknown value with a marker of its own, the same one
  whenever the same operation meets the same values. "The same" includes how far a value was moved on, what
  the known operands hold, and the flags that are read: see :meth:`Dataflow._key`.
"""

from __future__ import annotations

from collections.abc import Hashable

from l1dflush.errors import UndecidedError
from l1dflush.trace.conditions import flag_content, unknown_flags
from l1dflush.trace.decode import NAMES_OF_PARTS, REGISTERS, Instruction, Memory, Operand, Register
from l1dflush.trace.effects import REST, Effect, Form, Role
from l1dflush.trace.state import Access, FlagValue, State, lost_value
from l1dflush.trace.values import Unknown, identity

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
        key = self._key(insn, accesses, sources)
        stored = {i: a for i, a in accesses.items() if a.role in (Role.WRITE, Role.UPDATE)}
        results, flags, kept = self._results(insn, sources, key)
        before = {
            operand.full: state.content(operand.full)
            for operand in insn.operands
            if isinstance(operand, Register) and operand.general and operand.size < 4
        }
        rotated = self._after_shift(insn, accesses, flags) if effect.form in (Form.SHIFT, Form.ROTATE) else None
        self._emulate(insn, list(accesses.values()))
        for index, operand in enumerate(insn.operands):
            if effect.role(index) not in (Role.WRITE, Role.UPDATE):
                continue
            if isinstance(operand, Register):
                self._write_register(operand, results.get(index), (key, before.get(operand.full)), kept)
            elif index in stored:
                self._store(stored[index], results.get(index), key, kept)
        for register in effect.writes:
            implicit = results.get(-1)
            state.registers[register] = None
            if implicit is not None:
                state.set_unknown(register, state.fresh(("implicit", key, register), [implicit]))
        state.flags.update(dict.fromkeys(effect.flags_written, flags) if rotated is None else rotated)

    def _after_shift(
        self, insn: Instruction, accesses: dict[int, Access], flags: FlagValue | None
    ) -> dict[str, FlagValue | None]:
        """The flags after a shift or rotation, whose own would be ``flags``. By zero it leaves all of them as
        they are, and a rotation leaves all but carry and overflow."""
        state = self._state
        count, width = insn.operands[-1], _size(insn.operands[0])
        unknown = state.registers[count.full] if isinstance(count, Register) else None
        if unknown is None:
            assert isinstance(count, Register | int)
            number = count if isinstance(count, int) else state.machine.read(count.full)
            if number & (0x3F if width == 8 else 0x1F) == 0:
                return {}
        after: dict[str, FlagValue | None] = {}
        for part in insn.effect.flags_written:
            before = state.flags[part]
            stays = unknown is not None or (insn.effect.form is Form.ROTATE and part == REST)
            if stays and (before is not None or flags is not None):
                names = {name for value in (before, flags) if value is not None for name in value.sources}
                operation = flags.key if flags is not None else self._operation(insn, accesses, {})
                origin = ("flags kept by", operation, flag_content(state, part))
                after[part] = FlagValue(identity(origin), tuple(sorted(names)))
            else:
                after[part] = flags
        return after

    def _emulate(self, insn: Instruction, accesses: list[Access]) -> None:
        state = self._state
        went, reports = state.machine.step(insn.address)
        if went != insn.next:
            raise UndecidedError(
                "emulator-disagrees", f"`{insn.text}` did not go on behind itself", where=f"{insn.address:#x}"
            )
        check_reports(insn, reports, accesses)

    def _sources(self, insn: Instruction, accesses: dict[int, Access]) -> dict[int, Value]:
        """Unknown-ness of each source: operand index, from -10 down for implicit registers, -3 for flags."""
        state, effect = self._state, insn.effect
        sources: dict[int, Value] = {}
        for index, operand in enumerate(insn.operands):
            if effect.role(index) in (Role.READ, Role.UPDATE):
                value = state.value(insn, operand, accesses.get(index))
                if value is not None and value.lost and not self._only_vectors(insn):
                    raise lost_value(insn)
                sources[index] = value
        for number, register in enumerate(sorted(effect.reads)):
            if (value := state.registers[register]) is not None:
                sources[-10 - number] = value
        if (flags := unknown_flags(state, effect.flags_read)) is not None:
            sources[-3] = flags
        return sources

    def _only_vectors(self, insn: Instruction) -> bool:
        """Whether all that ``insn`` writes is vectors or memory, so that a lost value only travels."""
        return (
            insn.effect.form is Form.VECTOR
            and isinstance(insn.operands[0], Register | Memory)
            and not (isinstance(insn.operands[0], Register) and insn.operands[0].general)
            and not insn.effect.flags_written
        )

    def _key(self, insn: Instruction, accesses: dict[int, Access], sources: dict[int, Value]) -> str:
        """Names the operation with its operands' values: equal keys, equal results. Empty if all are known."""
        if all(value is None for value in sources.values()):
            return ""
        return self._operation(insn, accesses, sources)

    def _operation(self, insn: Instruction, accesses: dict[int, Access], sources: dict[int, Value]) -> str:
        state, effect = self._state, insn.effect
        parts: list[Hashable] = [insn.mnemonic]
        for index, operand in enumerate(insn.operands):
            value = sources.get(index)
            if isinstance(operand, int):
                parts.append(operand)
            elif effect.role(index) not in (Role.READ, Role.UPDATE):
                parts.append(_size(operand))
            elif isinstance(operand, Memory):
                if index in accesses:
                    assert value is None or isinstance(value, Unknown)
                    parts.append((operand.size, state.memory.content(accesses[index].address, operand.size, value)))
            elif operand.general:
                part = state.part(operand)
                parts.append((operand.size, operand.offset, part.uid if part else state.content(operand.full)))
            else:
                parts.append(state.machine.read_vector(operand.full) if value is None else _identity(value))
        parts.extend(state.content(register) for register in sorted(effect.reads))
        parts.extend(flag_content(state, part) for part in sorted(effect.flags_read))
        return identity(tuple(parts))

    def _results(
        self, insn: Instruction, sources: dict[int, Value], key: str
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
        flags = self._flags(insn, sources, key, names) if effect.flags_written else None
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
            lost = state.unknowns.get(("lost", insn.address), names, lost=True)
            return dict.fromkeys((*range(len(insn.operands)), -1), lost), flags, False
        written = (i for i in range(len(insn.operands)) if effect.role(i) in (Role.WRITE, Role.UPDATE))
        extended = insn.mnemonic in _EXTENDING and self._exact(insn, 1, second) == f"`{names[0]}`"
        exact = second.exact if extended and isinstance(second, Unknown) else 0
        results: dict[int, Value] = {i: state.fresh(("value", key, i), unknown, exact=exact) for i in written}
        if effect.writes:
            results[-1] = state.fresh(("value", key), unknown)
        return results, flags, False

    def _flags(self, insn: Instruction, sources: dict[int, Value], key: str, names: tuple[str, ...]) -> FlagValue:
        """The flags that ``insn`` computes from unknown values: their identity, and what they mean."""
        operands, form = insn.operands, insn.effect.form
        same = len(operands) == 2 and operands[0] == operands[1] and isinstance(operands[0], Register)
        tested = (same and form in (Form.TEST, Form.AND, Form.OR)) or (form is Form.COMPARE and operands[1] == 0)
        if tested and isinstance(operands[0], Register) and operands[0].general:
            # All of these set all flags alike.
            part = self._state.part(operands[0])
            content = part.uid if part else self._state.content(operands[0].full)
            key = identity(("compared with zero", operands[0].size, operands[0].offset, content))
        what = self._exact(insn, 0, sources.get(0)) if operands else ""
        other = self._exact(insn, 1, sources.get(1)) if len(operands) == 2 and not same else ""
        second = operands[1] if len(operands) == 2 else None
        zero = nonzero = ""
        if what and tested:
            zero, nonzero = f"{what}{_is(what)} zero", f"{what}{_is(what)} not zero"
        elif what and form is Form.COMPARE and isinstance(second, int):
            zero, nonzero = f"{what}{_is(what)} {second:#x}", f"{what}{_is(what)} not {second:#x}"
        elif what and form in (Form.TEST, Form.AND) and isinstance(second, int) and second > 0:
            if second & (second - 1) == 0:
                bit = f"bit {second.bit_length() - 1} of {what}"
                zero, nonzero = f"{bit} is clear", f"{bit} is set"
        elif what and other and form is Form.OR:
            zero, nonzero = f"{what} and {other} are zero", f"{what} or {other} is not zero"
        return FlagValue(identity(("flags", key)), names, zero, nonzero, _shown(insn))

    def _exact(self, insn: Instruction, index: int, value: Value) -> str:
        """What operand ``index`` holds, in words, where it is what its name says and nothing computed from it."""
        state, operand = self._state, insn.operands[index]
        if not isinstance(value, Unknown) or not value.exact:
            return ""
        size, low = value.exact, 0
        if isinstance(operand, Memory):
            access = next(access for access in state.accesses(insn) if access.operand == index)
            moved = access.size == state.width and state.memory.content(access.address, access.size, value)
            if moved and moved != (value.uid, 0):
                return ""
            size = operand.size
        elif isinstance(operand, Register):
            if state.part(operand) is None and state.machine.read(operand.full) != value.marker:
                return ""
            size, low = operand.size, 8 * operand.offset
        source = value.sources[0]
        if size >= value.exact and not low:
            return f"`{source}`"
        if source in REGISTERS and (part := (REGISTERS[source][0], size, low // 8)) in NAMES_OF_PARTS:
            return f"`{NAMES_OF_PARTS[part]}`"
        return f"{'the low' if not low else 'the second'} {8 * size} bits of `{source}`"

    def _lea(self, insn: Instruction) -> tuple[Value, bool]:
        """The value of an address, and whether it is one unknown value moved on."""
        state = self._state
        memory, destination = insn.operands[1], insn.operands[0]
        assert isinstance(memory, Memory) and isinstance(destination, Register)
        terms: list[tuple[Unknown, int]] = []
        parts: list[Hashable] = ["lea", memory.displacement, memory.scale, memory.narrow]
        for register, scale in ((memory.base, 1), (memory.index, memory.scale)):
            if register is not None:
                value = state.registers[register]
                parts.append(state.content(register))
                if value is not None and value.lost:
                    raise lost_value(insn)
                if value is not None:
                    terms.append((value, scale))
        if not terms:
            return None, True
        if len(terms) == 1 and terms[0][1] == 1 and destination.size == state.width and not memory.narrow:
            return terms[0][0], True
        return state.fresh(tuple(parts), [value for value, _ in terms]), False

    def _write_register(self, register: Register, value: Value, key: Hashable, kept: bool) -> None:
        """``key`` names the operation and, for a part of a register, what the whole register held before."""
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
            low = state.machine.read(register.full) >> 8 * register.offset & (1 << 8 * register.size) - 1
            origin = ("merged", key, register.size, register.offset, low)
            state.set_unknown(register.full, state.fresh(origin, [before]))
            return
        if isinstance(value, Unknown) and register.size == state.width:
            state.registers[register.full] = value
            if not kept:
                state.machine.write(register.full, value.marker)
            return
        narrowed = ("narrow", key, register.size, register.offset, _identity(value))
        fits = isinstance(value, Unknown) and register.size >= value.exact
        exact = value.exact if isinstance(value, Unknown) and fits else 0
        if not partial:
            state.set_unknown(register.full, state.fresh(narrowed, [value], exact=exact))
            return
        # Not the value itself: of one that was wider this is only a part.
        part = state.fresh((narrowed, "alone"), [value], exact=exact)
        state.set_part(register, part, state.fresh(narrowed, [value, before]))

    def _store(self, access: Access, value: Value, key: str, kept: bool) -> None:
        state = self._state
        if value is None:
            state.memory.store(access.address, access.size, None)
        elif access.size > 8 and not (isinstance(value, Unknown) and value.lost):
            state.memory.forget(access.address, access.size)
        elif isinstance(value, Unknown) and access.size == state.width and not value.lost:
            if not kept:
                state.machine.poke(access.address, value.marker.to_bytes(access.size, "little"))
            state.memory.store(access.address, access.size, value)
        else:
            lost = isinstance(value, Unknown) and value.lost
            part = state.unknowns.get(("stored", key, access.size, _identity(value)), value.sources, lost=lost)
            state.memory.store(access.address, access.size, part)


# What they make of a value has the same meaning.
_EXTENDING = frozenset({"movzx", "movsx", "movsxd"})


def _is(what: str) -> str:
    return " are" if what.startswith("the ") else " is"


def _shown(insn: Instruction) -> str:
    """An instruction without addresses: places in memory are named by the values that are loaded from them."""
    parts = []
    for operand in insn.operands:
        if isinstance(operand, Register):
            parts.append(NAMES_OF_PARTS.get((operand.full, operand.size, operand.offset), operand.full))
        else:
            parts.append(f"{operand:#x}" if isinstance(operand, int) else "memory")
    return f"{insn.mnemonic} {', '.join(parts)}".strip()


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

    It reports a 16-byte load as two and may report one access in pieces, so bytes are compared.
    """
    touched = {(at, bool(write)) for address, size, write in reports for at in range(address, address + size)}
    expected: set[tuple[int, bool]] = set()
    for a in accesses:
        for write, roles in ((False, (Role.READ, Role.UPDATE)), (True, (Role.WRITE, Role.UPDATE))):
            if a.role in roles:
                expected.update((at, write) for at in range(a.address, a.address + a.size))
    if touched == expected:
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
        Form.PLAIN, Form.MOVE, Form.LEA, Form.ADD, Form.SUB, Form.STEP, Form.SHIFT, Form.ROTATE, Form.AND, Form.OR,
        Form.XOR, Form.COMPARE, Form.TEST, Form.EXCHANGE, Form.VECTOR,
    }
)  # fmt: skip
