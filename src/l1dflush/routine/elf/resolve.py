# SPDX-License-Identifier: GPL-2.0-or-later
"""Which definition a name means when several object files are taken together: what a linker decides.

Local symbols stay their file's own. Of the global ones of one name a plain definition wins over common ones, a
common one over weak ones, and of several weak ones the first; common ones become one, as large and as aligned as
the largest. Two plain definitions are an error. Of a COMDAT group, or an old ``.gnu.linkonce`` section, that is in
several files the first stays.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import NamedTuple

from elftools.elf.constants import SHN_INDICES

from l1dflush.errors import InputError
from l1dflush.routine.elf.reader import ElfFile, ElfSymbol

UNDEFINED, ABSOLUTE, COMMON = SHN_INDICES.SHN_UNDEF, -SHN_INDICES.SHN_ABS, -SHN_INDICES.SHN_COMMON
_GRP_COMDAT = 1
_LINKONCE = ".gnu.linkonce."


@dataclass(frozen=True, slots=True)
class LinkInput:
    """A file to take together with others. ``own`` are names that are no other file's business although the file
    has them as global ones: what the source calls static."""

    elf: ElfFile
    own: frozenset[str] = frozenset()


class Reference(NamedTuple):
    """A symbol: the number of its file, and its own number in there."""

    file: int
    symbol: int


class _Rank(IntEnum):
    WEAK = 1
    COMMON = 2
    STRONG = 3


@dataclass(slots=True)
class _Definition:
    at: Reference
    rank: _Rank
    size: int
    alignment: int


@dataclass(slots=True)
class Resolution:
    """What :func:`resolve` found. ``discarded`` are sections that another file's copy stands for, as (file,
    section)."""

    inputs: Sequence[LinkInput]
    discarded: frozenset[tuple[int, int]] = frozenset()
    _definitions: dict[str, _Definition] = field(default_factory=dict)

    def symbol(self, at: Reference) -> ElfSymbol | None:
        """The symbol itself; ``None`` if there is no such number."""
        symbols = self.inputs[at.file].elf.symbols
        return symbols[at.symbol] if at.symbol < len(symbols) else None

    def shared(self, at: Reference) -> bool:
        """Whether the symbol's name means the same in all files."""
        symbol = self.symbol(at)
        return symbol is not None and _is_shared(self.inputs[at.file], symbol)

    def meant(self, at: Reference) -> Reference:
        """The symbol that a reference to ``at`` means: itself, or the definition of its name."""
        symbol = self.symbol(at)
        if symbol is None or not at.symbol or not self._definitions or not self.shared(at):
            return at
        found = self._definitions.get(symbol.name)
        return at if found is None else found.at

    def common(self, at: Reference) -> tuple[int, int]:
        """Size and alignment in bytes of the common symbol ``at``, all of its name taken together."""
        symbol = self.symbol(at)
        assert symbol is not None
        found = self._definitions.get(symbol.name) if self.shared(at) else None
        return (symbol.size, symbol.value) if found is None else (found.size, found.alignment)


def _is_shared(file: LinkInput, symbol: ElfSymbol) -> bool:
    return symbol.binding != "STB_LOCAL" and bool(symbol.name) and symbol.name not in file.own


def resolve(inputs: Sequence[LinkInput]) -> Resolution:
    """The definition of every name. A single file is taken as it is.

    Raises InputError for two definitions, and for one that is thread-local here and not there.
    """
    if len(inputs) == 1:
        return Resolution(inputs)
    result = Resolution(inputs, _discarded(inputs))
    local: dict[str, tuple[bool, str]] = {}
    for number, file in enumerate(inputs):
        for index, symbol in enumerate(file.elf.symbols):
            if not _is_shared(file, symbol):
                continue
            if symbol.section != UNDEFINED and (number, symbol.section) not in result.discarded:
                _define(result, Reference(number, index), symbol)
            elif symbol.section != UNDEFINED or symbol.kind == "STT_NOTYPE":
                # Only who mentions it by its kind can contradict.
                continue
            thread_local = symbol.kind == "STT_TLS"
            known = local.setdefault(symbol.name, (thread_local, file.elf.where))
            if known[0] != thread_local:
                first, second = (known[1], file.elf.where) if known[0] else (file.elf.where, known[1])
                raise InputError(f"`{symbol.name}` is thread-local in {first}, but not in {second}")
    return result


def _define(result: Resolution, at: Reference, symbol: ElfSymbol) -> None:
    definitions = result._definitions
    rank = _Rank.COMMON if symbol.section == COMMON else _Rank.WEAK if symbol.binding == "STB_WEAK" else _Rank.STRONG
    new = _Definition(at, rank, symbol.size, symbol.value)
    old = definitions.get(symbol.name)
    if old is None or old.rank < rank:
        definitions[symbol.name] = new
    elif old.rank is rank is _Rank.COMMON:
        old.size, old.alignment = max(old.size, new.size), max(old.alignment, new.alignment)
    elif old.rank is rank is _Rank.STRONG:
        known = result.symbol(old.at)
        if known is not None and known.section == symbol.section == ABSOLUTE and known.value == symbol.value:
            return
        one, two = (result.inputs[r.file].elf.where for r in (old.at, at))
        hint = "it is given twice" if one == two else "leave one out, or make one static"
        raise InputError(f"multiple definition of `{symbol.name}`: in {one} and in {two}", hint=hint)


def _discarded(inputs: Sequence[LinkInput]) -> frozenset[tuple[int, int]]:
    """Members of COMDAT groups and linkonce sections that an earlier file has already."""
    first: dict[str, int] = {}
    gone: set[tuple[int, int]] = set()
    for number, file in enumerate(inputs):
        for name, members in _groups(file.elf):
            if first.setdefault(name, number) != number:
                gone.update((number, member) for member in members)
    return frozenset(gone)


def in_groups(elf: ElfFile) -> frozenset[int]:
    """The sections of which a linker keeps one file's copy only: members of COMDAT groups, and linkonce sections."""
    return frozenset(member for _, members in _groups(elf) for member in members)


def _groups(elf: ElfFile) -> Iterator[tuple[str, list[int]]]:
    """Each such group by what tells it from others, and its sections."""
    for index, section in enumerate(elf.sections):
        if section["sh_type"] == "SHT_GROUP":
            words = [word for (word,) in struct.iter_unpack("<I", elf.content(section)[: section["sh_size"] // 4 * 4])]
            signature = section["sh_info"]
            if words and words[0] & _GRP_COMDAT and signature < len(elf.symbols):
                symbol = elf.symbols[signature]
                yield f"group {symbol.name or elf.sections[max(symbol.section, 0)].name}", words[1:]
        elif section.name.startswith(_LINKONCE):
            yield section.name, [index]
