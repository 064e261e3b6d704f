# SPDX-License-Identifier: GPL-2.0-or-later
"""What ``vm --json`` writes. The field descriptions end up in the published JSON Schema."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from l1dflush.document import FORMAT_VERSION, Document
from l1dflush.vmentry.kvm.names import Ending, ExitReason, Flush
from l1dflush.vmentry.subsystem import Mechanism, Mode

PROMISE = (
    "Before each KVM_RUN that the mode flushes for, the L1D of this CPU is flushed: what this program left in it is"
    " gone, as far as that flush is known to be enough.",
    "Between the flush and the guest's first instruction the kernel runs: the system call, KVM's set-up of the entry,"
    " interrupts. What they load is in the L1D when the guest runs; only a flush by the kernel comes after them.",
    "Exits that the kernel handles itself (page faults, interrupts, timers, CPUID, most MSRs) go back into the guest"
    " without this program: no flush of its own is before those entries, and they are not counted here.",
    "A thread on a sibling of the core fills the same L1D all the time.",
)


class GuestInfo(Document):
    """The guest."""

    name: str = Field(description="path of the assembly file, or demo")
    size: int = Field(description="bytes from where it is loaded to its end, with what it wants zeroed")
    sha256: str = Field(description="of its bytes")
    long_mode: bool = Field(description="64-bit mode; else real mode")
    memory: int = Field(description="bytes")


class HostInfo(Document):
    """Where it ran. Texts are empty where nobody says it."""

    cpu: str
    on_cpu: int = Field(description="the CPU that it was pinned to; -1: it was not")
    kernel: str
    l1tf: str = Field(description="what the kernel says about L1TF here")
    kernel_flush: str = Field(description="the kernel's own flush before entries (kvm_intel's vmentry_l1d_flush)")


class NanosecondsInfo(Document):
    """Of a KVM_RUN with what comes right before it, up to its return."""

    low: int = Field(description="a quarter took less")
    median: int
    high: int = Field(description="a quarter took more")
    mean: int


class VmRow(Document):
    """One mode with one flush. All counts are of all runs of the guest together."""

    mode: Mode = Field(description="the effective mode")
    flush: Flush | None = Field(description="null: none, the mode is never")
    mechanism: Mechanism | None
    flush_bytes: int | None = Field(description="what is read; null: nothing is")
    scope: str = Field(description="for which cache and start the flush is known to be enough; empty without one")
    runs: int = Field(description="how often the guest was started")
    ending: Ending = Field(description="how the last of these ended")
    said: str = Field(description="KVM's own word on the ending; may be empty")
    entries: int = Field(description="KVM_RUNs")
    flushes: int = Field(description="how many of them had a flush before them")
    sensitive: int = Field(description="events that set a flag: starts, emulation with a secret, signals")
    exits: dict[ExitReason, int]
    ports: dict[str, int] = Field(description="exits by port")
    nanoseconds: NanosecondsInfo | None = Field(description="null: nothing ran")
    more: int | None = Field(description="median less that without a flush; null: nothing to compare")


class LoopInfo(Document):
    """What Python takes, in nanoseconds: medians of the same loop with another system call in KVM_RUN's place."""

    timed: int = Field(description="of each figure in nanoseconds")
    whole: int = Field(description="of each entry, with the handling of its exit")


class VmResult(Document):
    """The result of `l1dflush vm`."""

    format_version: Literal[2] = FORMAT_VERSION
    tool_version: str
    command: Literal["vm"] = "vm"
    host: HostInfo
    guest: GuestInfo
    secret_port: int = Field(description="exits of this port are handled by code that reads a secret")
    rows: tuple[VmRow, ...]
    not_run: dict[Flush, str] = Field(description="flushes that there are not here, and why")
    loop: LoopInfo
    promise: tuple[str, ...] = Field(default=PROMISE, description="what a flush from user space can and cannot promise")
    exit_status: int
