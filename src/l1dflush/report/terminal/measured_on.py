# SPDX-License-Identifier: GPL-2.0-or-later
"""The lines that measurements share: what they were made on, and what speaks against them."""

from __future__ import annotations

from rich.text import Text

from l1dflush.report.layout import paragraph, safe
from l1dflush.silicon.measure.model import EnvironmentInfo
from l1dflush.verdict.verify_result import GeometryInfo


def title_line(what: str, title: str, shape: GeometryInfo) -> Text:
    """Whose L1D it is."""
    of = f" ({safe(title)})" if title else ""
    return Text(f"{what}: the L1D of this machine{of}, {shape.size >> 10}K {shape.ways}x{shape.line}", "bold")


def environment_lines(there: EnvironmentInfo, width: int) -> list[Text]:
    """Where and when, then every doubt."""
    parts = [
        f"CPU {there.on_cpu} of {there.cpu or 'an unnamed model'}",
        f"kernel {there.kernel}",
        f"{there.trials} trials in {there.seconds:.1f} s, {there.dropped} dropped",
        f"{there.ticks_per_cycle:.2f} ticks a cycle",
    ]
    lines = paragraph(", ".join(parts), width, first="  on     ", indent=" " * 9, style="dim")
    for doubt in there.doubts:
        lines += paragraph(doubt, width, first="  doubt  ", indent=" " * 9, style="yellow")
    return lines
