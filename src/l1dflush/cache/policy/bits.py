# SPDX-License-Identifier: GPL-2.0-or-later
"""bit-PLRU and NRU: one bit per way, set when the way is touched; the lowest way whose bit is clear is replaced.

Source for bit-PLRU (there: MRU): Reineke, Grund, Berg, Wilhelm (2007).
"""

from __future__ import annotations

from typing import ClassVar

from l1dflush.cache.policy.model import Deterministic, Picture, State


class BitPlru(Deterministic):
    """The bits are reset by the touch that would set the last one: only its own stays set."""

    name: ClassVar[str] = "bit-PLRU"
    rule: ClassVar[str] = "a touch sets the way's bit, the last one clears all others; the lowest clear bit is replaced"

    def __init__(self, ways: int) -> None:
        self.ways = ways

    def empty(self) -> State:
        return (0,) * self.ways

    def hit(self, state: State, way: int) -> State:
        bits = list(state)
        bits[way] = 1
        if all(bits):
            bits = [0] * self.ways
            bits[way] = 1
        return tuple(bits)

    def victim(self, state: State) -> int:
        # With a single way its bit is always set, and it is the victim all the same.
        return state.index(0) if self.ways > 1 else 0

    def fill(self, state: State, way: int, was_invalid: bool) -> State:
        return self.hit(state, way)

    def picture(self, state: State) -> Picture:
        return Picture((("bit", tuple(map(str, state))),))

    def render(self, state: State) -> str:
        return "bits " + "".join(map(str, state))


class Nru(Deterministic):
    """The bits are reset by a miss that finds all of them set, before it looks for its victim."""

    name: ClassVar[str] = "NRU"
    rule: ClassVar[str] = (
        "a touch sets the way's bit, a miss that finds all set clears them; the lowest clear bit is replaced"
    )

    def __init__(self, ways: int) -> None:
        self.ways = ways

    def empty(self) -> State:
        return (0,) * self.ways

    def hit(self, state: State, way: int) -> State:
        bits = list(state)
        bits[way] = 1
        return tuple(bits)

    def victim(self, state: State) -> int:
        return self._for_miss(state).index(0)

    def fill(self, state: State, way: int, was_invalid: bool) -> State:
        return self.hit(self._for_miss(state), way)

    def picture(self, state: State) -> Picture:
        return Picture((("bit", tuple(map(str, state))),))

    def render(self, state: State) -> str:
        return "bits " + "".join(map(str, state))

    def _for_miss(self, state: State) -> State:
        return self.empty() if all(state) else state
