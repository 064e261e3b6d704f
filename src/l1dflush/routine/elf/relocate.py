# SPDX-License-Identifier: GPL-2.0-or-later
"""Applies relocations to a copy of a section, by the formulas of the x86-64 and i386 psABI.

The letters are the psABI's: S the symbol's address, A the addend, P the place, G the address of the symbol's
slot in the global offset table, GOT that table's address, B the load bias. A "?" is a number that a linker chooses:
offsets of thread-local variables, and sizes of symbols.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum, auto
from functools import cache
from typing import Literal, NamedTuple

from elftools.elf.enums import ENUM_RELOC_TYPE_i386, ENUM_RELOC_TYPE_x64


class Fit(Enum):
    """How the value must fit into the place."""

    WRAP = auto()
    SIGNED = auto()
    UNSIGNED = auto()


class Rule(NamedTuple):
    """How one relocation type is computed: bytes of the place, formula, and what counts as overflow."""

    name: str
    size: int
    formula: Literal["S+A", "S+A-P", "S", "B+A", "G+A-P", "G+A", "GOT+A-P", "S+A-GOT", "?", "?-P"]
    fit: Fit

    @property
    def dynamic(self) -> bool:
        """Whether only linked files have relocations of this type."""
        return self.formula in ("S", "B+A")

    @property
    def chosen(self) -> bool:
        """Whether it is a number that a linker chooses."""
        return self.formula.startswith("?")

    @property
    def needs_slot(self) -> bool:
        """Whether the symbol needs a slot in the global offset table."""
        return self.formula.startswith("G+")


X86_64 = {
    1: Rule("R_X86_64_64", 8, "S+A", Fit.WRAP),
    2: Rule("R_X86_64_PC32", 4, "S+A-P", Fit.SIGNED),
    4: Rule("R_X86_64_PLT32", 4, "S+A-P", Fit.SIGNED),
    6: Rule("R_X86_64_GLOB_DAT", 8, "S", Fit.WRAP),
    7: Rule("R_X86_64_JUMP_SLOT", 8, "S", Fit.WRAP),
    8: Rule("R_X86_64_RELATIVE", 8, "B+A", Fit.WRAP),
    9: Rule("R_X86_64_GOTPCREL", 4, "G+A-P", Fit.SIGNED),
    10: Rule("R_X86_64_32", 4, "S+A", Fit.UNSIGNED),
    11: Rule("R_X86_64_32S", 4, "S+A", Fit.SIGNED),
    24: Rule("R_X86_64_PC64", 8, "S+A-P", Fit.WRAP),
    25: Rule("R_X86_64_GOTOFF64", 8, "S+A-GOT", Fit.WRAP),
    26: Rule("R_X86_64_GOTPC32", 4, "GOT+A-P", Fit.SIGNED),
    41: Rule("R_X86_64_GOTPCRELX", 4, "G+A-P", Fit.SIGNED),
    17: Rule("R_X86_64_DTPOFF64", 8, "?", Fit.WRAP),
    18: Rule("R_X86_64_TPOFF64", 8, "?", Fit.WRAP),
    21: Rule("R_X86_64_DTPOFF32", 4, "?", Fit.SIGNED),
    22: Rule("R_X86_64_GOTTPOFF", 4, "?-P", Fit.SIGNED),
    23: Rule("R_X86_64_TPOFF32", 4, "?", Fit.SIGNED),
    32: Rule("R_X86_64_SIZE32", 4, "?", Fit.UNSIGNED),
    33: Rule("R_X86_64_SIZE64", 8, "?", Fit.WRAP),
    42: Rule("R_X86_64_REX_GOTPCRELX", 4, "G+A-P", Fit.SIGNED),
}
I386 = {
    1: Rule("R_386_32", 4, "S+A", Fit.WRAP),
    2: Rule("R_386_PC32", 4, "S+A-P", Fit.WRAP),
    3: Rule("R_386_GOT32", 4, "G+A", Fit.WRAP),
    4: Rule("R_386_PLT32", 4, "S+A-P", Fit.WRAP),
    6: Rule("R_386_GLOB_DAT", 4, "S", Fit.WRAP),
    7: Rule("R_386_JMP_SLOT", 4, "S", Fit.WRAP),
    8: Rule("R_386_RELATIVE", 4, "B+A", Fit.WRAP),
    9: Rule("R_386_GOTOFF", 4, "S+A-GOT", Fit.WRAP),
    10: Rule("R_386_GOTPC", 4, "GOT+A-P", Fit.WRAP),
    15: Rule("R_386_TLS_IE", 4, "?", Fit.WRAP),
    16: Rule("R_386_TLS_GOTIE", 4, "?", Fit.WRAP),
    17: Rule("R_386_TLS_LE", 4, "?", Fit.WRAP),
    32: Rule("R_386_TLS_LDO_32", 4, "?", Fit.WRAP),
    34: Rule("R_386_TLS_LE_32", 4, "?", Fit.WRAP),
    38: Rule("R_386_SIZE32", 4, "?", Fit.WRAP),
    43: Rule("R_386_GOT32X", 4, "G+A", Fit.WRAP),
}


@dataclass(frozen=True, slots=True)
class StorageUnit:
    """What a relocation is applied to: ``offset`` in ``data``, which lies at ``base`` in memory."""

    data: bytearray
    base: int
    offset: int

    @property
    def address(self) -> int:
        return self.base + self.offset


def rule_of(bits: int, kind: int) -> Rule | None:
    """The rule of relocation type ``kind``, ``None`` for one that is not supported."""
    return (X86_64 if bits == 64 else I386).get(kind)


@cache
def type_name(bits: int, kind: int) -> str:
    """The psABI's name of relocation type ``kind``, or its number."""
    rule = rule_of(bits, kind)
    if rule is not None:
        return rule.name
    known = ENUM_RELOC_TYPE_x64 if bits == 64 else ENUM_RELOC_TYPE_i386
    names = {v: k for k, v in known.items() if isinstance(v, int)}
    return str(names.get(kind, f"relocation type {kind}"))


