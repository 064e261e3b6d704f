# SPDX-License-Identifier: GPL-2.0-or-later
"""Where P-code's values are not to be taken: what x86 leaves undefined, and what SLEIGH has wrong or not at all.

Source: Intel 64 and IA-32 Architectures Software Developer's Manual, volume 2, "Flags Affected" and "Operation" of the
instructions' pages. The adjust flag is never written here: whoever reads it gets something that nobody knows.
"""

from __future__ import annotations

import re
from enum import IntEnum
from typing import NamedTuple

from l1dflush.tracing.decode import Instruction, Register
from l1dflush.tracing.effects import CARRY, REST, Form

ALL_FLAGS = {"CF", "OF", "SF", "ZF", "PF"}
# The parts that the table of effects has, by P-code's names.
FLAGS_OF = {CARRY: {"CF"}, REST: ALL_FLAGS - {"CF"}}


class Origin(IntEnum):
    """Where a value that nobody knows comes from, as the core has it."""

    NO_POINTER = 0
    POINTER = 1  # to what the routine has, perhaps
    COMPUTED = 2  # of anything that the routine has: it may point into the stack, too


_MULTIPLIES = {"SF", "ZF", "PF"}
_UNDEFINED = {
    "mul": _MULTIPLIES,
    "imul": _MULTIPLIES,
    "div": ALL_FLAGS,
    "idiv": ALL_FLAGS,
    "bsf": ALL_FLAGS - {"ZF"},
    "bsr": ALL_FLAGS - {"ZF"},
    "bt": ALL_FLAGS - {"CF", "ZF"},
    "bts": ALL_FLAGS - {"CF", "ZF"},
    "btr": ALL_FLAGS - {"CF", "ZF"},
    "btc": ALL_FLAGS - {"CF", "ZF"},
    "lzcnt": {"OF", "SF", "PF"},
    "tzcnt": {"OF", "SF", "PF"},
    "andn": {"PF"},
    "bextr": {"SF", "PF"},
    "bzhi": {"PF"},
    "blsi": {"PF"},
    "blsr": {"PF"},
    "blsmsk": {"PF"},
}
_SHIFTS = frozenset({"shl", "sal", "shr", "sar", "shld", "shrd", "rol", "ror", "rcl", "rcr"})


def undefined_flags(insn: Instruction) -> set[str]:
    """The flags that are undefined behind an instruction whatever it works on, by P-code's names."""
    return set(_UNDEFINED.get(insn.mnemonic, ()))


class Limit(NamedTuple):
    """What is undefined behind a shift by more than ``most`` bits."""

    most: int
    flags: set[str]
    result: bool


def shift_mask(insn: Instruction) -> int:
    """Which bits of its count a shift takes."""
    return 63 if getattr(insn.operands[0], "size", 0) == 8 else 31


def shift_limits(insn: Instruction) -> list[Limit]:
    """What is undefined behind a shift or a rotation, depending on its count."""
    if insn.mnemonic not in _SHIFTS:
        return []
    size = getattr(insn.operands[0], "size", 8)
    # 3.3.3 has 0 for the overflow flag of a shift to the right by 1, where it is the top bit; and rotates through the
    # carry flag by a register change it by 1, too, as nobody else does.
    through = insn.mnemonic in ("rcl", "rcr") and isinstance(insn.operands[-1], Register) and len(insn.operands) > 1
    limits = [Limit(0 if insn.mnemonic == "shr" or through else 1, {"OF"}, False)]
    if insn.mnemonic in ("shld", "shrd") and size == 2:
        limits.append(Limit(16, ALL_FLAGS, True))
    if insn.mnemonic in ("shl", "sal", "shr") and size <= 2:
        limits.append(Limit(8 * size - 1, {"CF"}, False))
    count = insn.operands[-1] if len(insn.operands) > 1 else 1
    if isinstance(count, int):
        limits = [limit for limit in limits if count & shift_mask(insn) > limit.most]
    return limits


# 32-bit results behind which these leave the upper half of the register alone (pypcode 3.3.3 all, 4.1 the first).
_NOT_EXTENDED = frozenset({"xchg", "xadd", "vmovd"})
# Instructions whose results P-code has wrong, or by a branch on numbers in floating point.
_WRONG = frozenset({"movmskps", "movmskpd", "minss", "minsd", "maxss", "maxsd"})
# The same in 3.3.3, by a register or by memory.
_WRONG_BY_REGISTER = frozenset({"psllw", "pslld", "psllq", "psrlw", "psrld", "psrlq", "psraw", "psrad"})
# Right, but made of a byte here and a byte there, and what a loop adds up of that grows with each turn and decides
# nothing.
_ADDED_UP = frozenset({
    *(f"p{kind}{size}" for kind in ("add", "sub") for size in "bwdq"), "pmullw", "pmuludq",
    *(f"punpck{part}{size}" for part in "lh" for size in ("bw", "wd", "dq")),
})  # fmt: skip
# Right, but with a branch for each bit.
_BIT_BY_BIT = frozenset({"pdep", "pext", "pclmulqdq"})
# VEX-encoded instructions whose values P-code has, and has right.
_RIGHT_VEX = frozenset({
    "vmovaps", "vmovups", "vmovapd", "vmovupd", "vmovdqa", "vmovdqu", "vmovd", "vmovq", "vpxor", "vpor", "vpand",
    "vpandn", "vxorps", "vxorpd", "vorps", "vorpd", "vandps", "vandpd", "vandnps", "vandnpd", "vzeroupper", "vzeroall",
})  # fmt: skip


