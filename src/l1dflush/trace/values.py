"""Unknown values: what nobody defined, and what was computed from it.

A known value is simply what the emulator has. An unknown one gets a *marker*: an address in the middle of an
otherwise empty window of the address space. The emulator then computes with the marker, so that ``p + 64`` is
still recognisably ``p``, 64 bytes on, and memory can be mapped there the moment it is used as an address.
The same origin always gives the same unknown value with the same marker: that is what makes a flag, once
decided, stay decided.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from typing import Literal

from l1dflush.errors import UndecidedError
from l1dflush.trace.model import MANY, POINTER_ALIGNMENT, Arena, ArenaKind

# Beyond this many sources, values loaded from memory are summed up.
MOST_SOURCES = 32
# How many sources the name of a piece of memory lists.
MOST_NAMES = 6
# How many of the values handed out last are in use although neither a register nor memory holds them yet.
IN_FLIGHT = 32


def identity(origin: Hashable) -> str:
    """A short name for an origin, the same in every path. Origins are nested; their digests are not, so that
    a list that is followed a thousand times has no name a thousand levels deep."""
    return hashlib.blake2b(repr(origin).encode(), digest_size=12).hexdigest()


@dataclass(frozen=True, slots=True)
class Unknown:
    """One unknown value. ``uid`` is the identity of its origin: equal ones are equal values, on all paths.
    ``marker`` stands for it in the emulator; ``sources`` are the names of what it came from; ``arena`` is the
    memory it points to if it is used as an address. ``lost`` marks a value that an instruction which was
    stepped over would have written: nothing may depend on it. ``exact`` is the size in bytes of what its one
    source names, if the value is that and not something computed from it, else 0."""

    uid: str
    marker: int
    sources: tuple[str, ...]
    arena: Arena
    lost: bool = False
    exact: int = 0


def _few(sources: Iterable[str]) -> tuple[str, ...]:
    """The names, sorted. A sum over a buffer comes from thousands of values: of those loaded from memory behind
    pointers some are kept, and :data:`MANY` stands for the others."""
    names = sorted(set(sources))
    if len(names) <= MOST_SOURCES:
        return tuple(names)
    loaded = [name for name in names if name.startswith("[")]
    dropped = set(loaded[MOST_SOURCES // 2 :])
    return tuple(sorted({MANY, *(name for name in names if name not in dropped)}))


class Unknowns:
    """All unknown values of one path, by origin.

    Windows are 4 GiB wide in 64-bit mode and 2 MiB in 32-bit mode; a marker lies in the middle of its own.
    """

    def __init__(self, bits: Literal[32, 64]) -> None:
        self._by_uid: dict[str, Unknown] = {}
        self._by_window: dict[int, Unknown] = {}
        # Windows in which the routine uses addresses that it simply knows: no marker may come to lie there.
        self._reserved: set[int] = set()
        self._in_flight: deque[Unknown] = deque(maxlen=IN_FLIGHT)
        self._next = 0
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
        exact: int = 0,
    ) -> Unknown:
        """The unknown value of ``origin``, made when it is seen for the first time.

        ``name`` is what the report calls the memory it points to; ``alignment`` that of this memory.
        """
        uid = identity(origin)
        value = self._by_uid.get(uid)
        if value is None:
            names = _few(sources)
            window = self._free_window()
            marker = self._start + (window << self._shift) + self.reach
            shown = [f"`{n}`" for n in names[:MOST_NAMES]] + ["more"] * (len(names) > MOST_NAMES)
            text = name or f"what {' and '.join(shown)} leads to"
            arena = Arena(f"unknown:{uid}", kind, text, alignment, sources=names)
            value = Unknown(uid, marker, names, arena, lost, exact if len(names) == 1 else 0)
            self._by_uid[uid] = value
            self._by_window[window] = value
        self._in_flight.append(value)
        return value

    def at(self, address: int) -> Unknown | None:
        """The unknown value in whose window ``address`` lies."""
        return self._by_window.get((address - self._start) >> self._shift)

    def reserve(self, address: int) -> bool:
        """Keeps markers away from a known address; False if an unknown value has its window already."""
        window = (address - self._start) >> self._shift
        if not 0 <= window < self._windows:
            return True
        self._reserved.add(window)
        return window not in self._by_window

    def _free_window(self) -> int:
        for _ in range(2):
            while self._next < self._windows:
                window, self._next = self._next, self._next + 1
                if window not in self._by_window and window not in self._reserved:
                    return window
            self._recycle()
        raise UndecidedError("too-many-unknown-values", f"more than {self._windows} unknown values at once")

    def _recycle(self) -> None:
        """Frees the windows of values that nothing holds any more."""
        held = {value.uid for value in (*self.in_use(), *self._in_flight)}
        for uid, value in list(self._by_uid.items()):
            if uid not in held:
                del self._by_uid[uid]
                del self._by_window[(value.marker - self._start) >> self._shift]
        # With nearly all of them in use every new value would mean another search.
        if len(self._by_window) + len(self._reserved) > self._windows * 7 // 8:
            raise UndecidedError(
                "too-many-unknown-values", f"nearly {self._windows} unknown values in use at the same time"
            )
        self._next = 0
