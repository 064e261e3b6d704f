# SPDX-License-Identifier: GPL-2.0-or-later
"""One set of a cache, driven by what can be done to it from outside: accesses, and invalidations by clflush."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeVar

from l1dflush.cache.policies import Policy, State
from l1dflush.errors import UndecidedError
from l1dflush.silicon.drive.symmetry import symmetry

Content = tuple[int | None, ...]
Key = tuple[State, Content, bool]

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Act:
    """An access to a line, by its number; with ``flush`` its invalidation. Of :data:`EVERY` line there is only that."""

    line: int
    flush: bool = False


EVERY = -1
FLUSH_EVERYTHING = Act(EVERY, flush=True)


class PlainSet:
    """``content``: the number of the line in each way, None where it is invalid. Lines below 0 are somebody else's."""

    __slots__ = ("content", "policy", "state")

    def __init__(self, policy: Policy, state: State, content: Iterable[int | None]) -> None:
        self.policy = policy
        self.state = state
        self.content = list(content)

    def copy(self) -> PlainSet:
        """Another set like this one."""
        return PlainSet(self.policy, self.state, self.content)

    def act(self, act: Act) -> bool | None:
        """Whether the access hits; None for an invalidation.

        Raises UndecidedError where the policy leaves a choice, ValueError for a fill that it does not know.
        """
        if act.flush and act.line == EVERY:
            self.content = [None] * len(self.content)
            return None
        way = self.content.index(act.line) if act.line in self.content else None
        if act.flush:
            if way is not None:
                self.content[way] = None
            return None
        if way is not None:
            self.state = _hit(self.policy, self.state, way)
            return True
        way, self.state = missed(self.policy, self.state, self.invalid)
        self.content[way] = act.line
        return False

    def play(self, acts: Iterable[Act]) -> list[bool | None]:
        """What each of them does."""
        return [self.act(act) for act in acts]

    @property
    def invalid(self) -> list[int]:
        """The invalid ways."""
        return [way for way, line in enumerate(self.content) if line is None]

    @property
    def key(self) -> Key:
        """The same for two sets of which no access tells which is which.

        Of a symmetric policy the names of the ways do not count, unless there are invalid ones: the lowest is filled.
        """
        seen_by = symmetry(self.policy)
        if seen_by is None or None in self.content:
            return self.state, tuple(self.content), False
        placed = sorted((seen_by.position(self.state, way), line) for way, line in enumerate(self.content))
        return seen_by.residue(self.state), tuple(line for _, line in placed), True


def missed(policy: Policy, state: State, invalid: Sequence[int]) -> tuple[int, State]:
    """The way that a miss fills, and the state after it. Raises as :meth:`PlainSet.act`."""
    return _missed(policy, state, policy.invalid_way(invalid) if invalid else None)


# Many sets are played at once, and soon most of them are in few states.
@lru_cache(maxsize=1 << 14)
def _missed(policy: Policy, state: State, invalid: int | None) -> tuple[int, State]:
    choices = policy.misses(state) if invalid is None else policy.fills(state, invalid)
    return only(tuple((choice.way, choice.state) for choice in choices), policy)


@lru_cache(maxsize=1 << 14)
def _hit(policy: Policy, state: State, way: int) -> State:
    return only(policy.hits(state, way), policy)


def only(choices: Sequence[_T], policy: Policy) -> _T:
    """The one thing that can happen. Raises UndecidedError where there are several."""
    if len(choices) > 1 and any(choice != choices[0] for choice in choices):
        raise UndecidedError(
            "not-drivable", f"{policy.name} leaves choices, so that no accesses lead to one certain state"
        )
    return choices[0]


def beginnings(policy: Policy, lines: int, count: int, seed: int, *, others: bool) -> list[PlainSet]:
    """Sets as they may be found, at random: after hits, misses and invalidations among lines of ours (0 to ``lines``),
    and of somebody else's with ``others``."""
    order = random.Random(seed)
    return [_beginning(policy, lines, order, others and number % 2 == 0) for number in range(count)]


def _beginning(policy: Policy, lines: int, order: random.Random, others: bool) -> PlainSet:
    ways = policy.ways
    names = [*range(lines), *(range(-2 - ways, -1) if others else ())]
    # Among few lines most accesses hit, among many they miss.
    if order.random() < 0.5:
        names = order.sample(names, min(ways + 2, len(names)))
    found = PlainSet(policy, policy.empty(), [None] * ways)
    if not policy.has_fills:
        found.content = list(order.sample(range(max(lines, ways)), ways))
    flushes = policy.has_fills and order.random() < 0.5
    for _ in range(order.randrange(8 * ways)):
        found.act(Act(order.choice(names), flushes and order.random() < 0.1))
    return found
