# SPDX-License-Identifier: GPL-2.0-or-later
"""What random small programs really do: the oracle of the abstract machine's fuzzer.

It places the object file's sections, the stack, what the arguments point to and the outside symbols at random, gives
random values to registers, flags and memory, runs it on the emulator and records every access. Nothing in it is from
the package.

Different inputs point to different memory: that is granted to the machine, so here each pointer has an area of its own,
and a run that leaves all of them says nothing.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any, NamedTuple

import unicorn
from plain_machine import EXEC, NotForThisError, ObjectFile, Placed, read_object
from random_programs import NUMBERS
from unicorn import x86_const as ux

PAGE = 0x1000
MOST_INSTRUCTIONS = 20_000
# Each area of memory is the middle of a piece of this size; a pointer belongs to the area that it is in.
AREA = 1 << 28
_NEAR = 1 << 20
_STACK_AREA, _RDI_AREA, _RSI_AREA, _FIRST_AREA = (1 << 17) + 1, (1 << 17) + 2, (1 << 17) + 3, (1 << 17) + 16


class Access(NamedTuple):
    """One access: the section of the instruction and where in it, where the memory is, how many bytes, whether it is
    written."""

    section: str
    offset: int
    address: int
    size: int
    write: bool


@dataclass
class Run:
    """What one run did, and where things were: ``sections`` and ``outside`` by name, ``registers`` and ``flags`` at
    entry, ``back`` the return address. ``initial`` is what was in memory at first, in words, by address / 8;
    ``written`` are the addresses of bytes that were stored to."""

    accesses: list[Access]
    registers: dict[str, int]
    flags: int
    back: int
    sections: dict[str, int]
    outside: dict[str, int]
    initial: dict[int, int]
    written: set[int]

    def unchanged(self, address: int, size: int) -> int | None:
        """What is in these bytes from the first to the last; None if it changes, or nobody looked."""
        words = range(address // 8, (address + size - 1) // 8 + 1)
        if not all(word in self.initial for word in words) or not self.written.isdisjoint(
            range(address, address + size)
        ):
            return None
        content = b"".join(self.initial[word].to_bytes(8, "little") for word in words)
        return int.from_bytes(content[address % 8 :][:size], "little")


class _Linked(Placed):
    """An object file at random addresses: all in 2 GiB, and those the lowest if it has an address in 32 bits."""

    def __init__(self, file: ObjectFile, dice: random.Random) -> None:
        self.file = file
        self.width = file.bits // 8
        self.commons, self.broken = {}, []
        narrow = any(kind in (10, 11) for _, _, kind, _, _ in file.relocations)
        window = 0 if narrow else dice.randrange(0, 1 << 15) << 31
        names = dict.fromkeys(s.name for s in file.symbols[1:] if s.section == 0)
        # Pieces of 64 MiB, each for one of them.
        pieces = dice.sample(range(1, 31), len(file.parts) + len(names))
        for part, piece in zip(file.parts.values(), pieces, strict=False):
            part.address = window + (piece << 26) + dice.randrange(1 << 22) // part.alignment * part.alignment
        self.outside = {
            name: window + (piece << 26) + dice.randrange(1 << 22)
            for name, piece in zip(names, pieces[len(file.parts) :], strict=True)
        }
        for relocation in file.relocations:
            self._relocate(*relocation)


class _Run:
    def __init__(self, data: bytes, dice: random.Random) -> None:
        self.dice = dice
        self.placed = _Linked(read_object(data), dice)
        self.uc = unicorn.Uc(unicorn.UC_ARCH_X86, unicorn.UC_MODE_64)
        self.accesses: list[Access] = []
        self.pages: set[int] = set()
        self.words: dict[int, int] = {}
        self.written: set[int] = set()
        self.pc = 0
        self.areas = 0
        self.trouble = ""
        # Few enough that many are equal.
        self.some = [self._number() for _ in range(3)]
        parts = self.placed.file.parts.values()
        self.near = [p.address >> 26 for p in parts] + [at >> 26 for at in self.placed.outside.values()]
        self.code = [(p.address, p.address + p.size, p.name) for p in parts if p.flags & EXEC]
        for part in parts:
            if part.size:
                self._provide(part.address, part.size)
                if part.content:
                    self._fill(part.address, len(part.content))
                    self._put(part.address, bytes(part.content))
        hooks = unicorn.UC_HOOK_MEM_READ_UNMAPPED | unicorn.UC_HOOK_MEM_WRITE_UNMAPPED
        self.uc.hook_add(hooks, self._unmapped)
        self.uc.hook_add(unicorn.UC_HOOK_MEM_READ | unicorn.UC_HOOK_MEM_WRITE, self._access)
        self.uc.hook_add(unicorn.UC_HOOK_CODE, self._instruction)

    def _number(self) -> int:
        dice = self.dice
        kind = dice.randrange(8)
        if kind < 3:
            value = dice.randrange(0, 9)
        elif kind == 3:
            value = (1 << dice.randrange(64)) - dice.randrange(2)
        elif kind == 4:
            value = dice.choice((-1, -2, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFF))
        elif kind == 5:
            value = dice.randrange(256)
        else:
            value = dice.getrandbits(64)
        return value & 0xFFFF_FFFF_FFFF_FFFF

    def _some_number(self) -> int:
        return self.dice.choice(self.some) if self.dice.random() < 0.5 else self._number()

    def _pointer(self, area: int | None = None) -> int:
        """Into an area of its own; often to the beginning of a page or a line."""
        if area is None:
            area = _FIRST_AREA + self.areas
            self.areas += 1
        low = self.dice.randrange(_NEAR)
        aligned = self.dice.choice((1, 1, 8, 8, 64, 4096))
        return area * AREA + AREA // 2 + low // aligned * aligned

    def _provide(self, address: int, size: int) -> None:
        for page in range(address // PAGE, (address + size - 1) // PAGE + 1):
            if page not in self.pages:
                self.pages.add(page)
                self.uc.mem_map(page * PAGE, PAGE)

    def _fill(self, address: int, size: int) -> None:
        """Gives the words something that have nothing yet. No pointer is there twice: two places would point to the
        same."""
        for word in range(address // 8, (address + size - 1) // 8 + 1):
            if word not in self.words:
                value = self._pointer() if self.dice.random() < 0.5 else self._some_number()
                self._put(word * 8, value.to_bytes(8, "little"))

    def _put(self, address: int, content: bytes) -> None:
        self.uc.mem_write(address, content)
        for word in range(address // 8, (address + len(content) - 1) // 8 + 1):
            self.words[word] = int.from_bytes(self.uc.mem_read(word * 8, 8), "little")

    def _is_near(self, address: int) -> bool:
        area = address // AREA
        given = _STACK_AREA <= area <= _RSI_AREA or _FIRST_AREA <= area < _FIRST_AREA + self.areas
        return given or address >> 26 in self.near

    def _unmapped(self, _uc: Any, _access: int, address: int, size: int, _value: int, _user: Any) -> bool:
        if not self._is_near(address):
            self.trouble = "an access to what nobody gave"
            return False
        self._provide(address, size)
        return True

    def _instruction(self, _uc: Any, address: int, _size: int, _user: Any) -> None:
        self.pc = address

    def _access(self, _uc: Any, access: int, address: int, size: int, _value: int, _user: Any) -> None:
        start, name = next(((low, name) for low, high, name in self.code if low <= self.pc < high), (0, ""))
        write = access in (unicorn.UC_MEM_WRITE, unicorn.UC_MEM_WRITE_UNMAPPED)
        self.accesses.append(Access(name, self.pc - start, address, size, write))
        if not self._is_near(address):
            self.trouble = "an access to what nobody gave"
            return
        self._provide(address, size)
        self._fill(address, size)
        if write:
            self.written.update(range(address, address + size))

    def run(self) -> Run:
        uc, dice = self.uc, self.dice
        registers = {name: self._some_number() for name in (*NUMBERS, "rbx", "rbp", "r12", "r13", "r14", "r15")}
        registers["rdi"], registers["rsi"] = self._pointer(_RDI_AREA), self._pointer(_RSI_AREA)
        registers["rsp"] = self._pointer(_STACK_AREA) & ~7
        back = (dice.randrange(1 << 16, 1 << 17) << 28) + dice.randrange(1 << 20)
        for name, value in registers.items():
            uc.reg_write(getattr(ux, f"UC_X86_REG_{name.upper()}"), value)
        # Carry, parity, adjust, zero, sign, overflow: anything.
        flags = 2 | (dice.getrandbits(12) & 0x8D5)
        uc.reg_write(ux.UC_X86_REG_EFLAGS, flags)
        self._provide(registers["rsp"], 8)
        self._fill(registers["rsp"], 8)
        self._put(registers["rsp"], back.to_bytes(8, "little"))
        try:
            uc.emu_start(self.placed.entry("program"), back, count=MOST_INSTRUCTIONS)
        except unicorn.UcError as error:
            raise NotForThisError(self.trouble or f"stopped: {error}") from None
        if self.trouble:
            raise NotForThisError(self.trouble)
        if uc.reg_read(ux.UC_X86_REG_RIP) != back:
            raise NotForThisError("it does not come back")
        sections = {part.name: part.address for part in self.placed.file.parts.values()}
        outside = self.placed.outside
        return Run(self.accesses, registers, flags, back, sections, outside, self.words, self.written)


def run(data: bytes, seed: int) -> Run:
    """What the object file's ``program`` does on the inputs and at the places of this seed.

    Raises NotForThisError for a run that says nothing: one that leaves the memory that was given to it."""
    one = _Run(data, random.Random(seed))
    try:
        return one.run()
    finally:
        # The emulator knows its hooks, and they know it: only so is its memory free at once.
        del one.uc
