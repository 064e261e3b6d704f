# SPDX-License-Identifier: GPL-2.0-or-later
"""What ``l1dflush replay --silicon --json`` writes. The field descriptions end up in the published JSON Schema."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from l1dflush.document import FORMAT_VERSION, Document
from l1dflush.silicon.measure.agreement import Agreement
from l1dflush.silicon.measure.model import EnvironmentInfo, LevelsInfo


class SeenInfo(Document):
    """Timed visits of one line, a trial each."""

    cached: bool = Field(description="whether the model says that the line is cached then")
    trials: int
    hits: int = Field(description="trials in which the line was there in more than half of the sets")
    sets: int = Field(description="sets in which it was there in the middle one of the trials")
    bound: float = Field(
        description="upper confidence bound (95%, one-sided) on the share of such trials that are not as the model says"
    )
    agreement: Agreement


class SurvivorInfo(Document):
    """An old line after so many steps."""

    line: str
    after: int = Field(description="so many steps of the word were done before the visit")
    seen: SeenInfo


class DrivenStep(Document):
    """A step of the word."""

    access: str
    flush: bool = Field(description="whether the line is invalidated (clflush), which has no time of its own")
    seen: SeenInfo | None = Field(description="null for an invalidation")


class SiliconResult(Document):
    """The result of `l1dflush replay --silicon`. A measurement says what was seen; it proves nothing."""

    format_version: Literal[2] = FORMAT_VERSION
    tool_version: str
    command: Literal["replay"] = "replay"
    environment: EnvironmentInfo
    policy: str
    policy_certainty: str = Field(description="as in a result of size; 'in-the-file' for a counterexample from a file")
    ways: int
    start: str = Field(description="what a set may hold at the start, as for size; empty for a file")
    needs: int | None = Field(description="accesses that are enough, as the prover says; null for a file")
    start_state: str = Field(description="state of the replacement policy at the driven start")
    policy_state: tuple[int, ...] = Field(description="the same as numbers")
    content: tuple[str, ...] = Field(description="content of each way then; old lines are a, b, c, ...")
    reset_and_approach: int = Field(description="accesses and invalidations that lead to the start")
    lines: int = Field(description="different lines of a set that take part")
    sets: int = Field(description="sets that are driven at the same time")
    survivors: tuple[SurvivorInfo, ...]
    steps: tuple[DrivenStep, ...]
    rounds: int = Field(description="rounds that counted: every trial once")
    loud: int = Field(description="rounds that were dropped because others used this L1D")
    levels: LevelsInfo = Field(description="of a visit of a line in every set")
    seed: int
    agreement: Agreement = Field(description="of all that was seen with the model")
    exit_status: int
