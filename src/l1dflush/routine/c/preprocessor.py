# SPDX-License-Identifier: GPL-2.0-or-later
"""The preprocessor, asked as the compiler asks it: which lines are taken, and what macros make of the code."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Literal

from l1dflush.routine.c.flags import compiler_flags
from l1dflush.routine.options import LoadOptions
from l1dflush.routine.toolchain import preprocess

Language = Literal["c", "assembler-with-cpp"]
ASKS = "l1dflush_asks"
_TEST_MACRO = re.compile(r"^#define (IS_ENABLED|IS_BUILTIN|IS_MODULE|IS_REACHABLE)\(x\) (.*)$", re.M)
_LINE_MARKER = re.compile(r'# (\d+) "([^"]*)"')


def flags_of(text: str, options: LoadOptions) -> list[str]:
    """The flags with which the unit ``text`` is compiled."""
    return [f"-O{options.optimize}", *compiler_flags(text)]


def asking(text: str) -> str:
    """``text`` with a prelude whose tests of the configuration leave behind what they ask for, and come to the same."""
    return _TEST_MACRO.sub(rf"#define \1(x) ((\2) + 0 * {ASKS} * x)", text)


def preprocessed(text: str, options: LoadOptions, where: str, language: Language, flags: Sequence[str]) -> str:
    """``text`` after the preprocessor, as the compiler would get it with ``flags``. Raises InputError."""
    plain = preprocess(
        text.encode("utf-8", "replace"),
        where=where,
        defines=options.defines,
        undefines=options.undefines,
        language=language,
        extra_flags=("-w", *flags),
    )
    return plain.decode("utf-8", "replace")


def own_lines(plain: str) -> Iterator[tuple[int, str]]:
    """The lines of a preprocessed unit that come from the user's text, with their numbers there."""
    line, own = 0, False
    for piece in plain.split("\n"):
        if marker := _LINE_MARKER.match(piece):
            line, own = int(marker.group(1)), marker.group(2) != "l1dflush-prelude"
            continue
        if own and line > 0:
            yield line, piece
        line += 1
