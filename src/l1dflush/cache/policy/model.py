# SPDX-License-Identifier: GPL-2.0-or-later
"""What every replacement policy of the plain side looks like.

A policy works on the ways ``0 .. ways-1`` of one set. Its state is a tuple of small integers. It never sees
lines. On a miss an invalid way is filled first; in a full set the policy names a victim.

The policies here are the twins of those in ``core/policy``. They share no code with them and are written to be
read: the compiled ones prove, these ones check (every counterexample is replayed here before anybody sees it).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection
from dataclasses import dataclass
from fractions import Fraction
from typing import ClassVar, Protocol, runtime_checkable

State = tuple[int, ...]

CERTAIN = Fraction(1)


@dataclass(frozen=True, slots=True)
class Choice:
    """One thing that a miss may do: put its line into ``way``, after which the policy is in ``state``.

    ``chance`` is its probability; ``None`` where nobody knows it and the adversary chooses.
    """

    way: int
    state: State
    chance: Fraction | None = CERTAIN


@dataclass(frozen=True, slots=True)
class Node:
    """An inner node of a tree over the ways ``first`` to ``last``; the root's ``level`` is 0.

    It points to the ``points_to``-th of its ``children``, where the victim is.
    """

    level: int
    first: int
    last: int
    points_to: int
    children: int


@dataclass(frozen=True, slots=True)
class Picture:
    """A state laid out over the ways, to be drawn: a text per way in each of the named ``rows``, and a tree."""

    rows: tuple[tuple[str, tuple[str, ...]], ...] = ()
    nodes: tuple[Node, ...] = ()


def mark(ways: int, *marked: int) -> tuple[str, ...]:
    """A row with a star at the ``marked`` ways."""
    return tuple("*" if way in marked else "" for way in range(ways))


class Policy(Protocol):
    """A replacement policy at a fixed number of ways. It never changes, and can be a key."""

    def __hash__(self) -> int: ...

    @property
    def name(self) -> str:
        """The canonical name."""

    @property
    def ways(self) -> int:
        """How many ways the set has."""

    @property
    def rule(self) -> str:
        """The policy in one line."""

    @property
    def has_fills(self) -> bool:
        """Whether it is known what filling an invalid way does; always, except for some machines from files."""

    def empty(self) -> State:
        """The state of a set in which nothing was ever cached (without fills: of a full set, at the start)."""

    def hit(self, state: State, way: int) -> State:
        """The state after an access that found its line in ``way``.

        Raises ``ValueError`` if several states are possible.
        """

    def hits(self, state: State, way: int) -> tuple[State, ...]:
        """All states that may follow a hit in ``way``; the adversary chooses."""

    def misses(self, state: State) -> tuple[Choice, ...]:
        """All that a miss in a full set may do."""

    def fills(self, state: State, way: int) -> tuple[Choice, ...]:
        """All that filling the invalid ``way`` may do.

        Raises ``ValueError`` if the policy does not have fills.
        """

    def invalid_way(self, invalid: Collection[int]) -> int:
        """Which of the ``invalid`` ways (at least one) a miss fills."""

    def render(self, state: State) -> str:
        """The state in a few words, for a person."""

    def picture(self, state: State) -> Picture:
        """The state laid out over the ways; empty if nothing of it belongs to a way."""


@runtime_checkable
class Symmetric(Protocol):
    """A policy for which renaming the ways by certain permutations changes nothing.

    What it does depends on the residue and on the positions of the ways only.
    """

    def position(self, state: State, way: int) -> int:
        """Where ``way`` stands as seen from the state's own pointers: a permutation of the ways."""

    def residue(self, state: State) -> State:
        """What the state becomes when every way is renamed to its position; empty if that is always the same."""


class OneHit(ABC):
    """Base of the policies whose hits leave no choice and that fill the lowest invalid way first."""

    has_fills: ClassVar[bool] = True

    @abstractmethod
    def hit(self, state: State, way: int) -> State:
        """The state after an access that found its line in ``way``."""

    def hits(self, state: State, way: int) -> tuple[State, ...]:
        """The one state that :meth:`hit` gives."""
        return (self.hit(state, way),)

    def invalid_way(self, invalid: Collection[int]) -> int:
        """The lowest."""
        return min(invalid)


class Deterministic(OneHit):
    """Base of the policies that never have a choice."""

    @abstractmethod
    def victim(self, state: State) -> int:
        """The way that the next miss replaces, all ways being valid."""

    @abstractmethod
    def fill(self, state: State, way: int, was_invalid: bool) -> State:
        """The state after a miss put its line into ``way``, which was the victim or (``was_invalid``) invalid."""

    def misses(self, state: State) -> tuple[Choice, ...]:
        """The victim is replaced."""
        way = self.victim(state)
        return (Choice(way, self.fill(state, way, False)),)

    def fills(self, state: State, way: int) -> tuple[Choice, ...]:
        """The invalid way is filled."""
        return (Choice(way, self.fill(state, way, True)),)