def apply(
    rule: Rule, place: StorageUnit, *, symbol: int, addend: int | None, got: int = 0, slot: int = 0, bias: int = 0
) -> str | None:
    """Write the relocated value into ``place``; the reason when that cannot be done, else ``None``.

    An ``addend`` of ``None`` means that it is what the place holds.
    """
    start, size = place.offset, rule.size
    if start + size > len(place.data):
        return "the place lies outside the section's contents"
    if addend is None:
        addend = int.from_bytes(place.data[start : start + size], "little", signed=True)
    match rule.formula:
        case "S+A":
            value = symbol + addend
        case "S+A-P":
            value = symbol + addend - place.address
        case "S":
            value = symbol
        case "B+A":
            value = bias + addend
        case "G+A-P":
            value = slot + addend - place.address
        case "G+A":
            # i386: relative to the table, unless the instruction has no base register (mod 0, r/m 5).
            bare = start > 0 and place.data[start - 1] & 0o307 == 0o005
            value = slot + addend - (0 if bare else got)
        case "GOT+A-P":
            value = got + addend - place.address
        case "S+A-GOT":
            value = symbol + addend - got
        case "?" | "?-P":
            return None
    if rule.fit is not Fit.WRAP:
        low, high = _range(rule)
        if not low <= value < high:
            return f"the value {value:#x} does not fit into {size * 8} bits"
    place.data[start : start + size] = (value & ((1 << size * 8) - 1)).to_bytes(size, "little")
    return None


def _range(rule: Rule) -> tuple[int, int]:
    """The lowest value that fits, and the one behind the highest."""
    bits = rule.size * 8
    low, high = -(1 << bits - 1), 1 << bits
    return 0 if rule.fit is Fit.UNSIGNED else low, high >> 1 if rule.fit is Fit.SIGNED else high


class Target(NamedTuple):
    """What all relocations of one type against one symbol have in common: the rule, the symbol's address and
    its slot in the global offset table; or, without a rule, why they cannot be applied."""

    rule: Rule | None
    symbol: int = 0
    slot: int = 0
    reason: str = ""


class _Plain(NamedTuple):
    """A target of one of the two plainest formulas: symbol's address, whether the place's is subtracted, the
    range of what fits, and the place's mask and bytes."""

    symbol: int
    relative: bool
    low: int
    high: int
    mask: int
    size: int


class Relocator:
    """Applies many relocations that share their targets: a module has tens of thousands, against far fewer.

    The result is that of :func:`apply` for each; nearly all have one of the two plainest formulas, which are
    computed here.
    """

    def __init__(self, targets: Mapping[int, Target], *, got: int) -> None:
        """``targets`` by number; ``got`` is the address of the global offset table."""
        self._targets = targets
        self._got = got
        self._plain: dict[int, _Plain] = {}
        for number, (rule, symbol, _, _) in targets.items():
            if rule is not None and rule.formula in ("S+A", "S+A-P"):
                # Beyond what symbol, addend and place can add up to, if anything fits.
                low, high = (-(1 << 70), 1 << 70) if rule.fit is Fit.WRAP else _range(rule)
                mask = (1 << rule.size * 8) - 1
                self._plain[number] = _Plain(symbol, rule.formula == "S+A-P", low, high, mask, rule.size)

    def apply(self, rows: Iterable[tuple[int, ...]], data: bytearray, base: int) -> Iterator[tuple[int, int, str]]:
        """Changes ``data``, which lies at ``base``, by ``rows``: offset, number of the target, and the addend
        unless it is in the place. Yields (offset, number, reason) for those that cannot be applied; those whose
        number is not a target's are left out."""
        end, plain, targets = len(data), self._plain, self._targets
        for offset, number, *addend in rows:
            if number in plain:
                symbol, relative, low, high, mask, size = plain[number]
                if offset + size <= end:
                    value = symbol + (addend[0] if addend else _SIGNED[size].unpack_from(data, offset)[0])
                    if relative:
                        value -= base + offset
                    if low <= value < high:
                        _UNSIGNED[size].pack_into(data, offset, value & mask)
                        continue
            if number not in targets:
                continue
            rule, symbol, slot, reason = targets[number]
            if rule is not None:
                place, added = StorageUnit(data, base, offset), addend[0] if addend else None
                wrong = apply(rule, place, symbol=symbol, addend=added, got=self._got, slot=slot)
                if wrong is None:
                    continue
                reason = wrong
            yield offset, number, reason


_SIGNED = {4: struct.Struct("<i"), 8: struct.Struct("<q")}
_UNSIGNED = {4: struct.Struct("<I"), 8: struct.Struct("<Q")}
