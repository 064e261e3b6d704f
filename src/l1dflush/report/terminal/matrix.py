# SPDX-License-Identifier: GPL-2.0-or-later
"""The table of ``what-if --matrix``: boot options down, writes to the parameter across, once for each SMT state."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text

from l1dflush.host.status.grounds import L1tfVerdict
from l1dflush.host.status.model import Cell, MatrixResult
from l1dflush.report.layout import Column, header, paragraph, row
from l1dflush.report.terminal.status import MECHANISMS, STYLES
from l1dflush.report.terminal.what_if_host import not_loaded
from l1dflush.vmentry.subsystem import WRITABLE, Boot, Mode

_SHORT = {
    L1tfVerdict.NOT_AFFECTED: "not aff.",
    L1tfVerdict.MITIGATED: "safe",
    L1tfVerdict.PARTIAL: "partly",
    L1tfVerdict.VULNERABLE: "VULNER.",
    L1tfVerdict.UNKNOWN: "unknown",
}
_MODES = {Mode.EPT_DISABLED: "no EPT", Mode.NOT_REQUIRED: "none"}
_CELL = 15


def matrix_lines(result: MatrixResult, width: int) -> list[Text]:
    """One table for SMT on and one for off, or a single one without SMT."""
    what = f" with {'; '.join(result.changes)}" if result.changes else ""
    lines = paragraph(f"{result.where}{what}: every l1tf= with every vmentry_l1d_flush", width, style="bold")
    flushes = any(cell.mode in (Mode.COND, Mode.ALWAYS) for cell in result.cells)
    how = f"where it flushes: {MECHANISMS[result.mechanism]}" if flushes else "it never flushes"
    lines += paragraph(f"({how})", width, indent="  ")
    if result.loading.result != "ok":
        lines += not_loaded(result.loading, width)
    asked = dict.fromkeys(cell.asked_smt for cell in result.cells)
    for on in asked:
        title = "one thread per core" if len(asked) == 1 else f"SMT {'on' if on else 'off'}"
        lines += [Text(), Text(title, "bold"), *_table([cell for cell in result.cells if cell.asked_smt is on])]
    for note in result.notes:
        lines += [Text(), *paragraph(note, width, first="note: ", indent="      ")]
    legend = "safe: mitigated; partly: partially mitigated; VULNER.: vulnerable; not aff.: not affected"
    return [*lines, Text(), *paragraph(f"{legend}; *: as it is now; !: SMT stays off", width)]


def _table(cells: Sequence[Cell]) -> list[Text]:
    columns = [Column("l1tf=", 12), *(Column(f"{mode.value}", _CELL) for mode in WRITABLE)]
    lines = [header(columns)]
    for boot in Boot:
        line = [cell for cell in cells if cell.l1tf is boot]
        styles = ["", *(STYLES[cell.verdict] for cell in line)]
        lines += row(columns, [boot.value, *(_cell(cell) for cell in line)], styles=styles)
    return lines


def _cell(cell: Cell) -> str:
    mode = "-" if cell.mode is None else _MODES.get(cell.mode, cell.mode.value)
    stays = "!" if cell.asked_smt and not cell.smt else ""
    return f"{mode} {_SHORT[cell.verdict]}{'*' if cell.now else ''}{stays}"
