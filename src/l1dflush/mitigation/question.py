# SPDX-License-Identifier: GPL-2.0-or-later
"""Questions and answers as JSON: what ``l1dflush what-if --facts`` reads and writes."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from pydantic import Field, ValidationError

from l1dflush import __version__
from l1dflush.document import FORMAT_VERSION, Document
from l1dflush.errors import InputError
from l1dflush.json_keys import check_keys
from l1dflush.mitigation.affected import Affected, Lists, affected, identified
from l1dflush.mitigation.decision import Action, Decision, Do, decide
from l1dflush.mitigation.facts import Control, Cpu, Facts, Kernel, Vendor
from l1dflush.mitigation.part import caveat
from l1dflush.mitigation.run_time import Result
from l1dflush.vmentry.subsystem import Boot, Mechanism, Mode

LONGEST_LINE = 1 << 20
"""Characters of one question; a command line has a few thousand."""


class KernelQuestion(Document):
    """A kernel and how it was built."""

    release: str = Field(description="as uname -r says it, or the upstream version")
    page_table_levels: int = Field(default=4, ge=2, le=5, description="2: 32-bit without PAE")
    mitigations: bool = Field(default=True, description="CONFIG_CPU_MITIGATIONS")
    mitigation_l1tf: bool = Field(default=True, description="CONFIG_MITIGATION_L1TF")
    kvm_intel: bool = Field(default=True, description="CONFIG_KVM_INTEL")
    hotplug_smt: bool = Field(default=True, description="CONFIG_HOTPLUG_SMT")


class CpuQuestion(Document):
    """A CPU."""

    vendor: Vendor = Vendor.INTEL
    family: int = 6
    model: int = 0x3C
    stepping: int = 0
    bug: bool | None = Field(default=None, description="the bug flag l1tf; null: as the kernel's lists say")
    vmx: bool = True
    ept: bool = Field(default=True, description="the CPU offers EPT")
    flush_l1d: bool = Field(default=False, description="CPUID.7.0:EDX[28], the flush by MSR")
    arch_capabilities: int = Field(default=0, ge=0, description="the MSR; 0 where there is none")
    address_bits: int = Field(default=39, ge=32, le=52, description="physical address bits, as CPUID says")
    threads_per_core: int = Field(default=1, ge=1, le=8)
    bugs: frozenset[str] = Field(default=frozenset(), description="of /proc/cpuinfo")
    rtm: bool = Field(default=True, description="TSX, where there is the bug taa")
    stibp: bool = Field(default=True, description="STIBP, where there is the bug retbleed")


class ActionQuestion(Document):
    """What is done after boot."""

    do: Do
    text: str = Field(default="", description="parameters of load; what write and write-smt write")


class Question(Document):
    """Facts, and what is done after boot, in order."""

    kernel: KernelQuestion
    cpu: CpuQuestion = CpuQuestion()
    command_line: str = Field(default="", description="as in /proc/cmdline")
    memory_end: int = Field(default=1 << 32, ge=0, description="bytes: where firmware says that RAM ends")
    siblings_online: bool = Field(default=True, description="with SMT on, both threads of some core run")
    buffer_memory: bool = Field(default=True, description="there is memory for the flush buffer")
    actions: tuple[ActionQuestion, ...] = ()


class ActionAnswer(Document):
    """How an action ended."""

    result: str = Field(description="ok, or the name of the error")
    log: tuple[str, ...] = Field(description="lines about L1TF that the kernel logs")


class RuleAnswer(Document):
    """A rule that decided something."""

    id: str
    says: str
    source: str


class WhatIfResult(Document):
    """The answer to one question of `l1dflush what-if --facts`."""

    format_version: Literal[2] = FORMAT_VERSION
    tool_version: str = __version__
    command: Literal["what-if"] = "what-if"
    bug: bool
    why: str = Field(description="why the CPU has the bug flag or has not")
    l1tf: Boot = Field(description="what auto means after boot")
    smt: Control
    smt_active: bool
    pte_inversion: bool
    memory_limit: int = Field(description="bytes: RAM above this cannot be protected by PTE inversion")
    swap_limit: int | None = Field(description="pages; null: L1TF sets none")
    mode: Mode | None = Field(description="null: kvm_intel is not loaded")
    flushes: Mode = Field(description="what is really done at VM entry")
    mechanism: Mechanism | None = Field(description="null: nothing is flushed")
    sysfs: str | None = Field(description="/sys/devices/system/cpu/vulnerabilities/l1tf; null: there is no such file")
    parameter: str | None = Field(description="what vmentry_l1d_flush reads; null: there is no such file")
    actions: tuple[ActionAnswer, ...]
    rule: RuleAnswer = Field(description="which decided the mode")
    rules: tuple[RuleAnswer, ...] = Field(description="for l1tf, SMT, PTE inversion and the mode")
    notes: tuple[str, ...] = Field(default=(), description="what the answer takes for granted, one sentence each")


def asked(text: str, where: str) -> Question:
    """One question from JSON. Raises InputError."""
    if len(text) > LONGEST_LINE:
        raise InputError(f"a question is at most {LONGEST_LINE} characters long", where=where)
    try:
        question = Question.model_validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        what = f"{place}: {first['msg']}" if place else first["msg"]
        raise InputError(what, where=where, hint="'l1dflush help mitigation' describes questions") from None
    check_keys(text, where)
    return question


def facts_of(question: Question, lists: Lists) -> tuple[Facts, Affected]:
    """The facts of a question, and why its CPU has the bug or has not. Raises InputError for an unknown version."""
    wanted, cpu = question.kernel, question.cpu
    known = Kernel.parse(wanted.release)
    kernel = replace(
        known,
        levels=wanted.page_table_levels,
        mitigations=wanted.mitigations,
        l1tf=wanted.mitigation_l1tf,
        kvm_intel=wanted.kvm_intel,
        hotplug_smt=wanted.hotplug_smt and known.hotplug_smt,
    )
    plain = Cpu(
        vendor=cpu.vendor,
        family=cpu.family,
        model=cpu.model,
        stepping=cpu.stepping,
        vmx=cpu.vmx,
        ept=cpu.ept,
        command=cpu.flush_l1d,
        arch_capabilities=cpu.arch_capabilities,
        address_bits=cpu.address_bits,
        threads=cpu.threads_per_core,
        bugs=cpu.bugs,
        rtm=cpu.rtm,
        stibp=cpu.stibp,
    )
    why = affected(plain, kernel, lists)
    if cpu.bug is not None and cpu.bug is not why.bug:
        why = Affected(cpu.bug, "the question says so", "the question")
    facts = Facts(
        kernel,
        identified(plain, kernel, lists).with_bug(bug=why.bug),
        question.command_line,
        question.memory_end,
        question.siblings_online,
        question.buffer_memory,
    )
    return facts, why


def answered(question: Question, lists: Lists, where: str | None = None) -> WhatIfResult:
    """The answer. Raises InputError, with ``where``, for a kernel version that is none."""
    try:
        facts, why = facts_of(question, lists)
    except InputError as error:
        raise InputError(error.what, where=where, hint=error.hint) from None
    answer = _answer(decide(facts, [Action(one.do, one.text) for one in question.actions]), why)
    said = caveat(facts.kernel.version, question.kernel.release)
    return answer.model_copy(update={"notes": (f"{said}; the likeliest is taken",)}) if said else answer


def rule_answers(decision: Decision) -> tuple[RuleAnswer, ...]:
    """The rules that decided."""
    return tuple(RuleAnswer(id=rule.id, says=rule.says, source=rule.source) for rule in decision.rules)


def action_answer(result: Result) -> ActionAnswer:
    """How an action ended."""
    return ActionAnswer(result=result.result, log=result.log)


def _answer(decision: Decision, why: Affected) -> WhatIfResult:
    rules = rule_answers(decision)
    return WhatIfResult(
        bug=decision.bug,
        why=why.why,
        l1tf=decision.l1tf,
        smt=decision.smt,
        smt_active=decision.smt_active,
        pte_inversion=decision.inversion,
        memory_limit=decision.memory_limit,
        swap_limit=decision.swap_limit,
        mode=decision.mode,
        flushes=decision.flushes,
        mechanism=decision.mechanism,
        sysfs=decision.sysfs,
        parameter=decision.parameter,
        actions=tuple(map(action_answer, decision.results)),
        rule=rules[-1],
        rules=rules,
    )
