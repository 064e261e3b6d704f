# SPDX-License-Identifier: GPL-2.0-or-later
"""Lines of styled text: safe, wrapped, and aligned in columns.

Reports are lists of such lines. They are made for a width, so that nothing behind them has to wrap or cut,
and every text that comes from outside passes through :func:`safe`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from io import StringIO

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from l1dflush.errors import one_line

MIN_WIDTH = 76
# Longer lines of prose lose the eye on its way back. Tables may take all the width there is.
MOST_PROSE = 100
GAP = 2
# Lays tables out, and writes nothing; they are as wide as their columns say.
_CONSOLE = Console(width=10_000, color_system=None, file=StringIO(), legacy_windows=False)


def safe(text: str) -> str:
    """``text`` without anything that a terminal would obey, or that would break the line."""
    return one_line(text)


def wrap(text: str, width: int) -> list[str]:
    """``text`` in lines of at most ``width`` columns, broken between words.

    A word that is longer than a line stays whole, so that a path can still be copied.
    """
    lines: list[str] = []
    line = ""
    for word in safe(text).split(" "):
        longer = f"{line} {word}" if line else word
        if cell_len(longer) <= width:
            line = longer
            continue
        if line:
            lines.append(line)
        line = word
    lines.append(line)
    return lines


def paragraph(text: str, width: int, *, first: str = "", indent: str = "", style: str = "") -> list[Text]:
    """``text`` wrapped behind ``indent``; the first line starts with ``first`` instead, if there is one.

    No line is longer than ``width``, nor than :data:`MOST_PROSE`, unless a word is."""
    first = first or indent
    width = min(width, MOST_PROSE)
    margin = max(cell_len(first), cell_len(indent))
    lines = wrap(text, max(width - margin, 20))
    starts = [first] + [indent] * (len(lines) - 1)
    return [Text(start).append(line, style) for start, line in zip(starts, lines, strict=True)]


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table. ``width`` in terminal columns; numbers go to the ``right``."""

    title: str
    width: int
    right: bool = False
    style: str = ""


def fitted(titles: Sequence[str], rows: Sequence[Sequence[str]], width: int, flexible: Sequence[int]) -> list[Column]:
    """Columns as wide as their contents; the ``flexible`` ones give way, in order, where ``width`` is too small."""
    widths = [max([cell_len(title), *(cell_len(safe(row[i])) for row in rows)]) for i, title in enumerate(titles)]
    over = sum(widths) + GAP * (len(widths) - 1) - width
    for i in flexible:
        less = min(max(over, 0), max(widths[i] - 12, 0))
        widths[i] -= less
        over -= less
    return [Column(title, w) for title, w in zip(titles, widths, strict=True)]


def header(columns: Sequence[Column]) -> Text:
    """The line of titles."""
    return row(columns, [column.title for column in columns], styles=["bold"] * len(columns))[0]


def row(columns: Sequence[Column], cells: Sequence[str], *, styles: Sequence[str] | None = None) -> list[Text]:
    """One row of a table: each cell wrapped in its column."""
    grid = Table.grid()
    for column in columns:
        # Not by padding: before version 15 the last column had it, too.
        if grid.columns:
            grid.add_column(width=GAP)
        grid.add_column(width=column.width, justify="right" if column.right else "left", overflow="fold")
    styles = styles or [column.style for column in columns]
    texts = [Text(safe(cell), style) for cell, style in zip(cells, styles, strict=True)]
    grid.add_row(*[part for text in texts for part in (text, "")][:-1])
    lines = []
    for segments in _CONSOLE.render_lines(grid, pad=False):
        line = Text().join(Text(segment.text, segment.style or "") for segment in segments)
        line.rstrip()
        lines.append(line)
    return lines


def side_by_side(labels: Iterable[str], left: str, right: str, width: int) -> list[Column]:
    """A column of labels and two of the same width."""
    label = max(map(cell_len, labels))
    half = (width - label - 2 * GAP) // 2
    return [Column("", label), Column(left, half), Column(right, half)]


def table(titles: Sequence[str], rows: Sequence[Sequence[str]], width: int, *, flexible: Sequence[int]) -> list[Text]:
    """A whole table of plain cells."""
    columns = fitted(titles, rows, width, flexible)
    return [header(columns), *(line for cells in rows for line in row(columns, cells))]


def plain(lines: Iterable[Text]) -> str:
    """The lines without styles, for tests and for files."""
    return "".join(f"{line.plain}\n" for line in lines)
