# SPDX-License-Identifier: GPL-2.0-or-later
"""Offsets in a region are numbers modulo 2^32 or 2^64: each byte has one of them.

The oracle is memory as a row of bytes, whose addresses begin anew behind the last one. What the machine knows of what
is loaded has to be what lies there, wherever the pointer points and whatever the index is."""

from __future__ import annotations

import random
import struct
from typing import Literal

import pytest

from l1dflush import _core
from l1dflush.errors import UndecidedError
from l1dflush.routine.load import load_bytes
from l1dflush.routine.options import LoadOptions
from l1dflush.tracing.abstract import trace
from l1dflush.tracing.operations import EVENT, Do, Number, Operation, packed
from l1dflush.tracing.slots import Part

Bits = Literal[32, 64]


def symbols(machine: _core.Machine, value: _core.Value) -> dict[int, int]:
    """The symbols in a value: their numbers by their terms."""
    found: dict[int, int] = {}
    todo = [value]
    while todo:
        one = todo.pop()
        if one.term:
            kind, _, _, operands, addends, number = machine.described(one)
            if kind == "symbol":
                found[one.term] = number
            todo += [*operands, *(atom for atom, _ in addends)]
    return found


@pytest.mark.parametrize("bits", [32, 64])
@pytest.mark.parametrize("many", range(4))
def test_what_is_known_is_what_lies_there(bits: Bits, many: int) -> None:
    for seed in range(250):
        compare(bits, random.Random(f"{many} {seed}"))


def compare(bits: Bits, source: random.Random) -> None:
    steps = source.randint(2, 16)
    width, around, half = bits // 8, 1 << bits, 1 << (bits - 1)
    machine = _core.Machine(bits)
    code = machine.add_base(machine.new_symbol(bits), 1 << 20, b"")
    pointer, index = (Part(machine.add_slot(bits), 0, width) for _ in range(2))
    stored = {Part(machine.add_slot(8 * size), 0, size): source.getrandbits(8 * size) for size in (1, 2, 4)}
    numbers = {machine.slot(part.slot).term: value for part, value in stored.items()}
    # Not so near that an access lies on both sides.
    borders = [0, half - 16, half + 8, around - 8, 4096]
    # The unknown index takes one to where another access is, or next to it.
    moved = source.choice([0, half - 16, 2, around - 3, *range(8, 32)])
    masked = Part(machine.add_slot(bits), 0, width)
    numbers |= {machine.slot(pointer.slot).term: source.getrandbits(bits), machine.slot(index.slot).term: moved}
    base = numbers[machine.slot(pointer.slot).term]
    fill = source.getrandbits(32)
    memory: dict[int, int] = {}

    def first(at: int) -> int:
        return random.Random(at % around ^ fill).getrandbits(8)

    # Of one that is known to be small, only so much is forgotten as it reaches: at both ends, perhaps.
    operations = [Operation(Do.BIT_AND, masked, index, Number(31, width))]
    wanted: list[tuple[int, int]] = []
    for _ in range(steps):
        part, value = source.choice([*stored.items()])
        distance = source.choice(borders) + source.randrange(8)
        address = Part(machine.add_slot(bits), 0, width)
        operations.append(Operation(Do.ADD, address, pointer, Number(distance % around, width)))
        at = base + distance
        if source.random() < 0.4:
            by, amount = source.choice([(index, moved), (masked, moved & 31)])
            operations.append(Operation(Do.ADD, address, address, by))
            at += amount
        places = [(at + i) % around for i in range(part.size)]
        if source.random() < 0.5:
            # One store, or a run of them side by side, as far as it does not lie on both sides.
            for turn in range(1 if half - 16 <= distance < half else source.choice([1, 1, 6])):
                if turn:
                    operations.append(Operation(Do.ADD, address, address, Number(part.size, width)))
                    places = [(place + part.size) % around for place in places]
                operations.append(Operation(Do.STORE, None, address, part))
                memory |= {place: value >> 8 * i & 0xFF for i, place in enumerate(places)}
        else:
            loaded = Part(machine.add_slot(8 * part.size), 0, part.size)
            operations += [Operation(Do.LOAD, loaded, address), Operation(Do.NOTE, None, loaded)]
            there = sum(memory.get(place, first(place)) << 8 * i for i, place in enumerate(places))
            wanted.append((len(wanted), there))
    operations.append(Operation(Do.LEAVE))
    machine.run(code, 0, lambda _base, _offset: (1, packed(operations)))
    for number, plain in wanted:
        value, _ = machine.note(number)
        known, anything = dict(numbers), False
        for term, symbol in symbols(machine, value).items():
            origin, region, offset, size, *_ = machine.origin(symbol)
            if origin == 1:
                anything |= machine.is_wild(symbol)
                start = machine.terms.evaluated(machine.terms.value(region), numbers) + offset
                known[term] = sum(first(start + i) << 8 * i for i in range(size))
        assert anything or machine.terms.evaluated(value, known) == plain


@pytest.mark.parametrize("distance", [0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFF0, 0x1_0000_0010 & 0xFFFF_FFFF])
def test_a_byte_has_one_offset_however_its_address_is_written(distance: int) -> None:
    """In two steps or at once, up or down."""
    machine = _core.Machine(32)
    code = machine.add_base(machine.new_symbol(32), 1 << 20, b"")
    pointer, one, other = (Part(machine.add_slot(32), 0, 4) for _ in range(3))
    operations = [
        Operation(Do.ADD, one, pointer, Number(distance, 4)),
        Operation(Do.ADD, other, pointer, Number(distance // 2, 4)),
        Operation(Do.SUBTRACT, other, other, Number(-(distance - distance // 2) & 0xFFFF_FFFF, 4)),
        *(Operation(Do.ACCESS, None, address, size=1) for address in (one, other)),
        Operation(Do.LEAVE),
    ]
    ((_, events, *_),) = machine.run(code, 0, lambda _base, _offset: (1, packed(operations)))
    offsets = {offset for _, _, _, _, _, offset, _ in EVENT.iter_unpack(events)}
    assert offsets == set(struct.unpack("<i", struct.pack("<I", distance)))


@pytest.mark.parametrize("lines", [
    "\tmovl -4, %eax\n\tmovl -1, %eax\n", "\tmovl $5, %eax\n\tmovl -6(%eax), %ecx\n\tmovw -6(%eax), %cx\n",
])  # fmt: skip
def test_an_access_around_the_end_of_memory_is_no_ordinary_one(lines: str) -> None:
    text = f"\t.code32\n\t.globl f\nf:\n{lines}\tret\n"
    (routine,) = load_bytes(text.encode(), "f.s", LoadOptions())
    with pytest.raises(UndecidedError) as caught:
        trace(routine)
    assert caught.value.cause == "faults"
