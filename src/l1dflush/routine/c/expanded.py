# SPDX-License-Identifier: GPL-2.0-or-later
"""Names that nobody gave and that decide in the code itself: what macros made of it shows them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace

from l1dflush.errors import InputError
from l1dflush.place import Place
from l1dflush.routine.c.kernel_prelude import prelude
from l1dflush.routine.c.preprocessor import ASKS, asking, own_lines, preprocessed
from l1dflush.routine.c.text import word_set
from l1dflush.routine.c.unit import CIndex, CUnit
from l1dflush.routine.model import LeftOut, LeftOutKind
from l1dflush.routine.options import LoadOptions

_TESTS = word_set("IS_ENABLED IS_BUILTIN IS_MODULE IS_REACHABLE")
_ASKED = re.compile(rf"\b{ASKS} \* ([A-Za-z_]\w*)")
_ASM_CONDITION = re.compile(r"(\.ifn?(?:ot)?def\s+([A-Za-z_.]\w*))")
# What a build gives is written like that; a word such as lfence is meant as it is.
_BUILD_NAME = re.compile(r"(?!X86_(?:FEATURE|BUG)_)[A-Z_]*[A-Z][A-Z0-9_]*\Z|CONFIG_\w+\Z")
_PROBE = "l1dflush_probe_"
_MADE = re.compile(rf'"(?:[^"\\]|\\.)*"|\w*{_PROBE}\w*')
_NUMBER = re.compile(rf"{_PROBE}(\d+)_")


def tests(index: CIndex, unit: CUnit, options: LoadOptions, flags: Sequence[str]) -> Iterator[tuple[int, LeftOut]]:
    """Tests of the configuration in the code that is compiled with ``flags``, as the preprocessor comes to them: the
    name may be put together by macros."""
    if not unit.words & _TESTS:
        return
    try:
        plain = preprocessed(asking(unit.text), options, index.source, "c", flags)
    except InputError:
        return  # the compiler has said so
    for line, piece in own_lines(plain):
        for match in _ASKED.finditer(piece):
            name = match.group(1)
            if not {name, f"{name}_MODULE"} & options.given:
                yield _at(index, line, f"IS_ENABLED({name})", name, "what is not given counts as off")


def as_text(
    index: CIndex, unit: CUnit, options: LoadOptions, flags: Sequence[str], asked: frozenset[str]
) -> Iterator[tuple[int, LeftOut]]:
    """Names of which macros make a string, or part of another name: undefined, they stand for themselves, and no
    compiler complains. Those that are ``asked`` for are told where they are.

    Each gets a value that shows where it comes out.
    """
    known = index.macros.keys() | options.given | prelude().entries.keys() | prelude().always_names | asked
    candidates = sorted(name for name in unit.words if _BUILD_NAME.match(name) and name not in known)
    candidates = [name for name in candidates if name not in unit.supposed and not index.definitions(name)]
    if not candidates or "#" not in unit.text:
        return
    probes = {name: f"{_PROBE}{number}_" for number, name in enumerate(candidates)}
    try:
        given = replace(options, defines={**options.defines, **probes})
        plain = preprocessed(unit.text, given, index.source, "c", flags)
    except InputError:
        return
    for line, piece in own_lines(plain):
        for match in _MADE.finditer(piece):
            for number in _NUMBER.findall(match.group()):
                name = candidates[int(number)]
                if match.group() != probes[name]:
                    yield _at(index, line, name, name, "it is not given, and stands for itself in a string or a name")


def _at(index: CIndex, line: int, what: str, name: str, reason: str) -> tuple[int, LeftOut]:
    starts = index.text.line_starts
    line = min(line, len(starts))
    return starts[line - 1], LeftOut(LeftOutKind.BRANCH, what, (name,), reason, Place(index.source, line), ("1",))


def in_statements(index: CIndex, unit: CUnit, options: LoadOptions) -> Iterator[tuple[int, LeftOut]]:
    """Conditions of the assembler in asm statements, which --define does not reach."""
    for start, end in unit.kept:
        for match in _ASM_CONDITION.finditer(index.text.text, start, end):
            if match.group(2) not in options.given:
                reason = "the assembler is asked in an asm statement, which --define does not reach"
                place = Place(index.source, index.text.line(match.start()))
                yield match.start(), LeftOut(LeftOutKind.BRANCH, match.group(1), (match.group(2),), reason, place)
