# SPDX-License-Identifier: GPL-2.0-or-later
"""The result of ``what-if`` for a person: what follows, and the rules that decided."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text

from l1dflush.mitigation.question import WhatIfResult
from l1dflush.report.layout import paragraph, safe
from l1dflush.report.terminal.status import NO_FILE
from l1dflush.report.terminal.what_if_host import auto_means
from l1dflush.vmentry.subsystem import Mechanism, Mode

_HOW = {Mechanism.COMMAND: "by MSR", Mechanism.READING: "by reading a buffer"}
_GIB = 1 << 30


def what_if_lines(answers: Sequence[WhatIfResult], width: int) -> list[Text]:
    """The answers one after the other."""
    lines: list[Text] = []
    for answer in answers:
        lines += [Text()] if lines else []
        lines += _one(answer, width)
    return lines


def _one(answer: WhatIfResult, width: int) -> list[Text]:
    lines = [Text(safe(answer.sysfs or f"{NO_FILE}: the kernel says nothing about L1TF"), "bold")]
    facts = [
        ("bug", f"{'yes' if answer.bug else 'no'}: {answer.why}"),
        ("auto means", auto_means(answer.l1tf, answer.rules[0].id)),
        ("SMT", f"{answer.smt.value}, {'active' if answer.smt_active else 'not active'}"),
        ("at VM entry", _at_entry(answer)),
        ("parameter", _parameter(answer)),
        ("memory limit", f"{answer.memory_limit // _GIB} GiB"),
        ("swap limit", "none" if answer.swap_limit is None else f"{answer.swap_limit} pages"),
    ]
    for name, value in facts:
        lines += paragraph(f"{name + ':':14}{value}", width, indent="  ")
    for number, action in enumerate(answer.actions, 1):
        lines += paragraph(f"action {number}: {action.result}", width, indent="  ")
        for line in action.log:
            lines += paragraph(f"logs: {line}", width, indent="    ")
    for note in answer.notes:
        lines += paragraph(note, width, first="  note: ", indent="        ")
    for rule in answer.rules:
        lines += paragraph(f"rule {rule.id}: {rule.says}", width, indent="  ")
        lines += paragraph(f"({rule.source})", width, indent="    ", style="dim")
    return lines


def _parameter(answer: WhatIfResult) -> str:
    if answer.parameter is not None:
        return answer.parameter
    return f"there is none: {'kvm_intel is not loaded' if answer.mode is None else 'this KVM has no flush'}"


def _at_entry(answer: WhatIfResult) -> str:
    if answer.mechanism is None:
        return "nothing is flushed"
    when = "always" if answer.flushes is Mode.ALWAYS else "when something sensitive ran"
    return f"{when}, {_HOW[answer.mechanism]}"
