# SPDX-License-Identifier: GPL-2.0-or-later
"""Instructions that use the stack, with semantics of their own: what is pushed, what the stack pointer is meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from l1dflush.tracing.bindings import CALLER_SAVED
from l1dflush.tracing.decode import SEGMENTS, Memory, Register
from l1dflush.tracing.effects import Form
from l1dflush.tracing.lower import UnliftedError
from l1dflush.tracing.model import Kind
from l1dflush.tracing.operands import Operands
from l1dflush.tracing.operations import Do, Number, Operand
from l1dflush.tracing.slots import Part
from l1dflush.tracing.undefined import Origin

# The bits of the flags register that are followed, and the other ones that somebody may ask for (SDM volume 1, 3.4.3).
_BITS = {"CF": 0, "PF": 2, "ZF": 6, "SF": 7, "DF": 10, "OF": 11}
_ALWAYS_SET = 1 << 1
_ADJUST = 4
_OTHERS = {"TF": 8, "IF": 9, "NT": 14, "AC": 18, "VIF": 19, "VIP": 20, "ID": 21}
_AS_POPPED = frozenset({"TF", "IF", "NT", "AC"})
_PRIVILEGE = 12  # two bits
# In the order in which pusha has them.
_ALL = ("rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi")


def _size(o: Operands) -> int:
    """How many bytes an instruction pushes or pops whose operands do not say so."""
    return 2 if 0x66 in o.insn.prefixes else o.width


def _pushed(o: Operands, value: Operand, saved: bool = False) -> None:
    """Pushes a value; ``saved``: that of a register, to be restored, if it is what the function was given in it."""
    assert value is not None
    stack = o.register("rsp")
    below = o.made(Do.ADD, o.width, stack, Number(-value.size, o.width))
    o.access(Kind.STORE, below, value.size)
    o.store(below, value)
    if saved:
        o.operations[-1] = o.operations[-1]._replace(detail=1)
    o.emit(Do.COPY, stack, below)


def _popped(o: Operands, size: int) -> Part:
    """Pops so many bytes."""
    stack = o.register("rsp")
    o.access(Kind.LOAD, stack, size)
    value = o.load(stack, size)
    o.emit(Do.ADD, stack, stack, Number(size, o.width))
    return value


def _push(o: Operands) -> None:
    operand = o.insn.operands[0]
    if isinstance(operand, Memory):
        address = o.address(0)
        o.access(Kind.LOAD, address, operand.size)
        _pushed(o, o.load(address, operand.size))
    elif isinstance(operand, Register) and operand.full in SEGMENTS:
        # What is above the selector is cleared, or stays as it was in memory.
        size = _size(o)
        above = o.unknown(size - 2, Origin.NO_POINTER) if size > 2 else None
        selector = o.whole(operand.full.upper())
        _pushed(o, selector if above is None else o.made(Do.JOIN, size, above, selector))
    elif isinstance(operand, Register):
        # What a function need not give back is pushed to make room for a variable, too.
        kept = operand.general and operand.full not in ("rsp", *CALLER_SAVED[o.bits])
        _pushed(o, o.read(0), saved=kept and operand.size == o.width)
    else:
        _pushed(o, o.immediate(0, _size(o)))


def _pop(o: Operands) -> None:
    operand = o.insn.operands[0]
    assert isinstance(operand, Register | Memory)
    value = _popped(o, operand.size)
    if isinstance(operand, Memory):
        # Its address is computed when the stack pointer has moved on.
        address = o.address(0)
        o.access(Kind.STORE, address, operand.size)
        o.store(address, value)
    else:
        o.write(0, value)


def _leave(o: Operands) -> None:
    o.emit(Do.COPY, o.register("rsp"), o.register("rbp"))
    o.set_register("rbp", _popped(o, _size(o)))


def _enter(o: Operands) -> None:
    if _size(o) != o.width:
        raise UnliftedError("what it does with 16 bits is not modelled")
    room, levels = o.insn.operands
    assert isinstance(room, int) and isinstance(levels, int)
    stack, frame = o.register("rsp"), o.register("rbp")
    _pushed(o, frame, saved=True)
    own = o.made(Do.COPY, o.width, stack)
    # The frames of the functions around a nested one.
    for _ in range(1, levels % 32):
        o.emit(Do.ADD, frame, frame, Number(-o.width, o.width))
        o.access(Kind.LOAD, frame, o.width)
        _pushed(o, o.load(frame, o.width))
    if levels % 32:
        _pushed(o, own)
    o.emit(Do.COPY, frame, own)
    o.emit(Do.ADD, stack, stack, Number(-(room & 0xFFFF), o.width))


def _push_all(o: Operands) -> None:
    size = _size(o)
    before = o.made(Do.COPY, o.width, o.register("rsp"))
    for name in _ALL:
        _pushed(o, (before if name == "rsp" else o.register(name))._replace(size=size))


def _pop_all(o: Operands) -> None:
    size = _size(o)
    for name in reversed(_ALL):
        value = _popped(o, size)
        if name != "rsp":
            o.set_register(name, value)


def _push_flags(o: Operands) -> None:
    """What is followed has its place in what is pushed; nobody knows the rest."""
    size = _size(o)
    total = _joined_flags(o, _OTHERS | _BITS, [(_PRIVILEGE, 3, o.whole("IOPL"))])
    _pushed(o, o.made(Do.WIDEN, 8, total) if size == 8 else total._replace(size=size))


def _joined_flags(o: Operands, flags: Mapping[str, int], more: Iterable[tuple[int, int, Part]] = ()) -> Part:
    """These flags in their places in 4 bytes, and ``more``: of each the place, which bits of it, and where it is. Those
    that are reserved are fixed (SDM volume 1, section 3.4.3), and the adjust flag is unknown."""
    total: Operand = Number(_ALWAYS_SET, 4)
    # One by one: so a question about one bit is about nothing else.
    bits = [(_ADJUST, 1, o.unknown(1, Origin.NO_POINTER)), *more]
    bits += [(bit, 1, o.flag(name)) for name, bit in flags.items()]
    for bit, mask, flag in bits:
        wide = o.made(Do.WIDEN, 4, o.made(Do.BIT_AND, 1, flag, Number(mask, 1)))
        total = o.made(Do.BIT_OR, 4, total, o.made(Do.SHIFT_LEFT, 4, wide, Number(bit, 4)))
    assert isinstance(total, Part)
    return total


def load_flags(o: Operands, _: object) -> None:
    """lahf"""
    total = _joined_flags(o, {name: bit for name, bit in _BITS.items() if bit < 8})
    o.emit(Do.COPY, o.register("rax")._replace(start=1, size=1), total._replace(size=1))


def _pop_flags(o: Operands) -> None:
    value = _popped(o, _size(o))

    def popped(bit: int) -> Part:
        shifted = o.made(Do.SHIFT_RIGHT, value.size, value, Number(bit, value.size))
        return o.made(Do.BIT_AND, 1, shifted._replace(size=1), Number(1, 1))

    for name, bit in _BITS.items():
        o.emit(Do.COPY, o.flag(name), popped(bit))
    # These only a kernel changes, or nobody knows of whether they can be changed; of 16 bits there are fewer.
    for name in ("IOPL", *(name for name, bit in _OTHERS.items() if bit < 8 * value.size)):
        if name in _AS_POPPED:
            o.emit(Do.COPY, o.flag(name), popped(_OTHERS[name]))
        else:
            o.forget(o.flag(name), Origin.NO_POINTER)


STACK_ROWS: dict[Form, Callable[[Operands], None]] = {
    Form.PUSH: _push,
    Form.POP: _pop,
    Form.LEAVE: _leave,
    Form.ENTER: _enter,
    Form.PUSH_ALL: _push_all,
    Form.POP_ALL: _pop_all,
    Form.PUSH_FLAGS: _push_flags,
    Form.POP_FLAGS: _pop_flags,
}
