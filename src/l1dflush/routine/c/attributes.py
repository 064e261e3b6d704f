# SPDX-License-Identifier: GPL-2.0-or-later
"""Words of the prelude that are attributes, where the text writes an attribute out: they are not expanded there.

The kernel's ``noinline`` is a macro for ``__attribute__((__noinline__))``. In ``__attribute__((noinline))``, which is
just as good C, it would be put into itself.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator

from l1dflush.routine.c.kernel_attributes import ATTRIBUTE_NAMES
from l1dflush.routine.c.text import WORD, blank_opaque

# fallthrough is given on demand, the others always.
_MACROS = ATTRIBUTE_NAMES | {"fallthrough", "__unused"}
_OPENS = re.compile(
    r"\b__attribute(?:__)?(?:\s|\\\n)*\((?:\s|\\\n)*\(|\b__has_(?:\w+_)?attribute(?:\s|\\\n)*\(|\[(?:\s|\\\n)*\["
)
_BRACKET = re.compile(r"[()\[\]]")


def not_expanded(text: str, own: Collection[str]) -> str:
    """``text`` with the attributes that it writes out in a form that no macro of the prelude changes: ``noinline`` as
    ``__noinline__``, and what the compiler does not know (``__noinline``) as something else that it does not know.
    ``own`` are names that the text defines itself."""
    if "attribute" not in text and "[[" not in text:
        return text
    code = blank_opaque(text)
    pieces: list[str] = []
    last = 0
    for start, end in _written_out(code):
        for match in WORD.finditer(code, start, end):
            name = match.group()
            if name in _MACROS and name not in own:
                pieces += [text[last : match.start()], f"{name}_" if name.startswith("_") else f"__{name}__"]
                last = match.end()
    return "".join(pieces) + text[last:]


def _written_out(code: str) -> Iterator[tuple[int, int]]:
    """Where the brackets of an attribute begin and end, or those of a question for one."""
    place = 0
    while match := _OPENS.search(code, place):
        depth = sum(char in "([" for char in match.group())
        place = match.end()
        while depth and (bracket := _BRACKET.search(code, place)):
            depth += 1 if bracket.group() in "([" else -1
            place = bracket.end()
        yield match.end(), place
