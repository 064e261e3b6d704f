# SPDX-License-Identifier: GPL-2.0-or-later
"""LRU and its relatives: the ways in the order of their last hit. A miss replaces the oldest; they differ in where
it puts the new line.

State: the ways, newest first. Sources: Reineke, Grund, Berg, Wilhelm, "Timing predictability of cache replacement
policies" (2007) for LRU; Qureshi, Jaleel, Patt, Steely, Emer, "Adaptive insertion policies for high performance
caching" (2007) for LIP and BIP.
"""

from __future__ import annotations

from fractions import Fraction
from typing import ClassVar

from l1dflush.cache.policy.model import Choice, Deterministic, OneHit, Picture, State


class _Order(OneHit):
    def __init__(self, ways: int) -> None:
        self.ways = ways

    def empty(self) -> State:
        return tuple(reversed(range(self.ways)))

    def hit(self, state: State, way: int) -> State:
        return (way, *(other for other in state if other != way))

    def position(self, state: State, way: int) -> int:
        return state.index(way)

    def residue(self, state: State) -> State:
        return ()

    def picture(self, state: State) -> Picture:
        return Picture((("rank", tuple(str(state.index(way) + 1) for way in range(self.ways))),))

    def render(self, state: State) -> str:
        return "newest to oldest " + " ".join(map(str, state))


class Lru(_Order, Deterministic):
    """A new line is the newest."""

    name: ClassVar[str] = "LRU"
    rule: ClassVar[str] = "the way touched longest ago is replaced"

    def victim(self, state: State) -> int:
        return state[-1]

    def fill(self, state: State, way: int, was_invalid: bool) -> State:
        return self.hit(state, way)


class Lip(_Order, Deterministic):
    """A new line stays where the victim was, and goes first unless it is hit."""

    name: ClassVar[str] = "LIP"
    rule: ClassVar[str] = "as LRU, but a new line counts as the oldest until it is hit"

    def victim(self, state: State) -> int:
        return state[-1]

    def fill(self, state: State, way: int, was_invalid: bool) -> State:
        return state


class Bip(_Order):
    """One miss in 32 as LRU's, the others as LIP's."""

    name: ClassVar[str] = "BIP"
    rule: ClassVar[str] = "as LIP, but one miss in 32 (by chance) is as LRU's"

    def misses(self, state: State) -> tuple[Choice, ...]:
        return self.fills(state, state[-1])

    def fills(self, state: State, way: int) -> tuple[Choice, ...]:
        return (Choice(way, self.hit(state, way), Fraction(1, 32)), Choice(way, state, Fraction(31, 32)))
