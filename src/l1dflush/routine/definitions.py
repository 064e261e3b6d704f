# SPDX-License-Identifier: GPL-2.0-or-later
"""What symbols of relocatable files stand for: one place or several, here or elsewhere, and for how long."""

from __future__ import annotations

from collections.abc import Sequence
from math import gcd

from l1dflush.routine.elf.reader import ElfFile
from l1dflush.routine.elf.resolve import COMMON, UNDEFINED, Reference, Resolution, in_groups
from l1dflush.routine.elf.symbol_table import INDIRECT

# Why another file's definition may take a symbol's place.
WEAK = "it is weak"
GROUPED = "it is in a group of which one file's copy is kept"
# What GCC puts into groups has the same code in every file.
_THUNKS = "__x86.get_pc_thunk."

# What is one place: a name that all files share, or a symbol of one file.
Key = str | Reference


class Definitions:
    """Those of ``files``, whose names ``resolution`` has resolved."""

    def __init__(self, files: Sequence[ElfFile], resolution: Resolution) -> None:
        self._files = files
        self._resolution = resolution
        self._grouped = [in_groups(file) for file in files]
        self._required: set[str] | None = None

    def key(self, at: Reference) -> Key:
        """What stands for the place that ``at`` means: the same for all files if its name is."""
        at = self._resolution.meant(at)
        symbol = self._resolution.symbol(at)
        return symbol.name if symbol is not None and at.symbol and self._resolution.shared(at) else at

    def is_outside(self, at: Reference) -> bool:
        """Whether no file defines what ``at`` means, or a resolver chooses it when the file is loaded."""
        symbol = self._resolution.symbol(at)
        if symbol is None or not at.symbol:
            return False
        gone = (at.file, symbol.section) in self._resolution.discarded
        return symbol.section == UNDEFINED or symbol.kind == INDIRECT or (gone and self._resolution.shared(at))

    def exported(self, at: Reference) -> int:
        """The alignment in bytes of what ``at`` means, if a loader may take another file's definition for it once it is
        in a shared object; else 0. Who asks the global offset table for it leaves that to the loader."""
        symbol = self._resolution.symbol(at)
        if symbol is None or not self._resolution.shared(at) or symbol.visibility:
            return 0
        if symbol.section == COMMON:
            return max(self._resolution.common(at)[1], 1)
        if symbol.section <= 0:
            return 0
        return gcd(symbol.value, max(self._files[at.file].sections[symbol.section]["sh_addralign"], 1))

    def replaceable(self, at: Reference) -> str:
        """Why a linker may take another file's definition for ``at``, which is meant; empty if it may not."""
        symbol = self._resolution.symbol(at)
        if symbol is None or not at.symbol or self.is_outside(at) or not self._resolution.shared(at):
            return ""
        if symbol.binding == "STB_WEAK":
            return WEAK
        is_gccs = symbol.name.startswith(_THUNKS)
        return GROUPED if symbol.section in self._grouped[at.file] and not is_gccs else ""

    def may_be_absent(self, at: Reference) -> bool:
        """Whether a program can do without what ``at`` means: no file defines it, and none asks for more."""
        symbol = self._resolution.symbol(at)
        if symbol is None or symbol.binding != "STB_WEAK" or not self.is_outside(at) or symbol.kind == INDIRECT:
            return False
        if self._required is None:
            undefined = (s for file in self._files for s in file.symbols if s.section == UNDEFINED)
            self._required = {s.name for s in undefined if s.binding == "STB_GLOBAL"}
        return symbol.name not in self._required
