"""Replacement policies, written the plain way.

These are the twins of the policies in ``core/policy``. They share no code with them and are written to be
read: the compiled ones prove, these ones check (every counterexample is replayed here before anybody sees
it).

A policy works on the ways ``0 .. ways-1`` of one set. Its state is a tuple of small integers. It never sees
lines. On a miss an invalid way is filled first, the lowest-numbered one; otherwise the policy names a victim.

Sources: Reineke, Grund, Berg, Wilhelm, "Timing predictability of cache replacement policies" (2007) for LRU,
FIFO, tree-PLRU and bit-PLRU (there: MRU); uops.info's measurements of Ice Lake for LRU3PLRU4.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import ClassVar, Protocol

from l1dflush.errors import InputError

MAX_WAYS = 16

State = tuple[int, ...]


class Policy(Protocol):
    """A deterministic replacement policy at a fixed number of ways."""

    @property
    def name(self) -> str:
        """The canonical name."""

    @property
    def ways(self) -> int:
        """How many ways the set has."""

    @property
    def rule(self) -> str:
        """The policy in one line."""

    def empty(self) -> State:
        """The state of a set in which nothing was ever cached."""

    def hit(self, state: State, way: int) -> State:
        """The state after an access that found its line in ``way``."""

    def victim(self, state: State) -> int:
        """The way that the next miss replaces, all ways being valid."""

    def fill(self, state: State, way: int, was_invalid: bool) -> State:
        """The state after a miss put its line into ``way``, which was the victim or (``was_invalid``)
        invalid.
        """

    def render(self, state: State) -> str:
        """The state in a few words, for a person."""


class Lru:
    """State: the ways, newest first."""

    name: ClassVar[str] = "LRU"
    rule: ClassVar[str] = "the way touched longest ago is replaced"

    def __init__(self, ways: int) -> None:
        self.ways = ways

    def empty(self) -> State:
        return tuple(reversed(range(self.ways)))

    def hit(self, state: State, way: int) -> State:
        return (way, *(other for other in state if other != way))

    def victim(self, state: State) -> int:
        return state[-1]

    def fill(self, state: State, way: int, was_invalid: bool) -> State:
        return self.hit(state, way)

    def render(self, state: State) -> str:
        return "newest to oldest " + " ".join(map(str, state))


class Fifo:
    """State: one number, the way that is replaced next."""

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

    def render(self, state: State) -> str:
        return f"next {state[0]}"


class TreePlru:
    """State: one bit per inner node of a binary tree, root first, level by level; 0 says the victim is on
    the left.
    """

    name: ClassVar[str] = "tree-PLRU"
    rule: ClassVar[str] = "a tree of bits leads to the victim; a touch makes the bits on its path point away"

    def __init__(self, ways: int) -> None:
        self.ways = ways

    def empty(self) -> State:
        return (0,) * (self.ways - 1)

    def hit(self, state: State, way: int) -> State:
        bits = list(state)
        low, high, node = 0, self.ways, 0
        while high - low > 1:
            middle = (low + high) // 2
            if way < middle:
                bits[node], node, high = 1, 2 * node + 1, middle
            else:
                bits[node], node, low = 0, 2 * node + 2, middle
        return tuple(bits)

    def victim(self, state: State) -> int:
        low, high, node = 0, self.ways, 0
        while high - low > 1:
            middle = (low + high) // 2
            if state[node] == 0:
                node, high = 2 * node + 1, middle
            else:
                node, low = 2 * node + 2, middle
        return low

    def fill(self, state: State, way: int, was_invalid: bool) -> State:
        return self.hit(state, way)

    def render(self, state: State) -> str:
        levels, start, length = [], 0, 1
        while start < len(state):
            levels.append("".join(map(str, state[start : start + length])))
            start, length = start + length, 2 * length
        return "tree bits " + " ".join(levels) if levels else "no bits"


class BitPlru:
    """State: one bit per way."""

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

    def render(self, state: State) -> str:
        return "bits " + "".join(map(str, state))


class LruPlru4:
    """State: the groups, newest first, then the three bits of the 4-way tree of group 0, of group 1, ..."""

    def __init__(self, groups: int) -> None:
        self.groups = groups
        self.ways = 4 * groups
        self.name = f"LRU{groups}PLRU4"
        self.rule = f"{groups} groups of 4 ways in LRU order, a tree-PLRU in each; the oldest's victim is replaced"
        self._tree = TreePlru(4)

    def empty(self) -> State:
        return (*reversed(range(self.groups)), *(0,) * (3 * self.groups))

    def hit(self, state: State, way: int) -> State:
        group = way // 4
        order = (group, *(other for other in state[: self.groups] if other != group))
        trees = [self._bits(state, g) for g in range(self.groups)]
        trees[group] = self._tree.hit(trees[group], way % 4)
        return (*order, *(bit for tree in trees for bit in tree))

    def victim(self, state: State) -> int:
        group = state[self.groups - 1]
        return 4 * group + self._tree.victim(self._bits(state, group))

    def fill(self, state: State, way: int, was_invalid: bool) -> State:
        return self.hit(state, way)

    def render(self, state: State) -> str:
        trees = " ".join("".join(map(str, self._bits(state, g))) for g in range(self.groups))
        order = " ".join(map(str, state[: self.groups]))
        return f"groups newest to oldest {order}, tree bits {trees}"

    def _bits(self, state: State, group: int) -> State:
        start = self.groups + 3 * group
        return state[start : start + 3]


_NAMES = ("LRU", "FIFO", "tree-PLRU", "bit-PLRU", "LRU1PLRU4", "LRU2PLRU4", "LRU3PLRU4", "LRU4PLRU4")
_ALIASES = {"plru": "tree-PLRU", "mru": "bit-PLRU", **{name.lower(): name for name in _NAMES}}


def canonical_name(name: str) -> str:
    """The canonical spelling of a policy name (any case; ``PLRU`` is tree-PLRU, ``MRU`` is bit-PLRU).

    Raises :class:`~l1dflush.errors.InputError` for a name that nobody knows.
    """
    found = _ALIASES.get(name.strip().lower())
    if found is None:
        raise InputError(f"unknown replacement policy {name!r}", hint="known: " + ", ".join(_NAMES))
    return found


def get_policy(name: str, ways: int) -> Policy:
    """The policy of that name at ``ways`` ways (1 to 16).

    Raises :class:`~l1dflush.errors.InputError` when the name is unknown or the ways do not fit the policy.
    """
    canonical = canonical_name(name)
    if not 1 <= ways <= MAX_WAYS:
        raise InputError(f"{ways} ways are not supported", hint=f"1 to {MAX_WAYS}")
    if grouped := re.fullmatch(r"LRU(\d)PLRU4", canonical):
        groups = int(grouped[1])
        if ways != 4 * groups:
            raise InputError(f"{canonical} needs {4 * groups} ways, not {ways}")
        return LruPlru4(groups)
    if canonical == "tree-PLRU":
        if ways & (ways - 1):
            raise InputError(f"tree-PLRU needs a power of two of ways, not {ways}")
        return TreePlru(ways)
    if canonical == "bit-PLRU":
        return BitPlru(ways)
    return Lru(ways) if canonical == "LRU" else Fifo(ways)


def known_policies(ways: int) -> tuple[str, ...]:
    """The canonical names of the policies that are defined at ``ways`` ways."""

    def defined(name: str) -> bool:
        try:
            get_policy(name, ways)
        except InputError:
            return False
        return True

    return tuple(name for name in _NAMES if defined(name))


def all_states(policy: Policy) -> Iterator[State]:
    """Every state of a full set that was filled from empty, by plain search: for small numbers of ways.

    Misses fill way 0, 1, 2, ... with any hits on valid ways in between; then any hit and any miss.
    """
    layer = {policy.empty()}
    for valid in range(policy.ways + 1):
        work = list(layer)
        while work:
            state = work.pop()
            reached = [policy.hit(state, way) for way in range(valid)]
            if valid == policy.ways:
                reached.append(policy.fill(state, policy.victim(state), False))
            for following in reached:
                if following not in layer:
                    layer.add(following)
                    work.append(following)
        if valid < policy.ways:
            layer = {policy.fill(state, valid, True) for state in layer}
    yield from sorted(layer)
