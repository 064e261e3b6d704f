# SPDX-License-Identifier: GPL-2.0-or-later
"""The survivors curve as bars of characters: accesses to the right, old lines left upwards."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text

from l1dflush.report.layout import paragraph

_MARGIN = 5
_WIDEST_BAR = 4


def curve_lines(curve: Sequence[int], width: int) -> list[Text]:
    """The plot, and the figures in a line.

    Of a long curve a bar stands for several accesses, the first of which counts.
    """
    inner = width - _MARGIN - 1
    per_bar = -(-len(curve) // inner)
    bars = curve[::per_bar]
    wide = max(min(inner // len(bars), _WIDEST_BAR), 1)
    lines = [Text("most old lines left in the set", "bold")]
    for height in range(max(curve), 0, -1):
        drawn = "".join(("█" * max(wide - 1, 1) if left >= height else "").ljust(wide) for left in bars)
        lines.append(Text(f"{height:>{_MARGIN - 2}} │").append(drawn.rstrip(), "cyan"))
    lines.append(Text(f"{0:>{_MARGIN - 2}} └" + "─" * (wide * len(bars))))
    lines.append(Text(" " * _MARGIN + _scale(len(bars), wide, per_bar)))
    lines.append(Text(f"{'':{_MARGIN}}accesses to pairwise different lines"))
    if curve[-1]:
        lines += paragraph("from there on it repeats itself, for ever", width, indent=" " * _MARGIN)
    return [*lines, *paragraph(" ".join(map(str, curve)), width, indent="  ")]


def _scale(bars: int, wide: int, per_bar: int) -> str:
    """The numbers of accesses under the bars, as many as there is room for."""
    longest = len(str(bars * per_bar)) + 1
    every = next(step for step in (1, 2, 5, 10, 20, 50) if step * wide >= longest)
    line = ""
    for bar in range(0, bars, every):
        line = line.ljust(bar * wide) + str(bar * per_bar)
    return line
