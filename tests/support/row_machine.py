# SPDX-License-Identifier: GPL-2.0-or-later
"""One instruction, or a few, on the abstract machine with everything known, and the same on the processor.

A state is registers, flags, vector registers and 512 bytes of memory; both sides begin with the same one. Of the
abstract machine's result each bit is known, or is not: what is known has to be what the processor comes to.
"""

from __future__ import annotations

import atexit
import random
import re
import struct
import subprocess
import tempfile
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Literal, NamedTuple

import pypcode

from l1dflush import _core
from l1dflush.routine.model import Image, Section
from l1dflush.tracing.decode import Instruction
from l1dflush.tracing.lift import Lifter
from l1dflush.tracing.model import Kind
from l1dflush.tracing.operands import KINDS, register_name
from l1dflush.tracing.operations import Do, Number, Operation, packed

MEMORY, CODE = 0x1000_0000, 0x3000_0000
SIZE = 512
NAMES = ("rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", *(f"r{n}" for n in range(8, 16)))
FLAGS = {"CF": 0, "PF": 2, "ZF": 6, "SF": 7, "DF": 10, "OF": 11}
_FIXED_FLAGS = 0x202
_STATE = struct.Struct("<16QQ24x512s512s")
_HEAD = struct.Struct("<I")
# Of an operation: what it does, its size, alignment and detail, and its operands.
_HEADS = struct.Struct("<BBHI64x")
_NO_ACCESS = re.compile("BRANCH|CALL|IMARK")
# Kind, size, number of the instruction, region, 0, offset, and what that moves on by each turn of a run.
_EVENT = struct.Struct("<HHIIIqq")


class State(NamedTuple):
    """What an instruction begins with or comes to."""

    registers: tuple[int, ...]
    flags: int
    vectors: bytes
    memory: bytes


