# SPDX-License-Identifier: GPL-2.0-or-later
"""``l1dflush rules``: what experience says goes wrong."""

from __future__ import annotations

from l1dflush.cli import options
from l1dflush.cli.command import verb
from l1dflush.cli.listing import as_json
from l1dflush.cli.output import Outcome, Page


@verb("rules")
@options.json
@options.no_color
def rules(*, json: bool, no_color: bool) -> Outcome:
    """List the rules that a routine is checked against. Findings never change a verdict."""
    from l1dflush.verdict.rules import RULES

    if json:
        return as_json(
            "rules",
            [
                {
                    "id": rule.id,
                    "severity": rule.severity.value,
                    "title": rule.title,
                    "advice": rule.advice,
                    "explanation": rule.explanation,
                }
                for rule in RULES
            ],
        )
    from rich.text import Text

    from l1dflush.report.layout import paragraph

    def lines(width: int) -> list[Text]:
        out: list[Text] = []
        for rule in RULES:
            out.append(Text(f"{rule.severity:<8} ").append(rule.id, "bold"))
            out += paragraph(rule.title, width, indent=" " * 9)
            out += paragraph(rule.advice, width, first=" " * 9 + "-> ", indent=" " * 12)
        return [*out, Text(), Text("'l1dflush explain ID' says why a rule matters and how it is checked.")]

    return Outcome(0, Page(lines, no_color))
