# SPDX-License-Identifier: GPL-2.0-or-later
"""The result of ``what-if`` for a host: before and after, side by side, and the rule that decided."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text

from l1dflush.host.status.grounds import L1tfVerdict
from l1dflush.host.status.model import Outcome, WhatIfHostResult
from l1dflush.in_words import in_words
from l1dflush.mitigation.question import ActionAnswer
from l1dflush.mitigation.rules import BOOT_NONE
from l1dflush.report.layout import header, paragraph, row, side_by_side
from l1dflush.report.terminal.status import NO_FILE, STYLES, at_entry, smt_control
from l1dflush.vmentry.subsystem import Boot


def what_if_host_lines(result: WhatIfHostResult, width: int) -> list[Text]:
    """The changes and when they hold, the two columns, how writes ended, the rule."""
    lines = paragraph(f"{result.where}, if: {'; '.join(result.changes)}", width, style="bold")
    lines += paragraph(f"({result.takes})", width, indent="  ")
    if not result.agrees:
        what = "what this host's kernel says does not follow from its facts; 'l1dflush status' shows where"
        lines += paragraph(what, width, indent="  ", style="magenta")
    lines += [Text(), *_columns(result.before, result.after, width)]
    for name, outcomes in (("before", result.before), ("after", result.after)):
        if said := _only(outcomes[0], outcomes[1:]):
            lines += [Text(), *paragraph(f"the column {name} holds if {'; '.join(said)}", width)]
        for other in outcomes[1:]:
            lines += [Text(), *_alternative(name, other, outcomes[0], width)]
    if why := _unknown(result):
        lines += [Text(), *paragraph(f"the verdict is {in_words(result.verdict)}: {why}", width, style="magenta")]
    if result.loading is not None and result.loading.result != "ok":
        lines += [Text(), *not_loaded(result.loading, width)]
    for number, written in enumerate(result.written, 1):
        if written.result != "ok" or written.log:
            lines += [Text(), *paragraph(f"write {number}: {written.result}", width)]
            for line in written.log:
                lines += paragraph(f"logs: {line}", width, indent="  ")
    for note in result.notes:
        lines += [Text(), *paragraph(note, width, first="note: ", indent="      ")]
    rule = result.decided_by
    lines += [Text(), *paragraph(f"decided by {rule.id}: {rule.says}", width)]
    lines += paragraph(f"({rule.source})", width, indent="  ", style="dim")
    return lines


def not_loaded(answer: ActionAnswer, width: int) -> list[Text]:
    """That kvm_intel cannot be loaded, and how that ends."""
    why = {"EOPNOTSUPP": "the CPU offers no VMX", "ENOENT": "the kernel has none"}.get(answer.result, "")
    lines = paragraph(
        f"kvm_intel cannot be loaded: {answer.result}{f' ({why})' if why else ''}", width, style="magenta"
    )
    for line in answer.log:
        lines += paragraph(f"logs: {line}", width, indent="  ")
    return lines


def _unknown(result: WhatIfHostResult) -> str:
    """Why nobody knows the verdict after the change; empty where it is known."""
    verdicts = {outcome.verdict for outcome in result.after}
    if len(verdicts) > 1:
        return "the cases above differ"
    if result.verdict not in verdicts:
        return "nothing shows that this kernel has these rules"
    return result.after[0].because if result.verdict is L1tfVerdict.UNKNOWN else ""


def _columns(before: Sequence[Outcome], after: Sequence[Outcome], width: int) -> list[Text]:
    old, new = _rows(before), _rows(after)
    columns = side_by_side((name for name, _ in old), "before", "after", width)
    lines = [header(columns)]
    for (name, was), (_, now) in zip(old, new, strict=True):
        styles = ["", "", "" if was == now else "bold"]
        if name == "verdict":
            styles = ["", STYLES[before[0].verdict], STYLES[after[0].verdict]]
        lines += row(columns, (name, was, now), styles=styles)
    return lines


def _rows(outcomes: Sequence[Outcome]) -> list[tuple[str, str]]:
    """Of the first, and whether the verdict holds in that case only."""
    outcome = outcomes[0]
    several = any(other.verdict is not outcome.verdict for other in outcomes)
    return [
        ("verdict", in_words(outcome.verdict) + (", or another: see below" if several else "")),
        ("l1tf", outcome.sysfs or NO_FILE),
        ("parameter", outcome.parameter or NO_FILE),
        ("at VM entry", at_entry(outcome)),
        ("SMT", f"{smt_control(outcome)}, {'active' if outcome.smt_active else 'not active'}"),
        ("auto means", auto_means(outcome.l1tf, outcome.rules[0].id)),
    ]


def auto_means(l1tf: Boot, rule: str) -> str:
    """What ``auto`` means after boot; ``rule`` decided that."""
    return "nothing: there is no l1tf=" if rule == BOOT_NONE.id else f"{l1tf.mode.value} (l1tf={l1tf.value})"


def _only(first: Outcome, others: Sequence[Outcome]) -> list[str]:
    """What is assumed of the first, and of not all others."""
    return [one for one in first.assumed if not all(one in other.assumed for other in others)]


def _alternative(name: str, other: Outcome, first: Outcome, width: int) -> list[Text]:
    """What it would be if something that could not be read were otherwise."""
    differing = [one for one in other.assumed if one not in first.assumed]
    lines = paragraph(f"{name}, if {'; '.join(differing)}: {in_words(other.verdict)}", width)
    return lines + paragraph(other.sysfs or NO_FILE, width, indent="  ")
