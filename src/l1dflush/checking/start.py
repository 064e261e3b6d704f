# SPDX-License-Identifier: GPL-2.0-or-later
"""Which states a set may be in when the word begins, by plain enumeration."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TypeVar

from l1dflush.cache.policies import canonical_name, get_policy
from l1dflush.cache.policy.machine import MachinePolicy
from l1dflush.cache.policy.model import Policy, State
from l1dflush.checking.model import Machine
from l1dflush.errors import InputError, UndecidedError

_T = TypeVar("_T")

MAX_SET_STATES = 200_000
"""More states of an empty or full set than this are not enumerated."""


@dataclass(frozen=True, slots=True)
class Start:
    """What a claim takes for granted. ``invalidations``: lines may have been invalidated by others at any time
    before; ``any_invalid``: any way may be invalid; ``cold``: no line of the buffer is cached."""

    any_invalid: bool
    cold: bool
    invalidations: bool

    @classmethod
    def parse(cls, text: str) -> Start | None:
        """From a claim; None if there is no such start."""
        base = text.removesuffix("+invalidations")
        if base not in ("any", "any+invalid", "cold"):
            return None
        return cls(base == "any+invalid", base == "cold", base != text)


def claimed_policy(policy: str | Machine, ways: int) -> Policy | str:
    """The plain policy that a claim names, or what is wrong with it."""
    if isinstance(policy, Machine):
        return _machine(policy, ways)
    try:
        if canonical_name(policy) != policy:
            return "the policy's name is not spelled as it should be"
        return get_policy(policy, ways)
    except InputError as error:
        return str(error)


def _machine(table: Machine, ways: int) -> Policy | str:
    states = range(len(table.hits))
    rows = [row for state in table.hits for row in state]
    targets = [target for row in rows for target in row] + [target for row in table.misses for _, target in row]
    victims = [way for row in table.misses for way, _ in row]
    fills = [(way, row) for state in table.fills or () for way, row in enumerate(state)]
    complete = (
        table.start in states
        and len(table.misses) == len(states)
        and (table.fills is None or len(table.fills) == len(states))
        and all(len(state) == ways for state in (*table.hits, *(table.fills or ())))
        and all(rows) and all(table.misses) and all(row for _, row in fills)
        and all(target in states for target in (*targets, *(target for _, row in fills for _, target in row)))
        and all(way < ways for way in victims)
        and all(filled == way for way, row in fills for filled, _ in row)
        and all(len(set(row)) == len(row) for row in (*rows, *table.misses, *(row for _, row in fills)))
    )  # fmt: skip
    if not complete:
        return "the machine's table is incomplete, says something twice, or names ways or states that do not exist"
    return MachinePolicy(
        table.name,
        [str(state) for state in states],
        table.start,
        table.hits,
        [tuple((way, to, None) for way, to in row) for row in table.misses],
        None if table.fills is None else [
            [tuple((way, to, None) for way, to in row) for row in state] for state in table.fills
        ],
    )  # fmt: skip


def set_states(policy: Policy, *, invalidations: bool) -> set[tuple[State, frozenset[int]]]:
    """All policy states with the ways that are invalid, from an empty set on: hits, misses, and invalidations by
    others if there are any. A machine that does not say what fills do begins in a full set.

    Raises UndecidedError for more than :data:`MAX_SET_STATES`.
    """
    everything = frozenset(range(policy.ways))
    start = policy.empty(), everything if policy.has_fills else frozenset[int]()
    found, work = {start}, [start]
    while work:
        state, invalid = work.pop()
        following = [(to, invalid) for way in everything - invalid for to in policy.hits(state, way)]
        if invalid:
            way = policy.invalid_way(invalid)
            following += [(choice.state, invalid - {way}) for choice in policy.fills(state, way)]
        else:
            following += [(choice.state, invalid) for choice in policy.misses(state)]
        if invalidations:
            following += [(state, invalid | {way}) for way in everything - invalid]
        work += _new(following, found)
    return found


def all_after(policy: Policy, states: Iterable[State]) -> set[State]:
    """All policy states that hits, misses and fills of any way lead to. Raises UndecidedError as above."""
    found = set(states)
    work = list(found)
    while work:
        state = work.pop()
        following = [to for way in range(policy.ways) for to in policy.hits(state, way)]
        following += [choice.state for choice in policy.misses(state)]
        if policy.has_fills:
            following += [choice.state for way in range(policy.ways) for choice in policy.fills(state, way)]
        work += _new(following, found)
    return found


def _new(following: Iterable[_T], found: set[_T]) -> Iterator[_T]:
    """Those that were not found yet; they are added to ``found``."""
    for one in following:
        if one not in found:
            found.add(one)
            yield one
    if len(found) > MAX_SET_STATES:
        raise UndecidedError("state-space-too-large", f"the policy has more than {MAX_SET_STATES} states")
