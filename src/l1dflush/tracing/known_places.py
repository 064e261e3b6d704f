# SPDX-License-Identifier: GPL-2.0-or-later
"""Places of which something is known: bases, variables, segments."""

from __future__ import annotations

from l1dflush.routine.model import Image
from l1dflush.tracing.lift import Lifter


class KnownPlaces:
    """What the terms and addresses of one machine are places in."""

    def __init__(self, image: Image, lifter: Lifter) -> None:
        self._image = image
        self._lifter = lifter
        self._machine = lifter.machine
        self._bases: dict[int, int] = {}

    def in_segment(self, region: int) -> tuple[str, int | None] | None:
        """The segment register that a region is relative to, and the base that is added to it, if there is one; None if
        the region is anything else."""
        value = self._machine.terms.value(region)
        kind, _, _, _, addends, _ = self._machine.described(value)
        atoms = [value] if kind == "symbol" else [atom for atom, factor in addends if factor == 1]
        if kind not in ("symbol", "sum") or len(atoms) > 2 or (kind == "sum" and len(addends) != len(atoms)):
            return None
        segments = {self._machine.slot(part.slot).term: name for name, part in self._lifter.segments.items()}
        found = [segments[atom.term] for atom in atoms if atom.term in segments]
        others = [self.base_of(atom.term) for atom in atoms if atom.term not in segments]
        if len(found) != 1 or None in others:
            return None
        return found[0], others[0] if others else None

    def base_of(self, region: int) -> int | None:
        """The section's or outside symbol's base that a region is."""
        bases = self._lifter.bases
        if len(self._bases) < len(bases.section_of) + len(bases.external_of):  # some are made while the code runs
            self._bases = {self._machine.base(n).term: n for n in (*bases.section_of, *bases.external_of)}
        return self._bases.get(region)

    def symbol_at(self, address: int, lowest: int) -> tuple[str, int]:
        """The data symbol that the address is nearest behind, and how far."""
        if (slot := self._image.slot_at(address)) is not None:
            return slot.name, 0
        found = [
            (symbol.address, name)
            for name, symbol in self._image.symbols.items()
            if symbol.defined and not symbol.function and lowest <= symbol.address <= address
        ]
        if not found:
            return f"[{address:#x}]", 0
        at, name = max(found)
        return name, address - at

    def is_base(self, base: int, symbol: int) -> bool:
        """Whether a symbol is the base of that number."""
        value = self._machine.base(base)
        return bool(value.term) and self._machine.described(value)[5] == symbol
