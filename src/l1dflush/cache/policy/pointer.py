# SPDX-License-Identifier: GPL-2.0-or-later
"""FIFO and CLOCK: a pointer goes round the ways."""

from __future__ import annotations

from typing import ClassVar

from l1dflush.cache.policy.model import Deterministic, Picture, State, mark


class Fifo(Deterministic):
    """State: one number, the way that is replaced next. A fill of an invalid way moves it behind that way."""

    name: ClassVar[str] = "FIFO"
    rule: ClassVar[str] = "the ways are replaced in turn; hits change nothing"

    def __init__(self, ways: int) -> None:
        self.ways = ways

    def empty(self) -> State:
        return (0,)

    def hit(self, state: State, way: int) -> State:
        return state

    def victim(self, state: State) -> int:
        return state[0]

    def fill(self, state: State, way: int, was_invalid: bool) -> State:
        return ((way + 1) % self.ways,)

    def position(self, state: State, way: int) -> int:
        return (way - state[0]) % self.ways

    def residue(self, state: State) -> State:
        return ()

    def picture(self, state: State) -> Picture:
        return Picture((("pointer", mark(self.ways, state[0])),))

    def render(self, state: State) -> str:
        return f"next {state[0]}"


class Clock(Deterministic):
    """State: the pointer, then one bit per way."""

    name: ClassVar[str] = "CLOCK"
    rule: ClassVar[str] = "a pointer passes the ways hit since it came by last and replaces the first other one"

    def __init__(self, ways: int) -> None:
        self.ways = ways

    def empty(self) -> State:
        return (0,) * (self.ways + 1)

    def hit(self, state: State, way: int) -> State:
        bits = list(state[1:])
        bits[way] = 1
        return (state[0], *bits)

    def victim(self, state: State) -> int:
        return self._stopped(state)[0]

    def fill(self, state: State, way: int, was_invalid: bool) -> State:
        if was_invalid:
            return self.hit(state, way)
        _, bits = self._stopped(state)
        bits[way] = 1
        return ((way + 1) % self.ways, *bits)

    def position(self, state: State, way: int) -> int:
        return (way - state[0]) % self.ways

    def residue(self, state: State) -> State:
        pointer, *bits = state
        return (0, *bits[pointer:], *bits[:pointer])

    def picture(self, state: State) -> Picture:
        return Picture((("bit", tuple(map(str, state[1:]))), ("pointer", mark(self.ways, state[0]))))

    def render(self, state: State) -> str:
        return f"next {state[0]}, bits " + "".join(map(str, state[1:]))

    def _stopped(self, state: State) -> tuple[int, list[int]]:
        """Where the pointer stops, and the bits by then."""
        pointer, *bits = state
        while bits[pointer]:
            bits[pointer] = 0
            pointer = (pointer + 1) % self.ways
        return pointer, bits
