# SPDX-License-Identifier: GPL-2.0-or-later
"""Rows of the table of effects that have semantics of their own, where P-code has them wrong, not at all, or in a way
that forks where nothing is decided."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from l1dflush.tracing.cpuid_row import identify
from l1dflush.tracing.decode import Memory, Register
from l1dflush.tracing.descriptors import DESCRIPTORS
from l1dflush.tracing.effects import WRITES, Form
from l1dflush.tracing.floating_rows import FLOATING
from l1dflush.tracing.lower import UnliftedError
from l1dflush.tracing.model import Kind
from l1dflush.tracing.operands import Operands
from l1dflush.tracing.operations import Address, Do, Number, Operand
from l1dflush.tracing.saved_state import SAVED_STATE
from l1dflush.tracing.scans import translate_byte
from l1dflush.tracing.slots import Part
from l1dflush.tracing.stack_rows import load_flags
from l1dflush.tracing.system_rows import BY_FORM, BY_MNEMONIC, MOVES
from l1dflush.tracing.undefined import FLAGS_OF, Origin, origin_of, undefined_flags

Addresses = Mapping[int, Operand]


# --- bits


def _scan(o: Operands, addresses: Addresses) -> None:
    """bsf, bsr: of 0 nobody knows the result. AMD's leave the destination alone, and so do Intel's of late."""
    found = o.read(1, addresses.get(1))
    assert found is not None
    size = found.size
    zero = o.made(Do.EQUAL, 1, found, Number(0, size))
    if o.insn.mnemonic == "bsf":
        number = _trailing_zeros(o, found)
    else:
        above = o.made(Do.COUNT_LEADING_ZEROS, size, found)
        number = o.made(Do.SUBTRACT, size, Number(8 * size - 1, size), above)
    whole = max(size, o.width) if size > 2 else size
    if whole > size:
        number = o.made(Do.WIDEN, whole, number)
    o.unknown_flags(undefined_flags(o.insn))
    o.set_flag("ZF", zero)
    destination = o.insn.operands[0]
    assert isinstance(destination, Register)
    part = o.register(destination.full)._replace(size=whole)
    o.emit(Do.CHOOSE, part, zero, o.unknown(whole, Origin.COMPUTED), number)


def _count_zeros(o: Operands, addresses: Addresses) -> None:
    """lzcnt, tzcnt: P-code asks for the carry flag when the source may be gone, and counts in a loop."""
    found = o.read(1, addresses.get(1))
    assert found is not None
    size = found.size
    zero = o.made(Do.EQUAL, 1, found, Number(0, size))
    leading = o.insn.mnemonic == "lzcnt"
    count = o.made(Do.COUNT_LEADING_ZEROS, size, found) if leading else _trailing_zeros(o, found)
    o.unknown_flags(undefined_flags(o.insn))
    o.set_flag("CF", zero)
    o.emit(Do.EQUAL, o.flag("ZF"), count, Number(0, size))
    o.write(0, count)


def _trailing_zeros(o: Operands, value: Operand) -> Part:
    """How many zeros a value ends with; of 0 all its bits."""
    assert value is not None
    lowest = o.made(Do.BIT_AND, value.size, value, o.made(Do.NEGATE, value.size, value))
    return o.made(Do.COUNT_ONES, value.size, o.made(Do.ADD, value.size, lowest, Number(-1, value.size)))


def _bit_of_string(o: Operands, addresses: Addresses) -> None:
    """bt, bts, btr, btc of memory with the bit's number in a register: it may lie outside of the operand."""
    memory, register = o.insn.operands
    assert isinstance(memory, Memory) and isinstance(register, Register)
    size = memory.size
    number: Operand = o.part(register)
    if memory.width > size:
        number = o.made(Do.WIDEN_SIGNED, memory.width, number)
    elif memory.width < size:
        raise UnliftedError("a bit's number that is wider than its address")
    shift = (8 * size).bit_length() - 1
    element = o.made(Do.SHIFT_RIGHT_SIGNED, memory.width, number, Number(shift, memory.width))
    moved = o.made(Do.MULTIPLY, memory.width, element, Number(size, memory.width))
    address = o.address(0, moved)
    o.access(Kind.LOAD, address, size)
    before = o.load(address, size)
    bit = o.made(Do.BIT_AND, size, o.part(register), Number(8 * size - 1, size))
    if o.insn.mnemonic != "bt":
        o.access(Kind.STORE, address, size)
        one = o.made(Do.SHIFT_LEFT, size, Number(1, size), bit)
        if o.insn.mnemonic == "btr":
            one = o.made(Do.COMPLEMENT, size, one)
        how = {"bts": Do.BIT_OR, "btr": Do.BIT_AND, "btc": Do.BIT_XOR}[o.insn.mnemonic]
        o.store(address, o.made(how, size, before, one))
    o.unknown_flags(undefined_flags(o.insn))
    shifted = o.made(Do.SHIFT_RIGHT, size, before, bit)
    o.emit(Do.BIT_AND, o.flag("CF"), shifted._replace(size=1), Number(1, 1))


