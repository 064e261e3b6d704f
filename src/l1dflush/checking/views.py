# SPDX-License-Identifier: GPL-2.0-or-later
"""How the states of a certificate are written, and what the policy does to a set that is written so.

``ways``: the policy's state as it is, and per way what it holds.

``positions``: many policies are symmetric: what they do depends only on where each way stands as seen from the
policy's own pointers (its position), and on a residue of the state. Then the residue, and per position what it holds,
are enough. That the policy really is symmetric is not believed: :class:`Positions` compares all its states.
Positions do not tell in which order invalid ways are filled. So any of them may be the one: that is more than can
happen, and what holds for all of it holds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache
from operator import itemgetter
from typing import NamedTuple, Protocol

from l1dflush.cache.policy.model import Policy, State, Symmetric

Holds = tuple[int, ...]
Arrange = Callable[[Holds], Holds]


class Move(NamedTuple):
    """What an operation may do: the way (or position) where the line is, the next state of the policy, and how what
    the set holds is rearranged then."""

    place: int
    policy: State
    arrange: Arrange


class View(Protocol):
    """A way to write states. ``places`` are ways or positions."""

    def seen(self, state: State) -> State:
        """What is written of a policy state."""

    def hits(self, policy: State, place: int) -> tuple[Move, ...]:
        """What a hit may do."""

    def misses(self, policy: State) -> tuple[Move, ...]:
        """What a miss in a full set may do."""

    def fills(self, policy: State, place: int) -> tuple[Move, ...]:
        """What filling an invalid place may do."""

    def first_filled(self, invalid: frozenset[int], perhaps: frozenset[int]) -> list[tuple[int, frozenset[int]]]:
        """Which place a miss may fill, if some are invalid and some others are ``perhaps``; and which of the
        latter are valid in that case."""


class Ways:
    """A set by its ways."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self.hits = cache(self._hits)
        self.misses = cache(self._misses)
        self.fills = cache(self._fills)

    def seen(self, state: State) -> State:
        return state

    def first_filled(self, invalid: frozenset[int], perhaps: frozenset[int]) -> list[tuple[int, frozenset[int]]]:
        out = []
        for way in perhaps:
            # If it is invalid and the first to be filled, those that come before it are not invalid.
            if self._policy.invalid_way(invalid | {way}) == way:
                out.append((way, self._before(way, perhaps)))
        if invalid:
            way = self._policy.invalid_way(invalid)
            out.append((way, self._before(way, perhaps)))
        return out

    def _before(self, way: int, others: frozenset[int]) -> frozenset[int]:
        return frozenset(other for other in others - {way} if self._policy.invalid_way({other, way}) == other)

    def _hits(self, policy: State, place: int) -> tuple[Move, ...]:
        return tuple(Move(place, to, _as_it_is) for to in self._policy.hits(policy, place))

    def _misses(self, policy: State) -> tuple[Move, ...]:
        return tuple(Move(choice.way, choice.state, _as_it_is) for choice in self._policy.misses(policy))

    def _fills(self, policy: State, place: int) -> tuple[Move, ...]:
        return tuple(Move(place, choice.state, _as_it_is) for choice in self._policy.fills(policy, place))


class AsymmetricError(Exception):
    """The policy is not symmetric, or does not say how."""


# Of one residue: what each operation may do. The key is "hit" or "fill" and the position, or "miss" and -1; an outcome
# is the position where the line goes, the next residue, and for each position the one that its content comes from.
_Table = dict[tuple[str, int], frozenset[tuple[int, State, tuple[int, ...]]]]


class Positions:
    """A set by the positions that ``policy`` says. ``states``: all that can occur, see
    :func:`l1dflush.checking.start.all_after`. Raises AsymmetricError."""

    def __init__(self, policy: Policy, states: Iterable[State]) -> None:
        if not isinstance(policy, Symmetric):
            raise AsymmetricError("the policy has no positions")
        self._policy = policy
        self._positions: dict[State, tuple[int, ...]] = {}
        tables: dict[State, _Table] = {}
        for state in states:
            table = self._table(policy, policy, state)
            if tables.setdefault(policy.residue(state), table) != table:
                raise AsymmetricError("two states of the policy with the same residue do different things")
        self._moves: dict[State, dict[tuple[str, int], tuple[Move, ...]]] = {
            residue: {
                key: tuple(Move(place, to, _arrangement(order)) for place, to, order in sorted(outcomes))
                for key, outcomes in table.items()
            }
            for residue, table in tables.items()
        }
        self._symmetric = policy

    def seen(self, state: State) -> State:
        return self._symmetric.residue(state)

    def hits(self, policy: State, place: int) -> tuple[Move, ...]:
        return self._moves[policy]["hit", place]

    def misses(self, policy: State) -> tuple[Move, ...]:
        return self._moves[policy]["miss", -1]

    def fills(self, policy: State, place: int) -> tuple[Move, ...]:
        return self._moves[policy]["fill", place]

    def first_filled(self, invalid: frozenset[int], perhaps: frozenset[int]) -> list[tuple[int, frozenset[int]]]:
        return [(place, frozenset()) for place in invalid | perhaps]

    def _table(self, policy: Policy, symmetric: Symmetric, state: State) -> _Table:
        """What happens from ``state``, in positions."""
        before = self._places(symmetric, state)

        def outcome(way: int, to: State) -> tuple[int, State, tuple[int, ...]]:
            after = self._places(symmetric, to)
            comes_from = [0] * policy.ways
            for old, new in zip(before, after, strict=True):
                comes_from[new] = old
            return before[way], symmetric.residue(to), tuple(comes_from)

        table: _Table = {("miss", -1): frozenset(outcome(c.way, c.state) for c in policy.misses(state))}
        for way, place in enumerate(before):
            table["hit", place] = frozenset(outcome(way, to) for to in policy.hits(state, way))
            if policy.has_fills:
                table["fill", place] = frozenset(outcome(way, c.state) for c in policy.fills(state, way))
        return table

    def _places(self, policy: Symmetric, state: State) -> tuple[int, ...]:
        """The position of each way."""
        if state not in self._positions:
            ways = range(self._policy.ways)
            places = tuple(policy.position(state, way) for way in ways)
            if sorted(places) != list(ways):
                raise AsymmetricError("the positions are no permutation of the ways")
            self._positions[state] = places
        return self._positions[state]


def _as_it_is(holds: Holds) -> Holds:
    return holds


def _arrangement(comes_from: tuple[int, ...]) -> Arrange:
    # itemgetter gives no tuple for a single index; a set of one way is never rearranged.
    return itemgetter(*comes_from) if len(comes_from) > 1 else _as_it_is