def value_unknown(insn: Instruction) -> bool:
    """Whether nobody knows the results: P-code has them wrong or not at all, or they are not worth knowing."""
    if insn.effect.form is Form.VECTOR_SKIP:
        return insn.mnemonic not in _RIGHT_VEX or insn.evex
    if insn.mnemonic in _BIT_BY_BIT:
        return True
    by_register = insn.mnemonic in _WRONG_BY_REGISTER and not isinstance(insn.operands[-1], int)
    return by_register or insn.mnemonic in _WRONG or insn.mnemonic in _ADDED_UP


_FLOATING = re.compile(
    r"v?(?:add|sub|mul|div|min|max|sqrt|u?comi|cmp\w*|round|hadd|hsub|addsub|dp|fn?m(?:add|sub){1,2}\d+)[ps][sd]|v?cvt\w+"
)


def is_floating(insn: Instruction) -> bool:
    """Whether an instruction computes in floating point, and would raise an exception that is not masked (SDM volume 1,
    sections 8.5 and 11.5)."""
    return insn.effect.form is Form.FLOAT or _FLOATING.fullmatch(insn.mnemonic) is not None


# Results that are not pointers: the others may hold what memory or a register held before.
_NO_POINTERS = frozenset({
    "in", "rdtscp", "xgetbv", "rdpid", "rdpkru", "str", "sldt", "stmxcsr", "fnstcw", "fnstsw",
})  # fmt: skip


def origin_of(insn: Instruction) -> Origin:
    """What results are that nobody knows."""
    if insn.mnemonic in _NO_POINTERS:
        return Origin.NO_POINTER
    if insn.mnemonic.startswith(("min", "max")):
        return Origin.POINTER
    return Origin.COMPUTED if insn.effect.form in (Form.VECTOR, Form.VECTOR_SKIP) else Origin.POINTER


# Of 16 bytes in memory legacy SSE needs an aligned address, but for these (SDM volume 1, section 4.1.1); of VEX and
# EVEX instructions only the moves that say so.
_UNALIGNED = frozenset({"movups", "movupd", "movdqu", "lddqu"})
# What needs it whatever the size of an access.
_ALIGNED_STATE = {"cmpxchg16b": 16} | {
    f"{name}{kind}": 16 if name.startswith("f") else 64
    for name in ("fxsave", "fxrstor", "xsave", "xsaveopt", "xsavec", "xsaves", "xrstor", "xrstors")
    for kind in ("", "64")
}
_ALIGNED = ("vmovaps", "vmovapd", "vmovdqa", "vmovntdq", "vmovntps", "vmovntpd")


def alignment_of(insn: Instruction, size: int) -> int:
    """What the address of a memory operand of so many bytes has to be a multiple of, lest the instruction faults; 0 if
    it may be anything."""
    if insn.effect.form is Form.VECTOR and size == 16:
        return 0 if insn.mnemonic in _UNALIGNED else 16
    if insn.mnemonic in _ALIGNED_STATE:
        return _ALIGNED_STATE[insn.mnemonic]
    return size if insn.mnemonic.startswith(_ALIGNED) and size >= 16 else 0


def half_unknown(insn: Instruction) -> list[str]:
    """The registers whose upper halves depend on the processor: ``cmpxchg`` of 32 bits leaves them alone or clears them
    where it leaves the lower ones as they are (AMD's do the first, the manual's pseudocode says the second)."""
    if insn.mnemonic != "cmpxchg" or getattr(insn.operands[0], "size", 0) != 4:
        return []
    return ["rax", *(o.full for o in insn.operands[:1] if isinstance(o, Register))]


def half_written(insn: Instruction) -> list[Register]:
    """The 32-bit registers that an instruction writes without clearing the upper half, as P-code has it."""
    if insn.mnemonic not in _NOT_EXTENDED:
        return []
    written = insn.operands[:1] if insn.mnemonic == "vmovd" else insn.operands
    return [o for o in written if isinstance(o, Register) and o.general and o.size == 4]
