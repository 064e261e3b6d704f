# SPDX-License-Identifier: GPL-2.0-or-later
"""Linked ELF files (programs, shared objects): their segments as a loader would map them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, islice, pairwise
from math import gcd

from elftools.elf.constants import P_FLAGS, SH_FLAGS, SHN_INDICES
from elftools.elf.segments import Segment

from l1dflush.errors import InputError
from l1dflush.routine.elf.dynamic import Dynamic, read_dynamic
from l1dflush.routine.elf.intervals import Intervals
from l1dflush.routine.elf.reader import MAX_RELOCATIONS, ElfFile, ElfRelocation, ElfSymbol, malformed
from l1dflush.routine.elf.relocate import StorageUnit, apply, rule_of, type_name
from l1dflush.routine.elf.relocations import Relocated, Relocations, RelocationTable
from l1dflush.routine.elf.symbol_table import INDIRECT, PlacedSymbol
from l1dflush.routine.model import BadRelocation, Section

PAGE = 4096
POINTER_ALIGNMENT = 8
# Where position-independent code goes; a linked file that says where it belongs goes there.
LOAD_BIAS = 0x0040_0000
MAX_CONTENT = 64 << 20


@dataclass(frozen=True, slots=True)
class LinkedFile:
    """What :func:`load_linked` returns: the parts of an image, and how far the file's addresses were moved."""

    sections: list[Section]
    symbols: list[PlacedSymbol]
    bad: list[BadRelocation]
    relocations: Relocations
    bias: int


def load_linked(elf: ElfFile) -> LinkedFile:
    """The segments of ``elf`` at their addresses, dynamic relocations against itself applied.

    Raises InputError when nothing is to be loaded, segments overlap, or it is too large.
    """
    bias = LOAD_BIAS if elf.type == "ET_DYN" else 0
    segments = sorted(elf.segments, key=lambda s: s["p_vaddr"])
    if not segments:
        malformed(elf.where, "it has nothing to load")
    top = (1 << elf.bits) - PAGE
    behind, total = 0, 0
    pieces: list[tuple[Segment, int, bytearray]] = []
    for segment in segments:
        # A loader maps whole pages, so the file's bytes before the segment are there too.
        address, offset = segment["p_vaddr"], segment["p_offset"]
        lead = min(address % PAGE, offset)
        start = address - lead
        if start // PAGE * PAGE < behind:
            malformed(elf.where, f"segments overlap at {address:#x}")
        behind = address + segment["p_memsz"]
        behind += -behind % PAGE
        total += lead + segment["p_memsz"]
        if behind + bias > top:
            malformed(elf.where, f"the segment at {address:#x} ends outside the address space")
        if total > MAX_CONTENT:
            raise InputError(f"more than {MAX_CONTENT >> 20} MiB of code and data", where=elf.where)
        data = bytearray(elf.data[offset - lead : offset + segment["p_filesz"]])
        pieces.append((segment, start + bias, data))
    shipped = [(start, bytes(data)) for _, start, data in pieces]
    dynamic = _dynamic(elf)
    bad = _relocate(elf, dynamic, pieces, bias)  # refuses too many, so that they are not read again
    relocations = _relocations(elf, dynamic, shipped, bias)
    sections: list[Section] = []
    for segment, address, data in pieces:
        lead = segment["p_vaddr"] + bias - address
        sections += _parts(elf, segment, range(address, address + segment["p_memsz"] + lead), bytes(data), bias)
    symbols = [
        PlacedSymbol(s.name, s.value + bias, s.size, s.kind, s.binding, defined=True)
        for s in elf.symbols or dynamic.symbols
        if s.name and s.section > 0 and s.kind not in ("STT_SECTION", "STT_FILE", "STT_TLS")
    ]
    return LinkedFile(sections, symbols, bad, relocations, bias)


def _parts(elf: ElfFile, segment: Segment, place: range, data: bytes, bias: int) -> Iterator[Section]:
    """A segment as it is loaded to ``place``, in parts: a kernel has sections that it writes to in one that cannot be
    written later."""
    writable, executable = (bool(segment["p_flags"] & flag) for flag in (P_FLAGS.PF_W, P_FLAGS.PF_X))
    written, code = Intervals(), Intervals()
    for one in () if writable else elf.sections:
        flags, first, behind = one["sh_flags"], one["sh_addr"] + bias, one["sh_addr"] + bias + one["sh_size"]
        first, behind = max(first, place.start), min(behind, place.stop)
        # Thread-local variables lie elsewhere, and their section tells where the first ones begin.
        kept = flags & SH_FLAGS.SHF_ALLOC and flags & SH_FLAGS.SHF_WRITE and not flags & SH_FLAGS.SHF_TLS
        if kept and first < behind:
            written.add(first, behind)
            if flags & SH_FLAGS.SHF_EXECINSTR:
                code.add(first, behind)
    borders = sorted({place.start, place.stop, *(at for piece in chain(written, code) for at in piece)})
    for first, behind in pairwise(borders):
        by_section = not written.gaps(first, behind)
        may_write, may_run = writable or by_section, executable and not (by_section and code.gaps(first, behind))
        rights = "r" + ("w" if may_write else "-") + ("x" if may_run else "-")
        yield Section(
            name=f"segment {max(first - bias, segment['p_vaddr']):#x} ({rights})",
            address=first,
            data=data[first - place.start : behind - place.start],
            size=behind - first,
            alignment=min(PAGE, first & -first) if first else PAGE,
            writable=may_write,
            executable=may_run,
        )


