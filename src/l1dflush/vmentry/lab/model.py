# SPDX-License-Identifier: GPL-2.0-or-later
"""What ``l1dflush lab --json`` writes. The field descriptions end up in the published JSON Schema."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from l1dflush.document import FORMAT_VERSION, Document
from l1dflush.verdict.verify_result import GeometryInfo


class SettingInfo(Document):
    """What was played: everything that the sum is made over."""

    cpu: str = Field(description="name in the catalogue")
    policy: str
    geometry: GeometryInfo
    l1tf_affected: bool = Field(
        description="whether the catalogue says that the CPU has L1TF; what is played is what the scenario says"
    )
    routine: str = Field(description="as verify takes it; planned: the plan for this CPU; msr: the CPU's own command")
    mode: str
    smt: bool
    ept: bool


class EntryInfo(Document):
    """A VM entry."""

    number: int
    flushed: bool
    secret_lines: int = Field(description="secret lines in the L1D when the guest got in, as far as it can read them")
    by_sibling: int = Field(description="secret lines that the sibling thread brought in while the guest ran")


class SumInfo(Document):
    """One run."""

    setting: SettingInfo
    mode_at_end: str = Field(description="what the parameter reads at the end")
    entries: int
    flushes: int
    secret_bytes: int = Field(description="what the guest read, counted at every entry anew")
    worst: str = Field(description="for a script with the step worst: counterexample, or why there is none; else empty")
    random_work_bytes: int | None = Field(
        description="for a script with the step worst: the same with random work in its place; else null"
    )


class LabResult(Document):
    """The result of `l1dflush lab`."""

    format_version: Literal[2] = FORMAT_VERSION
    tool_version: str
    command: Literal["lab"] = "lab"
    scenario: str
    title: str
    text: str
    played: SumInfo = Field(description="the scenario as it is written")
    entries: tuple[EntryInfo, ...] = Field(description="of that, entry by entry")
    sums: tuple[SumInfo, ...] = Field(description="that, and every other combination")
    accesses: int = Field(description="accesses on the model, over all runs")
    exit_status: int


class ScenarioEntry(Document):
    """A scenario that is shipped."""

    name: str
    title: str


class ScenarioListResult(Document):
    """The result of `l1dflush lab` without a scenario."""

    format_version: Literal[2] = FORMAT_VERSION
    tool_version: str
    command: Literal["lab"] = "lab"
    scenarios: tuple[ScenarioEntry, ...]
