# SPDX-License-Identifier: GPL-2.0-or-later
"""What a loader reads of a linked ELF file: the dynamic segment, and the relocations and symbols that it names.

The table of sections is for linkers and debuggers, and may be missing (``objcopy --strip-section-headers``) or say
something else (generic ABI, "Dynamic Section").
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from l1dflush.errors import InputError
from l1dflush.routine.elf.reader import MAX_RELOCATIONS, MAX_SYMBOLS, ElfFile, ElfRelocation, ElfSymbol, malformed

_DT_NULL, _DT_PLTRELSZ, _DT_HASH, _DT_STRTAB, _DT_SYMTAB, _DT_RELA, _DT_RELASZ, _DT_STRSZ = 0, 2, 4, 5, 6, 7, 8, 10
_DT_SYMBOLIC, _DT_REL, _DT_RELSZ, _DT_PLTREL, _DT_JMPREL, _DT_FLAGS = 16, 17, 18, 20, 23, 30
_DT_RELRSZ, _DT_RELR, _DT_GNU_HASH, _DT_FLAGS_1 = 35, 36, 0x6FFF_FEF5, 0x6FFF_FFFB
_DF_SYMBOLIC, _DF_1_PIE = 2, 0x0800_0000
MAX_TAGS = 1000


@dataclass(frozen=True, slots=True)
class Dynamic:
    """What the dynamic segment says.

    ``relocations`` are in the loader's order; ``symbols`` are those that they name, by number. ``shared``: what it
    exports may be another file's (it is not a program, and not linked with ``-Bsymbolic``).
    """

    relocations: tuple[ElfRelocation, ...]
    symbols: tuple[ElfSymbol, ...]
    shared: bool

    def symbol(self, relocation: ElfRelocation) -> ElfSymbol | None:
        """The symbol of a relocation; None if there is no such number."""
        return self.symbols[relocation.symbol] if relocation.symbol < len(self.symbols) else None

    def is_exported(self, symbol: ElfSymbol | None) -> bool:
        """Whether the loader may take another file's definition for this one of the file's (generic ABI, "Shared Object
        Dependencies"): a program's comes first, and a program has a copy of a variable that it uses."""
        default = symbol is not None and symbol.binding != "STB_LOCAL" and symbol.visibility == 0
        return self.shared and default and symbol is not None and symbol.section > 0


def read_dynamic(elf: ElfFile) -> Dynamic | None:
    """The dynamic segment of ``elf``, None if it has none. Raises InputError for one that does not hold together."""
    tags = _tags(elf)
    if tags is None:
        return None
    relocations = tuple(islice(_relocations(elf, tags), MAX_RELOCATIONS + 1))
    most = max((relocation.symbol for relocation in relocations), default=0)
    of_its_own = tags.get(_DT_FLAGS_1, 0) & _DF_1_PIE or tags.get(_DT_FLAGS, 0) & _DF_SYMBOLIC or _DT_SYMBOLIC in tags
    return Dynamic(relocations, tuple(_symbols(elf, tags, most)), elf.type == "ET_DYN" and not of_its_own)


def _tags(elf: ElfFile) -> dict[int, int] | None:
    """The entries of the dynamic segment by their tags, the first of each."""
    start = elf.dynamic
    if start is None:
        return None
    offset, size = start
    content = elf.data[offset : offset + size]
    form = "<qQ" if elf.bits == 64 else "<iI"
    tags: dict[int, int] = {}
    row = struct.calcsize(form)
    for number, (tag, value) in enumerate(struct.iter_unpack(form, content[: len(content) // row * row])):
        if tag == _DT_NULL:
            return tags
        if number >= MAX_TAGS:
            break
        tags.setdefault(tag, value)
    return malformed(elf.where, "its dynamic segment does not end")


def _content(elf: ElfFile, address: int, size: int | None, what: str) -> bytes:
    """So many bytes (all that there are if it is not said) that the file has for an address."""
    for segment in elf.segments:
        inside = address - segment["p_vaddr"]
        if 0 <= inside < segment["p_filesz"]:
            most = segment["p_filesz"] - inside
            if size is None or size <= most:
                start = segment["p_offset"] + inside
                return elf.data[start : start + (most if size is None else size)]
    return malformed(elf.where, f"{what} at {address:#x} is not loaded")


def _relocations(elf: ElfFile, tags: dict[int, int]) -> Iterator[ElfRelocation]:
    tables = [("SHT_RELR", _DT_RELR, _DT_RELRSZ), ("SHT_RELA", _DT_RELA, _DT_RELASZ), ("SHT_REL", _DT_REL, _DT_RELSZ)]
    tables.append(("SHT_RELA" if tags.get(_DT_PLTREL) == _DT_RELA else "SHT_REL", _DT_JMPREL, _DT_PLTRELSZ))
    seen: list[range] = []
    for kind, at, size in tables:
        if at not in tags or not tags.get(size):
            continue
        # Some linkers count those of the procedure linkage table among the others.
        if not any(tags[at] in one for one in seen):
            seen.append(range(tags[at], tags[at] + tags[size]))
            content = _content(elf, tags[at], tags[size], "a table of relocations")
            yield from elf.relocations_in(kind, content)


def _symbols(elf: ElfFile, tags: dict[int, int], most: int) -> Iterator[ElfSymbol]:
    """The dynamic symbols, ``most`` being the number of one that there surely is. How many there are only a hash table
    says."""
    if _DT_SYMTAB not in tags:
        return
    if _DT_HASH in tags:
        _, chains = struct.unpack("<II", _content(elf, tags[_DT_HASH], 8, "the hash table of symbols"))
        most = max(most, chains - 1)
    if _DT_GNU_HASH in tags:
        most = max(most, _last_hashed(elf, tags[_DT_GNU_HASH]))
    if most >= MAX_SYMBOLS:
        raise InputError(f"{most + 1} symbols; at most {MAX_SYMBOLS} are read", where=elf.where)
    content = _content(elf, tags[_DT_SYMTAB], None, "the table of symbols")
    names = b""
    if _DT_STRTAB in tags:
        names = _content(elf, tags[_DT_STRTAB], tags.get(_DT_STRSZ), "the table of names")
    yield from elf.symbols_in(content, names, most + 1)


def _last_hashed(elf: ElfFile, address: int) -> int:
    """The number of the last symbol in the GNU hash table at an address: head, filter, a first symbol for each bucket,
    and a word for each symbol, of which the lowest bit says that the bucket ends (glibc's ``dl-lookup.c``)."""
    table = _content(elf, address, None, "the hash table of symbols")
    words = struct.unpack(f"<{len(table) // 4}I", table[: len(table) // 4 * 4])
    buckets, first, filters = words[:3] if len(words) > 3 else (0, 0, 0)
    start = 4 + filters * elf.bits // 32
    last = max(words[start : start + buckets], default=0)
    chain = start + buckets - first
    while last >= first > 0 and 0 <= chain + last < len(words) and not words[chain + last] & 1:
        last += 1
    return last
