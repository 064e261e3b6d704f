# SPDX-License-Identifier: GPL-2.0-or-later
"""The abstract machine's memory and runner, on operations that are made here: no instruction set is in the way.

The oracle is memory as everybody knows it, a row of bytes. What the machine found is a term over what nobody knew at
first; with numbers for that, the term has to come to what the bytes say.
"""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from l1dflush import _core
from l1dflush.tracing.operations import Address, Do, Number, Operand, Operation, packed
from l1dflush.tracing.slots import Part

STACK, BACK = 0, 1
SIZES = (1, 2, 4, 8)
REACH = 24


class Program:
    """A straight line of operations in one made-up instruction, and what came of it."""

    def __init__(self) -> None:
        self.machine = _core.Machine(64)
        self.base = self.machine.add_base(self.machine.new_symbol(64), 1 << 20, b"")
        self.operations: list[Operation] = []

    def slot(self, size: int = 8) -> Part:
        return Part(self.machine.add_slot(8 * size), 0, size)

    def do(self, what: Do, out: Operand = None, a: Operand = None, b: Operand = None, **more: int) -> None:
        self.operations.append(Operation(what, out, a, b, **more))

    def run(self, **limits: int) -> list[tuple[list[tuple[int, int, _core.Value, bool, bool]], bytes, int, int]]:
        """The paths of the instruction, which ends there."""
        self.do(Do.LEAVE)
        return self.machine.run(self.base, 0, lambda _base, _offset: (1, packed(self.operations)), **limits)

    def note(self, value: Operand) -> None:
        """Remembers a value."""
        self.do(Do.NOTE, None, value)


class Bytes:
    """What lies behind a pointer: at first anything, then what was stored."""

    def __init__(self, source: random.Random) -> None:
        self.first = {at: source.getrandbits(8) for at in range(-REACH - 8, REACH + 16)}
        self.now = dict(self.first)

    def load(self, at: int, size: int) -> int:
        return sum(self.now[at + i] << 8 * i for i in range(size))

    def store(self, at: int, size: int, value: int) -> None:
        for i in range(size):
            self.now[at + i] = value >> 8 * i & 0xFF


@settings(max_examples=400, deadline=None)
@given(st.randoms(use_true_random=False), st.integers(1, 30))
def test_loads_give_what_was_stored_byte_for_byte(source: random.Random, steps: int) -> None:
    program = Program()
    pointers = [program.slot(), program.slot()]
    memories = [Bytes(source), Bytes(source)]
    given_values = {program.slot(size): source.getrandbits(8 * size) for size in SIZES}
    wanted: list[int] = []
    for _ in range(steps):
        which, size, at = source.randrange(2), source.choice(SIZES), source.randint(-REACH, REACH)
        address = program.slot()
        program.do(Do.ADD, address, pointers[which], Number(at, 8))
        if source.random() < 0.5:
            value: Operand
            value, number = source.choice([*given_values.items()])
            if source.random() < 0.3:
                value = Number(number, value.size)
            program.do(Do.STORE, None, address, value)
            memories[which].store(at, value.size, number)
        else:
            loaded, wider = program.slot(size), program.slot()
            program.do(Do.LOAD, loaded, address)
            # Some are asked for at once, and some much later, when memory has changed.
            program.do(Do.WIDEN if size < 8 else Do.COPY, wider, loaded)
            program.note(wider)
            wanted.append(memories[which].load(at, size))
    terms = program.machine.terms
    numbers = {program.machine.slot(slot.slot).term: value for slot, value in given_values.items()}
    regions = {
        program.machine.slot(pointer.slot).term: memory for pointer, memory in zip(pointers, memories, strict=True)
    }
    program.run()
    for number, plain in enumerate(wanted):
        value, _ = program.machine.note(number)
        assert terms.evaluated(value, numbers | symbols_of_memory(program.machine, value, regions)) == plain


