# SPDX-License-Identifier: GPL-2.0-or-later
"""Random replacement."""

from __future__ import annotations

from fractions import Fraction
from typing import ClassVar

from l1dflush.cache.policy.model import Choice, OneHit, Picture, State


class RandomWay(OneHit):
    """No state."""

    name: ClassVar[str] = "random"
    rule: ClassVar[str] = "any way is replaced, each with the same chance"

    def __init__(self, ways: int) -> None:
        self.ways = ways

    def empty(self) -> State:
        return ()

    def hit(self, state: State, way: int) -> State:
        return state

    def misses(self, state: State) -> tuple[Choice, ...]:
        return tuple(Choice(way, state, Fraction(1, self.ways)) for way in range(self.ways))

    def fills(self, state: State, way: int) -> tuple[Choice, ...]:
        return (Choice(way, state),)

    def position(self, state: State, way: int) -> int:
        return way

    def residue(self, state: State) -> State:
        return ()

    def picture(self, state: State) -> Picture:
        return Picture()

    def render(self, state: State) -> str:
        return "none"
