# SPDX-License-Identifier: GPL-2.0-or-later
"""The results of ``l1dflush status`` and of ``l1dflush what-if`` for a host, as they are written as JSON."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from l1dflush import __version__
from l1dflush.document import FORMAT_VERSION, Document
from l1dflush.ending import Verdict
from l1dflush.host.status.grounds import Cause, L1tfVerdict
from l1dflush.mitigation.facts import Control
from l1dflush.mitigation.question import ActionAnswer, RuleAnswer
from l1dflush.verdict.verify_result import RoutineInfo, Row
from l1dflush.vmentry.subsystem import Boot, Mechanism, Mode


class FactInfo(Document):
    """Something that was read of the host."""

    name: str
    value: str | None = Field(description="null: unknown")
    origin: str = Field(description="the file, the CPUID leaf or the MSR")
    why: str = Field(description="why it is unknown; empty if it is known")


class GroundInfo(Document):
    """Something that the verdict rests on."""

    cause: Cause = Field(description="stable name")
    verdict: L1tfVerdict = Field(description="what it alone would come to")
    says: str


class KernelWord(Document):
    """What the kernel says in `/sys/devices/system/cpu/vulnerabilities/l1tf`."""

    text: str | None = Field(description="the raw text on one line; null: it could not be read")
    understood: bool = Field(description="whether it is one of the texts that are known")
    mode: Mode | None = Field(description="what it says is done at VM entry; null: it does not say")
    smt_vulnerable: bool | None = Field(description="null: it does not say")
    why: str = Field(description="why there is no text; empty if there is one")


class Outcome(Document):
    """What follows from facts."""

    verdict: L1tfVerdict
    because: str = Field(description="what decides the verdict")
    sysfs: str | None = Field(description="/sys/devices/system/cpu/vulnerabilities/l1tf; null: there is no such file")
    bug: bool
    l1tf: Boot = Field(description="what auto means after boot")
    parameter: str | None = Field(description="what vmentry_l1d_flush reads; null: there is no such file")
    flushes: Mode = Field(description="what is really done at VM entry")
    mechanism: Mechanism | None = Field(description="null: nothing is flushed")
    smt: Control
    smt_active: bool
    pte_inversion: bool
    memory_limit: int = Field(description="bytes: RAM above this cannot be protected by PTE inversion")
    rule: RuleAnswer = Field(description="which decided the mode")
    rules: tuple[RuleAnswer, ...] = Field(description="for l1tf, SMT, PTE inversion and the mode")
    assumed: tuple[str, ...] = Field(default=(), description="what could not be read, and is so in this case")


class DifferenceInfo(Document):
    """Where the facts lead to something else than what was read."""

    what: str
    follows: str
    said: str


class Follows(Document):
    """What follows from the facts, held against what the kernel says."""

    agrees: bool = Field(description="whether all that was read comes about")
    outcome: Outcome = Field(description="the likeliest; where nothing agrees, the nearest")
    others: int = Field(description="other combinations of what could not be read that agree as well")
    written: tuple[str, ...] = Field(description="what must have been written since boot for it to come about")
    differences: tuple[DifferenceInfo, ...]


class FlushInfo(Document):
    """What the software flush that this kernel would use is worth on this CPU's L1D: a proof."""

    verdict: Verdict
    used: bool | None = Field(description="whether this host uses it, rather than the MSR; null: unknown")
    source: str = Field(description="the built-in routine or the module whose flush was proved")
    cpu: str
    routine: RoutineInfo | None = Field(description="null: there was no cache to prove it on")
    rows: tuple[Row, ...]
    reason: str


class AdviceInfo(Document):
    """Something that can be done."""

    what: str
    takes: str | None = Field(description="when it has an effect; null: it only lets more be known")
    then: L1tfVerdict | None = Field(description="the verdict afterwards; null: no decision says so")


class StatusResult(Document):
    """The result of `l1dflush status`."""

    format_version: Literal[2] = FORMAT_VERSION
    tool_version: str = __version__
    command: Literal["status"] = "status"
    where: str = Field(description="this host, or the folder or archive that the facts come from")
    cpu: str
    kernel: str
    hypervisor: str | None = Field(description="the one below; empty: none; null: unknown")
    control_domain: bool | None = Field(description="whether this is Xen's control domain (dom0); null: unknown")
    verdict: L1tfVerdict
    grounds: tuple[GroundInfo, ...] = Field(description="what the verdict rests on, what decides first")
    says: KernelWord
    follows: Follows | None = Field(description="null: the decision could not be asked, or is not about this machine")
    why_not: str = Field(description="why there is no `follows`; else empty")
    software_flush: FlushInfo
    advice: tuple[AdviceInfo, ...]
    notes: tuple[str, ...] = Field(description="what else is worth knowing, one sentence each")
    facts: tuple[FactInfo, ...]
    exit_status: int


class WhatIfHostResult(Document):
    """The result of `l1dflush what-if` for a host: before a change and after it."""

    format_version: Literal[2] = FORMAT_VERSION
    tool_version: str = __version__
    command: Literal["what-if"] = "what-if"
    where: str
    changes: tuple[str, ...] = Field(description="as they were asked for")
    takes: str = Field(description="when the change has an effect")
    agrees: bool = Field(description="whether the facts of the host lead to what its kernel says")
    before: tuple[Outcome, ...] = Field(description="several where something that matters could not be read")
    after: tuple[Outcome, ...]
    loading: ActionAnswer | None = Field(description="how loading kvm_intel ended; null: it is not loaded")
    written: tuple[ActionAnswer, ...] = Field(description="how each write of the change ended")
    decided_by: RuleAnswer = Field(description="the first rule that decides otherwise than before, or the mode's")
    verdict: L1tfVerdict = Field(
        description="after the change; unknown where outcomes differ, or nothing shows that the kernel has these rules"
    )
    notes: tuple[str, ...] = Field(default=(), description="what else is worth knowing, one sentence each")
    exit_status: int


class Cell(Document):
    """One combination."""

    l1tf: Boot
    parameter: Mode = Field(description="what is written to vmentry_l1d_flush")
    asked_smt: bool = Field(description="whether on is written to SMT's control, rather than off")
    smt: bool = Field(description="whether SMT is active afterwards")
    mode: Mode | None = Field(description="null: kvm_intel is not loaded")
    verdict: L1tfVerdict
    now: bool = Field(description="whether the host is so now")


class MatrixResult(Document):
    """The result of `l1dflush what-if --matrix`."""

    format_version: Literal[2] = FORMAT_VERSION
    tool_version: str = __version__
    command: Literal["what-if"] = "what-if"
    where: str
    changes: tuple[str, ...]
    mechanism: Mechanism = Field(description="how this host flushes where it does")
    loading: ActionAnswer = Field(description="how loading kvm_intel ended, which the table takes for granted")
    cells: tuple[Cell, ...]
    notes: tuple[str, ...] = Field(default=(), description="what else is worth knowing, one sentence each")
    exit_status: int
