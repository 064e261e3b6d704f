# SPDX-License-Identifier: GPL-2.0-or-later
"""Functions that are run before the routine, on the same machine: what they leave in memory is what it finds there.

A caller is made up that calls them one after the other and then goes to the routine; its code stands in no image. What
the functions are given, nobody knows: it need not be what the routine is given. Registers and flags are then the
routine's again, and so is the stack: what they left there may be anything, and who has kept a pointer into it may have
one to any place in the routine's. So memory is all that they share. Static keys may have been switched in between.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from l1dflush.routine.model import FirstRun
from l1dflush.tracing.bindings import CALLER_SAVED
from l1dflush.tracing.decode import Instruction, general_registers
from l1dflush.tracing.effects import EFFECTS
from l1dflush.tracing.events import Events
from l1dflush.tracing.lift import Lifter
from l1dflush.tracing.model import Kind
from l1dflush.tracing.operands import KIND, register_name
from l1dflush.tracing.operations import Address, Do, Number, Operation, packed
from l1dflush.tracing.slots import Part
from l1dflush.tracing.undefined import ALL_FLAGS

STACKS_APART = 1 << 22
"""Bytes: no routine's own stack is so large."""
NOWHERE = -1
"""The address of the made-up caller's instructions."""


def parted(events: Events) -> tuple[Events, Events | None]:
    """The events of what ran first, and those of the routine; None if the path never came to it."""
    marks = events.where(lambda event: event.pc == NOWHERE)
    if not marks:
        return events, None
    rest = events[marks.position(0) + 1 :]
    # A path of its own, whose positions count from its beginning.
    return events[: marks.position(0)], Events.folded((one.events, one.steps, one.turns) for one in rest.pieces)


class Caller:
    """The made-up caller. ``base`` is where its instructions stand for the machine."""

    def __init__(self, lifter: Lifter, first: Sequence[FirstRun], then: Address) -> None:
        self._lifter = lifter
        self._first = first
        self._then = then
        self._bits = lifter.image.bits
        self._width = self._bits // 8
        machine = lifter.machine
        self.base: int = machine.add_base(machine.new_symbol(self._bits, 16), len(first) + 1)
        lifter.tell_convention()
        # All that there is, before anything comes up on the way.
        self._registers = [part for name in self._names() for part in lifter.register(name)]
        self._vectors = lifter.all_vectors()
        self._kept = [Part(machine.add_slot(8 * part.size), 0, part.size) for part in self._registers]
        # Each static key while the routine runs, and while each of the functions does.
        self._keys = []
        for site in {site.key_address: site for site in lifter.kernel.sites.jumps.values()}.values():
            if site.key not in lifter.kernel.static_keys:
                others = [lifter.key_while(site, number, one.name) for number, one in enumerate(first)]
                self._keys.append((lifter.key(site), [*others, Part(machine.add_slot(8), 0, 1)]))

    def _names(self) -> Iterable[str]:
        general = (register_name(name, self._bits) for name in general_registers(self._bits))
        return [*general, *sorted(ALL_FLAGS), "DF"]

    def lift(self, base: int, number: int) -> tuple[int, bytes]:
        """As :meth:`Lifter.lift`; of its own instructions call number ``number``, and behind the last the jump to the
        routine."""
        if base != self.base:
            return self._lifter.lift(base, number)
        last = number == len(self._first)
        text = self._first[number].name if not last else "the routine"
        effect = EFFECTS["nop"]
        made = Instruction(NOWHERE, 1, f"what {text} is given", f"call {text}", (), effect, repeat=False)
        self._lifter.instructions[self.base, number] = made
        return 1, packed(self._go() if last else self._call(number))

    def _call(self, number: int) -> list[Operation]:
        (stack,) = self._lifter.register(register_name("rsp", self._bits))
        place = self._lifter.bases.place_at(self._first[number].entry)
        given = sorted(CALLER_SAVED[self._bits])
        parts = [part for name in given for part in self._lifter.register(register_name(name, self._bits))]
        down = [Operation(Do.SUBTRACT, stack, stack, Number(STACKS_APART, self._width))] if number == 0 else []
        return [
            *(Operation(Do.COPY, kept, part) for kept, part in self._pairs() if number == 0),
            *(Operation(Do.COPY, states[-1], key) for key, states in self._keys if number == 0),
            *(Operation(Do.COPY, key, states[number]) for key, states in self._keys),
            *down,
            *(Operation(Do.UNKNOWN, part) for part in parts),
            Operation(Do.SUBTRACT, stack, stack, Number(self._width, self._width)),
            Operation(Do.STORE, None, stack, Address(self.base, number + 1, self._width), detail=1),
            Operation(Do.CALL, None, place),
        ]

    def _go(self) -> list[Operation]:
        (stack,) = self._lifter.register(register_name("rsp", self._bits))
        return [
            *(Operation(Do.COPY, part, kept) for kept, part in self._pairs()),
            *(Operation(Do.COPY, key, states[-1]) for key, states in self._keys),
            # Those are nobody's pointers into the stack.
            *(Operation(Do.COPY, kept, Number(0, kept.size)) for kept in self._kept),
            Operation(Do.LEAVE_STACK, None, stack),
            *(Operation(Do.UNKNOWN, part) for part in self._vectors),
            Operation(Do.NOTE, detail=KIND[Kind.SERIALISE]),
            Operation(Do.JUMP, None, self._then),
        ]

    def _pairs(self) -> Iterable[tuple[Part, Part]]:
        return zip(self._kept, self._registers, strict=True)
