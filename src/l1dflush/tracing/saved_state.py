# SPDX-License-Identifier: GPL-2.0-or-later
"""What saves and restores the registers of vectors and of x87 in memory: fxsave, xsave, fnsave, and what goes back.

``fxsave`` has 512 bytes, of which it does not write the last 48; what processors write of the others depends on the
mode, on CR4.OSFXSR and on EFER.FFXSR (SDM volume 2, the pages of FXSAVE and FXRSTOR; volume 1, section 10.5; APM volume
2, section 11.4.4). How much xsave takes depends on the processor, on XCR0 and on what was used (volume 1, chapter 13).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from l1dflush.tracing.decode import Register
from l1dflush.tracing.model import Kind
from l1dflush.tracing.operands import Operands
from l1dflush.tracing.operations import Do, Operand
from l1dflush.tracing.prefixes import SIZE
from l1dflush.tracing.system_rows import RAISED, X87, X87_REGISTERS, goes_on
from l1dflush.tracing.undefined import Origin

Addresses = Mapping[int, Operand]
_SLOT = 16
# In slots of 16 bytes, which lie in one line each: the first ones are used always, the last three never.
_ALWAYS, _SOMETIMES = 10, 29
_HEADER, _HEADER_SIZE = 512, 8


def _slots(o: Operands, at: Operand, kind: Kind) -> None:
    for number in range(_SOMETIMES):
        # What a prefetch brings in may come in or not.
        o.access(kind if number < _ALWAYS else Kind.PREFETCH, o.at(at, number * _SLOT), _SLOT)


def _save(o: Operands, _: Addresses) -> None:
    """fxsave"""
    at = o.made(Do.COPY, o.width, o.address(0))
    _slots(o, at, Kind.STORE)
    o.forget_memory(at, _SOMETIMES * _SLOT, Origin.COMPUTED)


def _restore(o: Operands, _: Addresses) -> None:
    """fxrstor"""
    _slots(o, o.made(Do.COPY, o.width, o.address(0)), Kind.LOAD)
    _forget_registers(o, o.bits // 4, _SLOT)


def _forget_registers(o: Operands, vectors: int, size: int) -> None:
    for number in range(vectors):
        o.forget_vector(Register(f"v{number}", size, 0, general=False), True, Origin.COMPUTED)
    for name in ("MXCSR", "FPUControlWord"):
        o.forget(o.whole(name), Origin.NO_POINTER)
    for kept in (RAISED, X87, X87_REGISTERS):
        goes_on(o, kept)


def _save_extended(o: Operands, _: Addresses) -> None:
    """xsave and its kin: the header is written in any case."""
    at = o.made(Do.COPY, o.width, o.address(0))
    o.access(Kind.STORE, o.at(at, _HEADER), _HEADER_SIZE)
    somewhere = o.made(Do.ADD, o.width, at, o.unknown(o.width, Origin.NO_POINTER))
    o.store(somewhere, o.unknown(o.width, Origin.COMPUTED))


def _restore_extended(o: Operands, _: Addresses) -> None:
    """xrstor and its kin."""
    at = o.made(Do.COPY, o.width, o.address(0))
    o.access(Kind.LOAD, o.at(at, _HEADER), _HEADER_SIZE)
    _forget_registers(o, 32 if o.bits == 64 else 8, 64)
    o.forget(o.kept("pkru"), Origin.NO_POINTER)


def _x87(o: Operands, _: Addresses) -> None:
    """fnsave, fnstenv, frstor, fldenv: fewer bytes with 16 bits. The first two mask exceptions, too."""
    at = o.made(Do.COPY, o.width, o.address(0))
    size, narrow = _X87_SIZES[o.insn.mnemonic]
    size = narrow if SIZE in o.insn.prefixes else size
    stores = o.insn.mnemonic.startswith("fn")
    o.access(Kind.STORE if stores else Kind.LOAD, at, size)
    if stores:
        o.forget_memory(at, size, Origin.COMPUTED)
    o.forget(o.whole("FPUControlWord"), Origin.NO_POINTER)


_X87_SIZES = {"fnsave": (108, 94), "frstor": (108, 94), "fnstenv": (28, 14), "fldenv": (28, 14)}
_ROWS: dict[str, Callable[[Operands, Addresses], None]] = {
    "fxsave": _save,
    "fxrstor": _restore,
    **dict.fromkeys(("xsave", "xsaveopt", "xsavec", "xsaves"), _save_extended),
    **dict.fromkeys(("xrstor", "xrstors"), _restore_extended),
}
SAVED_STATE: dict[str, Callable[[Operands, Addresses], None]] = {
    **{f"{name}{kind}": row for name, row in _ROWS.items() for kind in ("", "64")},
    **dict.fromkeys(_X87_SIZES, _x87),
}
