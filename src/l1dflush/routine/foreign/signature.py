# SPDX-License-Identifier: GPL-2.0-or-later
"""How a kind of text is recognised: by marks, each worth something, in what is left without comments and strings.

A mark that no C and no x86 assembly for GNU as can have is worth 2, which is enough; one that they might have is worth
1, and takes a second one beside it. Each counts once, however often it is there.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from re import Pattern

from l1dflush.errors import InputError

ENOUGH = 2

Marks = tuple[tuple[int, Pattern[str]], ...]

_X86_NAME = r"(?:[re]?(?:[abcd]x|[sd]i|[sb]p)|[re]ip|[abcd][lh]|[xyz]mm\d{1,2})"
ATT_REGISTER = re.compile(rf"%{_X86_NAME}\b", re.I)
X86_REGISTER = re.compile(rf"%{_X86_NAME}\b|\b(?:[re](?:[abcd]x|[sd]i|[sb]p|ip)|[xyz]mm\d{{1,2}})\b", re.I)
"""A register of x86, in either syntax."""
OWN_X86_REGISTER = re.compile(rf"(?!%sp\b)(?:{X86_REGISTER.pattern})", re.I)
"""One that only x86 has: "%sp" has others, too."""


@dataclass(frozen=True, slots=True)
class Foreign:
    """What an input is (``assembly for NASM``), and what to do with it."""

    what: str
    hint: str

    def error(self, where: str) -> InputError:
        """That the input ``where`` is this, for a person."""
        return InputError(f"this is {self.what}", where=where, hint=self.hint)


@dataclass(frozen=True, slots=True)
class Signature:
    """A kind of text. ``opaque`` finds comments and strings; with ``never`` it is not of this kind, without ``needs``
    neither."""

    found: Foreign
    opaque: Pattern[str]
    marks: Marks
    never: Pattern[str] | None = None
    needs: Pattern[str] | None = None

    def matches(self, code: str) -> bool:
        """Whether ``code``, a text without what is opaque, is of this kind."""
        if self.never is not None and self.never.search(code):
            return False
        if self.needs is not None and not self.needs.search(code):
            return False
        worth = 0
        for value, pattern in self.marks:
            worth += value if pattern.search(code) else 0
            if worth >= ENOUGH:
                return True
        return False


def pattern(text: str, flags: re.RegexFlag = re.M) -> Pattern[str]:
    """A pattern in which a space stands for blanks and ``~`` for blanks or nothing."""
    return re.compile(text.replace(" ", r"[ \t]+").replace("~", r"[ \t]*"), flags)


def marks(*patterns: tuple[int, str], flags: re.RegexFlag = re.M) -> Marks:
    """Marks with what each is worth, as texts for :func:`pattern`."""
    return tuple((worth, pattern(text, flags)) for worth, text in patterns)


def first_match(signatures: Iterable[Signature], text: str) -> Foreign | None:
    """What the first of ``signatures`` that matches ``text`` stands for."""
    stripped: dict[Pattern[str], str] = {}
    for signature in signatures:
        code = stripped.get(signature.opaque)
        if code is None:
            code = stripped[signature.opaque] = without_opaque(signature.opaque, text)
        if signature.matches(code):
            return signature.found
    return None


def without_opaque(opaque: Pattern[str], text: str) -> str:
    """``text`` without comments, with empty strings, and without lines and margins that are blank."""
    code = opaque.sub(lambda match: '""' if match.group()[0] in "\"'" else " ", text)
    return "\n".join(line for line in map(str.strip, code.split("\n")) if line)
