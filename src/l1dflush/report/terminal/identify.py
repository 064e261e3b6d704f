# SPDX-License-Identifier: GPL-2.0-or-later
"""The result of ``identify`` for a person."""

from __future__ import annotations

from rich.text import Text

from l1dflush.report.layout import Column, header, paragraph, row, safe
from l1dflush.report.terminal.measured_on import environment_lines, title_line
from l1dflush.silicon.measure.model import IdentifyResult, PolicyMatch

_LEAST_SURE = 0.95


def identify_lines(result: IdentifyResult, width: int) -> list[Text]:
    """The whole report."""
    lines = [title_line("replacement policy", result.title, result.geometry)]
    lines += paragraph(_answer(result), width, indent="  ", style="bold green" if result.policy else "bold yellow")
    lines += paragraph(_catalogue(result), width, indent="  ")
    lines += [Text(), *_table(result, width), Text()]
    lines += paragraph(_how(result), width, indent="  ", style="dim")
    lines += environment_lines(result.environment, width)
    if result.policy is not None:
        hint = f"'l1dflush plan --host --policy {result.policy}' plans a flush for it"
        lines += [Text(), *paragraph(hint, width, style="dim")]
    return lines


def _answer(result: IdentifyResult) -> str:
    best = result.matches[0]
    right = best.accesses - best.wrong
    counted = f"{best.matched} of {best.decided} random sequences ({right} of {best.accesses} accesses)"
    if result.policy is None:
        if result.fitting:
            rest = [one for one in result.matches[1:] if one.policy in result.fitting]
            others = ", ".join(f"{one.policy} {one.matched} of {one.decided}" for one in rest)
            return f"none alone: {best.policy} foretells {counted}, and {others}: that is not a clear difference"
        return f"none: the best of them, {best.policy}, foretells no more than {counted}"
    others = f", like {' and '.join(best.twins)}, which are the same here" if best.twins else ""
    bound = f"at most {best.most_wrong:.1%} of such sequences come otherwise (95%)"
    second = next((one for one in result.matches[1:] if one.judged), None)
    after = f"; the next best, {second.policy}, foretells {second.matched} of {second.decided}" if second else ""
    return f"{best.policy}{others}: foretells {counted}; {bound}{after}"


def _catalogue(result: IdentifyResult) -> str:
    if result.catalogue_policy is None:
        return "the catalogue does not know it"
    best = result.matches[0]
    same = result.policy is not None and result.catalogue_policy in (best.policy, *best.twins)
    return f"the catalogue says {safe(result.catalogue_policy)}{' as well' if same else ''}"


def _table(result: IdentifyResult, width: int) -> list[Text]:
    names = [_name(one) for one in result.matches]
    shape = [
        Column("policy", min(max(map(len, names)), width - 34)),
        Column("sequences", 12, right=True),
        Column("accesses wrong", 18, right=True),
    ]
    lines = [header(shape)]
    for name, one in zip(names, result.matches, strict=True):
        if not one.judged:
            cells = [name, f"{one.decided} decided", "not judged"]
        else:
            cells = [name, f"{one.matched} of {one.decided}", f"{one.wrong} of {one.accesses}"]
        lines += row(shape, cells, styles=["bold" if one.policy == result.policy else "", "", ""])
    return lines


def _name(one: PolicyMatch) -> str:
    return safe(", ".join((one.policy, *one.twins)))


def _how(result: IdentifyResult) -> str:
    levels = result.levels
    text = (
        f"{result.sequences} sequences, each played {result.rounds} times in {_SETS} sets at once; a hit in all of them"
        f" takes {levels.hit_ticks:.0f} ticks, a miss {levels.miss_ticks:.0f}. Sequences are counted for a policy if it"
        " foretells the same from whatever the set held before."
    )
    if result.repeatable < _LEAST_SURE:
        text += f" {1 - result.repeatable:.0%} of the accesses missed in some of the sets and hit in others."
    return text


_SETS = 56