def random_state(dice: random.Random) -> State:
    """A state whose pointers lead into the memory."""

    def number() -> int:
        kind = dice.randrange(8)
        if kind == 0:
            return dice.choice((0, 1, 2, 3, 7, 8, 31, 32, 63, 64, (1 << 64) - 1, 1 << 63, (1 << 63) - 1, 1 << 31, 0x80))
        if kind == 1:
            return dice.getrandbits(8)
        if kind == 2:
            return (1 << 64) - 1 - dice.getrandbits(16)
        if kind == 3:
            return 1 << dice.randrange(64)
        return dice.getrandbits(64)

    values = dict(zip(NAMES, (number() for _ in NAMES), strict=True))
    values["rdi"] = MEMORY + 128 + dice.randrange(24)
    values["rsi"] = MEMORY + 256 + dice.randrange(24)
    values["rsp"] = MEMORY + 384 + 8 * dice.randrange(4)
    values["rbp"] = MEMORY + 352 + 8 * dice.randrange(4)
    values["r9"] = dice.randrange(8)
    values["r10"] = dice.randrange(-256, 256) & ((1 << 64) - 1)
    values["r15"] = 0
    flags = _FIXED_FLAGS | (dice.getrandbits(12) & sum(1 << bit for bit in FLAGS.values()))
    memory = b"".join(number().to_bytes(8, "little") for _ in range(SIZE // 8))
    vectors = b"".join(number().to_bytes(8, "little") for _ in range(64))
    return State(tuple(values[name] for name in NAMES), flags, vectors, memory)


class Form(NamedTuple):
    """One form: its text, and where its code is in the code of all."""

    row: str
    text: str
    offset: int
    size: int


def assembled(texts: Sequence[tuple[str, str]], bits: Literal[32, 64] = 64) -> tuple[bytes, list[Form]]:
    """The code of all forms that the assembler takes, each behind the other and before a jump that nobody runs here."""
    lines = [f"f{n}: {text}\\ng{n}: jmp *{0x20000000 + 1184}".replace("\\n", "\n") for n, (_, text) in enumerate(texts)]
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, "forms.s"), Path(folder, "forms.o")
        refused: set[int] = set()
        for _ in range(3):
            kept = [(n, line) for n, line in enumerate(lines) if n not in refused]
            numbered, spans = [], []
            for n, line in kept:
                spans.append((len(numbered) + 1, n))
                numbered += line.split("\n")
            source.write_text("\n".join(numbered) + "\n")
            run = subprocess.run(["as", f"--{bits}", "-o", target, source], capture_output=True, text=True, check=False)
            if run.returncode == 0:
                break
            for message in run.stderr.splitlines():
                parts = message.split(":")
                if len(parts) > 2 and parts[1].isdigit():
                    refused.add(spans[bisect_right(spans, (int(parts[1]), len(lines))) - 1][1])
        assert run.returncode == 0, run.stderr[:2000]
        names = subprocess.run(["nm", target], capture_output=True, text=True, check=True).stdout
        at = {line.split()[2]: int(line.split()[0], 16) for line in names.splitlines()}
        binary = Path(folder, "forms.bin")
        subprocess.run(["objcopy", "-O", "binary", "-j", ".text", target, binary], check=True)
        code = binary.read_bytes()
    forms = [Form(row, text, at[f"f{n}"], at[f"g{n}"] - at[f"f{n}"]) for n, (row, text) in enumerate(texts)
             if n not in refused]  # fmt: skip
    return code, forms


class Outcome(NamedTuple):
    """What the processor did: the signal that stopped it, or 0, and the state."""

    signal: int
    state: State


def on_processor(runner: Path, code: bytes, requests: Iterable[tuple[int, State]]) -> list[Outcome]:
    """Runs the code at these offsets, in a child process."""
    data = [_HEAD.pack(len(code)), code]
    for offset, state in requests:
        data += [_HEAD.pack(offset), _STATE.pack(*state.registers, state.flags, state.vectors, state.memory)]
    run = subprocess.run([runner], input=b"".join(data), capture_output=True, check=True, timeout=120)
    one = _HEAD.size + _STATE.size
    outcomes = []
    for at in range(0, len(run.stdout), one):
        (signal,) = _HEAD.unpack_from(run.stdout, at)
        *registers, flags, vectors, memory = _STATE.unpack_from(run.stdout, at + _HEAD.size)
        outcomes.append(Outcome(signal, State(tuple(registers), flags, vectors, memory)))
    return outcomes


class Known(NamedTuple):
    """A value of which some bits are known."""

    ones: int
    known: int

    def allows(self, value: int) -> bool:
        return value & self.known == self.ones


class Result(NamedTuple):
    """What the abstract machine says of one path: by name what each register, flag, vector register's 8 bytes and piece
    of memory is; and the bytes that are loaded and stored."""

    places: dict[str, tuple[Known, int]]
    loads: frozenset[int]
    stores: frozenset[int]
    terms: dict[str, tuple[int, int]]
    """By name the term and the constant that each place is: where nobody knows it, the same ones are the same value."""


class Rows:
    """The abstract machine for the code of all forms."""

    def __init__(self, code: bytes, bits: Literal[32, 64] = 64, vectors: bool = True) -> None:
        text = Section(".text", CODE, code, len(code), 16, writable=False, executable=True)
        self.bits: Literal[32, 64] = bits
        self._code = code
        self._lifted: dict[int, tuple[int, bytes]] = {}
        self.lifter = Lifter(Image(bits, (text,), linked=True))
        self._machine = self.lifter.machine
        self._base = self.lifter.bases.of_section(text)
        names = NAMES if bits == 64 else NAMES[:8]
        self._slots = {name: self.lifter.register(register_name(name, bits))[0] for name in names}
        self._slots |= {flag: self.lifter.register(flag)[0] for flag in FLAGS}
        self._plain = len(self._slots)
        for n in range(16 if bits == 64 else 8):
            parts = self.lifter.register(f"ZMM{n}")
            self._slots |= {f"v{n}.{i}": part for i, part in enumerate(parts)}
        self._end = 0
        self._vectors = self._stores = False
        self._storing: set[int] = set()

    def lift(self, base: int, offset: int) -> tuple[int, bytes]:
        """The instruction, or behind the form what tells everything."""
        if offset != self._end:
            if offset not in self._lifted:
                self._lifted[offset] = self.lifter.lift(base, offset)
            length, operations = self._lifted[offset]
            self._stores |= Do.STORE in operations[:: len(packed([Operation(Do.LEAVE)]))]
            return length, operations
        slots = list(self._slots.values())
        if not self._vectors:
            slots = slots[: self._plain]
        operations = [Operation(Do.NOTE, None, part, detail=len(KINDS)) for part in slots]
        width = self.bits // 8
        for at in range(0, SIZE, 8) if self._stores else ():
            piece = self.lifter.slots.temporary(8, at // 8)
            operations += [
                Operation(Do.LOAD, piece, Number(MEMORY + at, width)),
                Operation(Do.NOTE, None, piece, detail=len(KINDS)),
            ]
        return 1, packed([*operations, Operation(Do.LEAVE)])

    def run(self, form: Form, state: State) -> list[Result]:
        """What it comes to, on each path. Raises UndecidedError and StoppedError."""
        machine, number = self._machine, self._machine.terms.number
        self._end = form.offset + form.size
        self._vectors = "mm" in form.text or form.row.startswith(("v", "p", "mov"))
        flags = {name: state.flags >> bit & 1 for name, bit in FLAGS.items()}
        mask = (1 << self.bits) - 1
        registers = dict(zip(NAMES, state.registers, strict=True))
        for name, part in self._slots.items():
            if name in FLAGS:
                machine.set_slot(part.slot, number(8, flags[name]))
            elif name in registers:
                machine.set_slot(part.slot, number(self.bits, registers[name] & mask))
            elif self._vectors:
                n, i = (int(x) for x in name[1:].split("."))
                piece = state.vectors[32 * n + 8 * i : 32 * n + 8 * i + 8] if i < 4 else bytes(8)
                machine.set_slot(part.slot, number(64, int.from_bytes(piece, "little")))
        for at in range(0, SIZE, 8):
            value = int.from_bytes(state.memory[at : at + 8], "little")
            machine.store(number(self.bits, MEMORY + at), number(64, value))
        self._stores = form.offset in self._storing
        paths = machine.run(self._base, form.offset, self.lift)
        if self._stores:
            self._storing.add(form.offset)
        return [self._result(events, runs) for _, events, runs, *_ in paths]

    def decoded(self, form: Form) -> tuple[Instruction, bytes]:
        """The first instruction of a form that is the row's, and its bytes."""
        at, end = form.offset, form.offset + form.size
        found: tuple[Instruction, bytes] | None = None
        while at < end:
            insn = self.lifter.decoder.decode(self._code[at : at + 15], CODE + at)
            found = insn, self._code[at : at + insn.size]
            if insn.mnemonic == form.row:
                break
            at += insn.size
        assert found is not None
        return found

    def told(self, form: Form) -> tuple[int, int]:
        """How many loads and stores the table has for that instruction."""
        at = form.offset
        while self._code[at : at + 15]:
            insn = self.lifter.decoder.decode(self._code[at : at + 15], CODE + at)
            if insn.mnemonic == form.row or at + insn.size >= form.offset + form.size:
                break
            at += insn.size
        _, operations = self._lifted.get(at) or self.lifter.lift(self._base, at)
        kinds = [KINDS[detail] for what, _, _, detail in _HEADS.iter_unpack(operations) if what == Do.ACCESS]
        stores = (Kind.STORE, Kind.STRING_STORE, Kind.NON_TEMPORAL_STORE)
        return sum(kind not in stores for kind in kinds), sum(kind in stores for kind in kinds)

    def _known(self, value: _core.Value) -> Known:
        mask = (1 << value.bits) - 1
        if value.term == 0:
            return Known(value.constant, mask)
        zeros, ones, _, _ = self._machine.terms.known(value)
        return Known(ones, zeros | ones)

    def _result(self, events: bytes, runs: list[tuple[int, int]]) -> Result:
        notes, terms = [], []
        touched: dict[Kind, set[int]] = {Kind.LOAD: set(), Kind.STORE: set()}
        stores = (Kind.STORE, Kind.STRING_STORE, Kind.NON_TEMPORAL_STORE)
        for kind, size, region, offset in _unfolded(events, runs):
            if kind == len(KINDS):
                value = self._machine.note(region)[0]
                notes.append((self._known(value), value.bits))
                terms.append((value.term, value.constant))
            elif (what := KINDS[kind]) is Kind.LOAD or what in stores:
                assert region == 0, "an access somewhere"
                touched[Kind.STORE if what in stores else what] |= {offset + i for i in range(size)}
        names = list(self._slots)[: None if self._vectors else self._plain]
        names += [f"m{at}" for at in range(0, SIZE, 8)] if self._stores else []
        places = dict(zip(names, notes, strict=True))
        loads, stored = (frozenset(touched[kind]) for kind in (Kind.LOAD, Kind.STORE))
        return Result(places, loads, stored, dict(zip(names, terms, strict=True)))


def _unfolded(events: bytes, runs: list[tuple[int, int]]) -> Iterator[tuple[int, int, int, int]]:
    """Kind, size, region and offset of each event."""
    kept = list(_EVENT.iter_unpack(events))
    at = 0
    for turns, length in runs:
        for turn in range(turns):
            for kind, size, _, region, _, offset, step in kept[at : at + length]:
                yield kind, size, region, offset + turn * step
        at += length
    assert at == len(kept)


@cache
def _context() -> pypcode.Context:
    return pypcode.Context("x86:LE:64:default")


# Its binding complains on standard error about what is still there at the end.
atexit.register(_context.cache_clear)


def accesses_of_pcode(code: bytes) -> tuple[int, int]:
    """How many loads and stores P-code has for an instruction."""
    ops = _context().translate(code, CODE, max_instructions=1).ops
    names = Counter(str(op.opcode).rpartition(".")[2] for op in ops)
    # A branch's target, and the place of the instruction itself, are not accesses.
    inputs = sum(v.space.name == "ram" for op in ops if not _NO_ACCESS.search(str(op.opcode))
                 for v in op.inputs)  # fmt: skip
    outputs = sum(op.output is not None and op.output.space.name == "ram" for op in ops)
    return names["LOAD"] + inputs, names["STORE"] + outputs


def really(state: State, name: str) -> int:
    """What a place of :class:`Result` is in a state."""
    if name in FLAGS:
        return state.flags >> FLAGS[name] & 1
    if name in NAMES:
        return state.registers[NAMES.index(name)]
    if name.startswith("v"):
        n, i = (int(x) for x in name[1:].split("."))
        return int.from_bytes(state.vectors[32 * n + 8 * i : 32 * n + 8 * i + 8], "little") if i < 4 else 0
    return int.from_bytes(state.memory[int(name[1:]) : int(name[1:]) + 8], "little")


def differences(results: Sequence[Result], before: State, after: State) -> list[str]:
    """Why no path is what the processor did; empty if one is."""
    every = []
    for result in results:
        wrong = [f"{name} is {really(after, name):#x}, not {known.ones:#x} (known {known.known:#x})"
                 for name, (known, _) in result.places.items() if not known.allows(really(after, name))]  # fmt: skip
        changed = {MEMORY + i for i in range(SIZE) if before.memory[i] != after.memory[i]}
        if not changed <= result.stores:
            wrong.append(f"memory changes at {min(changed - result.stores) - MEMORY}, which is not a store")
        if not wrong:
            return []
        every.append(wrong)
    return min(every, key=len)


def vague(result: Result) -> set[str]:
    """The places of which not every bit is known."""
    return {name for name, (known, bits) in result.places.items() if known.known != (1 << bits) - 1}