def _relocations(elf: ElfFile, dynamic: Dynamic, pieces: list[tuple[int, bytes]], bias: int) -> Relocations:
    """The dynamic relocations as the file has them; ``pieces`` are addresses and contents before these were applied."""
    meanings: list[Relocated] = []
    rows: list[list[tuple[int, ...]]] = [[] for _ in pieces]
    for relocation in dynamic.relocations:
        rule, address = rule_of(elf.bits, relocation.type), relocation.offset + bias
        symbol = dynamic.symbol(relocation)
        # Loaders do not agree whether an absolute symbol moves with its file.
        absent = symbol is not None and (
            symbol.section < 0 or (symbol.section == SHN_INDICES.SHN_UNDEF and symbol.binding == "STB_WEAK")
        )
        inside = symbol is not None and symbol.section > 0 and symbol.kind != INDIRECT
        target = symbol.value + bias if symbol is not None and inside else None
        if rule is not None and rule.formula == "B+A":
            target = bias
        name, size = symbol.name if symbol is not None else "", rule.size if rule is not None else 0
        addend = () if relocation.addend is None else (relocation.addend,)
        for (base, data), mine in zip(pieces, rows, strict=True):
            if relocation.type and base <= address < base + len(data):
                mine.append((address - base, len(meanings), *addend))
        exported = 0
        if symbol is not None and target is not None and relocation.symbol and dynamic.is_exported(symbol):
            exported = _alignment(elf, symbol)
        kind = type_name(elf.bits, relocation.type)
        meanings.append(Relocated(kind, size, False, name, False, target, False, absent, exported))
    return Relocations(
        [
            RelocationTable(base, data, mine, meanings.__getitem__)
            for (base, data), mine in zip(pieces, rows, strict=True)
        ]
    )


def _alignment(elf: ElfFile, symbol: ElfSymbol) -> int:
    """The alignment that a program's copy of a variable has: what its place in its section says; what any pointer has
    if nothing tells the section's."""
    if symbol.section >= len(elf.sections):
        return POINTER_ALIGNMENT
    section = elf.sections[symbol.section]
    return gcd(symbol.value, max(section["sh_addralign"], 1))


def _dynamic(elf: ElfFile) -> Dynamic:
    """The relocations that a loader applies, with their symbols: those of a static program only its sections tell."""
    found = read_dynamic(elf)
    if found is not None:
        return found
    relocations: list[ElfRelocation] = []
    symbols: tuple[ElfSymbol, ...] = ()
    for table in elf.sections:
        if table["sh_type"] in ("SHT_RELA", "SHT_REL", "SHT_RELR") and table["sh_flags"] & SH_FLAGS.SHF_ALLOC:
            relocations += islice(elf.relocations(table), MAX_RELOCATIONS + 1 - len(relocations))
            symbols = symbols or elf.symbol_table_at(table["sh_link"])
    return Dynamic(tuple(relocations), symbols, shared=False)


def _relocate(
    elf: ElfFile, dynamic: Dynamic, pieces: list[tuple[Segment, int, bytearray]], bias: int
) -> list[BadRelocation]:
    """Apply what refers to the file itself; what refers to other files stays and is recorded."""
    bad: list[BadRelocation] = []
    if len(dynamic.relocations) > MAX_RELOCATIONS:
        raise InputError(f"more than {MAX_RELOCATIONS} relocations", where=elf.where)
    for relocation in dynamic.relocations:
        if not relocation.type:
            continue
        rule = rule_of(elf.bits, relocation.type)
        symbol = dynamic.symbol(relocation)
        reason = _reason(rule is not None, relocation.symbol, symbol)
        address = relocation.offset + bias
        if reason is None and rule is not None:
            reason = "the place is not loaded"
            for _, base, data in pieces:
                if base <= address < base + len(data):
                    value = symbol.value + bias if symbol is not None and relocation.symbol else 0
                    place = StorageUnit(data, base, address - base)
                    reason = apply(rule, place, symbol=value, addend=relocation.addend, bias=bias)
        if reason is not None:
            name = type_name(elf.bits, relocation.type)
            bad.append(BadRelocation(address, elf.bits // 8, f"{name}: {reason}"))
    return bad


def _reason(supported: bool, number: int, symbol: ElfSymbol | None) -> str | None:
    if not supported:
        return "this type is not supported"
    if number == 0:
        return None
    if symbol is None:
        return f"there is no symbol number {number}"
    if symbol.section == SHN_INDICES.SHN_UNDEF:
        return f"'{symbol.name}' lies in another file"
    if symbol.kind == INDIRECT:
        return f"which function '{symbol.name}' is, is decided when the file is loaded"
    return None
