# SPDX-License-Identifier: GPL-2.0-or-later
"""Object files loaded and run the plain way, to hold verdicts against: an own reader, the emulator, random inputs.

Nothing here is from the package, not even the reading of the file. Every undefined byte gets a random value when it
is read for the first time: an address of a page that nothing else uses where a pointer would fit, and small numbers,
half of them zero, where not. Static keys are thrown at random too, and the places that they patch are patched.
"""

from __future__ import annotations

import random
import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import unicorn
from unicorn import x86_const as ux

ALLOC, EXEC, NOBITS = 2, 4, 8
RETURN = 0x7FFE_0000
SECTIONS, SECTION_STEP = 0x0100_0000, 0x0080_0000
OUTSIDE, OUTSIDE_END = 0x4000_0000, 0x7800_0000
# Relocation types of the psABIs that are applied here: bytes of the place, whether the place is subtracted.
RELOCATIONS = {
    64: {1: (8, False), 2: (4, True), 4: (4, True), 10: (4, False), 11: (4, False), 24: (8, True)},
    32: {1: (4, False), 2: (4, True), 4: (4, True)},
}
FLUSH_COMMAND = 0x10B
_FIRST, _NUMBERED = ("AX", "BX", "CX", "DX", "SI", "DI", "BP"), tuple(str(number) for number in range(8, 16))
_CALLER_SAVED = {
    64: ("RAX", "RCX", "RDX", "RSI", "RDI", "R8", "R9", "R10", "R11"),
    32: ("EAX", "ECX", "EDX"),
}
# Memory is mapped in pieces of this many bytes, and only so many: a process may have 65,530 mappings.
CHUNK = 0x10000
MOST_CHUNKS = 4096


class NotForThisError(Exception):
    """The plain machine cannot tell: the file or the code is beyond it, or the run ended in an exception."""


@dataclass
class Part:
    """A section, or the outside world of one undefined symbol."""

    name: str
    content: bytearray
    size: int
    flags: int
    alignment: int
    address: int = 0


@dataclass
class Symbol:
    name: str
    section: int
    value: int
    binding: int
    kind: int


@dataclass
class ObjectFile:
    """What the file says, before anything has an address."""

    bits: int
    parts: dict[int, Part]
    symbols: list[Symbol]
    # (section, offset, type, symbol, addend or None), in the file's order.
    relocations: list[tuple[int, int, int, int, int | None]]
    section_names: list[str] = field(default_factory=list)


