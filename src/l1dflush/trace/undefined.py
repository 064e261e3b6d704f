"""Where P-code's values are not to be taken: what x86 leaves undefined, and what SLEIGH has wrong or not at all."""

from __future__ import annotations

from l1dflush.trace.decode import Instruction, Memory, Register
from l1dflush.trace.effects import Form
from l1dflush.trace.lower import UnliftedError

_MULTIPLIES = {"SF", "ZF", "PF"}
ALL_FLAGS = {"CF", "OF", "SF", "ZF", "PF"}
# Flags that the manual leaves undefined (SDM volume 2, the instructions' pages). The adjust flag is never written, and
# is unknown where it is read. Shifts and rotates are in `undefined_flags`.
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
    "bextr": {"SF", "PF"},
    "bzhi": {"PF"},
    "blsi": {"PF"},
    "blsr": {"PF"},
    "blsmsk": {"PF"},
}
_SHIFTS = {"shl", "sal", "shr", "sar", "shld", "shrd", "rol", "ror", "rcl", "rcr"}


def undefined_flags(insn: Instruction) -> set[str]:
    """The flags that are undefined behind an instruction, by P-code's names. Raises UnliftedError if a result is, too,
    or may be."""
    names = set(_UNDEFINED.get(insn.mnemonic, ()))
    if insn.mnemonic in _SHIFTS:
        count = insn.operands[-1]
        if len(insn.operands) > 1 and count != 1:
            names.add("OF")
        size = getattr(insn.operands[0], "size", 8)
        if insn.mnemonic in ("shld", "shrd") and size == 2 and not (isinstance(count, int) and count & 31 <= 16):
            raise UnliftedError("its result is undefined for counts above 16")
    if insn.mnemonic == "shr":
        # 3.3.3 has 0 for a shift by 1, where it is the top bit.
        names.add("OF")
    if insn.mnemonic in ("bsf", "bsr"):
        raise UnliftedError("its result is undefined for 0")
    return names


# 32-bit results behind which these leave the upper half of the register alone (pypcode 3.3.3 all, 4.1 the first).
_NOT_EXTENDED = frozenset({"xchg", "xadd", "lodsd"})
# Vector shifts by a register or by memory (3.3.3), and flags that nobody writes.
_WRONG = frozenset({"psllw", "pslld", "psllq", "psrlw", "psrld", "psrlq", "psraw", "psrad"})


# Of 16 bytes in memory legacy SSE needs an aligned address, but for these (SDM volume 1, section 4.1.1); of VEX and
# EVEX instructions only the moves that say so.
_UNALIGNED = frozenset({"movups", "movupd", "movdqu", "lddqu"})
_ALIGNED = ("vmovaps", "vmovapd", "vmovdqa", "vmovntdqa")


def alignment_of(insn: Instruction, size: int) -> int:
    """What the address of a memory operand of so many bytes has to be a multiple of, lest the instruction faults; 0 if
    it may be anything."""
    if insn.effect.form is Form.VECTOR and size == 16:
        return 0 if insn.mnemonic in _UNALIGNED else 16
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
    return [o for o in insn.operands if isinstance(o, Register) and o.general and o.size == 4]


def check_values(insn: Instruction) -> None:
    """Raises UnliftedError where the values of P-code are wrong and nothing here stands in for them."""
    if insn.mnemonic in _WRONG and not isinstance(insn.operands[-1], int):
        raise UnliftedError("P-code has its result wrong")
    for operand in insn.operands:
        if isinstance(operand, Memory):
            if operand.narrow:
                raise UnliftedError("an address that is computed in fewer bits")
            if operand.segment is not None and insn.effect.form is Form.STRING:
                raise UnliftedError("P-code drops the segment of string instructions")
