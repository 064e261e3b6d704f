# SPDX-License-Identifier: GPL-2.0-or-later
"""``l1dflush explain``: one rule at length."""

from __future__ import annotations

from difflib import get_close_matches

from l1dflush.cli import options
from l1dflush.cli.command import argument, verb
from l1dflush.cli.output import Outcome, Page
from l1dflush.cli.values import RULE
from l1dflush.errors import InputError


@verb("explain")
@argument("rule_id", metavar="ID", type=RULE, told="A rule (see 'l1dflush rules').")
@options.no_color
def explain(*, rule_id: str, no_color: bool) -> Outcome:
    """Explain a rule: why it matters, what to do, how it is checked."""
    from l1dflush.verdict.rules import RULES

    by_id = {rule.id: rule for rule in RULES}
    rule = by_id.get(rule_id.strip().casefold())
    if rule is None:
        near = get_close_matches(rule_id.casefold(), by_id, n=3, cutoff=0.7)
        # A part of an id is more telling than likeness: "fence" means no-fence.
        near = [known for known in by_id if rule_id and rule_id.casefold() in known][:3] or near
        meant = f"did you mean {' or '.join(near)}? " if near else ""
        raise InputError(f"no rule is called {rule_id[:80]!r}", hint=f"{meant}'l1dflush rules' lists them")
    from rich.text import Text

    from l1dflush.report.layout import paragraph

    def lines(width: int) -> list[Text]:
        out = [Text(rule.id, "bold").append(f"  ({rule.severity})", "")]
        out += paragraph(rule.title, width, indent="  ")
        out += paragraph(rule.advice, width, first="  -> ", indent="     ")
        for text in rule.explanation.split("\n\n"):
            out += [Text(), *paragraph(text, width)]
        return out

    return Outcome(0, Page(lines, no_color))
