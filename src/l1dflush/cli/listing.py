# SPDX-License-Identifier: GPL-2.0-or-later
"""Lists: the same rows as a table for people and as JSON for programs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from l1dflush import __version__
from l1dflush.cli.output import Outcome, Page

if TYPE_CHECKING:
    from rich.text import Text


def as_json(command: str, items: Sequence[Mapping[str, Any]]) -> Outcome:
    """The items under the name of the verb that lists them."""
    import json

    from l1dflush.document import FORMAT_VERSION

    document = {
        "format_version": FORMAT_VERSION,
        "tool_version": __version__,
        "command": command,
        command: list(items),
    }
    return Outcome(0, json.dumps(document, indent=2, ensure_ascii=False) + "\n")


def as_table(
    titles: Sequence[str], rows: Sequence[Sequence[str]], *, flexible: Sequence[int], no_color: bool, note: str = ""
) -> Outcome:
    """The rows aligned; the ``flexible`` columns are wrapped where the line is too short."""
    from l1dflush.report.layout import paragraph, table

    def lines(width: int) -> list[Text]:
        from rich.text import Text

        below = [Text(), *paragraph(note, width)] if note else []
        return table(titles, rows, width, flexible=flexible) + below

    return Outcome(0, Page(lines, no_color))
