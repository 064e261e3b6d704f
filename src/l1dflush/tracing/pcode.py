# SPDX-License-Identifier: GPL-2.0-or-later
"""P-code as it comes from the translator: its operands and operations, and the same with fewer of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from l1dflush.tracing.operations import Address
from l1dflush.tracing.slots import WORD


class Varnode(NamedTuple):
    """A P-code operand: ``offset`` in ``space``, ``size`` bytes. Of a constant ``place`` says which address it is, if
    it is one. ``others`` are its offsets where the instruction is translated otherwise, if it is not always the
    same."""

    space: str
    offset: int
    size: int
    place: Address | None = None
    others: tuple[int, ...] = ()


class PcodeOp(NamedTuple):
    """A P-code operation, without the spaces that loads and stores name."""

    name: str
    out: Varnode | None
    inputs: tuple[Varnode, ...]


NOTHING = PcodeOp("NOTHING", None, ())
# P-code's own temporaries are far below.
_THROUGH = 1 << 40


def shortened(ops: Sequence[PcodeOp]) -> list[PcodeOp]:
    """The same with fewer operations, each at its old place."""
    return _parity_at_once(_widened_at_once(ops))


def _widened_at_once(ops: Sequence[PcodeOp]) -> list[PcodeOp]:
    """Without the detour over half of a register where that is zero-extended into the whole one directly behind."""
    made = list(ops)
    for number, (op, then) in enumerate(pairwise(ops)):
        half = op.out
        if half is None or half.space != "register" or half.size != WORD // 2 or then.out is None:
            continue
        if then.name == "INT_ZEXT" and then.inputs == (half,) and then.out == half._replace(size=WORD):
            through = Varnode("unique", _THROUGH + 2 * WORD * number, half.size)
            made[number] = op._replace(out=through)
            made[number + 1] = then._replace(inputs=(through,))
    return made


def _parity_at_once(ops: Sequence[PcodeOp]) -> list[PcodeOp]:
    """With one operation for the parity flag, for which P-code counts the ones of the lowest byte."""
    made = list(ops)
    used = Counter(node for op in ops for node in op.inputs)
    for number in range(len(ops) - 3):
        chain = ops[number : number + 4]
        if tuple(op.name for op in chain) != ("INT_AND", "POPCOUNT", "INT_AND", "INT_EQUAL"):
            continue
        between = [op.out for op in chain[:3]]
        chained = all(
            node is not None and node.space == "unique" and then.inputs[0] == node and used[node] == 1
            for node, then in zip(between, chain[1:], strict=True)
        )
        numbers = [chain[index].inputs[1] for index in (0, 2, 3)]
        expected = [("const", 0xFF, ()), ("const", 1, ()), ("const", 0, ())]
        if chained and [(n.space, n.offset, n.others) for n in numbers] == expected:
            made[number : number + 3] = [NOTHING] * 3
            made[number + 3] = PcodeOp("PARITY", chain[3].out, chain[0].inputs[:1])
    return made
