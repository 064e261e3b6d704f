# SPDX-License-Identifier: GPL-2.0-or-later
"""Instructions as the trace needs them: operands with their sizes, and the row of the effects table."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Literal

import capstone
from capstone import x86_const as cs

from l1dflush.errors import UndecidedError
from l1dflush.place import Place
from l1dflush.tracing.effects import (
    EFFECTS,
    HALF_MOVE,
    HALF_STORE,
    HARMLESS_SYSTEM_REGISTERS,
    IMUL,
    MOV_FROM_SYSTEM,
    MOV_TO_CONTROL,
    MOV_TO_SEGMENT,
    MOV_TO_SYSTEM,
    MOVSD_VECTOR,
    REASONS,
    Effect,
    Form,
)
from l1dflush.tracing.prefixes import ADDRESS, LOCK, REPNE, SIZE, prefixes_of, why_refused

# `rep ret` is the old two-byte return; `notrack` and `bnd` change nothing that is followed here.
_PREFIXES = ("", "lock", "rep", "repz", "repe", "repne", "notrack", "bnd")
_LONG = {"a": "rax", "b": "rbx", "c": "rcx", "d": "rdx"}


def _register_names() -> dict[str, tuple[str, int, int]]:
    """Every general register name: (64-bit name, size in bytes, byte offset in it)."""
    names: dict[str, tuple[str, int, int]] = {}
    for letter, full in _LONG.items():
        names[full] = (full, 8, 0)
        names[f"e{letter}x"] = (full, 4, 0)
        names[f"{letter}x"] = (full, 2, 0)
        names[f"{letter}l"] = (full, 1, 0)
        names[f"{letter}h"] = (full, 1, 1)
    for short in ("si", "di", "bp", "sp"):
        full = f"r{short}"
        names[full] = (full, 8, 0)
        names[f"e{short}"] = (full, 4, 0)
        names[short] = (full, 2, 0)
        names[f"{short}l"] = (full, 1, 0)
    for number in range(8, 16):
        full = f"r{number}"
        names[full] = (full, 8, 0)
        names[f"{full}d"] = (full, 4, 0)
        names[f"{full}w"] = (full, 2, 0)
        names[f"{full}b"] = (full, 1, 0)
    return names


REGISTERS = _register_names()
NAMES_OF_PARTS = {part: name for name, part in REGISTERS.items()}
SEGMENTS = frozenset({"cs", "ds", "es", "fs", "gs", "ss"})
GENERAL = tuple(sorted({full for full, _, _ in REGISTERS.values()}))


def general_registers(bits: int) -> tuple[str, ...]:
    """The general registers of a mode, by their 64-bit names: in 32-bit mode there is no r8 to r15."""
    return tuple(name for name in GENERAL if bits == 64 or not name[1:2].isdigit())


@dataclass(frozen=True, slots=True)
class Register:
    """A register operand: ``full`` is its 64-bit name (``v0``.. for a vector), ``size`` in bytes, ``offset``
    where in the full register it begins."""

    full: str
    size: int
    offset: int
    general: bool

    @property
    def vector(self) -> bool:
        """Whether it is one of xmm, ymm, zmm: the other registers that are not general have no ``v`` name."""
        return not self.general and self.full.startswith("v")


@dataclass(frozen=True, slots=True)
class Memory:
    """A memory operand: segment:[base + index*scale + displacement], ``size`` in bytes.

    ``base`` and ``index`` are full register names; an rip-relative operand has no base and its
    displacement is the address. ``width`` is in how many bytes the offset in the segment is computed; ``narrow`` means
    that these are fewer than the mode's.
    """

    segment: str | None
    base: str | None
    index: str | None
    scale: int
    displacement: int
    size: int
    narrow: bool
    width: int


Operand = Register | Memory | int


@dataclass(frozen=True, slots=True)
class Instruction:
    """One decoded instruction. ``repeat`` is set for ``rep``; ``text`` is for people. ``numbers`` are the first byte
    and the one behind the last of its displacement and its immediate value, counted from its beginning. ``prefixes``
    are the legacy ones, ``evex`` says that it is encoded with EVEX."""

    address: int
    size: int
    mnemonic: str
    text: str
    operands: tuple[Operand, ...]
    effect: Effect
    repeat: bool
    numbers: tuple[tuple[int, int], ...] = ()
    prefixes: tuple[int, ...] = ()
    evex: bool = False

    @property
    def next(self) -> int:
        """Address of the instruction behind it."""
        return self.address + self.size


# Instructions that a decoder remembers: each path of a routine decodes the same ones again.
MOST_KNOWN = 4096
_LOCAL = threading.local()


def decoder_of(bits: Literal[32, 64]) -> Decoder:
    """This thread's decoder for a mode: making one costs as much as decoding ten instructions."""
    decoders: dict[int, Decoder] = _LOCAL.__dict__.setdefault("decoders", {})
    if bits not in decoders:
        decoders[bits] = Decoder(bits)
    return decoders[bits]


