# SPDX-License-Identifier: GPL-2.0-or-later
"""tree-PLRU over a power of two of ways, and groups of four ways with such a tree in each.

Sources: Reineke, Grund, Berg, Wilhelm (2007) for tree-PLRU; uops.info's measurements of Ice Lake for LRU3PLRU4.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import replace
from typing import ClassVar

from l1dflush.cache.policy.model import Deterministic, Node, Picture, State, mark


class TreePlru(Deterministic):
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

    def position(self, state: State, way: int) -> int:
        """The way's place if at every node the side pointed to were drawn on the left."""
        low, high, node, place = 0, self.ways, 0, 0
        while high - low > 1:
            middle = (low + high) // 2
            side = int(way >= middle)
            if side != state[node]:
                place += middle - low
            low, high = (middle, high) if side else (low, middle)
            node = 2 * node + 1 + side
        return place

    def residue(self, state: State) -> State:
        return ()

    def picture(self, state: State) -> Picture:
        nodes: list[Node] = []
        while len(nodes) < len(state):
            level = (len(nodes) + 1).bit_length() - 1
            width = self.ways >> level
            for first in range(0, self.ways, width):
                nodes.append(Node(level, first, first + width - 1, state[len(nodes)], 2))
        return Picture(nodes=tuple(nodes))

    def render(self, state: State) -> str:
        levels, start, length = [], 0, 1
        while start < len(state):
            levels.append("".join(map(str, state[start : start + length])))
            start, length = start + length, 2 * length
        return "tree bits " + " ".join(levels) if levels else "no bits"


class _Groups(Deterministic):
    """Groups of four ways. State: what chooses the group, then the three bits of the tree of group 0, 1, ..."""

    def __init__(self, groups: int) -> None:
        self.groups = groups
        self.ways = 4 * groups
        self._tree = TreePlru(4)

    @abstractmethod
    def victim_group(self, state: State) -> int:
        """The group in which the next miss replaces."""

    def victim(self, state: State) -> int:
        group = self.victim_group(state)
        return 4 * group + self._tree.victim(self._trees(state)[group])

    def fill(self, state: State, way: int, was_invalid: bool) -> State:
        return self.hit(state, way)

    def residue(self, state: State) -> State:
        return ()

    @abstractmethod
    def group_row(self, state: State) -> tuple[str, list[str]]:
        """What is to be drawn below the groups: the name of the row and a text for each group."""

    def picture(self, state: State) -> Picture:
        label, texts = self.group_row(state)
        below = tuple(text for group in texts for text in (group, "", "", ""))
        trees = enumerate(self._trees(state))
        nodes = [replace(n, first=n.first + 4 * g, last=n.last + 4 * g) for g, t in trees
                 for n in self._tree.picture(t).nodes]  # fmt: skip
        return Picture(((label, below),), tuple(nodes))

    def _trees(self, state: State) -> list[State]:
        first = len(state) - 3 * self.groups
        return [state[first + 3 * group : first + 3 * group + 3] for group in range(self.groups)]

    def _touched(self, state: State, way: int) -> tuple[int, ...]:
        """The bits of all trees after a touch of ``way``."""
        trees = self._trees(state)
        trees[way // 4] = self._tree.hit(trees[way // 4], way % 4)
        return tuple(bit for tree in trees for bit in tree)

    def _place(self, state: State, way: int) -> int:
        return self._tree.position(self._trees(state)[way // 4], way % 4)

    def _tree_text(self, state: State) -> str:
        return " ".join("".join(map(str, tree)) for tree in self._trees(state))


def _of_four(groups: int) -> str:
    return f"{groups} group{'s' * (groups > 1)} of 4 ways"


class LruPlru4(_Groups):
    """The state begins with the groups, newest first."""

    def __init__(self, groups: int) -> None:
        super().__init__(groups)
        self.name = f"LRU{groups}PLRU4"
        self.rule = f"{_of_four(groups)} in LRU order, a tree-PLRU in each; the oldest's victim is replaced"

    def empty(self) -> State:
        return (*reversed(range(self.groups)), *(0,) * (3 * self.groups))

    def hit(self, state: State, way: int) -> State:
        group = way // 4
        order = (group, *(other for other in state[: self.groups] if other != group))
        return (*order, *self._touched(state, way))

    def victim_group(self, state: State) -> int:
        return state[self.groups - 1]

    def position(self, state: State, way: int) -> int:
        return 4 * state[: self.groups].index(way // 4) + self._place(state, way)

    def group_row(self, state: State) -> tuple[str, list[str]]:
        order = state[: self.groups]
        return "group", [str(order.index(group) + 1) for group in range(self.groups)]

    def render(self, state: State) -> str:
        order = " ".join(map(str, state[: self.groups]))
        return f"groups newest to oldest {order}, tree bits {self._tree_text(state)}"


class MruPlru4(_Groups):
    """The state begins with the group touched last."""

    def __init__(self, groups: int) -> None:
        super().__init__(groups)
        self.name = f"MRU{groups}PLRU4"
        self.rule = f"{_of_four(groups)}, a tree-PLRU in each; the victim is in the group after the last touched"

    def empty(self) -> State:
        return (self.groups - 1, *(0,) * (3 * self.groups))

    def hit(self, state: State, way: int) -> State:
        return (way // 4, *self._touched(state, way))

    def victim_group(self, state: State) -> int:
        return (state[0] + 1) % self.groups

    def position(self, state: State, way: int) -> int:
        return 4 * ((way // 4 - state[0] - 1) % self.groups) + self._place(state, way)

    def group_row(self, state: State) -> tuple[str, list[str]]:
        return "last", list(mark(self.groups, state[0]))

    def render(self, state: State) -> str:
        return f"last group {state[0]}, tree bits {self._tree_text(state)}"
