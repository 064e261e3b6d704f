# SPDX-License-Identifier: GPL-2.0-or-later
"""What ``l1dflush size --json`` writes. The field descriptions end up in the published JSON Schema."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from l1dflush.document import FORMAT_VERSION, Document
from l1dflush.ending import Verdict
from l1dflush.verdict.verify_result import GeometryInfo

SizeVerdict = Literal[Verdict.PROVED, Verdict.REFUTED, Verdict.UNDECIDED]


class SizeCell(Document):
    """One policy at one number of ways."""

    cpus: tuple[str, ...] = Field(default=(), description="names in the catalogue; empty without --cpu and --host")
    title: str = Field(default="", description="whose cache it is, for a person")
    policy: str = Field(description="canonical name, or the name of the file with the machine")
    policy_certainty: str = Field(
        description="learned-from-silicon, measured, documented, inferred, given; unknown: one that it may be"
    )
    ways: int
    geometry: GeometryInfo | None = Field(description="null where nothing but the ways was named")
    start: str = Field(description="which states the set may be in at the start: any, any+invalid, cold, ...")
    start_meaning: str = Field(description="the same in one line")
    decided: bool = Field(description="whether it is known; if not, needs is null and says nothing")
    verdict: SizeVerdict = Field(description="PROVED: needs accesses are enough; REFUTED: no number is; UNDECIDED")
    cause: str | None = Field(description="named cause of UNDECIDED, else null")
    reason: str = Field(description="one line about the verdict; may be empty")
    needs: int | None = Field(
        description="fewest pairwise different accesses that empty a set; null if none do, and if it is not decided."
        " For a steady start: fewest lines that leave nothing when they are read in one fixed order again and again"
    )
    by_chance: bool = Field(
        default=False, description="whether needs leaves a chance, below the one asked for, that an old line stays"
    )
    lines: int | None = Field(description="lines to be read for the whole cache: needs x sets; null where unknown")
    size: int | None = Field(description="the same in bytes")
    curve: tuple[int, ...] | None = Field(
        description="most old lines left after 0, 1, 2, ... pairwise different accesses: down to 0, or until it"
        " repeats itself; null if it is not decided, where no more than needs is known, and for a steady start"
    )


class SizeResult(Document):
    """The result of `l1dflush size`."""

    format_version: Literal[2] = FORMAT_VERSION
    tool_version: str
    command: Literal["size"] = "size"
    touches: int = Field(description="accesses by others to a set during the flush, at any point, that are allowed for")
    chance: str | None = Field(
        description="as a fraction: the chance of an old line left that was allowed, for the whole cache (without a"
        " geometry: for one set); null for none"
    )
    cells: tuple[SizeCell, ...] = Field(description="all that were asked for; not defined ones are left out")
    exit_status: int


class OneSizeResult(SizeResult):
    """The result where one policy and one number of ways were asked for."""

    policy: str
    ways: int
    needs: int | None = Field(description="fewest accesses that empty a set; null: no number does, if it is decided")
    decided: bool = Field(description="whether needs is known")
    verdict: SizeVerdict
    cause: str | None = Field(description="named cause of UNDECIDED, else null")
