# SPDX-License-Identifier: GPL-2.0-or-later
"""What a result says of the sets of a cache: what is done in them, and what that comes to."""

from __future__ import annotations

from pydantic import Field

from l1dflush.checking.model import Kind
from l1dflush.document import Document
from l1dflush.ending import Verdict


class WordRun(Document):
    """Accesses in a row: the lines from the first to the last, up or down, and that so many times."""

    first: int = Field(description="number of the line; lines are numbered 0, 1, 2, ... as they first come in the word")
    last: int
    kind: Kind = Field(
        default="access", description="prefetch: one that may happen or not; flush: the line goes from the cache"
    )
    times: int = 1


class WordInfo(Document):
    """What the routine does in a set, in order."""

    runs: tuple[WordRun, ...] = Field(
        description="consecutive accesses to one line are repeated only as often as it matters"
    )
    items: int = Field(description="total number of accesses")
    own: tuple[int, ...] = Field(default=(), description="the lines that are not the buffer's")
    whole: bool = Field(
        default=True,
        description="whether it is all that is done there; else a part, which was asked about alone",
    )


class SetsInfo(Document):
    """Sets in which the routine does the same, and what is known of them."""

    sets: tuple[tuple[int, int, int], ...] = Field(
        description="ranges of sets, counted from the one that the buffer's first byte lies in: the first, the"
        " last, and how far it is from one to the next; a set may be in several groups, as there are several paths, and"
        " memory may lie in several places"
    )
    count: int = Field(description="at most so many of these sets have this word in one run")
    word: int | None = Field(
        description="which of `words` it is, counted from 0; null: it is too long, or these are the words that remain"
        " where there were too many to list"
    )
    has: int = Field(description="different buffer lines that are surely read in each of them")
    verdict: Verdict | None = Field(
        description="what the word alone comes to; null: it was not decided, as the verdict does not depend on it, or"
        " as the policy is unknown"
    )
    leftovers: int | None = Field(default=None, description="most old lines left in such a set; null: not known")
    at_least: bool = Field(default=False, description="whether more than `leftovers` may be left")
    at_most: int | None = Field(
        default=None, description="where it was not decided: no more old lines than that can be left"
    )
    cause: str | None = Field(default=None, description="named cause of UNDECIDED, else null")
