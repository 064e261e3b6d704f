# SPDX-License-Identifier: GPL-2.0-or-later
"""Rows of SSE's and x87's numbers in floating point that set flags or are about how they compute."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from l1dflush.tracing.decode import Register
from l1dflush.tracing.operands import Operands
from l1dflush.tracing.operations import Do, Number, Operand
from l1dflush.tracing.slots import Part
from l1dflush.tracing.system_rows import RAISED, X87, X87_REGISTERS, goes_on, kept_as
from l1dflush.tracing.undefined import Origin

Addresses = Mapping[int, Operand]
# What a comparison says: less, unordered, equal.
_SAID = ("CF", "PF", "ZF")


def _compare(o: Operands, addresses: Addresses) -> None:
    """ucomiss and the like: of the two numbers and of MXCSR, which may have denormal ones taken for 0."""
    size = 4 if o.insn.mnemonic.endswith("ss") else 8
    numbers = [o.lowest(index, addresses.get(index))._replace(size=size) for index in (0, 1)]
    asked = [*numbers, o.whole("MXCSR")]
    _set_comparison(o, {name: o.result(name, 1, *asked, origin=Origin.NO_POINTER) for name in _SAID})
    if o.insn.operands[0] == o.insn.operands[1]:
        _is_itself(o)


def _compare_x87(o: Operands, _: Addresses) -> None:
    """fcomi and the like: of what is in the registers of x87; the exceptions that only some raise are masked."""
    other = o.insn.operands[-1]
    assert isinstance(other, Register)
    kept = o.kept(X87_REGISTERS)
    _set_comparison(o, {name: o.result("kept", 1, o.stands_for(f"fcomi {other.full} {name}", [kept]),
                                       origin=Origin.NO_POINTER) for name in _SAID})  # fmt: skip
    if other.full == "st(0)":
        _is_itself(o)


def _set_comparison(o: Operands, made: Mapping[str, Part]) -> None:
    """The flags of two numbers in floating point (SDM volume 2, FCOMI and UCOMISD)."""
    for name, bit in made.items():
        o.emit(Do.BIT_AND, o.flag(name), bit, Number(1, 1))
    for name in ("OF", "SF"):
        o.set_flag(name, Number(0, 1))


def _is_itself(o: Operands) -> None:
    """A number is as large as it is, and where it is none all flags say so."""
    o.set_flag("ZF", Number(1, 1))
    o.set_flag("PF", o.flag("CF"))


def _load_control(o: Operands, addresses: Addresses) -> None:
    """ldmxcsr"""
    o.emit(Do.COPY, o.whole("MXCSR"), o.read(0, addresses.get(0)))
    o.forget(o.kept(RAISED), Origin.NO_POINTER)


def _store_control(o: Operands, addresses: Addresses) -> None:
    """stmxcsr: control bits, and in the lowest six what was raised since, which each operation may add to."""
    raised = o.made(Do.BIT_AND, 4, kept_as(o, RAISED, 4), Number(0x3F, 4))
    control = o.made(Do.BIT_AND, 4, o.whole("MXCSR"), Number(0xFFFF_FFC0, 4))
    o.store(addresses[0], o.made(Do.BIT_OR, 4, control, raised))


def _store_status(o: Operands, addresses: Addresses) -> None:
    """fnstsw: what the last instruction of x87 left."""
    o.write(0, kept_as(o, X87, 2), addresses.get(0))


def _store_x87_control(o: Operands, addresses: Addresses) -> None:
    """fnstcw: bit 6 is 1, bits 7 and 13 to 15 are 0, whatever was loaded (SDM volume 1, figure 8-6: reserved)."""
    possible = o.made(Do.BIT_AND, 2, o.whole("FPUControlWord"), Number(0x1F7F, 2))
    o.store(addresses[0], o.made(Do.BIT_OR, 2, possible, Number(0x40, 2)))


def _load_x87_control(o: Operands, addresses: Addresses) -> None:
    """fldcw: of what is loaded some bits are fixed. It may have exceptions come that wait, and so change the status."""
    o.forget(o.whole("FPUControlWord"), Origin.NO_POINTER)
    goes_on(o, X87)


def _reset_x87(o: Operands, _: Addresses) -> None:
    """fninit, fnclex, emms: the first one sets the control word to what the manual says."""
    if o.insn.mnemonic == "fninit":
        o.emit(Do.COPY, o.whole("FPUControlWord"), Number(0x37F, 2))
    goes_on(o, X87)


FLOATING: dict[str, Callable[[Operands, Addresses], None]] = {
    **dict.fromkeys((f"{v}{u}comis{kind}" for v in ("", "v") for u in ("", "u") for kind in "sd"), _compare),
    **dict.fromkeys(("fcomi", "fcompi", "fucomi", "fucompi"), _compare_x87),
    **dict.fromkeys(("ldmxcsr", "vldmxcsr"), _load_control),
    **dict.fromkeys(("stmxcsr", "vstmxcsr"), _store_control),
    "fnstsw": _store_status,
    "fnstcw": _store_x87_control,
    "fldcw": _load_x87_control,
    **dict.fromkeys(("fninit", "fnclex", "emms"), _reset_x87),
}
