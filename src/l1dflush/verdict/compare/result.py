# SPDX-License-Identifier: GPL-2.0-or-later
"""The result of comparing two verdicts: both of them in full, and what differs.

It is told from the result of one routine by its keys: this one has ``old``, ``new`` and ``differences``, that one
has ``routine``; neither may have the other's. ``verdict`` and ``exit_status`` mean the same in both.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

from pydantic import Field

from l1dflush.document import FORMAT_VERSION, Document
from l1dflush.ending import Verdict
from l1dflush.tracing.facts import Fact
from l1dflush.verdict.verify_result import Finding, VerifyResult


class Effect(StrEnum):
    """What a difference means for whoever takes NEW instead of OLD."""

    WORSE = "worse"
    BETTER = "better"
    DIFFERENT = "different"
    NONE = "no-change-that-matters"


class Change(Document):
    """One value that is not what it was."""

    what: str = Field(description="name of the value, for example: margin, loads from the buffer")
    old: str | int | None = Field(
        description="value in OLD; null if it has none, or in both if neither says it shortly"
    )
    new: str | int | None = Field(description="value in NEW; null as in `old`")
    effect: Effect


class DiffLine(Document):
    """A run of events in one of two paths, or in both. Three equal runs stand around each difference."""

    old: int | None = Field(description="index in the old path's `runs`; null if the run is new")
    new: int | None = Field(description="index in the new path's `runs`; null if the run is gone")


class PathChange(Document):
    """A path that is new, gone, or does something else."""

    old: int | None = Field(description="index in `old.paths`; null if the path is new")
    new: int | None = Field(description="index in `new.paths`; null if the path is gone")
    decisions: tuple[Fact, ...] = Field(description="what leads there in NEW, else in OLD")
    changes: tuple[Change, ...] = Field(description="what differs; empty if the path is new or gone")
    diff: tuple[DiffLine, ...] = Field(description="the runs that differ, with equal ones around them")
    effect: Effect


class FindingChange(Document):
    """A finding that is new, gone, or has another message."""

    old: Finding | None
    new: Finding | None
    effect: Effect


class RowChange(Document):
    """CPUs with the same row in OLD, and the same row in NEW, where these two differ."""

    cpus: tuple[str, ...] = Field(description="names in the catalogue; empty for --policy")
    titles: tuple[str, ...]
    old: int | None = Field(description="index in `old.rows`; null if OLD has no row for them")
    new: int | None = Field(description="index in `new.rows`; null if NEW has no row for them")
    decides: bool = Field(description="whether the row counts for the overall verdict")
    changes: tuple[Change, ...] = Field(description="what differs; empty if there is only one row")
    effect: Effect


class Differences(Document):
    """All that differs. Every list is empty where nothing does."""

    names: tuple[Change, ...] = Field(default=(), description="function, file, and what else was read")
    verdict: tuple[Change, ...] = Field(default=(), description="overall verdict, cause, reason and exit status")
    buffer: tuple[Change, ...] = ()
    moved: tuple[Change, ...] = Field(default=(), description="fields that decide and that lie elsewhere in NEW")
    paths: tuple[PathChange, ...] = ()
    findings: tuple[FindingChange, ...] = ()
    rows: tuple[RowChange, ...] = ()
    scope: tuple[Change, ...] = Field(default=(), description="what is taken for granted, and what is not modelled")


class ComparisonResult(Document):
    """The result of `l1dflush verify NEW --against OLD`."""

    format_version: Literal[2] = FORMAT_VERSION
    tool_version: str
    command: Literal["verify"] = "verify"
    old: VerifyResult = Field(description="the result for OLD, with the same options")
    new: VerifyResult = Field(description="the result for NEW")
    same_code: bool = Field(description="whether both consist of the same machine code")
    not_followed: tuple[Literal["old", "new"], ...] = Field(
        description="what could not be followed: then paths, findings, buffer, rows and scope are not compared"
    )
    differences: Differences
    effect: Effect = Field(description="the effect of all differences together: the first of worse, better, different")
    summary: str = Field(description="one line about the effect")
    verdict: Verdict = Field(description="the verdict for NEW")
    exit_status: int = Field(description="the exit status for NEW")
