"""What is about segments' descriptors: lsl, lar, verr, verw; and the registers that lead to their tables.

What the first ones say depends on the selector, on the descriptor in memory that it leads to and on the privilege. They
change nothing but the zero flag and what they write (SDM volume 2, the pages of LAR, LSL and VERR). The descriptor's
bytes are loaded here as others are, so that a store that may be to them makes another answer possible; that processors
may bring in lines of descriptors is left out, as it is where a segment register is loaded.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from l1dflush.tracing.decode import Memory, Register
from l1dflush.tracing.operands import Operands
from l1dflush.tracing.operations import Do, Number, Operand
from l1dflush.tracing.slots import WORD, Part
from l1dflush.tracing.system_rows import TABLES, kept_as
from l1dflush.tracing.undefined import Origin

Addresses = Mapping[int, Operand]
# Of an address in a selector: without the privilege and which of the two tables it is.
_INDEX = 0xFFF8
# What lar leaves of a descriptor's second half: the four bits 16 to 19 are undefined.
_RIGHTS, _UNDEFINED_RIGHTS = 0x00F0_FF00, 0x000F_0000


def _asked(o: Operands, index: int, addresses: Addresses) -> list[Operand]:
    """All that an answer about the selector in an operand is made of."""
    operand = o.insn.operands[index]
    selector = o.part(operand)._replace(size=2) if isinstance(operand, Register) else o.load(addresses[index], 2)
    distance = o.made(Do.WIDEN, o.width, o.made(Do.BIT_AND, 2, selector, Number(_INDEX, 2)))
    made: list[Operand] = [selector]
    for table in ("gdtr", "ldtr"):
        made.append(kept_as(o, table, 2))
        place = o.made(Do.ADD, o.width, kept_as(o, f"{table} address", o.width, Origin.POINTER), distance)
        # Those of the system have 16 bytes in 64-bit mode.
        made += [o.load(o.at(place, at), WORD) for at in range(0, 2 * o.width, WORD)]
    return made


def _bit(o: Operands, name: str, asked: list[Operand]) -> Part:
    answer = o.result("kept", 1, o.stands_for(name, asked), origin=Origin.NO_POINTER)
    return o.made(Do.BIT_AND, 1, answer, Number(1, 1))


def _verify(o: Operands, addresses: Addresses) -> None:
    """verr, verw"""
    o.set_flag("ZF", _bit(o, o.insn.mnemonic, _asked(o, 0, addresses)))


def _describe(o: Operands, addresses: Addresses) -> None:
    """lsl, lar: the destination stays where the answer is no."""
    name, to = o.insn.mnemonic, o.insn.operands[0]
    assert isinstance(to, Register)
    asked = _asked(o, 1, addresses)
    valid = _bit(o, name, asked)
    value = o.result("kept", 4, o.stands_for(f"{name} result", asked), origin=Origin.NO_POINTER)
    if name == "lar":
        rights = o.made(Do.BIT_AND, 4, value, Number(_RIGHTS, 4))
        undefined = o.made(Do.BIT_AND, 4, o.unknown(4, Origin.NO_POINTER), Number(_UNDEFINED_RIGHTS, 4))
        value = o.made(Do.BIT_OR, 4, rights, undefined)
    made = o.made(Do.WIDEN, 8, value) if to.size == 8 else value._replace(size=to.size)
    part = o.part(to)
    above = part._replace(start=4, size=4) if to.size == 4 and o.bits == 64 else None
    o.emit(Do.CHOOSE, part, valid, made, part)
    if above is not None:
        # Whether a selector that is not valid clears it is not said.
        o.emit(Do.CHOOSE, above, valid, Number(0, 4), o.unknown(4, Origin.COMPUTED))
    o.set_flag("ZF", valid)


def _selector(o: Operands, addresses: Addresses) -> None:
    """str, sldt: 16 bits, and in a wider register nothing above them."""
    to = o.insn.operands[0]
    assert isinstance(to, Register | Memory)
    value = kept_as(o, TABLES[o.insn.mnemonic], 2)
    wide = isinstance(to, Register) and to.size > 2
    o.write(0, o.made(Do.WIDEN, to.size, value) if wide else value, addresses.get(0))


def _store_table(o: Operands, addresses: Addresses) -> None:
    """sgdt, sidt: the limit and the address, which may be any."""
    name = TABLES[o.insn.mnemonic]
    o.store(addresses[0], kept_as(o, name, 2))
    o.store(o.at(addresses[0], 2), kept_as(o, f"{name} address", o.width, Origin.POINTER))


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
