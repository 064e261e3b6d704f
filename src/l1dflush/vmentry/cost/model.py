# SPDX-License-Identifier: GPL-2.0-or-later
"""What ``cost --json`` writes. The field descriptions end up in the published JSON Schema."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from l1dflush.cache.cpus import Certainty
from l1dflush.document import FORMAT_VERSION, Document
from l1dflush.vmentry.cost.reasons import Flag


class FlushInfo(Document):
    """A flush and what one costs."""

    name: str = Field(description="linux-2018, planned, msr, or another name that was given")
    nanoseconds: float
    source: str = Field(description="given, from a file, or measured here, and how")
    in_guest: bool = Field(description="whether it was measured in a virtual machine")


class LossInfo(Document):
    """The time that one flush takes, under each mode."""

    flush: str
    cond_at_least_seconds: float
    cond_at_most_seconds: float
    always_seconds: float
    cond_at_least_share: float | None = Field(description="of the CPU time traced; null where that is none")
    cond_at_most_share: float | None
    always_share: float | None


class CountsInfo(Document):
    """Exits and the flushes before the entries after them."""

    exits: int
    share: float = Field(description="of all exits")
    requested: int = Field(description="exits behind which the trace shows that the kernel asked for a flush")
    cond_at_least: int = Field(description="flushes under cond, counting only what surely asks for one")
    cond_at_most: int = Field(description="flushes under cond, counting everything that may ask for one")
    always: int = Field(description="flushes under always: one for each exit")
    losses: tuple[LossInfo, ...] = Field(description="one for each flush")


class ReasonInfo(CountsInfo):
    """One exit reason."""

    reason: str
    flag: Flag = Field(description="whether handling it asks for a flush under cond")
    certainty: Certainty = Field(description="of flag")
    source: str = Field(description="of flag")


class TraceInfo(Document):
    """The trace, and what speaks against it."""

    name: str
    form: Literal["trace", "csv"] = Field(description="trace: text of perf script, trace-cmd report or ftrace")
    lines: int
    exits: int
    entries: int
    requests: int = Field(description="events that ask for a flush: kvm_userspace_exit, kvm_emulate_insn, interrupts")
    interrupts_traced: bool = Field(description="whether interrupts of the host are among them")
    other_lines: int
    broken_lines: int = Field(description="lines about an exit or entry that cannot be read")
    cut: bool = Field(description="whether it breaks off within its last line")
    lost: int = Field(description="events that the recorder says it lost")
    backwards: int = Field(description="events that come before the one above them on their CPU")
    seconds: float = Field(description="between the first event and the last")
    cpus: int = Field(description="CPUs with events; 1 where the trace does not say")
    cpus_known: bool
    cpu_seconds: float = Field(description="seconds x cpus: the CPU time traced")
    guest_seconds: float | None = Field(description="between an entry and the exit after it; null without entries")
    guest_share: float | None = Field(description="of the CPU time traced")


class CostResult(Document):
    """The result of `l1dflush cost`."""

    format_version: Literal[2] = FORMAT_VERSION
    tool_version: str
    command: Literal["cost"] = "cost"
    trace: TraceInfo
    flushes: tuple[FlushInfo, ...]
    total: CountsInfo
    reasons: tuple[ReasonInfo, ...] = Field(description="most exits first")
    doubts: tuple[str, ...] = Field(description="why the figures may be wrong")
    exit_status: int