def symbols_of_memory(machine: _core.Machine, value: _core.Value, regions: dict[int, Bytes]) -> dict[int, int]:
    """What the symbols in a value are that stand for what was in memory at first."""
    found: dict[int, int] = {}
    todo = [value]
    while todo:
        one = todo.pop()
        if one.term == 0:
            continue
        kind, bits, _, operands, addends, number = machine.described(one)
        if kind == "symbol":
            origin, region, offset, *_ = machine.origin(number)
            if origin == 1:
                found[one.term] = sum(regions[region].first[offset + i] << 8 * i for i in range(bits // 8))
        todo += [*operands, *(atom for atom, _ in addends)]
    return found


def test_a_load_that_is_read_late_has_what_was_there_then() -> None:
    program = Program()
    pointer, early, late = program.slot(), program.slot(), program.slot()
    program.do(Do.LOAD, early, pointer)
    program.do(Do.STORE, None, pointer, Number(7, 8))
    program.do(Do.LOAD, late, pointer)
    for value in (early, late):
        program.note(value)
    program.run()
    first, second = (program.machine.note(number)[0] for number in (0, 1))
    assert first.term != 0 and second == program.machine.terms.number(64, 7)


def test_a_store_beside_a_slot_does_not_forget_it_and_one_across_it_does() -> None:
    program = Program()
    stack = Address(STACK, 0, 8)
    kept, torn, index = program.slot(), program.slot(), program.slot()
    near, far, inside = program.slot(), program.slot(), program.slot()
    program.do(Do.STORE, None, stack, Number(0x1122_3344_5566_7788, 8))
    program.do(Do.ADD, near, stack, Number(8, 8))
    program.do(Do.STORE, None, near, index)
    program.do(Do.LOAD, kept, stack)
    # 64 to 127 bytes above it, by an unknown number.
    program.do(Do.BIT_AND, inside, index, Number(63, 8))
    program.do(Do.ADD, far, stack, inside)
    program.do(Do.ADD, far, far, Number(64, 8))
    program.do(Do.STORE, None, far, Number(1, 1))
    program.note(kept)
    program.do(Do.LOAD, kept, stack)
    program.note(kept)
    program.do(Do.ADD, far, stack, index)
    program.do(Do.STORE, None, far, Number(1, 1))
    program.do(Do.LOAD, torn, stack)
    program.note(torn)
    program.run()
    first, second, third = (program.machine.note(number)[0] for number in range(3))
    whole = program.machine.terms.number(64, 0x1122_3344_5566_7788)
    assert (first, second) == (whole, whole)
    assert third.term != 0


def test_read_only_content_is_known_and_writable_zeros_are_not() -> None:
    program = Program()
    machine = program.machine
    bases = [
        machine.add_base(machine.new_symbol(64, 8, 4096, 1 << 40), 16, b"\1\2\3\4" + bytes(12), writable)
        for writable in (False, True)
    ]
    loaded = program.slot()
    for base in bases:
        for at in (0, 8):
            program.do(Do.LOAD, loaded, Address(base, at, 8))
            program.note(loaded)
    program.run()
    values = [machine.note(number)[0] for number in range(4)]
    assert [value.constant if value.term == 0 else None for value in values] == [0x04030201, 0, 0x04030201, None]
    assert machine.held == [(bases[1], 0)]


def test_a_condition_is_asked_once_and_what_follows_from_it_is_not() -> None:
    """Twice the same comparison, and one that the first decides on one side."""
    program = Program()
    x = program.slot()
    low, same, high = (program.slot(1) for _ in range(3))
    program.do(Do.BELOW, low, x, Number(10, 8))
    program.do(Do.SKIP_IF, None, low, detail=2)
    program.do(Do.BELOW, same, x, Number(10, 8))
    program.do(Do.SKIP_IF, None, same, detail=4)
    program.do(Do.BELOW, high, x, Number(20, 8))
    program.do(Do.SKIP_IF, None, high, detail=6)
    paths = program.run()
    decided = [[(holds, taken) for _, _, _, holds, taken, *_ in decisions] for decisions, *_ in paths]
    # Not below 10 and not below 20, not below 10 and below 20, below 10 (and so below 20).
    assert decided == [[(False, False), (False, False)], [(True, True)], [(False, False), (True, True)]]


def test_a_condition_inside_a_number_is_decided_first() -> None:
    """n = (m < 6) ? 32 : 64, and 48 < n."""
    program = Program()
    m, small, flag, n = program.slot(), program.slot(1), program.slot(1), program.slot()
    program.do(Do.BELOW, small, m, Number(6, 8))
    program.operations.append(Operation(Do.CHOOSE, n, small, Number(32, 8), Number(64, 8)))
    program.do(Do.BELOW, flag, Number(48, 8), n)
    program.do(Do.SKIP_IF, None, flag, detail=4)
    program.do(Do.BELOW, flag, Number(40, 8), n)
    program.do(Do.SKIP_IF, None, flag, detail=6)
    assert len(program.run()) == 2


def test_limits_are_kept() -> None:
    program = Program()
    x, flag = program.slot(), program.slot(1)
    for number in range(8):
        program.do(Do.EQUAL, flag, x, Number(number, 8))
        program.do(Do.SKIP_IF, None, flag, detail=2 * number + 2)
    with pytest.raises(_core.StoppedError) as stopped:
        program.run(max_paths=4)
    assert stopped.value.args[0] == "too-many-paths" and stopped.value.args[3].term != 0

    endless = Program()
    endless.do(Do.JUMP, None, Address(endless.base, 0, 8))
    with pytest.raises(_core.StoppedError) as stopped:
        endless.run(max_instructions=1000)
    assert stopped.value.args[0] == "too-many-instructions"


def test_what_the_lifter_raises_comes_through() -> None:
    machine = _core.Machine(64)
    base = machine.add_base(machine.new_symbol(64), 16)

    def lift(_base: int, _offset: int) -> tuple[int, bytes]:
        raise LookupError("no such place")

    with pytest.raises(LookupError, match="no such place"):
        machine.run(base, 0, lift)
    with pytest.raises(ValueError, match="72 bytes"):
        machine.run(base, 0, lambda _base, _offset: (1, b"x"))


@pytest.mark.parametrize("size", [8, 4])
def test_pointers_are_asked_for_once_and_where_something_is_loaded(size: int) -> None:
    """Of two bases with pointers; what is asked for makes a further base, as an address of another file is."""
    program = Program()
    machine = program.machine
    one, other = (machine.add_base(machine.new_symbol(64), 64, bytes(range(64)), unread=True) for _ in range(2))
    asked = []

    def pointers(base: int) -> None:
        asked.append(base)
        made = machine.add_base(machine.new_symbol(64), 8)
        value = machine.base(made)
        machine.add_pointer(base, 16, machine.terms.slice(value, 0, 8 * size))

    for at in (16, 16 + size, 16):
        loaded = program.slot(size)
        program.do(Do.LOAD, loaded, Address(one, at, 8))
        program.note(loaded)
    program.do(Do.STORE, None, Address(other, 16, 8), Number(1, 8))
    with pytest.raises(ValueError, match="nobody to ask"):
        program.run()
    program.operations.pop()
    # A failed question is one that is not asked again; so anew.
    machine = program.machine = _core.Machine(64)
    program.base = machine.add_base(machine.new_symbol(64), 1 << 20, b"")
    for _ in range(3):
        program.slot(size)
    again = [machine.add_base(machine.new_symbol(64), 64, bytes(range(64)), unread=True) for _ in range(2)]
    assert again == [one, other]
    program.do(Do.LEAVE)
    machine.run(program.base, 0, lambda _base, _offset: (1, packed(program.operations)), pointers=pointers)
    assert asked == [one]
    first, second, third = (machine.note(number)[0] for number in range(3))
    assert first == third and first.term != 0
    assert second.term == 0 and second.constant == int.from_bytes(bytes(range(16 + size, 16 + 2 * size)), "little")
