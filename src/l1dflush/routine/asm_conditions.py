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

_CONDITION = re.compile(r"(?:^|;)[^\S\n]*\.(if(?:n|not)?def[^\S\n]+([A-Za-z_.$][\w.$]*)|if\w*|else\w*|endif)\b", re.M)


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
    found += _by_the_assembler(code, options, where)
    return tuple(dict.fromkeys(found))[:MOST]


def _by_the_assembler(code: str, options: LoadOptions, where: str) -> Iterator[LeftOut]:
    stack: list[_Open] = []
    for match in _CONDITION.finditer(code):
        keyword = match.group(1).split()[0]
        if keyword.startswith("if"):
            negated = keyword in ("ifndef", "ifnotdef")
            stack.append(_Open(match.end(), f".{keyword} {match.group(2) or ''}", match.group(2) or "", negated))
        elif keyword.startswith("else"):
            if stack and stack[-1].otherwise is None:
                stack[-1].otherwise = match.start()
        elif stack:
            one = stack.pop()
            if one.name and one.name not in options.given:
                yield from _of_condition(code, one, match.start(), where)


def _of_condition(code: str, one: _Open, end: int, where: str) -> Iterator[LeftOut]:
    name = re.escape(one.name)
    places = [
        match.start() for match in re.finditer(rf"^\s*(?:\.(?:set|equ|equiv)\s+{name}\b|{name}\s*[=:])", code, re.M)
    ]
    place = f"{where}:{code.count(chr(10), 0, one.start) + 1}"
    if not places:
        middle = one.otherwise if one.otherwise is not None else end
        first, last = (middle, end) if one.negated else (one.start, middle)
        lines = code.count("\n", 0, first) + 2, code.count("\n", 0, last)
        reason = lines_left_out([lines] if code[first:last].strip() else [])
        yield LeftOut(LeftOutKind.BRANCH, one.text, (one.name,), reason, place, ("1",))
    elif one.negated and all(one.start <= at < end for at in places):
        reason = "it has the text's own value, unless it is given"
        yield LeftOut(LeftOutKind.DEFAULT, one.name, (one.name,), reason, place)
