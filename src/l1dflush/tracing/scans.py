# SPDX-License-Identifier: GPL-2.0-or-later
"""``scas`` and ``cmps``, which stop where something is equal or is not; and ``xlat``.

What they find is followed as long as it is known. Where it is not, nobody knows how far the rest goes: at least one
element and at most as many as the count says (SDM volume 2, the pages of CMPS, SCAS and REP). The pointers, the count
and the flags then say the same thing, and what is read is few elements that may be read or not, or somewhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from l1dflush.tracing.decode import Memory
from l1dflush.tracing.model import Kind
from l1dflush.tracing.operands import KIND, Operands
from l1dflush.tracing.operations import Address, Do, Number, Operand, Operation
from l1dflush.tracing.prefixes import REPNE
from l1dflush.tracing.slots import Part
from l1dflush.tracing.undefined import Origin

# So many elements are told one by one, if they are not more bytes than a line has: so they lie in two of them.
_FEW, _LINE = 16, 64
_UNKNOWN = 2
_SEGMENTS = {0x64: "FS_OFFSET", 0x65: "GS_OFFSET"}


class _Scan(NamedTuple):
    """What one instruction works on: elements of ``size`` bytes, where some registers lead to by ``width`` bytes."""

    pointers: tuple[tuple[str, Memory], ...]
    size: int
    width: int
    until_equal: bool


def scan(o: Operands, here: Address) -> None:
    """scas, cmps, with rep or without, at ``here``."""
    insn = o.insn
    memories = [operand for operand in insn.operands if isinstance(operand, Memory)]
    names = ("rsi", "rdi") if len(memories) == 2 else ("rdi",)
    width = memories[0].width
    how = _Scan(tuple(zip(names, memories, strict=True)), memories[0].size, width, REPNE in insn.prefixes)
    step = _step(o, how)
    if not insn.repeat:
        _one(o, how)
        _move(o, how, step)
        return
    count = o.register("rcx")._replace(size=width)
    # 0 or 1, or that it is not known.
    is_none = o.made(Do.IF_KNOWN, 1, o.made(Do.EQUAL, 1, count, Number(0, width)), Number(_UNKNOWN, 1))
    is_last = o.made(Do.IF_KNOWN, 1, o.made(Do.EQUAL, 1, count, Number(1, width)), Number(0, 1))
    none = o.skip_if(o.made(Do.EQUAL, 1, is_none, Number(1, 1)))
    perhaps = o.skip_if(o.made(Do.EQUAL, 1, is_none, Number(_UNKNOWN, 1)))
    is_equal = o.made(Do.IF_KNOWN, 1, o.made(Do.EQUAL, 1, *_values(o, how)), Number(_UNKNOWN, 1))
    # Whatever the last one is, it is the last one.
    stops = o.made(Do.BIT_OR, 1, is_last, o.made(Do.EQUAL, 1, is_equal, Number(int(how.until_equal), 1)))
    known = o.made(Do.BIT_OR, 1, stops, o.made(Do.NOT_EQUAL, 1, is_equal, Number(_UNKNOWN, 1)))
    unknown = o.skip_if(o.made(Do.TRUTH_NOT, 1, known))
    _one(o, how)
    _move(o, how, step)
    o.moved("rcx", width, -1)
    end = o.skip_if(stops)
    o.emit(Do.JUMP, None, here)
    o.land(perhaps)
    o.land(unknown)
    _touch(o, how, count, step)
    _rest(o, how, count, step)
    behind = o.skip_if(None)
    o.land(none)
    for half in _upper_halves(o, how):
        o.forget(half, Origin.COMPUTED)
    o.land(behind)
    o.land(end)


def _step(o: Operands, how: _Scan) -> Part:
    """What the pointers move on by with each element."""
    step = o.fresh(how.width)
    o.emit(Do.COPY, step, Number(-how.size, how.width))
    down = o.skip_if(o.flag("DF"))
    o.emit(Do.COPY, step, Number(how.size, how.width))
    o.land(down)
    return step


def _addresses(o: Operands, how: _Scan, distance: Operand = None) -> list[Operand]:
    """Where the next elements are, or those that are further on."""
    found: list[Operand] = []
    for name, memory in how.pointers:
        offset = o.register(name)._replace(size=how.width)
        if distance is not None:
            offset = o.made(Do.ADD, how.width, offset, distance)
        found.append(o.in_segment(memory, o.extended(offset)))
    return found


def _read(o: Operands, how: _Scan, kind: Kind, distance: Operand = None) -> None:
    """The accesses to an element; of two the manual does not say which one is first, and emulators take the second."""
    for at in reversed(_addresses(o, how, distance)):
        o.access(kind, at, how.size)


def _values(o: Operands, how: _Scan) -> tuple[Operand, Operand]:
    """What is compared: the first one less the second one makes the flags."""
    loaded = [o.load(at, how.size) for at in _addresses(o, how)]
    first = loaded[0] if len(loaded) == 2 else o.register("rax")._replace(size=how.size)
    return first, loaded[-1]


def _one(o: Operands, how: _Scan) -> None:
    """Reads one element, and compares."""
    _read(o, how, Kind.LOAD)
    first, second = _values(o, how)
    less = o.made(Do.SUBTRACT, how.size, first, second)
    o.emit(Do.BELOW, o.flag("CF"), first, second)
    o.emit(Do.BORROWS_SIGNED, o.flag("OF"), first, second)
    o.emit(Do.BELOW_SIGNED, o.flag("SF"), less, Number(0, how.size))
    o.emit(Do.EQUAL, o.flag("ZF"), first, second)
    o.emit(Do.EVEN_ONES, o.flag("PF"), less)


def _move(o: Operands, how: _Scan, distance: Operand) -> None:
    for name, _ in how.pointers:
        part = o.register(name)._replace(size=how.width)
        o.set_register(name, o.made(Do.ADD, how.width, part, distance))


def _touch(o: Operands, how: _Scan, count: Part, step: Part) -> None:
    """The accesses to up to ``count`` elements: the first one surely, and each of a few others perhaps; of many nobody
    knows where they end."""
    known = o.made(Do.IF_KNOWN, how.width, count, Number(-1, how.width))
    most = min(_FEW, _LINE // how.size)
    many = o.skip_if(o.made(Do.BELOW, 1, Number(most, how.width), known))
    _read(o, how, Kind.LOAD)
    ends, distance = [], step
    for number in range(1, most):
        ends.append(o.skip_if(o.made(Do.EQUAL, 1, known, Number(number, how.width))))
        # What a prefetch brings in may come in or not.
        _read(o, how, Kind.PREFETCH, distance)
        distance = o.made(Do.ADD, how.width, distance, step)
    ends.append(o.skip_if(None))
    o.land(many)
    o.operations.append(Operation(Do.NOTE, detail=KIND[Kind.CALL]))
    for end in ends:
        o.land(end)


def _rest(o: Operands, how: _Scan, count: Part, step: Part) -> None:
    """What up to ``count`` elements come to: none only if that is 0. Some are left only where it found what it looked
    for."""
    none = o.made(Do.EQUAL, 1, count, Number(0, how.width))
    found = o.made(Do.BIT_AND, 1, o.unknown(1, Origin.NO_POINTER), Number(1, 1))
    any_number = o.unknown(how.width, Origin.NO_POINTER)
    fewer = o.made(Do.BIT_AND, 1, found, o.made(Do.BELOW, 1, any_number, count))
    left = o.made(Do.CHOOSE, how.width, fewer, any_number, Number(0, how.width))
    done = o.made(Do.SUBTRACT, how.width, count, left)
    _move(o, how, o.made(Do.MULTIPLY, how.width, done, step))
    o.set_register("rcx", left)
    for half in _upper_halves(o, how):
        o.emit(Do.CHOOSE, half, none, o.unknown(half.size, Origin.COMPUTED), half)
    differs = o.made(Do.TRUTH_NOT, 1, found) if how.until_equal else found
    equal = o.made(Do.TRUTH_NOT, 1, differs)
    # Where it is equal there is no other difference.
    made = {name: o.made(Do.BIT_AND, 1, o.unknown(1, Origin.NO_POINTER), differs) for name in ("CF", "OF", "PF", "SF")}
    made |= {"PF": o.made(Do.BIT_OR, 1, made["PF"], equal), "ZF": equal}
    for name, bit in made.items():
        o.emit(Do.CHOOSE, o.flag(name), none, o.flag(name), bit)


def _upper_halves(o: Operands, how: _Scan) -> list[Part]:
    """Those that a count of 0 clears or leaves, which is not said."""
    if o.bits == 32 or how.width == o.width:
        return []
    return [o.register(name)._replace(start=4, size=4) for name in (*(name for name, _ in how.pointers), "rcx")]


def translate_byte(o: Operands, _: Mapping[int, Operand]) -> None:
    """xlat: al from a table at rbx. The decoder says nothing of its operand."""
    width = o.width // 2 if 0x67 in o.insn.prefixes else o.width
    index = o.made(Do.WIDEN, width, o.register("rax")._replace(size=1))
    at: Operand = o.extended(o.made(Do.ADD, width, o.register("rbx")._replace(size=width), index))
    for prefix in o.insn.prefixes:
        if prefix in _SEGMENTS:
            at = o.made(Do.ADD, o.width, at, o.whole(_SEGMENTS[prefix]))
    o.access(Kind.LOAD, at, 1)
    o.set_register("rax", o.load(at, 1))
