# SPDX-License-Identifier: GPL-2.0-or-later
"""What ``l1dflush plan --json`` writes. The field descriptions end up in the published JSON Schema."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from l1dflush.document import FORMAT_VERSION, Document
from l1dflush.ending import Verdict
from l1dflush.verdict.verify_result import GeometryInfo


class SavingInfo(Document):
    """What a further assumption would save."""

    assumption: str
    start: str
    touches: int
    needs: int | None = Field(description="accesses to every set that are enough then; null if it was not found out")


class PlanResult(Document):
    """The result of `l1dflush plan`."""

    format_version: Literal[2] = FORMAT_VERSION
    tool_version: str
    command: Literal["plan"] = "plan"
    cpus: tuple[str, ...] = Field(description="names in the catalogue; empty for --policy")
    title: str = Field(description="whose cache it is, for a person; may be empty")
    policy: str
    policy_certainty: str = Field(description="learned-from-silicon, measured, documented, inferred or given")
    geometry: GeometryInfo
    start: str
    start_meaning: str
    touches: int
    goal: str = Field(description="what is small: loads, word or buffer")
    verdict: Literal[Verdict.PROVED, Verdict.REFUTED] = Field(description="REFUTED: no number of accesses is enough")
    word: tuple[int, ...] = Field(
        description="the lines that are read in every set, in order; empty if none are enough"
    )
    least: bool = Field(description="whether nothing smaller is enough, in the sense of the goal")
    loads: int = Field(description="loads over all sets")
    buffer_bytes: int = Field(description="size of the buffer")
    savings: tuple[SavingInfo, ...] = Field(description="for the goal loads, and where no code was asked for")
    first_needs: int | None = Field(
        description="for a steady start that assumes that no line of the buffer is cached: accesses to every set of the"
        " full flush from another buffer that comes first; null if none is needed, enough or known, see the notes"
    )
    isa: str = Field(description="instruction set of the CPU: x86, arm, power or riscv; x86 for a geometry alone")
    instead: tuple[str, ...] = Field(description="what else there is where no number of accesses is enough")
    notes: tuple[str, ...] = Field(description="what whoever uses the plan has to see to, for a person")
    form: str | None = Field(description="the form of the code: c, asm, kernel or bytes; null if none was asked for")
    code: str | None = Field(description="the code, which was proved before it was written; null as above")
    proved: tuple[str, ...] = Field(description="as what the code was proved; empty without code")
    exit_status: int

    @property
    def cache(self) -> str:
        """The cache in short: ``32K 8x64``, size, ways and line."""
        shape = self.geometry
        size = f"{shape.size >> 10}K" if shape.size % 1024 == 0 else f"{shape.size}B"
        return f"{size} {shape.ways}x{shape.line}"
