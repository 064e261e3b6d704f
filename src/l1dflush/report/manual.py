# SPDX-License-Identifier: GPL-2.0-or-later
"""A page of the manual, from Markdown to lines."""

from __future__ import annotations

import re
from io import StringIO

from rich.console import Console
from rich.markdown import Markdown
from rich.text import Text

from l1dflush.report.layout import MOST_PROSE

_CODE = re.compile(r"^```[^\n]*\n(.*?)^```[^\n]*$\n?", re.M | re.S)
# Another page, perhaps a part of it.
_PAGE = re.compile(r"\[([^\]\n]*)\]\(([a-z-]+)\.md(?:#[^)]*)?\)")
_ELSEWHERE = re.compile(r"\[([^\]\n]*)\]\((?!https?:)[^)]*\)")


def manual_lines(text: str, width: int) -> list[Text]:
    """The lines of a page. Prose and tables are fitted to ``width``; code stays as it is, so that it can be copied."""
    lines: list[Text] = []
    # Every second part is code.
    for number, part in enumerate(_CODE.split(text)):
        if not part.strip():
            continue
        if lines:
            lines.append(Text())
        if number % 2:
            lines += [Text(f"    {line}".rstrip(), "cyan") for line in part.splitlines()]
        else:
            lines += _prose(part, min(width, MOST_PROSE))
    return lines


def _prose(text: str, width: int) -> list[Text]:
    text = _ELSEWHERE.sub(r"\1", _PAGE.sub(_as_topic, text))
    console = Console(file=StringIO(), width=width, force_terminal=False, color_system=None)
    lines = []
    for segments in console.render_lines(Markdown(text, hyperlinks=False), pad=False):
        line = Text()
        for segment in segments:
            line.append(segment.text, segment.style)
        line.rstrip()
        lines.append(line)
    # At most one empty line between others, and none at the ends.
    kept = [line for line, before in zip(lines, [Text(), *lines], strict=False) if line.plain or before.plain]
    return kept[:-1] if kept and not kept[-1].plain else kept


def _as_topic(link: re.Match[str]) -> str:
    text, topic = link[1], link[2]
    return (
        f"`l1dflush help {topic}`"
        if text in (f"{topic}.md", f"docs/{topic}.md")
        else f"{text} (`l1dflush help {topic}`)"
    )
