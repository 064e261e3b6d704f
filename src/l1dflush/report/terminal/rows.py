# SPDX-License-Identifier: GPL-2.0-or-later
"""The verdicts as a table: one row per group of CPUs with the same cache and the same outcome."""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len
from rich.text import Text

from l1dflush.ending import Verdict
from l1dflush.errors import some_of
from l1dflush.in_words import in_words
from l1dflush.report.layout import GAP, Column, header, paragraph, row, safe
from l1dflush.verdict.counterexample_result import LineKind
from l1dflush.verdict.verify_result import Candidate, ChanceInfo, Row

VERDICT_STYLES = {
    Verdict.PROVED: "bold green",
    Verdict.REFUTED: "bold red",
    Verdict.UNDECIDED: "bold yellow",
    Verdict.ERROR: "bold red",
}
UNKNOWN = "unknown"
_LONGEST_FRACTION = 40
_MOST_OWN = 3


def columns(rows: Sequence[Row], width: int) -> list[Column]:
    """Columns for all rows, so that the tables of one report are aligned with each other."""
    policy = min(max([12, *(cell_len(safe(one.policy)) for one in rows)]), 18)
    fixed = [
        Column("L1D", max([3, *(len(cache(one)) for one in rows)])),
        Column("policy", policy),
        Column("needs", 5, right=True),
        Column("has", max([3, *(len(_number(one.has)) for one in rows)]), right=True),
        Column("margin", 6, right=True),
        Column("verdict", 9),
    ]
    rest = width - sum(column.width + GAP for column in fixed)
    longest = max([4, *(cell_len(safe(names(one))) for one in rows)])
    cpu = max(min(rest, longest), 12)
    # Room that the names do not need goes to the policy, whose certainty is wrapped otherwise.
    wanted = max([0, *(cell_len(safe(_policy(one))) for one in rows)])
    fixed[1] = Column("policy", max(policy, min(wanted, policy + rest - cpu)))
    return [Column("CPU", cpu), *fixed]


def rows_table(title: str, rows: Sequence[Row], shape: Sequence[Column], width: int) -> list[Text]:
    """The rows under a title; below a row what its numbers do not say."""
    lines = [Text(title, "bold"), header(shape)]
    for one in rows:
        lines += row(shape, _cells(one), styles=["", "", "", "", "", "", VERDICT_STYLES[one.verdict]])
        for remark in remarks(one):
            lines += paragraph(remark, width, indent="    ")
    return lines


def names(one: Row) -> str:
    """The CPUs of a row."""
    return ", ".join(one.titles or one.cpus) or "(given)"


def cache(one: Row) -> str:
    """``32K 8x64``: size, ways and line, as the tables of this field have it."""
    shape = one.geometry
    size = f"{shape.size >> 10}K" if shape.size % 1024 == 0 else f"{shape.size}B"
    return f"{size} {shape.ways}x{shape.line}"


def _number(value: int | None) -> str:
    return "-" if value is None else str(value)


def needs(one: Row) -> str:
    """The fewest accesses that suffice. Where the curve is known, no number means that none do."""
    if one.needs is not None:
        return str(one.needs)
    return "never" if one.curve is not None else "?"


def _policy(one: Row) -> str:
    # An unknown policy is of unknown certainty, and one that was given needs no remark.
    if one.policy_certainty in (one.policy, "given"):
        return one.policy
    return f"{one.policy} ({in_words(one.policy_certainty)})"


def _cells(one: Row) -> list[str]:
    margin = "" if one.margin is None else f"{one.margin:+d}" if one.margin else "0"
    return [names(one), cache(one), _policy(one), needs(one), _number(one.has), margin, one.verdict.value]


def remarks(one: Row) -> list[str]:
    """Sentences that belong below a row."""
    reason = one.reason
    if one.verdict is Verdict.UNDECIDED and one.cause and not one.candidates:
        reason = f"{one.cause}: {reason}" if reason else one.cause
    if one.verdict is Verdict.REFUTED and not reason and one.leftovers:
        why = why_refuted(one)
        reason = f"{old_lines(one.leftovers)} may stay in a set" + (f", as {why}" if why else "")
    # That the policy is unknown is said by the policy column already.
    out = [reason] if reason and not (one.candidates and one.verdict is Verdict.UNDECIDED) else []
    if one.chance is not None:
        out.append(chances(one.chance))
    if one.candidates:
        out.append(candidates(one.candidates))
    if one.sets_without_walk and not one.reason:
        out.append(f"no buffer line is read in {one.sets_without_walk} sets")
    return out


def why_refuted(one: Row) -> str:
    """Why old lines are left though as many buffer lines are read as are needed; empty where something else is the
    reason, or says it."""
    example = one.counterexample
    if one.reason or example is None or one.needs is None or one.has is None or one.has < one.needs:
        return ""
    steps = [step for step in example.steps if not step.by_others]
    touched = {step.access for step in steps}
    between = dict.fromkeys(
        str(line.region) for line in example.lines if line.kind is LineKind.OWN and line.name in touched
    )
    if between:
        return f"the routine's own accesses come between the buffer's: {some_of(list(between), _MOST_OWN)}"
    results = {step.result for step in steps}
    if "dropped" in results:
        return "some of its accesses need not happen"
    if results & {"flushed", "not-cached"}:
        return "it flushes lines while it reads"
    return "accesses that hit displace nothing"


def chances(found: ChanceInfo) -> str:
    """How likely an old line is left."""
    bound = "" if found.exact else "no more than "
    in_a_set = _chance(found.in_a_set, found.in_a_set_float)
    anywhere = _chance(found.anywhere, found.anywhere_float)
    return f"chance that an old line stays, at worst: {bound}{in_a_set} in a set, {bound}{anywhere} in the cache"


def _chance(exact: str | None, rounded: float) -> str:
    if exact is not None and exact.endswith("/1"):
        return exact.removesuffix("/1")
    # What rounds to 1 and is not: the digits that are not 9 say how far from it.
    text = f"{rounded:.4g}" if rounded < 0.99995 else f"{rounded:.15g}"
    text = "nearly 1" if text == "1" else text
    return f"{text} ({exact})" if exact is not None and len(exact) <= _LONGEST_FRACTION else text


def old_lines(count: int) -> str:
    """``1 old line``, ``3 old lines``."""
    return f"{count} old line{'' if count == 1 else 's'}"


def candidates(found: Sequence[Candidate]) -> str:
    """What would hold under each known policy, the policies of one outcome together."""
    parts = []
    for verdict in (Verdict.PROVED, Verdict.REFUTED, Verdict.UNDECIDED):
        policies = [_candidate(one) for one in found if one.verdict is verdict]
        if policies:
            parts.append(f"{verdict} if it is {', '.join(policies)}")
    return "; ".join(parts)


def _candidate(one: Candidate) -> str:
    if one.verdict is not Verdict.REFUTED or not one.leftovers:
        return one.policy
    return f"{one.policy} ({'at least ' if one.at_least else ''}{one.leftovers} left)"
