# SPDX-License-Identifier: GPL-2.0-or-later
"""The result of ``plan`` for a person."""

from __future__ import annotations

from rich.text import Text

from l1dflush.ending import Verdict
from l1dflush.in_words import in_words
from l1dflush.planning.model import PlanResult, SavingInfo
from l1dflush.report.layout import Column, header, paragraph, row, safe

# A word that is read in order is not spelled out.
_LONGEST_WORD = 32


def plan_lines(result: PlanResult, width: int) -> list[Text]:
    """The whole report."""
    known = f" ({in_words(result.policy_certainty)})" if result.policy_certainty != "given" or result.cpus else ""
    name = safe(f"{result.title + ', ' if result.title else ''}{result.policy}{known}")
    if result.verdict is Verdict.REFUTED:
        lines = [Text(f"{name}, {result.cache}", "bold").append(": never", "bold red")]
        lines += paragraph("no number of accesses is certain to empty a set", width, indent="  ")
        for one in result.instead:
            lines += paragraph(one, width, first="  instead  ", indent=" " * 11)
    else:
        lines = [Text(f"{name}, {result.cache}", "bold").append(f": {len(result.word)} accesses a set", "bold green")]
        lines += paragraph(_cost(result), width, indent="  ")
    touches = f"{result.touches or 'no'} touch{'' if result.touches == 1 else 'es'} by others"
    lines += paragraph(f"{result.start}: {result.start_meaning}; {touches}", width, first="  start  ", indent=" " * 9)
    for note in result.notes:
        lines += paragraph(note, width, first="  note   ", indent=" " * 9)
    if result.savings:
        lines += [Text(), *_savings(result, width)]
    if result.verdict is Verdict.PROVED:
        forms = "c, asm, kernel or bytes writes code" if result.isa == "x86" else "c writes portable C"
        how = f"--emit {forms}, after proving it"
        lines += [Text(), *paragraph(how, width, style="dim")]
    return lines


def _cost(result: PlanResult) -> str:
    lines = len(set(result.word))
    in_order = result.word == tuple(range(lines))
    sets, size = result.geometry.sets, result.buffer_bytes / 1024
    what = f"{lines} lines of each of {sets} sets: {result.loads} loads, {size:g} KiB"
    if not in_order and len(result.word) <= _LONGEST_WORD:
        what += f"; in the order {' '.join(map(str, result.word))}"
    elif not in_order:
        what += f"; in order, {len(result.word) // lines} times"
    return what + ("" if result.least else "; there may be something smaller")


def _savings(result: PlanResult, width: int) -> list[Text]:
    names = [one.assumption for one in result.savings]
    shape = [
        Column("if it is certain that", min(max(map(len, names)), width - 22)),
        Column("accesses a set", 14, right=True),
    ]
    lines = [header(shape)]
    for one in result.savings:
        lines += row(shape, [one.assumption, _needs(one, len(result.word))], styles=["", ""])
    return lines


def _needs(one: SavingInfo, now: int) -> str:
    if one.needs is None:
        return "?"
    return f"{one.needs}" if one.needs < now else f"{one.needs} as well"
