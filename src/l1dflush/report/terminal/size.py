# SPDX-License-Identifier: GPL-2.0-or-later
"""The result of ``size`` for a person: a table of policies and ways, one of caches, or one policy with its curve."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from rich.cells import cell_len
from rich.text import Text

from l1dflush.cache.policies import policy_unknown
from l1dflush.in_words import in_words
from l1dflush.proof.conditions import Start
from l1dflush.report.layout import GAP, Column, fitted, header, paragraph, row, safe
from l1dflush.report.terminal.curve import curve_lines
from l1dflush.verdict.size.result import OneSizeResult, SizeCell, SizeResult
from l1dflush.verdict.verify_result import GeometryInfo

_TITLE = "fewest pairwise different accesses that empty a set"
_TITLE_STEADY = "fewest lines of a set that leave nothing, read in one order again and again"
NOT_DEFINED = "-"
UNDECIDED = "?"
# What the causes mean here, in the order in which they are told.
_CAUSES = {
    "out-of-time": "takes longer than allowed (--max-seconds N)",
    "state-space-too-large": "takes more memory than allowed (--memory SIZE)",
    "bounds-only": "only bounds are known ('l1dflush size --policy NAME --ways K' tells them)",
    "no-bound-on-lines": "no number of lines is known after which one need not look further",
    "unknown-fill": "what filling an invalid way does is not known (--start any)",
}


def size_lines(result: SizeResult, width: int) -> list[Text]:
    """The whole report."""
    if isinstance(result, OneSizeResult):
        return _one(result, result.cells[0], width)
    caches = any(cell.geometry is not None for cell in result.cells)
    body = _caches(result.cells, width) if caches else _grid(result.cells, width)
    title = _TITLE_STEADY if _steady(result.cells[0]) else _TITLE
    return [Text(title, "bold"), *body, Text(), *_remarks(result, width)]


def _steady(cell: SizeCell) -> bool:
    return Start.parse(cell.start).steady


def number(cell: SizeCell) -> str:
    """What stands in a table."""
    if not cell.decided:
        return UNDECIDED
    return "never" if cell.needs is None else f"{cell.needs}{'*' * cell.by_chance}"


def _grid(cells: Sequence[SizeCell], width: int) -> list[Text]:
    """A row per policy, a column per number of ways; so many columns as there is room for, then the rest below."""
    ways = sorted({cell.ways for cell in cells})
    told = {(cell.policy, cell.ways): number(cell) for cell in cells}
    policies = list(dict.fromkeys(cell.policy for cell in cells))
    titles = {k: f"{k} way{'s' * (k > 1)}" for k in ways}
    column = max(len(title) for title in titles.values())
    column = max(column, *(len(text) for text in told.values()))
    name = min(max(cell_len(safe(policy)) for policy in ["policy", *policies]), 30)
    at_once = max((width - name) // (column + GAP), 1)
    lines: list[Text] = []
    for first in range(0, len(ways), at_once):
        some = ways[first : first + at_once]
        shape = [Column("policy", name), *(Column(titles[k], column, right=True) for k in some)]
        lines += [Text()] * bool(lines) + [header(shape)]
        for policy in policies:
            texts = [told.get((policy, k), NOT_DEFINED) for k in some]
            lines += row(shape, [policy, *texts], styles=["", *map(_style, texts)])
    return lines


def _style(text: str) -> str:
    return {"never": "red", UNDECIDED: "yellow", NOT_DEFINED: "dim"}.get(text, "")


def _caches(cells: Sequence[SizeCell], width: int) -> list[Text]:
    titles = ["CPU", "L1D", "policy", "needs", "lines", "KiB"]
    rows = []
    before = ""
    for cell in cells:
        whose = cell.title or "(given)"
        known = in_words(cell.policy_certainty)
        policy = cell.policy if known == "given" else f"{cell.policy} ({known})"
        if cell.policy_certainty == "unknown":
            policy = f"unknown, if {cell.policy}"
        amounts = ["" if cell.lines is None else str(cell.lines), "" if cell.size is None else _kib(cell.size)]
        rows.append([whose if whose != before else "", _shape(cell), policy, number(cell), *amounts])
        before = whose
    shape = [
        replace(column, right=column.title in titles[3:]) for column in fitted(titles, rows, width, flexible=(0, 2))
    ]
    lines = [header(shape)]
    for cells_of_row in rows:
        lines += row(shape, cells_of_row, styles=["", "", "", _style(cells_of_row[3]), "", ""])
    return lines


def _shape(cell: SizeCell) -> str:
    shape = cell.geometry
    return "" if shape is None else f"{_kib(shape.size)}K {shape.ways}x{shape.line}"


def _kib(size: int) -> str:
    return f"{size / 1024:g}"


def _one(result: OneSizeResult, cell: SizeCell, width: int) -> list[Text]:
    head = safe(f"{cell.policy}, {cell.ways} way{'s' * (cell.ways > 1)}")
    if not cell.decided:
        lines = [Text(head, "bold").append(": undecided", "bold yellow")]
        return lines + paragraph(f"{cell.cause}: {cell.reason}", width, indent="  ") + _conditions(result, width)
    if cell.needs is None:
        lines = [Text(head, "bold").append(": never", "bold red")]
        lines += paragraph("no number of pairwise different accesses is certain to empty a set", width, indent="  ")
    elif _steady(cell):
        lines = [Text(head, "bold").append(f": {cell.needs} line{'s' * (cell.needs > 1)}", "bold green")]
        lines += paragraph("read in one order, again and again, leave no old line in a set", width, indent="  ")
    else:
        lines = [Text(head, "bold").append(f": {cell.needs} access{'es' * (cell.needs > 1)}", "bold green")]
        what = f"to pairwise different lines leave {_outcome(result, cell)}"
        lines += paragraph(what, width, indent="  ")
    if cell.title:
        known = in_words(cell.policy_certainty)
        policy = "" if known == "given" else f": the policy is {cell.policy} ({known})"
        lines += paragraph(f"{cell.title}{policy}", width, indent="  ")
    if cell.geometry is not None and cell.lines is not None and cell.size is not None:
        lines += paragraph(_whole(cell.geometry, cell.lines, cell.size), width, indent="  ")
    lines += _conditions(result, width)
    return lines if cell.curve is None else [*lines, Text(), *curve_lines(cell.curve, width)]


def _outcome(result: SizeResult, cell: SizeCell) -> str:
    if cell.by_chance:
        return f"an old line with a chance below {_chance(result, cell)}"
    return "no old line in a set, whatever it holds at the start"


def _chance(result: SizeResult, cell: SizeCell) -> str:
    return f"{result.chance} in {'a set' if cell.geometry is None else 'the whole cache'}"


def _whole(shape: GeometryInfo, lines: int, size: int) -> str:
    return f"for {shape.sets} sets of {shape.ways} x {shape.line} bytes: {lines} lines, {_kib(size)} KiB"


def _conditions(result: SizeResult, width: int) -> list[Text]:
    touches = f"{result.touches or 'no'} touch{'' if result.touches == 1 else 'es'} by others"
    lines: list[Text] = []
    starts = {cell.start: cell.start_meaning for cell in result.cells}
    for name, meaning in starts.items():
        text = f"{name}: {meaning}; {touches}"
        if len(starts) > 1:
            text += f" ({', '.join(dict.fromkeys(cell.policy for cell in result.cells if cell.start == name))})"
        lines += paragraph(text, width, first=f"  {'start':<7} ", indent=" " * 10)
    return lines


def _remarks(result: SizeResult, width: int) -> Iterator[Text]:
    yield from _conditions(result, width)
    told = {number(cell) for cell in result.cells}
    defined = {(cell.policy, cell.ways) for cell in result.cells}
    grid = not any(cell.geometry is not None for cell in result.cells)
    whole = len({policy for policy, _ in defined}) * len({ways for _, ways in defined})
    facts = []
    if "never" in told:
        facts.append(("never", "no number of accesses is certain to empty a set"))
    if grid and len(defined) < whole:
        facts.append((NOT_DEFINED, "the policy is not defined at so many ways"))
    if UNDECIDED in told:
        causes = {cell.cause or "" for cell in result.cells if not cell.decided}
        known = [text for cause, text in _CAUSES.items() if cause in causes]
        facts.append((UNDECIDED, f"undecided: {'; '.join([*known, *sorted(causes - set(_CAUSES))])}"))
    if any(cell.by_chance for cell in result.cells):
        facts.append(("*", f"an old line stays with a chance below {_chance(result, result.cells[0])}"))
    if any(cell.policy_certainty == "unknown" for cell in result.cells):
        facts.append(("unknown", f"{policy_unknown('this cache')}; the known ones are listed"))
    for name, text in facts:
        yield from paragraph(text, width, first=f"  {name:<7} ", indent=" " * 10)
