# SPDX-License-Identifier: GPL-2.0-or-later
"""tree-PLRU:SHAPE: pseudo-LRU trees for any number of ways.

A shape is a number, or two or three parts joined by ``+`` (``|`` is accepted); a part is a number or a shape in
brackets: ``8+4``, ``(3+3)+(3+3)``, ``4+4+4``. A number is 1 (a way), a power of two (a balanced binary tree) or 3 (a
node with three ways). There are several trees for 6 ways, so 6 is spelled out: ``4+2`` or ``3+3``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from l1dflush.cache.policy.model import Deterministic, Node, Picture, State
from l1dflush.errors import InputError

_MOST_WAYS = 16
_LONGEST = 100


@dataclass(frozen=True, slots=True)
class Tree:
    """A node with its children, or a single way (no children). Equal trees have the same shape."""

    children: tuple[Tree, ...]
    ways: int
    nodes: int

    def parts(self, state: State) -> tuple[int, list[tuple[Tree, int, State]]]:
        """The node's pointer; and each child with its first way and the states of its nodes."""
        out, first, at = [], 0, 1
        for child in self.children:
            out.append((child, first, state[at : at + child.nodes]))
            first, at = first + child.ways, at + child.nodes
        return state[0], out

    @property
    def symmetric(self) -> bool:
        """Whether all children have the same shape."""
        return len(set(self.children)) == 1


WAY = Tree((), 1, 0)


def node(*children: Tree) -> Tree:
    """The tree with these children."""
    return Tree(children, sum(c.ways for c in children), 1 + sum(c.nodes for c in children))


class ShapedTree(Deterministic):
    """State: the child that each node points to, where the victim is; a node comes before its children's.

    A touch makes each node on its path point to the child after the one touched.
    """

    def __init__(self, shape: str) -> None:
        self.shape, self.tree = parse_shape(shape)
        self.ways = self.tree.ways
        self.name = f"tree-PLRU:{self.shape}"
        self.rule = f"as tree-PLRU, with a tree of shape {self.shape}; a touched node points to its next child"

    def empty(self) -> State:
        return (0,) * self.tree.nodes

    def hit(self, state: State, way: int) -> State:
        return _touched(self.tree, state, way)

    def victim(self, state: State) -> int:
        return _victim(self.tree, state)

    def fill(self, state: State, way: int, was_invalid: bool) -> State:
        return self.hit(state, way)

    def position(self, state: State, way: int) -> int:
        return _position(self.tree, state, way)

    def residue(self, state: State) -> State:
        return _residue(self.tree, state)

    def picture(self, state: State) -> Picture:
        return Picture(nodes=tuple(_nodes(self.tree, state, 0, 0)))

    def render(self, state: State) -> str:
        return "tree " + " ".join(map(str, state)) if state else "no bits"


def _touched(tree: Tree, state: State, way: int) -> State:
    if not tree.children:
        return ()
    pointer, parts = tree.parts(state)
    below: list[int] = []
    for number, (child, first, inner) in enumerate(parts):
        if first <= way < first + child.ways:
            pointer = (number + 1) % len(parts)
            below += _touched(child, inner, way - first)
        else:
            below += inner
    return (pointer, *below)


def _victim(tree: Tree, state: State) -> int:
    if not tree.children:
        return 0
    pointer, parts = tree.parts(state)
    child, first, inner = parts[pointer]
    return first + _victim(child, inner)


def _position(tree: Tree, state: State, way: int) -> int:
    if not tree.children:
        return 0
    pointer, parts = tree.parts(state)
    number = max(n for n, (_, first, _) in enumerate(parts) if first <= way)
    child, first, inner = parts[number]
    place = (number - pointer) % len(parts) if tree.symmetric else number
    return parts[place][1] + _position(child, inner, way - first)


def _residue(tree: Tree, state: State) -> State:
    if not tree.children:
        return ()
    pointer, parts = tree.parts(state)
    below = [_residue(child, inner) for child, _, inner in parts]
    if tree.symmetric:
        # The children may change places in a circle: the one pointed to comes first.
        pointer, below = 0, below[pointer:] + below[:pointer]
    return (pointer, *(number for inner in below for number in inner))


def _nodes(tree: Tree, state: State, level: int, first: int) -> Iterator[Node]:
    if tree.children:
        pointer, parts = tree.parts(state)
        yield Node(level, first, first + tree.ways - 1, pointer, len(parts))
        for child, offset, inner in parts:
            yield from _nodes(child, inner, level + 1, first + offset)


def parse_shape(text: str) -> tuple[str, Tree]:
    """The canonical spelling of a shape (no needless brackets, ``+``), and the tree.

    Raises :class:`~l1dflush.errors.InputError` for a text that is not a shape.
    """
    cleaned = re.sub(r"\s", "", text.replace("|", "+"))
    where = f"the shape '{text[:_LONGEST]}'"
    tokens = re.findall(r"\d+|[()+]|.", cleaned)
    if not tokens or len(cleaned) > _LONGEST:
        raise InputError(f"{where} is {'too long' if tokens else 'empty'}", hint="for example 8+4")
    parser = _Parser(iter(tokens), where)
    spelling, tree = parser.shape()
    if parser.token:
        raise InputError(f"{where} has a '{parser.token}' that does not belong there", hint="for example 8+4")
    if tree.ways > _MOST_WAYS:
        raise InputError(f"{where} has {tree.ways} ways", hint=f"at most {_MOST_WAYS}")
    return spelling, tree


class _Parser:
    def __init__(self, tokens: Iterator[str], where: str) -> None:
        self.tokens = tokens
        self.where = where
        self.token = next(tokens, "")

    def shape(self) -> tuple[str, Tree]:
        parts = [self.part()]
        while self.token == "+":
            self.advance()
            parts.append(self.part())
        if len(parts) > 3:
            raise InputError(f"{self.where} has a node with {len(parts)} children", hint="2 or 3: write (a+b)+(c+d)")
        if len(parts) == 1:
            return parts[0]
        spelling = "+".join(f"({text})" if "+" in text else text for text, _ in parts)
        return spelling, node(*(tree for _, tree in parts))

    def part(self) -> tuple[str, Tree]:
        if self.token == "(":
            self.advance()
            inner = self.shape()
            if self.token != ")":
                raise InputError(f"{self.where} has a bracket that is not closed")
            self.advance()
            return inner
        if not (self.token.isascii() and self.token.isdigit()):
            raise InputError(f"{self.where} lacks a number of ways before '{self.token or 'its end'}'")
        number = int(self.token)
        self.advance()
        return str(number), self.number(number)

    def number(self, ways: int) -> Tree:
        if ways == 1:
            return WAY
        if ways == 3:
            return node(WAY, WAY, WAY)
        if ways < 1 or ways & (ways - 1) or ways > _MOST_WAYS:
            hint = "write 4+2 or 3+3" if ways == 6 else "a number is 1, 3 or a power of two up to 16: 4+2, 3+3"
            raise InputError(f"{self.where} does not say how {ways} ways are divided", hint=hint)
        return node(self.number(ways // 2), self.number(ways // 2))

    def advance(self) -> None:
        self.token = next(self.tokens, "")
