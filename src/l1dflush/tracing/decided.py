# SPDX-License-Identifier: GPL-2.0-or-later
"""What the abstract machine's conditions say: terms of one bit as facts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from l1dflush import _core
from l1dflush.tracing.decode import NAMES_OF_PARTS, REGISTERS, Instruction, Register
from l1dflush.tracing.effects import Form
from l1dflush.tracing.facts import Fact, Relation, Subject
from l1dflush.tracing.lift import Lifter
from l1dflush.tracing.names import Names

# What C's kernel prelude (data/prelude.h) makes of `static_cpu_has(X86_FEATURE_...)`: a variable of this name.
_CPU_HAS, _OF_KERNEL = "cpu_has_", "X86_"
# A formula that is longer says nothing to anybody.
LONGEST = 80
_SIGNS = {
    "multiply": "*", "divide": "/", "remainder": "%", "bit_and": "&", "bit_or": "|", "bit_xor": "^",
    "shift_left": "<<", "shift_right": ">>", "below": "<",
}  # fmt: skip


class Conditions:
    """Reads the conditions of one routine's run."""

    def __init__(self, lifter: Lifter, names: Names) -> None:
        self._lifter = lifter
        self._machine = lifter.machine
        self._names = names

    def fact(self, condition: _core.Value, holds: bool, by: Instruction | None) -> Fact | None:
        """What it means that the condition holds, or does not; None where no words say it exactly. ``by`` is what made
        the flags: it knows which part of a register was meant."""
        kind, _, start, operands, _, _ = self._machine.described(condition)
        if kind == "slice":
            return self._bit(operands[0], start, holds, by)
        if kind == "equal_zero":
            return self._zero(operands[0], holds, by)
        if kind == "below":
            return self._below(operands[0], operands[1], holds)
        return None

    def formula(self, condition: _core.Value, holds: bool) -> Fact:
        """The condition as a formula, or as much as can be said of it."""
        text = self._shown(condition)
        if len(text) <= LONGEST:
            return Fact(Relation.FORMULA, (Subject(text),), holds)
        return Fact(Relation.CONDITION, tuple(map(self._names.subject, self._names.sources(condition))), holds)

    def _zero(self, value: _core.Value, holds: bool, by: Instruction | None) -> Fact | None:
        key = self._names.key(value)
        if key is not None:
            return Fact(Relation.STATIC_KEY, (Subject(key),), not holds)
        mask = (1 << value.bits) - 1
        kind, _, start, operands, addends, _ = self._machine.described(value)
        number, atom = -value.constant & mask, self._machine.terms.value(value.term)
        if kind == "sum":
            if len(addends) != 1 or addends[0][1] not in (1, mask):
                return None
            atom, factor = addends[0]
            number = number * factor & mask
            kind, _, start, operands, _, _ = self._machine.described(atom)
        if kind == "slice" and atom.bits == 1:
            return self._bit(operands[0], start, holds == bool(number), by)
        if kind == "bit_or" and number == 0:
            subjects = [self._subject(one) for one in self._alternatives(atom)]
            return Fact(Relation.ANY, tuple(s for s in subjects if s), not holds) if all(subjects) else None
        if kind in ("widen", "widen_signed"):
            inner = operands[0]
            low = number & ((1 << inner.bits) - 1)
            negative = kind == "widen_signed" and low >> (inner.bits - 1)
            if inner.constant or number != (low | mask & -(1 << inner.bits) if negative else low):
                return None
            number, atom = low, inner
        feature = (self._source(atom) or "").removeprefix(_CPU_HAS)
        if number == 0 and feature.startswith(_OF_KERNEL) and feature != self._source(atom):
            return Fact(Relation.FEATURE, (Subject(feature),), not holds)
        subject = self._subject(atom)
        return Fact(Relation.IS, (subject,), holds, number) if subject else None

    def _bit(self, value: _core.Value, bit: int, holds: bool, by: Instruction | None) -> Fact | None:
        if value.constant:
            return None
        source = self._source(value)
        if source is None:
            return None
        subject = self._names.subject(source)
        operand = by.operands[0] if by is not None and by.operands else None
        if by is not None and by.effect.form in (Form.TEST, Form.AND, Form.PLAIN) and isinstance(operand, Register):
            low = 8 * operand.offset
            if source in REGISTERS and low <= bit < low + 8 * operand.size:
                part = REGISTERS[source][0], operand.size, operand.offset
                if part in NAMES_OF_PARTS:
                    subject, bit = Subject(NAMES_OF_PARTS[part]), bit - low
        return Fact(Relation.BIT, (subject,), holds, bit)

    def _below(self, left: _core.Value, right: _core.Value, holds: bool) -> Fact | None:
        if right.term or not left.term:
            return None
        sign = 1 << (left.bits - 1)
        subject = self._subject(self._machine.terms.value(left.term))
        if not subject or left.constant not in (0, sign):
            return None
        relation = Relation.BELOW_SIGNED if left.constant else Relation.BELOW
        number = right.constant - left.constant
        return Fact(relation, (subject,), holds, number)

    def _alternatives(self, value: _core.Value) -> Iterator[_core.Value]:
        """What is or'ed to this."""
        kind, _, _, operands, _, _ = self._machine.described(value)
        if kind == "bit_or" and value.constant == 0:
            for one in operands:
                if one.term:
                    yield from self._alternatives(one)
        else:
            yield value

    def _source(self, value: _core.Value) -> str | None:
        """What a value that is a symbol is called."""
        if not value.term or value.constant:
            return None
        kind, _, _, _, _, number = self._machine.described(value)
        return self._names.symbol(number) if kind == "symbol" else None

    def _subject(self, value: _core.Value) -> Subject | None:
        """What a value that is a symbol or a part of one is called; None if it is something computed."""
        if not value.term or value.constant:
            return None
        kind, bits, start, operands, _, _ = self._machine.described(value)
        if kind != "slice":
            source = self._source(value)
            return self._names.subject(source) if source is not None else None
        source = self._source(operands[0])
        if source is None:
            return None
        if source in REGISTERS and start % 8 == 0 and bits % 8 == 0:
            part = REGISTERS[source][0], bits // 8, start // 8
            if part in NAMES_OF_PARTS:
                return Subject(NAMES_OF_PARTS[part])
        return replace(self._names.subject(source), bits=bits, low=start)

    def _shown(self, value: _core.Value, depth: int = 0) -> str:
        """A value as a formula; much longer than :data:`LONGEST` if it is a large one."""
        if not value.term:
            return f"{value.constant:#x}"
        if depth > 6:
            return "…" * LONGEST
        kind, bits, start, operands, addends, number = self._machine.described(value)
        shown = [self._shown(one, depth + 1) for one in operands]
        if kind == "symbol":
            text = self._names.symbol(number)
        elif kind == "sum":
            half, parts = 1 << (bits - 1), []
            for atom, factor in addends:
                times = factor if factor < half else factor - (1 << bits)
                parts.append(self._shown(atom, depth + 1) if times == 1 else f"{times}*{self._shown(atom, depth + 1)}")
            text = " + ".join(parts)
        elif kind == "equal_zero":
            text = f"{shown[0]} == 0"
        elif kind == "slice":
            text = f"{shown[0]}[{start}:{start + bits - 1}]"
        elif kind in ("widen", "group"):
            text = shown[0]
        elif kind in _SIGNS:
            text = f"({shown[0]} {_SIGNS[kind]} {shown[1]})"
        else:
            text = f"{kind}({', '.join(shown)})"
        return f"({text} + {value.constant:#x})" if value.constant else text


def shown(insn: Instruction) -> str:
    """An instruction without addresses: places in memory are named by the values that are loaded from them."""
    parts = []
    for operand in insn.operands:
        if isinstance(operand, Register):
            parts.append(NAMES_OF_PARTS.get((operand.full, operand.size, operand.offset), operand.full))
        else:
            parts.append(f"{operand:#x}" if isinstance(operand, int) else "memory")
    return f"{insn.mnemonic} {', '.join(parts)}".strip()
