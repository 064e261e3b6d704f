# SPDX-License-Identifier: GPL-2.0-or-later
"""Directives of a C text that the compiler does not get: those that read other files, and those about another build."""

from __future__ import annotations

import re
from bisect import bisect_left

from l1dflush.routine.c.text import CText, ItemKind, directive_name, spaces

# The prelude stands for the headers; a text must not read other files; an #error guards a build we do not do.
INCLUDES = frozenset({"include", "include_next", "import", "embed"})
"""Directives that read another file."""
INCLUDED_HERE = "#error"
"""What the compiler says where another file would be part of the code: the text's own are dropped."""
_DROPPED_DIRECTIVES = INCLUDES | {"error", "warning", "line", ""}
_DROPPED_PRAGMA = re.compile(r"pragma[ \t]+(?:GCC[ \t]+)?(?:dependency|poison|system_header|once)")


def with_directives(text: CText, inner: frozenset[int]) -> str:
    """The text without directives that are not for us; those that begin at ``inner`` become errors."""
    pieces: list[str] = []
    last = 0
    for start, end in text.directives:
        piece = text.text[start:end]
        pieces += [text.text[last:start], _as_error(piece) if start in inner else _directive_text(piece)]
        last = end
    return "".join(pieces) + text.text[last:]


def inner_includes(text: CText) -> frozenset[int]:
    """Where the directives begin that would read another file into an item."""
    items = [item for item in text.items if item.kind in (ItemKind.FUNCTION, ItemKind.DECLARATION)]
    starts = [item.start for item in items]
    found = set()
    for start, end in text.directives:
        place = bisect_left(starts, start)
        if place and start < items[place - 1].end and directive_name(text.text[start:end]) in INCLUDES:
            found.add(start)
    return frozenset(found)


def _as_error(piece: str) -> str:
    """An #error of the same length and number of lines."""
    lines = spaces(piece).split("\n")
    longest = max(range(len(lines)), key=lambda number: len(lines[number]))
    lines[longest] = INCLUDED_HERE + lines[longest][len(INCLUDED_HERE) :]
    return "\n".join(lines)


def _directive_text(piece: str) -> str:
    name = directive_name(piece)
    dropped = name in _DROPPED_DIRECTIVES or (name == "pragma" and _DROPPED_PRAGMA.search(piece))
    return spaces(piece) if dropped else piece
