# SPDX-License-Identifier: GPL-2.0-or-later
"""From the symbols of a file, placed in memory, to names with sizes and to the functions it offers."""

from __future__ import annotations

from bisect import bisect_right
from typing import NamedTuple

from l1dflush.routine.model import Section, Symbol

# STT_GNU_IFUNC, the kind of symbols whose address a resolver says, as pyelftools calls it.
INDIRECT = "STT_LOOS"
_CACHE_WORDS = ("l1d", "l1tf")
_FLUSH_WORDS = (*_CACHE_WORDS, "flush")


def speaks_of_cache(name: str) -> bool:
    """Whether a function of that name is probably about the L1D, and not about a TLB or a queue."""
    return any(word in name.lower() for word in _CACHE_WORDS)


def speaks_of_flush(name: str) -> bool:
    """Whether a function of that name is probably about flushing."""
    return any(word in name.lower() for word in _FLUSH_WORDS)


class PlacedSymbol(NamedTuple):
    """A symbol of the file at its address in the image; ``size`` as the file has it (0: not said).

    ``kind`` and ``binding`` are called as in pyelftools (``STT_FUNC``, ``STB_LOCAL``). ``file`` numbers the files
    that are taken together; ``original`` is the name that its own file has for it; ``replaceable`` is why a linker may
    take another file's definition for it, if it may.
    """

    name: str
    address: int
    size: int
    kind: str
    binding: str
    defined: bool
    file: int = 0
    original: str = ""
    replaceable: str = ""


class SectionMap:
    """Finds the section an address lies in."""

    def __init__(self, sections: list[Section]) -> None:
        self.ordered = sorted(sections, key=lambda s: s.address)
        self._starts = [s.address for s in self.ordered]

    def at(self, address: int) -> Section | None:
        index = bisect_right(self._starts, address) - 1
        if index >= 0 and address < self.ordered[index].address + self.ordered[index].size:
            return self.ordered[index]
        return None


def with_distinct_names(symbols: list[PlacedSymbol]) -> list[PlacedSymbol]:
    """``symbols`` with no name twice: of several of one name the first global one keeps it, the others become
    ``name#2``, ``name#3``."""
    seen: dict[str, int] = {}
    taken = {s.name for s in symbols}
    result = []
    for symbol in sorted(symbols, key=lambda s: s.binding == "STB_LOCAL"):
        number = seen.get(symbol.name, 0) + 1
        name = symbol.name
        if number > 1:
            while f"{symbol.name}#{number}" in taken:
                number += 1
            name = f"{symbol.name}#{number}"
        seen[symbol.name] = number
        result.append(symbol._replace(name=name, original=symbol.name))
    return result


def symbols_by_name(symbols: list[PlacedSymbol], sections: list[Section]) -> dict[str, Symbol]:
    """The image's symbols by name; the names must be distinct.

    A data symbol without a size reaches to the next symbol, or to its section's end. Code without a size
    keeps ``None``: hand-written code has labels in its middle.
    """
    by_address = SectionMap(sections)
    addresses = sorted({s.address for s in symbols if s.defined})
    result: dict[str, Symbol] = {}
    for symbol in symbols:
        section = by_address.at(symbol.address) if symbol.defined else None
        executable = section is not None and section.executable
        size: int | None = symbol.size or None
        if section is not None:
            end = section.address + section.size
            if size is None and not executable:
                following = bisect_right(addresses, symbol.address)
                if following < len(addresses):
                    end = min(end, addresses[following])
                size = end - symbol.address
            elif size is not None:
                size = min(size, end - symbol.address)
        result[symbol.name] = Symbol(
            name=symbol.name,
            address=symbol.address,
            size=size,
            defined=symbol.defined,
            function=executable and _is_code_label(symbol),
            size_told=bool(symbol.size),
            weak=symbol.defined and symbol.binding == "STB_WEAK",
            replaceable=symbol.replaceable,
        )
    return result


def _is_function(symbol: PlacedSymbol) -> bool:
    return symbol.kind in ("STT_FUNC", INDIRECT)


def _is_code_label(symbol: PlacedSymbol) -> bool:
    return _is_function(symbol) or (symbol.kind == "STT_NOTYPE" and not symbol.name.startswith(".L"))


def entry_points(symbols: list[PlacedSymbol], sections: list[Section]) -> dict[str, int]:
    """Where functions begin, by name: what the file calls functions; without any, its global labels; without
    those, the start of each piece of code.

    Labels are the last resort because in hand-written code a loop inside the function has one too.
    """
    by_address = SectionMap(sections)
    code: list[PlacedSymbol] = []
    for symbol in symbols:
        section = by_address.at(symbol.address) if symbol.defined else None
        if section is not None and section.executable and _is_code_label(symbol):
            code.append(symbol)
    for chosen in ([s for s in code if _is_function(s)], [s for s in code if s.binding != "STB_LOCAL"]):
        if chosen:
            return {s.name: s.address for s in sorted(chosen, key=lambda s: s.address)}
    labels = {s.address: s.name for s in reversed(code)}
    starts: dict[str, int] = {}
    for section in by_address.ordered:
        if section.executable and section.data:
            name = labels.get(section.address, section.name)
            starts[f"{name} at {section.address:#x}" if name in starts else name] = section.address
    return starts
