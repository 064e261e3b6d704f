"""Unknown values: what nobody defined, and what was computed from it.

A known value is simply what the emulator has. An unknown one gets a *marker*: an address in the middle of an
otherwise empty window of the address space. The emulator then computes with the marker, so that ``p + 64`` is
still recognisably ``p``, 64 bytes on, and memory can be mapped there the moment it is used as an address.
The same origin always gives the same unknown value with the same marker: that is what makes a flag, once
decided, stay decided.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from typing import Literal

from l1dflush.errors import UndecidedError
from l1dflush.trace.model import Arena, ArenaKind

# Alignment in bytes of an object that an unknown pointer points to: what every allocator grants.
POINTER_ALIGNMENT = 8


@dataclass(frozen=True, slots=True)
class Unknown:
    """One unknown value. ``marker`` stands for it in the emulator; ``sources`` are the names of what it came
    from; ``arena`` is the memory it points to if it is used as an address. ``lost`` marks a value that an
    instruction which was stepped over would have written: nothing may depend on it."""

    uid: int
    marker: int
    sources: tuple[str, ...]
    arena: Arena
    lost: bool = False


class Unknowns:
    """All unknown values of one path, by origin.

    Windows are 4 GiB wide in 64-bit mode and 2 MiB in 32-bit mode; a marker lies in the middle of its own.
    """

    def __init__(self, bits: Literal[32, 64]) -> None:
        self._by_origin: dict[Hashable, Unknown] = {}
        self._by_window: dict[int, Unknown] = {}
        self._next = 0
        self._made = 0
        if bits == 64:
            self._start, self._shift, self._windows = 0x1000_0000_0000, 32, 0x4000
        else:
            self._start, self._shift, self._windows = 0x8000_0000, 21, 0x3C0
        # Who still holds unknown values: asked when the windows run out.
        self.in_use: Callable[[], Iterable[Unknown]] = lambda: ()

    @property
    def reach(self) -> int:
        """How far from its marker, in bytes, an address may lie."""
        return 1 << (self._shift - 1)

    def get(
        self,
        origin: Hashable,
        sources: Iterable[str],
        *,
        name: str | None = None,
        kind: ArenaKind = ArenaKind.INPUT,
        alignment: int = POINTER_ALIGNMENT,
        lost: bool = False,
    ) -> Unknown:
        """The unknown value of ``origin``, made when it is seen for the first time.

        ``name`` is what the report calls the memory it points to; ``alignment`` that of this memory.
        """
        known = self._by_origin.get(origin)
        if known is not None:
            return known
        names = tuple(sorted(set(sources)))
        if self._next >= self._windows:
            self._recycle()
        window = self._next
        while window in self._by_window:
            window += 1
        self._next = window + 1
        marker = self._start + (window << self._shift) + self.reach
        self._made += 1
        text = name or ("what " + " and ".join(f"`{n}`" for n in names) + " leads to")
        arena = Arena(f"unknown:{origin}", kind, text, alignment)
        value = Unknown(self._made, marker, names, arena, lost)
        self._by_origin[origin] = value
        self._by_window[window] = value
        return value

    def at(self, address: int) -> Unknown | None:
        """The unknown value in whose window ``address`` lies."""
        return self._by_window.get((address - self._start) >> self._shift)

    def _recycle(self) -> None:
        """Frees the windows of values that nothing holds any more."""
        held = {value.uid for value in self.in_use()}
        for origin, value in list(self._by_origin.items()):
            if value.uid not in held:
                del self._by_origin[origin]
                del self._by_window[(value.marker - self._start) >> self._shift]
        self._next = 0
        if len(self._by_window) >= self._windows:
            raise UndecidedError("too-many-unknown-values", f"more than {self._windows} unknown values at once")