def _swapped(o: Operands, addresses: Addresses) -> None:
    """movbe"""
    value = o.read(1, addresses.get(1))
    assert isinstance(value, Part)
    turned = value._replace(size=1)
    for number in range(1, value.size):
        turned = o.made(Do.JOIN, number + 1, turned, value._replace(start=value.start + number, size=1))
    o.write(0, turned, addresses.get(0))


def _address_in_fewer_bits(o: Operands, _: Addresses) -> None:
    """lea with 67h"""
    memory, destination = o.insn.operands[1], o.insn.operands[0]
    assert isinstance(memory, Memory) and isinstance(destination, Register)
    address = o.address(1)
    assert isinstance(address, Part)
    o.set_register(destination.full, address._replace(size=destination.size))


# --- arithmetic


def _divide(o: Operands, addresses: Addresses) -> None:
    """div and idiv of 128 bits: known where the upper half only extends the lower one."""
    by, low, high = o.read(0, addresses.get(0)), o.register("rax"), o.register("rdx")
    signed = o.insn.mnemonic == "idiv"
    extension = o.made(Do.SHIFT_RIGHT_SIGNED, 8, low, Number(63, 8)) if signed else Number(0, 8)
    fits = o.made(Do.EQUAL, 1, high, extension)
    quotient = o.made(Do.DIVIDE_SIGNED if signed else Do.DIVIDE, 8, low, by)
    rest = o.made(Do.REMAINDER_SIGNED if signed else Do.REMAINDER, 8, low, by)
    o.emit(Do.CHOOSE, low, fits, quotient, o.unknown(8, Origin.COMPUTED))
    o.emit(Do.CHOOSE, high, fits, rest, o.unknown(8, Origin.COMPUTED))
    o.unknown_flags()


def _add_with(o: Operands, addresses: Addresses) -> None:
    """adcx, adox: they add one flag and change no other."""
    flag = o.flag("CF" if o.insn.mnemonic == "adcx" else "OF")
    x, y = o.read(0, addresses.get(0)), o.read(1, addresses.get(1))
    assert x is not None
    both = o.made(Do.ADD, x.size, x, y)
    carried = o.made(Do.WIDEN, x.size, o.made(Do.BIT_AND, 1, flag, Number(1, 1)))
    carries = [o.made(Do.CARRIES, 1, x, y), o.made(Do.CARRIES, 1, both, carried)]
    total = o.made(Do.ADD, x.size, both, carried)
    o.emit(Do.BIT_OR, flag, *carries)
    o.write(0, total)


def _exchange_twice(o: Operands, addresses: Addresses) -> None:
    """cmpxchg8b, cmpxchg16b"""
    memory = o.insn.operands[0]
    assert isinstance(memory, Memory)
    half = memory.size // 2
    places = [addresses[0], o.at(addresses[0], half)]
    before = [o.load(place, half) for place in places]
    compared = [o.register(name) for name in ("rax", "rdx")]
    equal = [o.made(Do.EQUAL, 1, x, y._replace(size=half)) for x, y in zip(before, compared, strict=True)]
    same = o.made(Do.BIT_AND, 1, *equal)
    for name, place, old in zip(("rbx", "rcx"), places, before, strict=True):
        o.store(place, o.made(Do.CHOOSE, half, same, o.register(name)._replace(size=half), old))
    for register, old in zip(compared, before, strict=True):
        wide = old if half == o.width else o.made(Do.WIDEN, o.width, old)
        o.emit(Do.CHOOSE, register, same, register, wide)
    o.set_flag("ZF", same)


def _adjust_decimal(o: Operands, _: Addresses) -> None:
    """daa, aaa and the like"""
    o.emit(Do.COPY, o.register("rax")._replace(size=2), o.unknown(2, Origin.COMPUTED))
    o.unknown_flags()


def _adjust_privilege(o: Operands, addresses: Addresses) -> None:
    """arpl: the lowest two bits become at least those of the other selector."""
    address = addresses.get(0)
    own, least = o.read(0, address), o.read(1)
    levels = [o.made(Do.BIT_AND, 2, one, Number(3, 2)) for one in (own, least)]
    less = o.made(Do.BELOW, 1, *levels)
    without = o.made(Do.BIT_AND, 2, own, Number(0xFFFC, 2))
    o.write(0, o.made(Do.CHOOSE, 2, less, o.made(Do.BIT_OR, 2, without, levels[1]), own), address)
    o.set_flag("ZF", less)


