# SPDX-License-Identifier: GPL-2.0-or-later
"""Where the abstract machine keeps what P-code calls registers and temporaries."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple, Protocol

WORD = 8
"""A slot has at most so many bytes; what is wider is in several."""


class Machine(Protocol):
    """As much of the machine as is needed here."""

    def add_slot(self, bits: int, temporary: bool = False) -> int:
        """A further slot; a temporary one holds nothing from one instruction to the next."""


class Part(NamedTuple):
    """``size`` bytes from byte ``start`` of slot ``slot``."""

    slot: int
    start: int
    size: int


class Spans(NamedTuple):
    """Where the register space has registers: pieces from ``starts`` to ``ends``, in order."""

    starts: Sequence[int]
    ends: Sequence[int]

    @classmethod
    def of(cls, registers: Iterable[tuple[int, int]]) -> Spans:
        """The pieces that registers, given as (offset, size), make up: those that overlap are one."""
        starts: list[int] = []
        ends: list[int] = []
        for start, size in sorted(registers):
            if ends and start < ends[-1]:
                ends[-1] = max(ends[-1], start + size)
            else:
                starts.append(start)
                ends.append(start + size)
        return cls(starts, ends)


class Slots:
    """The slots of one machine. Registers that overlap share theirs: ``al`` is a part of that of ``rax``.

    ``spans`` are where P-code's register space has registers; ``stack_pointer`` is the offset of the stack
    pointer, which the machine has as its first slot.
    """

    def __init__(self, machine: Machine, spans: Spans, stack_pointer: int) -> None:
        self._machine = machine
        self._starts, self._ends = spans
        self._slots: dict[int, int] = {stack_pointer: 0}
        self._temporaries: dict[int, list[int]] = {}
        self._known: dict[tuple[int, int], tuple[Part, ...]] = {}

    def __len__(self) -> int:
        """How many slots of registers have come up."""
        return len(self._slots)

    def register(self, offset: int, size: int) -> tuple[Part, ...]:
        """Where bytes ``offset`` to ``offset + size`` of the register space are. Raises KeyError for what is no
        register."""
        known = self._known.get((offset, size))
        if known is None:
            known = self._known[offset, size] = tuple(self._parts(offset, size))
        return known

    def _parts(self, offset: int, size: int) -> Iterator[Part]:
        number = bisect_right(self._starts, offset) - 1
        if number < 0 or offset + size > self._ends[number]:
            raise KeyError(offset)
        first, end = self._starts[number], self._ends[number]
        while size > 0:
            start = first + (offset - first) // WORD * WORD
            length = min(size, start + WORD - offset)
            yield Part(self._slot(start, min(WORD, end - start)), offset - start, length)
            offset, size = offset + length, size - length

    def name_of(self, slot: int) -> int:
        """The offset in the register space of a slot. Raises KeyError for a temporary."""
        return next(offset for offset, number in self._slots.items() if number == slot)

    def within(self, offsets: range) -> list[int]:
        """The slots that have come up of registers at these offsets."""
        return [number for at, number in sorted(self._slots.items()) if at in offsets]

    def _slot(self, start: int, size: int) -> int:
        if start not in self._slots:
            self._slots[start] = self._machine.add_slot(8 * size)
        return self._slots[start]

    def is_temporary(self, slot: int) -> bool:
        """Whether a slot is that of a temporary."""
        return any(slot in pool for pool in self._temporaries.values())

    def temporary(self, size: int, number: int) -> Part:
        """The ``number``-th temporary of ``size`` bytes."""
        pool = self._temporaries.setdefault(size, [])
        while len(pool) <= number:
            pool.append(self._machine.add_slot(8 * size, temporary=True))
        return Part(pool[number], 0, size)
