# SPDX-License-Identifier: GPL-2.0-or-later
"""What a kernel patches when it loads the code, and jumps out of the image: the operations of one such instruction."""

from __future__ import annotations

from typing import TYPE_CHECKING

from l1dflush.routine.model import JumpSite, Symbol
from l1dflush.tracing.decode import Instruction
from l1dflush.tracing.effects import Form
from l1dflush.tracing.lower import Lowering, UnliftedError
from l1dflush.tracing.model import Kind
from l1dflush.tracing.operands import KIND, register_name
from l1dflush.tracing.operations import Address, Do, Number, Operand, Operation

if TYPE_CHECKING:
    from l1dflush.tracing.lift import Lifter


class Patched:
    """One instruction ``insn``, as far as a kernel patches it or it leaves the image."""

    def __init__(self, bits: int, lifter: Lifter, lowering: Lowering, insn: Instruction) -> None:
        self._bits = bits
        self._width = bits // 8
        self._lifter = lifter
        self._lowering = lowering
        self._insn = insn

    @property
    def outside(self) -> str:
        """The name of what a call or jump goes to, if that is not here."""
        symbol = self._symbol()
        return symbol.name if symbol is not None else ""

    def _symbol(self) -> Symbol | None:
        target = self._insn.operands[0] if self._insn.operands else None
        return self._lifter.bases.outside_at(target) if isinstance(target, int) else None

    def out_of_the_image(self, made: list[Operation]) -> list[Operation]:
        """A conditional jump to an outside function, or to the return thunk: past the jump where it is not taken."""
        symbol = self._symbol()
        if symbol is None:
            return made
        *before, jump = made
        if jump.what is not Do.JUMP_IF or not isinstance(jump.b, Address):
            raise UnliftedError("its P-code has an unusual form")
        goes = [Operation(Do.JUMP, None, jump.b)]
        if self._lifter.kernel.is_return(self._insn.address, symbol):
            goes = self._comes_back()
        at = len(before)
        end = at + 2 + len(goes)
        return [
            *before,
            Operation(Do.SKIP_IF, None, jump.a, detail=at + 2),
            Operation(Do.SKIP, detail=end),
            *goes,
        ]

    def operations(self) -> list[Operation] | None:
        """The operations of what a kernel patches when it loads the code; None if it is nothing of that kind."""
        kernel, insn = self._lifter.kernel, self._insn
        site = kernel.sites.jumps.get(insn.address)
        if site is not None:
            return self._jump_label(site)
        symbol = self._symbol()
        if symbol is None or insn.effect.form not in (Form.CALL, Form.JUMP):
            return None
        if insn.effect.form is Form.CALL:
            return [] if kernel.is_tracing(insn.address, symbol) else None
        return self._comes_back() if kernel.is_return(insn.address, symbol) else None

    def _comes_back(self) -> list[Operation]:
        """What a return does."""
        (stack,) = self._lifter.register(register_name("rsp", self._bits))
        back = self._lowering.fresh(self._width)
        return [
            Operation(Do.ACCESS, None, stack, size=self._width, detail=KIND[Kind.LOAD]),
            Operation(Do.LOAD, back, stack),
            Operation(Do.ADD, stack, stack, Number(self._width, self._width)),
            Operation(Do.COME_BACK, None, back),
        ]

    def _jump_label(self, site: JumpSite) -> list[Operation]:
        """A jump that is there if a static key is on, or off."""
        section = self._lifter.bases.section_at(site.target)
        if section is None:
            raise UnliftedError("a jump label that leads nowhere")
        there = Address(self._lifter.bases.of_section(section), site.target - section.address, self._width)
        on = self._lifter.kernel.static_keys.get(site.key)
        if on is not None:
            return [Operation(Do.JUMP, None, there)] if on != site.inverted else []
        key: Operand = self._lifter.key(site)
        if site.inverted:
            off = self._lowering.fresh(1)
            return [Operation(Do.TRUTH_NOT, off, key), Operation(Do.JUMP_IF, None, off, there)]
        return [Operation(Do.JUMP_IF, None, key, there)]