def _keep_content(o: Operands, addresses: Addresses) -> None:
    """clwb, cldemote: whether the line stays depends on the processor (SDM volume 2, their pages), but not what is in
    memory."""


# --- what nobody knows


def forget_results(o: Operands, addresses: Addresses) -> None:
    """Nobody knows what an instruction writes, but for how much of it."""
    insn, origin = o.insn, origin_of(o.insn)
    for name in sorted(insn.effect.writes):
        o.forget(o.register(name), origin)
    for index, operand in enumerate(insn.operands):
        if insn.effect.role(index) in WRITES and (isinstance(operand, Memory) or insn.effect.form is not Form.FLOAT):
            o.forget_operand(index, addresses.get(index), origin, kept_above=insn.effect.form is Form.VECTOR)
    for part in sorted(insn.effect.flags_written):
        o.unknown_flags(FLAGS_OF[part])


# --- strings


def string(o: Operands, here: Address) -> None:
    """lods, stos, movs, with rep or without, at ``here``. P-code drops their segments, and extends pointers of fewer
    bits than the mode's by their sign."""
    insn = o.insn
    memories = [operand for operand in insn.operands if isinstance(operand, Memory)]
    width, size = memories[0].width, memories[0].size
    count = o.register("rcx")._replace(size=width)
    none = o.skip_if(o.made(Do.EQUAL, 1, count, Number(0, width))) if insn.repeat else None
    value: Operand = o.register("rax")._replace(size=size)
    pointers = []
    if not insn.mnemonic.startswith("stos"):
        (source,) = [m for m in memories if m.base == "rsi"]
        pointers.append("rsi")
        at = o.extended(o.register("rsi")._replace(size=width))
        at = o.in_segment(source, at)
        o.access(Kind.LOAD, at, size)
        value = o.load(at, size)
    if insn.mnemonic.startswith("lods"):
        o.set_register("rax", value)
    else:
        pointers.append("rdi")
        at = o.extended(o.register("rdi")._replace(size=width))
        o.access(Kind.STRING_STORE if insn.repeat else Kind.STORE, at, size)
        o.store(at, value)

    def go_on(by: int) -> None:
        for name in pointers:
            o.moved(name, width, by)
        if insn.repeat:
            o.moved("rcx", width, -1)
            o.emit(Do.JUMP, None, here)

    down = o.skip_if(o.flag("DF"))
    go_on(size)
    end = None if insn.repeat else o.skip_if(None)
    o.land(down)
    go_on(-size)
    if end is not None:
        o.land(end)
    if none is not None:
        o.land(none)
        if width == 4 and o.bits == 64:
            # Whether a count of 0 clears the upper halves is not said.
            for name in (*pointers, "rcx"):
                o.forget(o.register(name)._replace(start=4, size=4), Origin.COMPUTED)


VALUES: dict[str, Callable[[Operands, Addresses], None]] = {
    "bsf": _scan,
    "bsr": _scan,
    "lzcnt": _count_zeros,
    "tzcnt": _count_zeros,
    "movbe": _swapped,
    "adcx": _add_with,
    "adox": _add_with,
    "cmpxchg8b": _exchange_twice,
    "cmpxchg16b": _exchange_twice,
    **dict.fromkeys(("daa", "das", "aaa", "aas", "aam", "aad"), _adjust_decimal),
    "arpl": _adjust_privilege,
    **dict.fromkeys(("clwb", "cldemote"), _keep_content),
    "xlatb": translate_byte,
    "lahf": load_flags,
    **DESCRIPTORS,
    **SAVED_STATE,
    **FLOATING,
    "cpuid": identify,
    **BY_MNEMONIC,
}
_BY_FORM: dict[Form, Callable[[Operands, Addresses], None]] = {
    Form.RESULTS_UNKNOWN: forget_results,
    **BY_FORM,
}


def values_of(o: Operands) -> Callable[[Operands, Addresses], None] | None:
    """What gives an instruction its values instead of P-code, if there is such a thing."""
    insn = o.insn
    if insn.mnemonic in ("div", "idiv") and getattr(insn.operands[0], "size", 0) == 8:
        return _divide
    if insn.effect.form is Form.LEA and getattr(insn.operands[1], "narrow", False):
        return _address_in_fewer_bits
    if insn.mnemonic == "mov" and (moves := MOVES.get(insn.effect)) is not None:
        return moves
    return VALUES.get(insn.mnemonic) or _BY_FORM.get(insn.effect.form)


def bit_of_string(o: Operands) -> bool:
    """Whether an instruction is about a bit of memory whose number is in a register; adds its operations if so."""
    operands = o.insn.operands
    if not o.insn.mnemonic.startswith("bt") or not isinstance(operands[0], Memory):
        return False
    if not isinstance(operands[1], Register):
        return False
    _bit_of_string(o, {})
    return True
