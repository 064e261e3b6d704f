# SPDX-License-Identifier: GPL-2.0-or-later
"""Does an input surely hold no flush? Read as text, and only said where nothing in it speaks for one.

For C it also has to have been compiled and run before: what a text lacks or means only a compiler can say. What of it
was run on every path without a flush may have loops. In a patch, which is hardly ever whole, nothing may: no loop, no
asm statement, no name that speaks of a flush, in what it adds, removes or shows around it.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import PurePosixPath
from typing import Literal

from l1dflush.errors import InputError
from l1dflush.routine.c.text import Item, blank_opaque, cut, spaces
from l1dflush.routine.detect import Format, as_text
from l1dflush.routine.given import Given
from l1dflush.routine.mail.diffs import NewFile, new_files
from l1dflush.routine.mail.messages import messages

How = Literal["run", "read", "no-code"]

# What touches memory on purpose is among them: a loop that is not shown may call it.
_NAMES = re.compile(
    r"flush|l1d|l1tf|wbinvd|clwb|cldemote|wrmsr|write_?msr|prefetch|\binvd\b|\b(?:asm|__asm|__asm__)\b"
    r"|\b__?volatile_?_?\b|\bvolatile\b|\b(?:READ|WRITE|ACCESS)_ONCE\b",
    re.I,
)
# A statement before braces that is none of C's is a macro from elsewhere, which may well be a loop.
_LOOP = re.compile(
    r"\b(?:for|while|do|goto)\b|for_?each|^[ \t]+(?!(?:if|switch)\b)[A-Za-z_]\w*[ \t]*\([^;{}]{0,300}\)\s*\{", re.M
)
# These read or write as much as they are told to.
_BULK = re.compile(r"\b\w*(?:mem(?:set|cpy|move|cmp|chr|scan|zero)|bzero|bcopy|(?:copy|clear)_page|copy_(?:to|from)_)")
_SMALL_BULK = re.compile(r"\b(?:__builtin_)?mem(?:set|cpy|move|cmp|chr)\s*\([^;()]*,\s*([1-9]\d{0,2})\s*\)")
# A line that goes on with a comment which begins before what is shown.
_IN_COMMENT = re.compile(r"^\s*\*(?:[\s/].*)?$", re.M)
# So many accesses in a row are a walk that was unrolled.
_UNROLLED = 64
_ACCESS = re.compile(r"\[|\*\s*\(")

# A patch that is quoted in an answer is not looked at, and may well be the one that matters.
_QUOTED_PATCH = re.compile(r"^[ \t]*[>|][>| \t]*(?:@@ -|diff --git |\+\+\+ )", re.M)

_C_SUFFIXES = frozenset({".c", ".h"})
_NO_CODE_SUFFIXES = frozenset(
    {".rst", ".txt", ".md", ".html", ".css", ".svg", ".json", ".yaml", ".yml", ".toml", ".csv", ".po", ".dts", ".dtsi"}
)
_NO_CODE_NAMES = frozenset(
    {"Kconfig", "MAINTAINERS", "CREDITS", "COPYING", "LICENSE", "README", "NEWS", "AUTHORS", ".gitignore", ".mailmap"}
)


@dataclass(frozen=True, slots=True)
class LookedAt:
    """A function or a file in which there is no flush; ``how`` that is known: it was run on all paths, or read, or is
    of a kind that has no code."""

    name: str
    how: How


def without_flush(inputs: Sequence[Given], followed: Collection[str] | None) -> tuple[LookedAt, ...] | None:
    """What was looked at, if none of ``inputs`` holds a flush; ``None`` where
    that is not certain.

    ``followed`` are the functions that were run on every path and do not flush; ``None`` where it did not come to that.
    """
    found: list[LookedAt] = []
    for one in inputs:
        try:
            if one.kind is Format.PATCH:
                part = _of_patch(one.data, one.name, followed or ())
            elif one.kind is Format.C and followed is not None:
                part = _of_c(as_text(one.data), followed)
            else:
                part = None
        except (InputError, RecursionError):
            part = None
        if part is None:
            return None
        found += part
    return tuple(found)


def _of_c(text: str, followed: Collection[str]) -> list[LookedAt] | None:
    functions = list(cut(text, where="").functions)
    if not functions or _suspicious(text, followed):
        return None
    return [LookedAt(item.name, "run" if item.name in followed else "read") for item in functions]


def _of_patch(data: bytes, name: str, followed: Collection[str]) -> list[LookedAt] | None:
    found: list[LookedAt] = []
    for message in messages(name, data):
        files, damage = new_files(message.text)
        if damage or _QUOTED_PATCH.search(message.text):
            return None
        for file in files:
            how = _how(file, followed)
            if how is None:
                return None
            found.append(LookedAt(file.path, how))
    return found or None


def _how(file: NewFile, followed: Collection[str]) -> How | None:
    """How a file of a patch is known to show no flush; ``None`` if it is not."""
    path = PurePosixPath(file.path)
    if path.suffix in _NO_CODE_SUFFIXES or path.name in _NO_CODE_NAMES or path.name.startswith("Makefile"):
        return "no-code"
    numbers = [line.number for hunk in file.hunks for line in hunk.lines]
    if path.suffix not in _C_SUFFIXES or any(low >= high for low, high in pairwise(numbers)):
        return None
    shown = ["\n".join(line.text for line in hunk.lines) for hunk in file.hunks]
    shown += [hunk.section for hunk in file.hunks] + sorted(file.removed)
    return None if any(_suspicious(piece, followed) for piece in shown) else "read"


def _suspicious(text: str, followed: Collection[str]) -> bool:
    """Whether something in a C text, or a part of one, speaks for a flush."""
    code = blank_opaque(_IN_COMMENT.sub("", text))
    if _NAMES.search(code) or _BULK.search(_SMALL_BULK.sub("", code)):
        return True
    cut_up = cut(code, where="")
    for item in cut_up.functions:
        body = code[item.body : item.end]
        if item.name in followed and not _conditional(cut_up.directives, item):
            # Of what was run the loops are known, whatever they are.
            code = code[: item.body] + spaces(body) + code[item.end :]
        elif len(_ACCESS.findall(body)) >= _UNROLLED or re.search(rf"\b{re.escape(item.name)}\s*\(", body):
            return True
    return _LOOP.search(code) is not None


def _conditional(directives: Sequence[tuple[int, int]], item: Item) -> bool:
    """Whether not all of a function may have been compiled."""
    return any(item.start <= start < item.end for start, _ in directives)
