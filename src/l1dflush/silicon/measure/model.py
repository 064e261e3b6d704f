# SPDX-License-Identifier: GPL-2.0-or-later
"""What ``measure --json`` and ``identify --json`` write. The field descriptions end up in the published JSON Schema."""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

from pydantic import Field

from l1dflush.document import FORMAT_VERSION, Document
from l1dflush.verdict.verify_result import GeometryInfo


class Seen(StrEnum):
    """What a measurement of leftovers came to. None of these is a proof."""

    NONE = "none-seen"
    """Not one visit found an old line."""
    NOISE = "within-noise"
    """No more than shows where nothing can be left."""
    SOME = "seen"
    """More than that."""


class EnvironmentInfo(Document):
    """What was measured on, and what speaks against it."""

    cpu: str = Field(description="the CPU's name as it says itself; may be empty")
    microcode: str
    kernel: str
    hypervisor: bool = Field(description="whether this is a virtual machine")
    smt: str = Field(description="on or off; empty if the kernel does not say it")
    governor: str = Field(description="what rules the core's clock; empty if the kernel does not say it")
    load: float = Field(description="how many wanted to run, on average over the last minute")
    on_cpu: int = Field(description="the CPU that the measurement was pinned to")
    huge_page: bool
    counter_step: int = Field(description="ticks: the time-stamp counter's values are this far apart")
    counter_empty: float = Field(description="ticks between two readings with nothing in between")
    ticks_per_cycle: float = Field(description="of the core, by a chain of additions")
    ticks_per_ns: float
    trials: int = Field(description="how many trials were run")
    dropped: int = Field(description="how many of them do not count: the thread ended on another CPU")
    seconds: float
    doubts: tuple[str, ...] = Field(description="when and why the figures may be unstable")


class LevelsInfo(Document):
    """How visits that hit differ from visits that miss, as calibrated in the same run."""

    hit_ticks: float
    miss_ticks: float
    single: bool = Field(description="whether the ticks of one visit say whether it hit")


class PolicyMatch(Document):
    """How a policy foretells the sequences."""

    policy: str
    twins: tuple[str, ...] = Field(description="policies that foretell the same wherever both foretell something")
    decided: int = Field(description="sequences whose outcome it foretells whatever the set held before")
    matched: int = Field(description="of these, those in which every access came as foretold")
    accesses: int = Field(description="accesses in the decided sequences")
    wrong: int = Field(description="accesses in them that came differently")
    judged: bool = Field(description="whether enough sequences are decided")
    most_wrong: float = Field(description="upper confidence bound (95%) on the share of sequences it does not foretell")


class IdentifyResult(Document):
    """The result of `l1dflush identify`."""

    format_version: Literal[2] = FORMAT_VERSION
    tool_version: str
    command: Literal["identify"] = "identify"
    environment: EnvironmentInfo
    geometry: GeometryInfo
    title: str = Field(description="the CPU in the catalogue; may be empty")
    catalogue_policy: str | None = Field(description="what the catalogue says; null: nothing, or not known")
    levels: LevelsInfo
    seed: int
    sequences: int
    rounds: int = Field(description="how often each was played")
    repeatable: float = Field(
        description="share of accesses that missed in 9 of 10 sets or more, or in 1 of 10 or less"
    )
    matches: tuple[PolicyMatch, ...] = Field(description="best first")
    policy: str | None = Field(description="the policy that explains this L1D; null: none does, or several do")
    fitting: tuple[str, ...] = Field(description="the policies that explain it about equally well: none, one or more")
    margin: float | None = Field(description="between the best share of matches and the next; null without a next")
    exit_status: int


class SurvivorsPoint(Document):
    """What is left after a flush of so many bytes."""

    flushed: int = Field(description="bytes that the flush read")
    per_set: float = Field(description="old lines left in a set, on average over all sets")
    worst_set: float = Field(description="the most in any set")
    sets: tuple[float, ...] = Field(description="in each set; see set_error")
    whole_cache: float = Field(description="old lines left in the whole cache")
    at_most: float = Field(description="upper confidence bound (95%, one-sided) of whole_cache")
    visits: int = Field(description="visits of old lines that this rests on")
    hits: int | None = Field(description="how many of them hit; null where single visits do not say")
    seen: Seen
    predicted: dict[str, float] = Field(description="old lines left in a set on average, as policies say")


class SurvivorsInfo(Document):
    """A survivors curve."""

    history: str = Field(description="full: every way holds an old line; work: after an earlier flush and random work")
    set_error: float = Field(description="standard error of a figure in sets")
    blank: float = Field(description="what whole_cache shows where nothing can be left")
    distances: dict[str, float] = Field(description="between what was seen and what each policy says: mean, per set")
    nearest: str = Field(description="the policy at the least distance; the one asked about if it is as near")
    points: tuple[SurvivorsPoint, ...]


class CostInfo(Document):
    """What a loop costs: low quartiles."""

    variant: str
    loop: str = Field(description="name of the loop in the core: linux-2018, planned, fill or stream")
    size: int = Field(description="bytes that it reads")
    before: str = Field(
        description="flushed: it ran just before; clean, dirty: other lines were read or written, so it reads the L2"
    )
    cycles: float
    cycles_low: float = Field(description="confidence interval (95%) of cycles")
    cycles_high: float
    nanoseconds: float
    bytes_per_cycle: float
    trials: int


class RatioInfo(Document):
    """Two costs compared, after the same."""

    what: str
    before: str
    ratio: float


class MeasureResult(Document):
    """The result of `l1dflush measure`."""

    format_version: Literal[2] = FORMAT_VERSION
    tool_version: str
    command: Literal["measure"] = "measure"
    environment: EnvironmentInfo
    geometry: GeometryInfo
    title: str = Field(description="the CPU in the catalogue; may be empty")
    policy: str | None = Field(description="the policy that was asked about or is in the catalogue; null: not known")
    planned: int | None = Field(description="bytes of the planned flush for that policy; null: none")
    seed: int
    levels: LevelsInfo | None = Field(description="null where survivors were not measured")
    survivors: tuple[SurvivorsInfo, ...]
    costs: tuple[CostInfo, ...]
    ratios: tuple[RatioInfo, ...]
    interrupted: bool = Field(description="whether it was stopped before it was done: then there are fewer trials")
    exit_status: int
