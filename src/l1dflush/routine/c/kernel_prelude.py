# SPDX-License-Identifier: GPL-2.0-or-later
"""The prelude: names that kernel code and C programs take from headers, given to the compiler on demand."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from importlib import resources

from l1dflush.routine.c.parsing import facts_of
from l1dflush.routine.c.text import WORD, cut, word_set

_MARK = "/* On demand */"
_FILE = "prelude.h"
_ERROR_NUMBERS = "prelude-errno.h"


@dataclass(frozen=True, slots=True)
class Prelude:
    """``always`` is C text; ``entries`` maps a name (``struct x`` for a tag) to the piece that defines it.

    A piece is its place in the file, its text and the words in it.
    """

    always: str
    always_names: frozenset[str]
    entries: dict[str, tuple[int, str, frozenset[str]]]

    @property
    def words(self) -> frozenset[str]:
        """All words in it."""
        return frozenset(self.entries).union(*(inner for _, _, inner in self.entries.values()))

    def pick(self, words: Iterable[str], defined: frozenset[str]) -> tuple[str, frozenset[str]]:
        """The C text that defines those of ``words`` which are here and not in ``defined``, and whatever that
        needs in turn; and the names that it defines."""
        todo = list(words)
        seen: set[str] = set()
        pieces: dict[int, str] = {}
        while todo:
            word = todo.pop()
            if word in seen or word in defined or word not in self.entries:
                continue
            seen.add(word)
            place, text, inner = self.entries[word]
            pieces[place] = text
            todo += inner
        return "\n".join(pieces[place] for place in sorted(pieces)) + "\n", frozenset(seen)

    def values(self, names: Iterable[str], given: frozenset[str]) -> dict[str, str]:
        """Those of ``names`` whose values other systems, other options or other programs have otherwise, each with what
        it is here; ``given`` are names that are defined."""
        found = {}
        for name in sorted(_SYSTEM & frozenset(names) & self.entries.keys()):
            found[name] = f"{self.entries[name][1].partition(name)[2].strip()} here"
        if "assert" in names and "NDEBUG" not in given:
            found["NDEBUG"] = "it is not defined, so assert() keeps its expression"
        return found


def configuration(given: frozenset[str]) -> str:
    """What assembly needs of it: how a configuration is asked for, and what that of every kernel for x86-64 has,
    without the names that are ``given``."""
    known = prelude()
    tests = ("IS_ENABLED", "IS_BUILTIN", "IS_MODULE", "IS_REACHABLE")
    always = [line for line in known.always.splitlines(keepends=True) if "__l1dflush_comma" in line]
    picked, _ = known.pick((*tests, "CONFIG_X86", "CONFIG_X86_64", "CONFIG_64BIT"), given)
    return "".join(always) + picked


# What is the same wherever the text may come from is not told.
_SYSTEM = word_set("PAGE_SHIFT PAGE_SIZE PAGE_MASK SMP_CACHE_BYTES L1_CACHE_SHIFT L1_CACHE_BYTES CACHE_LINE_SIZE HZ")


@cache
def prelude() -> Prelude:
    """The prelude that comes with the package, read once."""
    files = (resources.files("l1dflush").joinpath("data", name) for name in (_FILE, _ERROR_NUMBERS))
    text = "\n".join(file.read_text(encoding="ascii") for file in files)
    always, _, rest = text.partition(_MARK)
    demand = cut(rest, where=_FILE)
    entries: dict[str, tuple[int, str, frozenset[str]]] = {}
    for macro in demand.macros:
        entries[macro.name] = (macro.start, rest[macro.start : macro.end], macro.words)
    for item in demand.items:
        piece = rest[item.start : item.end].strip()
        words = frozenset(WORD.findall(demand.code, item.start, item.end))
        for name in facts_of(demand, item, where=_FILE).declared:
            # A tag and what has that tag in it are found by the bare word, which is what a text shows.
            entries[name.split()[-1]] = (item.start, piece, words)
    always_names = frozenset(macro.name for macro in cut(always, where=_FILE).macros)
    return Prelude(always, always_names, entries)
