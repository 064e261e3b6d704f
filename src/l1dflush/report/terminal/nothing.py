# SPDX-License-Identifier: GPL-2.0-or-later
"""The result of ``verify --if-any`` where there is no flush, for a person at a terminal."""

from __future__ import annotations

from rich.text import Text

from l1dflush.errors import some_of
from l1dflush.report.layout import paragraph
from l1dflush.verdict.verify_result import NothingResult

# So many are named.
_MOST = 20
_HOW = {
    "run": "run on all paths, which read less than a page of any buffer and flush in no other way",
    "read": "no loop, no asm statement, and nothing named like a flush",
    "no-code": "no code",
}


def nothing_lines(result: NothingResult, width: int) -> list[Text]:
    """What was asked about, and what was looked at; what that calls elsewhere was not."""
    lines = paragraph(f"nothing to judge: no flush is in {' + '.join(result.sources)}", width)
    lines.append(Text(f"  exit status {result.exit_status}"))
    lines.append(Text())
    for how, told in _HOW.items():
        names = [one.name for one in result.looked_at if one.how == how]
        if names:
            text = f"{some_of(names, _MOST)}: {told}"
            lines += paragraph(text, width, first="looked at  " if not lines[-1].plain else "", indent=" " * 11)
    return lines