class Decoder:
    """Decodes x86 of one mode. Raises UndecidedError for what is not an instruction or is not in the table."""

    def __init__(self, bits: Literal[32, 64]) -> None:
        self._bits = bits
        self._capstone = capstone.Cs(capstone.CS_ARCH_X86, capstone.CS_MODE_64 if bits == 64 else capstone.CS_MODE_32)
        self._capstone.detail = True
        self._known: dict[tuple[bytes, int], Instruction] = {}

    def decode(self, code: bytes, address: int) -> Instruction:
        """The instruction that ``code`` begins with."""
        known = self._known.get((code, address))
        if known is None:
            if len(self._known) >= MOST_KNOWN:
                self._known.clear()
            known = self._known[code, address] = self._decode(code, address)
        return known

    def _decode(self, code: bytes, address: int) -> Instruction:
        insn = next(self._capstone.disasm(code, address, 1), None)
        if insn is None:
            raise UndecidedError("not-an-instruction", "bytes that are not an instruction", where=Place(offset=address))
        prefix, _, mnemonic = insn.mnemonic.rpartition(" ")
        text = f"{insn.mnemonic} {insn.op_str}".strip()
        operands = tuple(self._operand(insn, operand) for operand in insn.operands)
        prefixes = prefixes_of(bytes(insn.bytes), self._bits)
        effect = _effect(mnemonic, operands, self._bits)
        reason = why_refused(prefixes, self._bits)
        if effect is None or prefix not in _PREFIXES or (prefix == "repne" and effect.form is not Form.SCAN):
            reason = REASONS.get(mnemonic, "nobody classified it")
        elif not reason:
            reason = _why_not(mnemonic, effect, operands, prefixes.legacy)
        # A far call or jump, which the decoder calls as a near one.
        if not reason and insn.opcode[0] == 0xFF and insn.modrm >> 3 & 7 in (3, 5):
            reason = "it goes to another segment"
        if reason or effect is None:
            what = f"the instruction `{text}` ({reason})"
            raise UndecidedError("unclassified-instruction", what, where=Place(offset=address))
        if effect.form in (Form.BRANCH, Form.JUMP, Form.CALL):
            # The decoder has them as signed numbers, and kernels lie in the upper half of the address space.
            operands = tuple(o & ((1 << self._bits) - 1) if isinstance(o, int) else o for o in operands)
        # Not the decoder's sizes: of a VEX-encoded displacement it says two bytes where there are four.
        starts = sorted(at for at in (insn.encoding.disp_offset, insn.encoding.imm_offset) if at)
        numbers = tuple(zip(starts, [*starts, insn.size][1:], strict=True))
        evex = prefixes.rest[:1] == b"\x62"
        repeat = prefix.startswith("rep")
        return Instruction(address, insn.size, mnemonic, text, operands, effect, repeat, numbers, prefixes.legacy, evex)

    def _operand(self, insn: capstone.CsInsn, operand: capstone.x86.X86Op) -> Operand:
        if operand.type == cs.X86_OP_IMM:
            return int(operand.imm)
        if operand.type == cs.X86_OP_REG:
            return _register(insn.reg_name(operand.reg))
        mem = operand.mem
        base = insn.reg_name(mem.base) if mem.base else None
        index = insn.reg_name(mem.index) if mem.index else None
        displacement = int(mem.disp)
        if base in ("rip", "eip"):
            base, displacement = None, displacement + insn.address + insn.size
        if index in ("riz", "eiz"):
            index = None
        segment = insn.reg_name(mem.segment) if mem.segment in (cs.X86_REG_FS, cs.X86_REG_GS) else None
        return Memory(
            segment,
            REGISTERS[base][0] if base in REGISTERS else base,
            REGISTERS[index][0] if index in REGISTERS else index,
            mem.scale,
            displacement,
            _SIZES.get(insn.mnemonic, operand.size),
            insn.addr_size * 8 < self._bits,
            insn.addr_size,
        )


