"""Which names that nobody gave decide what of an assembly text is assembled.

Two preprocessors may ask: C's (``#ifdef``), see :mod:`l1dflush.routine.c_conditions`, and the assembler itself
(``.ifdef``), for which an undefined name is nothing to speak of either.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from l1dflush.routine.c_conditions import MOST, decided_by_directives, lines_left_out, unasked
from l1dflush.routine.c_text import blank_opaque, cut
from l1dflush.routine.model import LeftOut, LeftOutKind
from l1dflush.routine.options import LoadOptions

_CONDITION = re.compile(
    r"(?:^|[;:])[^\S\n]*\.(if(?:n|not)?def[^\S\n]+(?:\"[^\S\n]*\")?(\\?[A-Za-z_.$][\w.$]*)?|if\w*|else\w*|endif)\b",
    re.M | re.I,
)
# The names of macros, and what they are called with; what a block is repeated with.
_MACRO = re.compile(r"^[^\S\n]*\.macro[^\S\n]+([A-Za-z_.$][\w.$]*)", re.M | re.I)
_REPEATED = re.compile(r"^[^\S\n]*\.irpc?\b(.*)", re.M | re.I)
_QUOTED = re.compile(r'\s*"([^"\n]*)')
_NAME = re.compile(r"[A-Za-z_.$][\w.$]*")


@dataclass(slots=True)
class _Open:
    """A condition whose end has not come yet."""

    start: int
    text: str
    name: str
    negated: bool
    otherwise: int | None = None


def left_out_of_assembly(text: str, options: LoadOptions, where: str, prelude: str | None) -> tuple[LeftOut, ...]:
    """What was left out of the object that the assembly file ``text`` becomes, or supposed in it; ``prelude`` is what
    C's preprocessor saw before it, ``None`` if that did not see it."""
    plain = text.replace("\r\n", "\n")
    found: list[LeftOut] = []
    if prelude is not None:
        found += decided_by_directives(cut(plain, where=where), prelude, where, options)
    found += unasked(plain, options, where)
    code = blank_opaque(plain)
    found += _by_the_assembler(code, plain, options, where)
    return tuple(dict.fromkeys(found))[:MOST]


def _by_the_assembler(code: str, text: str, options: LoadOptions, where: str) -> Iterator[LeftOut]:
    stack: list[_Open] = []
    for match in _CONDITION.finditer(code):
        keyword = match.group(1).split()[0].lower()
        if keyword.startswith("if"):
            # Strings are blanked in the code, and a name may stand in one.
            quoted = _QUOTED.match(text, match.start(1) + len(keyword))
            name = match.group(2) or (quoted.group(1) if quoted and keyword.endswith("def") else "")
            negated = keyword in ("ifndef", "ifnotdef")
            stack.append(_Open(match.end(), f".{keyword} {name}", name, negated))
        elif keyword.startswith("else"):
            if stack and stack[-1].otherwise is None:
                stack[-1].otherwise = match.start()
        elif stack:
            one = stack.pop()
            if one.name.startswith("\\"):
                names = _arguments(code) - options.given
                reason = "which name it asks for depends on what the macro is used with"
                yield LeftOut(
                    LeftOutKind.BRANCH, one.text, tuple(sorted(names)), reason, _place(code, one, where), ("1",)
                )
            elif one.name and one.name not in options.given:
                yield from _of_condition(code, one, match.start(), where)


def _arguments(code: str) -> set[str]:
    """What macros are used with, and blocks repeated with, as far as nothing defines it."""
    found: set[str] = set()
    for macro in set(_MACRO.findall(code)):
        for use in re.finditer(rf"^[^\S\n]*{re.escape(macro)}\b([^\n]*)", code, re.M):
            found |= set(_NAME.findall(use.group(1)))
    for repeated in _REPEATED.finditer(code):
        found |= set(_NAME.findall(repeated.group(1).partition(",")[2]))
    return {name for name in found if not _definitions(code, name)}


def _definitions(code: str, name: str) -> list[int]:
    """Where an assembly text defines ``name``."""
    pattern = rf"^\s*(?:\.(?:set|equ|equiv)\s+{re.escape(name)}\b|{re.escape(name)}\s*[=:])"
    return [match.start() for match in re.finditer(pattern, code, re.M)]


def _place(code: str, one: _Open, where: str) -> str:
    return f"{where}:{code.count(chr(10), 0, one.start) + 1}"


def _of_condition(code: str, one: _Open, end: int, where: str) -> Iterator[LeftOut]:
    places = _definitions(code, one.name)
    if any(at < one.start for at in places):
        return  # it is defined there: the assembler reads once, from the top
    place = _place(code, one, where)
    if places and one.negated and one.otherwise is None and all(at < end for at in places):
        reason = "it has the text's own value, unless it is given"
        yield LeftOut(LeftOutKind.DEFAULT, one.name, (one.name,), reason, place)
        return
    middle = one.otherwise if one.otherwise is not None else end
    first, last = (middle, end) if one.negated else (one.start, middle)
    lines = code.count("\n", 0, first) + 2, code.count("\n", 0, last)
    reason = lines_left_out([lines] if code[first:last].strip() else [])
    yield LeftOut(LeftOutKind.BRANCH, one.text, (one.name,), reason, place, ("1",))
