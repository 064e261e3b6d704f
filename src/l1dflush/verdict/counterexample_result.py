# SPDX-License-Identifier: GPL-2.0-or-later
"""A counterexample as it is in a result: the lines that take part, a start, and what follows from it."""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

from pydantic import Field

from l1dflush.document import Document
from l1dflush.tracing.region import Region

INVALID = "invalid"
"""What stands for a way without a line."""


class Step(Document):
    """One step of a counterexample."""

    access: str = Field(description="the line that is accessed, by its name in `lines`")
    result: Literal["hit", "miss", "fill", "dropped", "flushed", "not-cached", "invalidated"]
    way: int | None = Field(description="the way hit, filled or invalidated; null if none")
    evicted: str | None = Field(description="the line that had to go, by its name; null if none")
    leftovers: int = Field(description="old lines in the set after this step")
    by_others: bool = Field(default=False, description="whether it is somebody else's access, in between")
    policy_state: tuple[int, ...] = Field(default=(), description="the policy's state after it, as numbers")
    flush: int = Field(
        default=0,
        description="of a steady start: the number of the flush, from 1, that it is part of; 0: it is before"
        " the next one",
    )


class LineKind(StrEnum):
    """Whose a line is."""

    OLD = "old"
    """of whoever ran before: what has to go"""
    BUFFER = "buffer"
    OWN = "own"
    """the routine's, and not the buffer's"""
    OTHERS = "others"
    """what somebody else brings in meanwhile"""


class LineInfo(Document):
    """A line that takes part in a counterexample."""

    name: str = Field(description="what steps and contents call it: of old lines a, b, c, ..., of others' other1, ...")
    kind: LineKind = Field(description="whose it is")
    region: Region | None = Field(default=None, description="of the routine's lines: the memory that they belong to")
    offset: int | None = Field(default=None, description="and where in it they begin, in bytes")


class SteadyInfo(Document):
    """What a counterexample is about where flushes come again and again."""

    start: str = Field(description="steady or steady-from-any, with or without +invalidations")
    turns: int = Field(description="so many flushes are a round; then the first one has its turn again")
    again: int = Field(
        description="after so many steps the set is as it was at the start, but for the names of ways and old lines, so"
        " that these steps may have happened any number of times before; 0: the start is one without buffer lines"
    )


class CounterexampleInfo(Document):
    """A start and what follows from it: an old line survives."""

    policy: str
    set_index: int = Field(description="the cache set, counted from the one that the buffer's first byte lies in")
    start_state: str = Field(description="state of the replacement policy at the start")
    policy_state: tuple[int, ...] | None = Field(
        default=None, description="the same as numbers, which a replay starts from; null if it cannot be replayed"
    )
    lines: tuple[LineInfo, ...] = Field(description="the lines that take part, in the order in which they come")
    start: tuple[str, ...] = Field(
        description="content of each way at the start, by the names of lines; 'invalid' is a way without a line"
    )
    machine: str | None = Field(
        default=None, description="of a policy from a file its machine, as a table; null where that is too long"
    )
    steps: tuple[Step, ...]
    end: tuple[str, ...] = Field(description="content of each way at the end")
    end_state: str
    leftovers: int = Field(description="old lines left at the end of this counterexample")
    smallest: bool = Field(
        description="whether no counterexample has fewer buffer lines cached at the start, or as many and fewer hits"
    )
    steady: SteadyInfo | None = Field(default=None, description="where flushes come again and again; else null")

    def named(self, *kinds: LineKind) -> frozenset[str]:
        """The names of all lines of these kinds."""
        return frozenset(line.name for line in self.lines if line.kind in kinds)