def _register(name: str) -> Register:
    if name in REGISTERS:
        full, size, offset = REGISTERS[name]
        return Register(full, size, offset, general=True)
    for prefix, size in (("xmm", 16), ("ymm", 32), ("zmm", 64)):
        if name.startswith(prefix):
            return Register(f"v{name[3:]}", size, 0, general=False)
    return Register(name, 8, 0, general=False)


def _effect(mnemonic: str, operands: tuple[Operand, ...], bits: int) -> Effect | None:
    if mnemonic == "imul":
        return IMUL.get(len(operands))
    if mnemonic == "movsd" and any(isinstance(o, Register) and o.vector for o in operands):
        return MOVSD_VECTOR
    if mnemonic == "mov" and any(isinstance(o, Register) and not o.general for o in operands):
        return _system_move(operands, bits)
    effect = EFFECTS.get(mnemonic)
    if mnemonic == "cmpsd" and len(operands) > 2:
        return None
    if effect is HALF_MOVE and isinstance(operands[0], Memory):
        return HALF_STORE
    return effect


def _system_move(operands: tuple[Operand, ...], bits: int) -> Effect | None:
    """The effect of a `mov` to or from a control, debug or segment register."""
    to, what = operands
    if isinstance(what, Register) and not what.general:
        return MOV_FROM_SYSTEM
    assert isinstance(to, Register)
    if to.full in ("fs", "gs"):
        return MOV_TO_SEGMENT
    # In 64-bit mode the other segments have no base.
    if to.full in HARMLESS_SYSTEM_REGISTERS or (bits == 64 and to.full in ("ds", "es", "ss")):
        return MOV_TO_SYSTEM
    return MOV_TO_CONTROL if to.full.startswith("cr") else None


# Where the decoder has the size of an operand in memory wrong.
_SIZES = {"comisd": 8}
_LOCKABLE = frozenset({
    "add", "adc", "and", "btc", "btr", "bts", "cmpxchg", "cmpxchg8b", "cmpxchg16b", "dec", "inc", "neg", "not", "or",
    "sbb", "sub", "xor", "xadd", "xchg",
})  # fmt: skip


def _why_not(mnemonic: str, effect: Effect, operands: tuple[Operand, ...], prefixes: tuple[int, ...]) -> str:
    """What the mnemonic alone does not show and what nobody can answer for; empty if there is no such thing."""
    form = effect.form
    if SIZE in prefixes and form in (Form.BRANCH, Form.JUMP, Form.CALL, Form.RETURN):
        return "whether 66h cuts its target depends on the CPU and the mode"
    if ADDRESS in prefixes and mnemonic.startswith("loop"):
        return "it counts in a part of the register"
    if REPNE in prefixes and form is Form.STRING:
        return "the prefix F2h, which it does not take"
    if LOCK in prefixes and (mnemonic not in _LOCKABLE or not isinstance(operands[0], Memory)):
        return "it faults with a lock prefix"
    registers = [operand for operand in operands if isinstance(operand, Register)]
    if form is Form.FLOAT or (form is Form.PUSH and registers and registers[0].full in SEGMENTS):
        return ""
    if form in (Form.VECTOR, Form.VECTOR_SKIP):
        # A mask register could suppress the access.
        masked = any(register.full.startswith("k") for register in registers)
        other = [r for r in registers if not r.general and not r.vector]
        return "a masked access" if masked else "a register that is not followed" if other else ""
    if effect in (MOV_FROM_SYSTEM, MOV_TO_SYSTEM, MOV_TO_CONTROL, MOV_TO_SEGMENT):
        return ""
    # Segment, control and debug registers.
    return "" if all(register.general for register in registers) else "nobody classified it"
