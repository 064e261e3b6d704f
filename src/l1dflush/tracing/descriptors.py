# SPDX-License-Identifier: GPL-2.0-or-later
"""What is about segments' descriptors: lsl, lar, verr, verw; and the registers that lead to their tables.

What the first ones say depends on the selector, on the descriptor in memory that it leads to and on the privilege. They
change nothing but the zero flag and what they write (SDM volume 2, the pages of LAR, LSL and VERR). All of them first
ask the same: is the selector not null and inside of the table, may the descriptor be seen, and of those of the system
has it a type that lar gives. What lar gives then answers the rest: what is readable has a limit, too. The descriptor's
bytes are loaded here as others are, so that a store that may be to them makes another answer possible; that processors
may bring in lines of descriptors is left out, as it is where a segment register is loaded.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from l1dflush.tracing.decode import Memory, Register
from l1dflush.tracing.operands import Operands
from l1dflush.tracing.operations import Do, Number, Operand
from l1dflush.tracing.slots import WORD, Part
from l1dflush.tracing.system_rows import TABLES, canonical, kept_as
from l1dflush.tracing.undefined import Origin

Addresses = Mapping[int, Operand]
# Of an address in a selector: without the privilege and which of the two tables it is.
_INDEX, _LOCAL = 0xFFF8, 1 << 2
# The four bits of a descriptor's type and the one behind them, which is 1 for code and data, say what it may be asked
# for: bit n of each number is for n. Of the system's lar gives gates, too, and lsl what has a limit; data are readable,
# code where it says so (SDM volume 3, section 3.4.5; volume 2, LAR and LSL, tables of valid types).
TYPE, TYPE_BITS = 8, 5
_CODE_AND_DATA = 0xFFFF << 16
GIVEN = {
    32: {"lar": _CODE_AND_DATA | 0b0001_1010_0011_1110, "lsl": _CODE_AND_DATA | 0b0000_1010_0000_1110},
    64: {"lar": _CODE_AND_DATA | 0b0001_1010_0000_0100, "lsl": _CODE_AND_DATA | 0b0000_1010_0000_0100},
}
READABLE = {"verr": 0xCCFF << 16, "verw": 0x00CC << 16}
# What lar leaves of a descriptor's second half: the four bits 16 to 19 are undefined.
_RIGHTS, _UNDEFINED_RIGHTS = 0x00F0_FF00, 0x000F_0000
# Whether its limit counts pages, and the bits that a limit has.
PAGES, LIMIT = 23, 0xF_FFFF


def _asked(o: Operands, index: int, addresses: Addresses) -> list[Operand]:
    """All that an answer about the selector in an operand is made of."""
    operand = o.insn.operands[index]
    selector = o.part(operand)._replace(size=2) if isinstance(operand, Register) else o.load(addresses[index], 2)
    distance = o.made(Do.WIDEN, o.width, o.made(Do.BIT_AND, 2, selector, Number(_INDEX, 2)))
    made: list[Operand] = [selector]
    for table in ("gdtr", "ldtr"):
        made.append(kept_as(o, table, 2))
        place = o.made(Do.ADD, o.width, _begin(o, table), distance)
        # Those of the system have 16 bytes in 64-bit mode.
        made += [o.load(o.at(place, at), WORD) for at in range(0, 2 * o.width, WORD)]
    return made


def _bits(o: Operands, value: Operand, first: Operand, number: int) -> Part:
    """So many bits of a value, in one byte."""
    assert value is not None
    moved = o.made(Do.SHIFT_RIGHT, value.size, value, first)._replace(size=1)
    return o.made(Do.BIT_AND, 1, moved, Number((1 << number) - 1, 1))


def _is_not_null(o: Operands, selector: Operand) -> Part:
    """1 for a selector that leads to a descriptor, else 0."""
    index = o.made(Do.SHIFT_RIGHT, 2, selector, Number(2, 1))
    return _bits(o, o.made(Do.ADD, 2, index, Number((1 << 14) - 1, 2)), Number(14, 1), 2)


def _kept(o: Operands, name: str, size: int, asked: list[Operand]) -> Part:
    return o.result("kept", size, o.stands_for(name, asked), origin=Origin.NO_POINTER)


def _answer(o: Operands, asked: list[Operand]) -> tuple[Part, Part]:
    """Whether the answer is yes, and what lar gives of it. It is one question, so that a branch decides it as a whole
    and nothing of what it is made of: no part of it is a bit."""
    rights = o.made(Do.BIT_AND, 4, _kept(o, "rights", 4, asked), Number(_RIGHTS, 4))
    kind = _bits(o, rights, Number(TYPE, 1), TYPE_BITS)
    twice = o.made(Do.ADD, 1, kind, kind)
    given = GIVEN[o.bits]
    both = given["lar"] & (given | READABLE).get(o.insn.mnemonic, given["lar"])
    may = _bits(o, Number(sum((both >> one & 1) << 2 * one for one in range(32)), WORD), twice, 2)
    # What it depends on besides is one number, whose value 0 is yes.
    fields = o.made(Do.WIDEN, 2, _kept(o, "visible", 1, asked))
    for at, field in ((8, _is_not_null(o, asked[0])), (10, may)):
        fields = o.made(Do.ADD, 2, fields, o.made(Do.MULTIPLY, 2, o.made(Do.WIDEN, 2, field), Number(1 << at, 2)))
    return o.made(Do.EQUAL, 1, fields, Number(1 << 8 | 1 << 10, 2)), rights


def _limit(o: Operands, asked: list[Operand], rights: Part) -> Part:
    """In bytes: of one that counts pages it is the last one of a page."""
    number = o.made(Do.BIT_AND, 4, _kept(o, "limit", 4, asked), Number(LIMIT, 4))
    pages = o.made(Do.WIDEN, 4, _bits(o, rights, Number(PAGES, 1), 1))
    moved = o.made(Do.SHIFT_LEFT, 4, number, o.made(Do.MULTIPLY, 4, pages, Number(12, 4)))
    return o.made(Do.BIT_OR, 4, moved, o.made(Do.MULTIPLY, 4, pages, Number(0xFFF, 4)))


def _verify(o: Operands, addresses: Addresses) -> None:
    """verr, verw"""
    valid, _ = _answer(o, _asked(o, 0, addresses))
    o.set_flag("ZF", valid)


def _describe(o: Operands, addresses: Addresses) -> None:
    """lsl, lar: the destination stays where the answer is no."""
    to = o.insn.operands[0]
    assert isinstance(to, Register)
    asked = _asked(o, 1, addresses)
    valid, value = _answer(o, asked)
    if o.insn.mnemonic == "lsl":
        value = _limit(o, asked, value)
    else:
        undefined = o.made(Do.BIT_AND, 4, o.unknown(4, Origin.NO_POINTER), Number(_UNDEFINED_RIGHTS, 4))
        value = o.made(Do.BIT_OR, 4, value, undefined)
    made = o.made(Do.WIDEN, 8, value) if to.size == 8 else value._replace(size=to.size)
    part = o.part(to)
    above = part._replace(start=4, size=4) if to.size == 4 and o.bits == 64 else None
    o.emit(Do.CHOOSE, part, valid, made, part)
    if above is not None:
        # Whether a selector that is not valid clears it is not said.
        o.emit(Do.CHOOSE, above, valid, Number(0, 4), o.unknown(4, Origin.COMPUTED))
    o.set_flag("ZF", valid)


def _selector(o: Operands, addresses: Addresses) -> None:
    """str, sldt: 16 bits, and in a wider register nothing above them. What they lead to is in the global table (SDM
    volume 2, LTR and LLDT); that the task register was loaded is granted."""
    to = o.insn.operands[0]
    assert isinstance(to, Register | Memory)
    value = o.made(Do.BIT_AND, 2, kept_as(o, TABLES[o.insn.mnemonic], 2), Number(~_LOCAL, 2))
    if o.insn.mnemonic == "str":
        there = o.made(Do.WIDEN, 2, _is_not_null(o, value))
        first = o.made(Do.SUBTRACT, 2, Number(1, 2), there)
        value = o.made(Do.ADD, 2, value, o.made(Do.MULTIPLY, 2, first, Number(8, 2)))
    wide = isinstance(to, Register) and to.size > 2
    o.write(0, o.made(Do.WIDEN, to.size, value) if wide else value, addresses.get(0))


def _begin(o: Operands, table: str) -> Part:
    """Where a table begins, which is canonical in 64-bit mode, or loading it faults (SDM volume 1, section 3.3.7.1; APM
    volume 3, LGDT and LIDT)."""
    address = kept_as(o, f"{table} address", o.width, Origin.POINTER)
    return canonical(o, address) if o.bits == 64 else address


def _store_table(o: Operands, addresses: Addresses) -> None:
    """sgdt, sidt: the limit and the address."""
    name = TABLES[o.insn.mnemonic]
    o.store(addresses[0], kept_as(o, name, 2))
    o.store(o.at(addresses[0], 2), _begin(o, name))


def _load_table(o: Operands, _: Addresses) -> None:
    """lgdt, lidt, lldt, ltr"""
    name = TABLES[f"s{o.insn.mnemonic[1:]}"]
    for one in (name, f"{name} address"):
        o.forget(o.kept(one), Origin.NO_POINTER)


DESCRIPTORS: dict[str, Callable[[Operands, Addresses], None]] = {
    **dict.fromkeys(("verr", "verw"), _verify),
    **dict.fromkeys(("lsl", "lar"), _describe),
    **dict.fromkeys(("str", "sldt"), _selector),
    **dict.fromkeys(("sgdt", "sidt"), _store_table),
    **dict.fromkeys(("lgdt", "lidt", "lldt", "ltr"), _load_table),
}
