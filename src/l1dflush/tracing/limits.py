# SPDX-License-Identifier: GPL-2.0-or-later
"""What processors let no register hold, though nobody knows what it holds: as conditions, for the solver.

A transformation of what is read would do the same, but then what is relative to fs and gs would no longer be so far
behind one unknown value.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from l1dflush import _core
from l1dflush.tracing.lift import Lifter
from l1dflush.tracing.possible import Decided, Possibility
from l1dflush.tracing.system_rows import ADDRESS_BITS, KERNEL_GS
from l1dflush.tracing.wrapping import RunPath

_MEMORY = 1


def within_limits(paths: Sequence[RunPath], asked: Possibility) -> list[RunPath]:
    """``paths`` without those that need what is beyond a limit: of these the machine itself knows nothing. Where it was
    not found out the path is not settled."""
    left = []
    for path in paths:
        decided = [(condition, holds) for _, _, condition, holds, *_ in path[0]]
        limited = any(asked.is_limited(condition) for condition, _ in decided)
        answer = asked(decided) if limited else True
        if answer is not False:
            left.append(path if answer else (*path[:-1], False))
    return left


class Limits:
    """The limits of the unknown values of one run."""

    def __init__(self, lifter: Lifter) -> None:
        self._lifter = lifter
        self._bits = lifter.image.bits

    def __call__(self, symbol: _core.Value) -> Iterator[Decided]:
        """What holds of a symbol, whatever path it is.

        The bases of fs and gs are canonical in 64-bit mode, for up to 57 bits: other ones fault where they are loaded
        (SDM volume 2, WRMSR and WRFSBASE; volume 1, section 3.3.7.1; APM volume 3, SWAPGS). CS is never null (SDM
        volume 3, sections 3.4.2 and 5.4.1), in 64-bit mode SS may be. The privilege in SS need not be that in CS:
        SYSCALL takes SS as IA32_STAR has it (volume 2, SYSCALL).
        """
        machine, terms = self._lifter.machine, self._lifter.machine.terms
        *_, number = machine.described(symbol)
        kind, *_, slot = machine.origin(number)
        if kind == _MEMORY:
            return
        of_segment = slot in (*self._slots("FS_OFFSET"), *self._slots("GS_OFFSET"))
        if self._bits == 64 and (of_segment or self._lifter.kept_name(slot) == KERNEL_GS):
            address = terms.widen(terms.slice(symbol, 0, ADDRESS_BITS), self._bits, signed=True)
            yield terms.combine("equal", address, symbol), True
        of_stack = slot in self._slots("SS")
        if slot in self._slots("CS") or (of_stack and self._bits == 32):
            yield terms.combine("below", symbol, terms.number(symbol.bits, 4)), False

    def _slots(self, register: str) -> list[int]:
        """Where a register is, if it came up."""
        at, size = self._lifter.register_at(register)
        return self._lifter.slots.within(range(at, at + size))
