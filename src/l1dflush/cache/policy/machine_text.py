# SPDX-License-Identifier: GPL-2.0-or-later
"""What the files that describe a machine say, whatever they are written in: edges, each with its line."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from l1dflush.errors import InputError

Input = Literal["hit", "miss", "fill"]


@dataclass(frozen=True, slots=True)
class Edge:
    """From ``state``, ``what`` at ``way`` (of a miss: the way that it replaces) leads to ``target``.

    ``line``: where the file says so. ``chance``: ``None`` if the file does not give one.
    """

    line: int
    state: str
    what: Input
    way: int
    target: str
    chance: Fraction | None = None


@dataclass(frozen=True, slots=True)
class Start:
    """The state that the machine starts in."""

    line: int
    state: str


@dataclass(frozen=True, slots=True)
class Ways:
    """How many ways the set has; a dot file does not say and has as many as it has hits."""

    line: int
    ways: int


Statement = Edge | Start | Ways
Statements = Iterator[Statement]


def error(name: str, line: int, what: str, hint: str) -> InputError:
    """The error at ``line`` of the file ``name``."""
    return InputError(what, where=f"{name}:{line}" if line else name, hint=hint)


def way_number(name: str, line: int, text: str) -> int:
    """The way that ``text`` (digits) names; whether the set has it is checked once its ways are known."""
    if len(text) > 4:
        raise error(name, line, f"way {text[:20]} is out of range", "ways are numbered 0 to 15")
    return int(text)