@dataclass
class Run:
    """One run: the accesses as (address, size), cut where a function ran that is not there."""

    stretches: list[list[tuple[int, int]]]
    flush_command: bool = False
    cache_instruction: bool = False

    @property
    def lines(self) -> int:
        """How many different lines were accessed."""
        return len({address // 64 for stretch in self.stretches for address, _ in stretch})


def read_object(data: bytes) -> ObjectFile:
    """A relocatable x86 file. Raises NotForThisError for anything else, and for what makes no sense."""
    try:
        return _read(data)
    except (struct.error, IndexError, ValueError) as error:
        raise NotForThisError(f"unreadable: {error}") from error


def _read(data: bytes) -> ObjectFile:
    bits = 64 if data[4] == 2 else 32
    wide = bits == 64
    (kind,) = struct.unpack_from("<H", data, 16)
    if kind != 1:
        raise NotForThisError("not relocatable")
    (table,) = struct.unpack_from("<Q" if wide else "<I", data, 40 if wide else 32)
    count, names = struct.unpack_from("<HH", data, 60 if wide else 48)
    rows = []
    for number in range(count):
        at = table + number * (64 if wide else 40)
        rows.append(struct.unpack_from("<IIQQQQIIQQ" if wide else "<10I", data, at))

    def text(section: int, offset: int) -> str:
        start, size = rows[section][4:6]
        content = data[start : start + size]
        return content[offset : content.index(b"\0", offset)].decode("utf-8", "backslashreplace")

    def content(row: tuple[int, ...]) -> bytearray:
        return bytearray() if row[1] in (0, NOBITS) else bytearray(data[row[4] : row[4] + row[5]])

    section_names = []
    for number, row in enumerate(rows):
        try:
            section_names.append(text(names, row[0]))
        except (ValueError, IndexError):
            section_names.append(f"section {number}")
    parts = {
        number: Part(section_names[number], content(row), row[5], row[2], max(row[8], 1))
        for number, row in enumerate(rows)
        if row[2] & ALLOC
    }
    symbols: list[Symbol] = []
    found = [row for row in rows if row[1] == 2] or [row for row in rows if row[1] == 11]
    if found:
        raw, link, size = content(found[0]), found[0][6], 24 if wide else 16
        for at in range(0, len(raw) // size * size, size):
            if wide:
                name, info, _, section, value, _ = struct.unpack_from("<IBBHQQ", raw, at)
            else:
                name, value, _, info, _, section = struct.unpack_from("<IIIBBH", raw, at)
            symbols.append(Symbol(text(link, name) if name else "", section, value, info >> 4, info & 15))
    relocations = []
    for row in rows:
        if row[1] not in (4, 9) or row[7] not in parts:
            continue
        raw, explicit = content(row), row[1] == 4
        form = ("<QQq" if explicit else "<QQ") if wide else ("<IIi" if explicit else "<II")
        for fields in struct.iter_unpack(form, raw[: len(raw) // struct.calcsize(form) * struct.calcsize(form)]):
            offset, info = fields[:2]
            of_symbol, of_type = (info >> 32, info & 0xFFFF_FFFF) if wide else (info >> 8, info & 0xFF)
            if of_type:
                relocations.append((row[7], offset, of_type, of_symbol, fields[2] if explicit else None))
    return ObjectFile(bits, parts, symbols, relocations, section_names)


class Placed:
    """An object file at random addresses, its relocations applied. ``broken`` are the places where one was not."""

    def __init__(self, file: ObjectFile, dice: random.Random) -> None:
        self.file = file
        self.width = file.bits // 8
        address = SECTIONS
        for part in file.parts.values():
            if part.alignment & (part.alignment - 1) or part.alignment > 1 << 21 or part.size > 1 << 26:
                raise NotForThisError("odd size or alignment")
            # Anywhere among the cache's sets that the alignment allows.
            start = -(-address // max(part.alignment, 4096)) * max(part.alignment, 4096)
            part.address = start + dice.randrange(0, 4096, part.alignment) if part.alignment < 4096 else start
            address = part.address + part.size + SECTION_STEP
        if address > OUTSIDE:
            raise NotForThisError("too large")
        self.commons: dict[int, int] = {}
        for number, symbol in enumerate(file.symbols):
            if symbol.section == 0xFFF2:
                self.commons[number] = OUTSIDE_END + len(self.commons) * 0x10_0000
        used = [s for _, _, _, s, _ in file.relocations if s < len(file.symbols) and file.symbols[s].section == 0]
        self.outside = dict.fromkeys(file.symbols[number].name for number in used if number)
        step = min((OUTSIDE_END - OUTSIDE) // (len(self.outside) + 1) // 4096 * 4096, 0x0100_0000)
        self.outside = {name: OUTSIDE + number * step for number, name in enumerate(self.outside)}
        self.broken: list[tuple[int, int]] = []
        for relocation in file.relocations:
            self._relocate(*relocation)

    def address_of(self, number: int) -> int | None:
        """Where symbol ``number`` is."""
        if number == 0:
            return 0
        if number >= len(self.file.symbols):
            return None
        symbol = self.file.symbols[number]
        if symbol.section == 0:
            return self.outside[symbol.name]
        if symbol.section == 0xFFF1:
            return symbol.value
        if number in self.commons:
            return self.commons[number]
        part = self.file.parts.get(symbol.section)
        return None if part is None else part.address + symbol.value

    def _relocate(self, section: int, offset: int, kind: int, number: int, addend: int | None) -> None:
        part, rule = self.file.parts[section], RELOCATIONS[self.file.bits].get(kind)
        target = self.address_of(number)
        size = rule[0] if rule else 8
        if rule is None or target is None or offset + size > len(part.content):
            self.broken.append((part.address + offset, size))
            return
        if addend is None:
            addend = int.from_bytes(part.content[offset : offset + size], "little", signed=True)
        value = target + addend - (part.address + offset if rule[1] else 0)
        part.content[offset : offset + size] = (value & ((1 << 8 * size) - 1)).to_bytes(size, "little")

    def entry(self, name: str) -> int:
        """The address of a function."""
        named = [n for n, s in enumerate(self.file.symbols) if s.name == name and s.section != 0 and s.kind in (0, 2)]
        named.sort(key=lambda number: self.file.symbols[number].binding == 0)
        for number in named:
            address = self.address_of(number)
            if address is not None:
                return address
        raise NotForThisError(f"no {name}")

    def sites(self) -> list[tuple[int, int, int]]:
        """(place, target, key with its low bits) of every record of the jump table."""
        found = []
        for part in self.file.parts.values():
            if part.name != "__jump_table":
                continue
            data = part.content
            # Absolute words have a relocation at every word; the first field of the others is four bytes.
            kinds = {k for s, o, k, _, _ in self.file.relocations if self.file.parts[s] is part and not o % (3 * 8)}
            absolute = kinds == {1}
            word = self.width
            size = 3 * word if absolute else 8 + word
            for at in range(0, len(data) // size * size, size):
                if absolute:
                    found.append(tuple(int.from_bytes(data[at + i * word :][:word], "little") for i in range(3)))
                    continue
                code, target = struct.unpack_from("<ii", data, at)
                key = int.from_bytes(data[at + 8 : at + 8 + word], "little", signed=True)
                here = part.address + at
                found.append((here + code, here + 4 + target, here + 8 + key))
        return [(a, b, c) for a, b, c in found]

    def throw(self, dice: random.Random, shipped: bool) -> None:
        """Patches the places that static keys patch: as the keys happen to be, or (``shipped``) not at all."""
        if shipped:
            return
        keys: dict[int, bool] = {}
        for place, target, key in self.sites():
            enabled = keys.setdefault(key & ~3, dice.random() < 0.5)
            part = next((p for p in self.file.parts.values() if p.address <= place < p.address + len(p.content)), None)
            if part is None:
                continue
            at = place - part.address
            first = part.content[at]
            size = 2 if first in (0xEB, 0x66) else 5
            # What is not a place of that kind is left alone.
            if bytes(part.content[at : at + size]) not in (b"\x66\x90", b"\x0f\x1f\x44\0\0") and first not in (
                0xEB,
                0xE9,
            ):
                continue
            distance = target - place - size
            if not enabled ^ bool(key & 1):
                code = b"\x66\x90" if size == 2 else b"\x0f\x1f\x44\0\0"
            elif size == 5:
                code = b"\xe9" + (distance & 0xFFFF_FFFF).to_bytes(4, "little")
            elif -128 <= distance < 128:
                code = b"\xeb" + (distance & 0xFF).to_bytes(1, "little")
            else:
                continue
            part.content[at : at + size] = code


def run(
    placed: Placed, entry: int, dice: random.Random, bind: Mapping[str, int] | None = None, limit: int = 400_000
) -> Run:
    """What the code at ``entry`` accesses with random inputs. Raises NotForThisError when it does not return."""
    emulation = _Emulation(placed, dice)
    try:
        return emulation.run(entry, bind or {}, limit)
    finally:
        # The emulator knows its hooks, and they know it: only so is its memory free at once.
        del emulation.uc


class _Emulation:
    def __init__(self, placed: Placed, dice: random.Random) -> None:
        self.placed, self.dice = placed, dice
        self.wide = placed.width == 8
        self.uc = unicorn.Uc(unicorn.UC_ARCH_X86, unicorn.UC_MODE_64 if self.wide else unicorn.UC_MODE_32)
        self.mapped: set[int] = set()
        self.defined: set[int] = set()
        self.result = Run([[]])
        self.trouble = ""
        self.fresh = 0
        self.uc.hook_add(unicorn.UC_HOOK_MEM_READ_UNMAPPED | unicorn.UC_HOOK_MEM_WRITE_UNMAPPED, self._unmapped)
        self.uc.hook_add(unicorn.UC_HOOK_MEM_READ | unicorn.UC_HOOK_MEM_WRITE, self._access)
        self.initial = [
            (p.address, p.address + len(p.content), p.content, not p.flags & 1) for p in placed.file.parts.values()
        ]
        for part in placed.file.parts.values():
            if part.content:
                self._provide(part.address, len(part.content), code=bool(part.flags & EXEC))
                self.uc.mem_write(part.address, bytes(part.content))
            if part.flags & EXEC:
                self._watch(part)

    def _watch(self, part: Part) -> None:
        """Instructions that the emulator does not report."""
        for found in re.finditer(rb"\x0f[\x30\x08\x09\xae]", part.content):
            at = part.address + found.start()
            self.uc.hook_add(unicorn.UC_HOOK_CODE, self._special, begin=at, end=at)
            # With a prefix the instruction begins before.
            for before in (1, 2):
                self.uc.hook_add(unicorn.UC_HOOK_CODE, self._special, begin=at - before, end=at - before)

    def _special(self, uc: Any, address: int, size: int, _user: Any) -> None:
        code = bytes(uc.mem_read(address, size))
        while code[:1] in (b"\x66", b"\xf2", b"\xf3", b"\x2e", b"\x3e") or (
            self.wide and code[:1] and code[0] >> 4 == 4
        ):
            code = code[1:]
        if code[:2] == b"\x0f\x30":
            number, value = uc.reg_read(ux.UC_X86_REG_ECX), uc.reg_read(ux.UC_X86_REG_EAX)
            self.result.flush_command |= number == FLUSH_COMMAND and bool(value & 1)
        elif code[:2] in (b"\x0f\x08", b"\x0f\x09"):
            self.result.cache_instruction = True
        elif code[:2] == b"\x0f\xae" and len(code) > 2 and code[2] < 0xC0 and code[2] >> 3 & 7 >= 6:
            self.trouble = "a line is flushed"

    def _provide(self, address: int, size: int, code: bool = False) -> None:
        for chunk in range(address // CHUNK, (address + max(size, 1) - 1) // CHUNK + 1):
            if chunk not in self.mapped:
                if len(self.mapped) > MOST_CHUNKS:
                    self.trouble = "too much memory"
                    self.uc.emu_stop()
                self.uc.mem_map(chunk * CHUNK, CHUNK, unicorn.UC_PROT_READ | unicorn.UC_PROT_WRITE)
                self.mapped.add(chunk)
        if code:
            first, end = address & ~0xFFF, -(-(address + size) // 0x1000) * 0x1000
            self.uc.mem_protect(first, end - first, unicorn.UC_PROT_ALL)

    def _unmapped(self, _uc: Any, _access: int, address: int, size: int, _value: int, _user: Any) -> bool:
        if address + size >= 1 << (47 if self.wide else 32):
            return False
        try:
            self._provide(address, size)
        except unicorn.UcError:
            return False
        return True

    def _access(self, uc: Any, access: int, address: int, size: int, _value: int, _user: Any) -> None:
        self.result.stretches[-1].append((address, size))
        span = range(address, address + size)
        if access == unicorn.UC_MEM_READ and self.defined.isdisjoint(span) and not self._given(address, size):
            self._provide(address, size)
            uc.mem_write(address, self._value(size).to_bytes(size, "little"))
        self.defined.update(span)

    def _given(self, address: int, size: int) -> bool:
        """Whether the file says what is there: zeros in memory that can be written are no information."""
        for start, end, content, constant in self.initial:
            if start <= address < end:
                return constant or any(content[address - start : address - start + size])
        return False

    def _value(self, size: int) -> int:
        if size == self.placed.width:
            return self._pointer()
        return 0 if self.dice.random() < 0.5 else self.dice.getrandbits(8 * size)

    def _pointer(self) -> int:
        # Pages apart enough for a buffer: different inputs point to different memory.
        self.fresh += 1
        if self.wide:
            return 1 << 45 | self.fresh << 28 | self.dice.getrandbits(14) << 12
        return 1 << 31 | (self.fresh % 8192) << 18 | self.dice.getrandbits(5) << 12

    def run(self, entry: int, bind: Mapping[str, int], limit: int) -> Run:
        uc, width = self.uc, self.placed.width
        prefix = "R" if self.wide else "E"
        names = [*_FIRST, *_NUMBERED] if self.wide else _FIRST
        for name in names:
            value = bind.get(f"{prefix}{name}".lower(), None)
            uc.reg_write(getattr(ux, f"UC_X86_REG_{prefix}{name}"), self._pointer() if value is None else value)
        pc, sp = (ux.UC_X86_REG_RIP, ux.UC_X86_REG_RSP) if self.wide else (ux.UC_X86_REG_EIP, ux.UC_X86_REG_ESP)
        # In 32-bit mode a base comes from a table; there it stays zero, and the memory that of an outside symbol.
        for segment in (ux.UC_X86_REG_FS_BASE, ux.UC_X86_REG_GS_BASE) if self.wide else ():
            uc.reg_write(segment, self._pointer())
        stack = self._pointer() + (self.dice.randrange(0, 4096, width))
        self._provide(stack - 0x2000, 0x4000)
        uc.reg_write(sp, stack)
        uc.mem_write(stack, RETURN.to_bytes(width, "little"))
        self.defined.update(range(stack, stack + width))
        broken = self.placed.broken
        if broken:
            uc.hook_add(unicorn.UC_HOOK_CODE, self._over(broken))
        at = entry
        for _ in range(64):
            try:
                uc.emu_start(at, RETURN, timeout=3_000_000, count=limit)
            except unicorn.UcError as error:
                at = uc.reg_read(pc)
                if error.errno not in (
                    unicorn.UC_ERR_FETCH_UNMAPPED,
                    unicorn.UC_ERR_FETCH_PROT,
                ) or not self._is_outside(at):
                    raise NotForThisError(f"stopped at {at:#x}: {error}") from error
                at = self._outside_call(sp)
                if at == RETURN:
                    break
                continue
            at = uc.reg_read(pc)
            break
        if self.trouble:
            raise NotForThisError(self.trouble)
        if at != RETURN:
            raise NotForThisError("it does not return")
        return self.result

    def _over(self, broken: list[tuple[int, int]]) -> Any:
        def hook(_uc: Any, address: int, size: int, _user: Any) -> None:
            if any(address < at + length and at < address + size for at, length in broken):
                self.trouble = "an unknown relocation"

        return hook

    def _is_outside(self, address: int) -> bool:
        return OUTSIDE <= address < OUTSIDE_END

    def _outside_call(self, sp: int) -> int:
        """A function that is not there returns at once, and leaves nothing behind in the caller's registers."""
        self.result.stretches.append([])
        stack = self.uc.reg_read(sp)
        back = int.from_bytes(self.uc.mem_read(stack, self.placed.width), "little")
        self.uc.reg_write(sp, stack + self.placed.width)
        for name in _CALLER_SAVED[self.placed.file.bits]:
            self.uc.reg_write(getattr(ux, f"UC_X86_REG_{name}"), self._pointer())
        return back
