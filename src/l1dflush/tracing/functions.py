# SPDX-License-Identifier: GPL-2.0-or-later
"""Results that nobody knows, but that are the same for the same operands: of vectors, of numbers in floating point.

What such an instruction makes depends on its operands alone, and in floating point on the control bits of MXCSR (SDM
volume 2, the instructions' pages; volume 1, section 10.2.3). So two branches on what it makes of the same are one
decision. All that it is given is put into one value, and each part of its results is made of that.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from l1dflush.tracing.decode import Instruction, Memory
from l1dflush.tracing.effects import Form, Role
from l1dflush.tracing.operands import Operands
from l1dflush.tracing.operations import Operand
from l1dflush.tracing.saved_state import SAVED_STATE
from l1dflush.tracing.slots import WORD, Part
from l1dflush.tracing.undefined import is_floating, value_unknown

# Estimates, of which the manual does not say that MXCSR has no part in them.
_ESTIMATE = re.compile(r"v?r(?:cp|sqrt)[ps]s")
# They take the lowest 4 or 8 bytes of an operand. What is above in the result is what was above in the first source.
_SCALAR = re.compile(
    r"v?cvtt?s([sd])2\w+|v?(?:add|sub|mul|div|min|max|sqrt|rcp|rsqrt|round|cmp\w+|fn?m(?:add|sub)\d+)s([sd])"
)
# They compute nothing from what they write to.
_ONLY_WRITES = re.compile(r"(?:sqrt|round|rcp|rsqrt)s[sd]|cvtsi2s[sd]|cvtss2sd|cvtsd2ss")
# With VEX nothing is read of what is written to, but by these.
_UPDATES = ("vfm", "vfnm", "vpternlog")
# Those that load or store registers that nobody follows, or ask for the adjust flag.
_NOT_FOLLOWED = SAVED_STATE.keys() | {
    "lahf", "pushf", "pushfd", "pushfq", "daa", "das", "aaa", "aas", "aam", "aad",
}  # fmt: skip


def is_function(insn: Instruction) -> bool:
    """Whether what an instruction makes depends on its operands alone, and perhaps on MXCSR."""
    return insn.effect.form in (Form.VECTOR, Form.VECTOR_SKIP) or (
        insn.effect.form is not Form.FLOAT and value_unknown(insn)
    )


def not_followed(insn: Instruction, *, temporary: bool) -> bool:
    """Whether a result that is not known is determined by what an instruction is given, so that it never has some
    of the values that it could have. Others are undefined, or come from outside. ``temporary``: P-code puts it
    elsewhere before it becomes a register or a flag (the carry flag of ``imul``: its product is too wide)."""
    return (
        is_function(insn)
        or insn.effect.form in (Form.FLOAT, Form.SCAN)
        or insn.mnemonic in _NOT_FOLLOWED
        or (temporary and insn.mnemonic == "imul")
    )


def inputs_of(o: Operands, addresses: Mapping[int, Operand], lowest: int | None) -> Part | None:
    """One value that stands for all that the instruction makes its results of; None if that has registers that nobody
    follows. ``lowest``: in how many of its first bytes a result is of which only these are asked for."""
    insn = o.insn
    vex = insn.effect.form is Form.VECTOR_SKIP
    size = scalar_size(insn)
    # What is above the result is kept, and made by nobody.
    partial = (
        lowest is not None and insn.mnemonic.endswith(("ss", "sd")) and lowest <= (8 if insn.mnemonic[-1] == "d" else 4)
    )
    values: list[Operand] = []
    name = [insn.mnemonic]
    last = max((i for i, one in enumerate(insn.operands) if not isinstance(one, int)), default=0)
    for index, operand in enumerate(insn.operands):
        if isinstance(operand, int):
            name.append(f"${operand}")
            continue
        name.append(str(operand.size))
        if insn.effect.role(index) not in (Role.READ, Role.UPDATE):
            continue
        if index == 0 and (
            (vex and insn.effect.role(0) is Role.UPDATE and not insn.mnemonic.startswith(_UPDATES))
            or (partial and _ONLY_WRITES.fullmatch(insn.mnemonic))
        ):
            continue
        if isinstance(operand, Memory):
            for at in range(0, operand.size, WORD):
                values.append(o.load(o.at(addresses[index], at), min(WORD, operand.size - at)))
        elif operand.general:
            values.append(o.part(operand))
        elif operand.vector:
            parts = o.vector(operand)
            if size is not None and (partial or (vex and index == last)):
                parts = [parts[0]._replace(size=size)]
            values += parts
        else:
            return None
    if is_floating(insn) or _ESTIMATE.fullmatch(insn.mnemonic):
        values.append(o.whole("MXCSR"))
    return o.stands_for(" ".join(name), values)


def scalar_size(insn: Instruction) -> int | None:
    """How many bytes a scalar instruction takes of its last source; None if it is none."""
    found = _SCALAR.fullmatch(insn.mnemonic)
    return None if found is None else 4 if "s" in found.groups() else 8
