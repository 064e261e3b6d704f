# SPDX-License-Identifier: GPL-2.0-or-later
"""What of the source is not in the code that was judged, and what stands for names that nobody gave, in words."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text

from l1dflush.report.layout import paragraph, safe
from l1dflush.verdict.verify_result import LeftOutInfo

_SUPPOSED = ("default", "supposed")


def left_out_lines(left_out: Sequence[LeftOutInfo], width: int) -> list[Text]:
    """The list of what was left out, each with the option that brings it in, and what was supposed."""
    lines: list[Text] = []
    gone = [one for one in left_out if one.kind not in _SUPPOSED]
    if gone:
        lines += paragraph("left out of the code above:", width, indent="")
    for one in gone:
        option = f" ({one.option})" if one.option else ""
        where = f" at {one.where}" if one.where else ""
        name = f"`{one.name}`" if one.kind == "branch" else one.name
        lines += paragraph(safe(f"{name}{where}: {one.reason}{option}"), width, first="  - ", indent="    ")
    supposed = [one for one in left_out if one.kind in _SUPPOSED]
    if supposed:
        lines += paragraph("names, and what stands for them:", width, indent="")
    for one in supposed:
        where = f" ({one.where})" if one.where else ""
        lines += paragraph(safe(f"{one.name}: {one.reason}{where}"), width, first="  - ", indent="    ")
    return lines
