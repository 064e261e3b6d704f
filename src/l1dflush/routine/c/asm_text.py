# SPDX-License-Identifier: GPL-2.0-or-later
"""The templates of asm statements as they stand in a text, in functions and in macros."""

from __future__ import annotations

import re
from collections.abc import Iterator

from l1dflush.routine.c.text import CText

_STRING = r'"(?:[^"\\\n]|\\.)*"'
_GAP = r"(?:\s|\\\n)*"
_STATEMENT = re.compile(rf"\b(?:asm|__asm__|__asm)\b(?:[\s\\]|\b\w+\b){{0,40}}\({_GAP}((?:{_STRING}{_GAP})+)")
_LITERAL = re.compile(_STRING)
_BREAK = re.compile(r"\\[nt]")


def asm_templates(text: CText) -> Iterator[str]:
    """The template of each asm statement that begins with a string, its lines as the assembler gets them."""
    for match in _STATEMENT.finditer(text.text):
        if text.code[match.start()] != " ":  # not in a comment
            joined = "".join(literal[1:-1] for literal in _LITERAL.findall(match.group(1)))
            yield _BREAK.sub(lambda found: "\n" if found.group() == "\\n" else "\t", joined)
