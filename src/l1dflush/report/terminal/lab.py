# SPDX-License-Identifier: GPL-2.0-or-later
"""The result of ``lab`` for a person: entry by entry what leaked, and the sum over everything that may be otherwise."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text

from l1dflush.report.layout import Column, fitted, header, paragraph, row, safe
from l1dflush.vmentry.lab.model import EntryInfo, LabResult, ScenarioListResult, SumInfo
from l1dflush.vmentry.subsystem import Mode

_MOST_ENTRIES = 12
_LINE = 64
_MODES = (Mode.NEVER, Mode.COND, Mode.ALWAYS)
_LEAKS, _NOTHING = "bold red", "green"


def scenario_lines(result: ScenarioListResult, width: int) -> list[Text]:
    """The scenarios that are shipped."""
    rows = [[one.name, one.title] for one in result.scenarios]
    columns = fitted(["scenario", "what it shows"], rows, width, [1])
    lines = [header(columns), *(line for cells in rows for line in row(columns, cells))]
    return [*lines, Text(), *paragraph("'l1dflush lab NAME' plays one; a file of your own works as well", width)]


def lab_lines(result: LabResult, width: int) -> list[Text]:
    """The whole report."""
    lines = paragraph(result.title, width, style="bold")
    if result.text:
        lines += paragraph(result.text, width, indent="  ")
    lines += [Text(), *_played(result, width)]
    if len(result.sums) > 1:
        lines += [Text(), *_sums(result, width)]
    spared = dict.fromkeys(one.setting.cpu for one in result.sums if not one.setting.l1tf_affected)
    if spared and any(one.secret_bytes for one in result.sums if one.setting.cpu in spared):
        what = (
            f"without L1TF: {', '.join(spared)}; what is read there is what a guest could read if the CPU had the bug"
        )
        lines += [Text(), *paragraph(what, width)]
    what = "a model: bytes of secret in lines that the L1D held when the guest got in, counted at every entry anew"
    return [*lines, Text(), *paragraph(f"{what}; {result.accesses} accesses played", width, style="dim")]


def _played(result: LabResult, width: int) -> list[Text]:
    played, there = result.played, result.played.setting
    smt, ept = "SMT on" if there.smt else "SMT off", "" if there.ept else ", EPT off"
    what = safe(f"{there.cpu} ({there.policy}), {there.routine}, {there.mode}, {smt}{ept}")
    lines = [Text(what, "bold")]
    if played.mode_at_end != there.mode:
        lines += paragraph(f"the parameter reads '{played.mode_at_end}'", width, indent="  ")
    lines += _entries(result.entries, width)
    style = _LEAKS if played.secret_bytes else _NOTHING
    total = f"{played.flushes} of {played.entries} entries flushed, {_told(played.secret_bytes)} of secrets read"
    lines.append(Text(f"  {total}", style))
    if played.worst:
        lines += paragraph(_worst(played), width, indent="  ")
    return lines


def _worst(played: SumInfo) -> str:
    at_random = f"with random work in its place {_told(played.random_work_bytes or 0)} are read"
    if played.worst == "counterexample":
        return f"the host's accesses are the prover's counterexample; {at_random}"
    return f"no counterexample ({safe(played.worst)}), so the host works at random"


def _entries(entries: Sequence[EntryInfo], width: int) -> list[Text]:
    shape = [
        Column("entry", 7, right=True),
        Column("flushed", 8),
        Column("secret lines", 12, right=True),
        Column("by the sibling", 14, right=True),
        Column("bytes", 9, right=True),
    ]
    lines = [header(shape)]
    for one in entries[:_MOST_ENTRIES]:
        number = (one.secret_lines + one.by_sibling) * _LINE
        cells = [
            str(one.number),
            "yes" if one.flushed else "no",
            str(one.secret_lines),
            str(one.by_sibling),
            str(number),
        ]
        lines += row(shape, cells, styles=["", "", "", "", _LEAKS if number else _NOTHING])
    rest = len(entries) - _MOST_ENTRIES
    if rest > 0:
        lines.append(Text(f"  ... and {rest} more; --json has them all", "dim"))
    return lines


def _sums(result: LabResult, width: int) -> list[Text]:
    """A row per CPU, routine and SMT, with EPT on; in the last line what was read with EPT off."""
    told = {_key(one): one for one in result.sums}
    drives = any(one.worst for one in result.sums)
    rows, styles = [], []
    for key in dict.fromkeys(key[:3] for key in told):
        cpu, routine, smt = key
        sums = [told.get((*key, mode.value, True)) for mode in _MODES]
        if not any(sums):
            continue
        cells = [cpu, routine, "on" if smt else "off", *(_cell(one) for one in sums)]
        last = sums[-1]
        if drives:
            cells.append("" if last is None else _bytes(last.random_work_bytes or 0))
        rows.append(cells)
        styles.append(["", "", "", *(_style(one) for one in sums), *([""] if drives else [])])
    titles = ["CPU", "routine", "SMT", *(mode.value for mode in _MODES), *(["always, random"] if drives else [])]
    columns = fitted(titles, rows, width, [1, 0])
    lines = [Text("bytes of secrets read", "bold"), header(columns)]
    for cells, style in zip(rows, styles, strict=True):
        lines += row(columns, cells, styles=style)
    without = [one for one in result.sums if not one.setting.ept]
    if without:
        read = sum(one.secret_bytes for one in without)
        lines += paragraph(f"with EPT off: {_told(read)}, over all {len(without)} of them", width, indent="  ")
    return lines


def _key(one: SumInfo) -> tuple[str, str, bool, str, bool]:
    there = one.setting
    return there.cpu, there.routine, there.smt, there.mode, there.ept


def _cell(one: SumInfo | None) -> str:
    return "" if one is None else _bytes(one.secret_bytes)


def _style(one: SumInfo | None) -> str:
    return "" if one is None else _LEAKS if one.secret_bytes else _NOTHING


def _bytes(number: int) -> str:
    return f"{number}" if number < 10_000 else f"{number / 1024:.1f} KiB"


def _told(number: int) -> str:
    """The same within a sentence."""
    return f"{number} bytes" if number < 10_000 else _bytes(number)
