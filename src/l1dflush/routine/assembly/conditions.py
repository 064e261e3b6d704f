# SPDX-License-Identifier: GPL-2.0-or-later
"""Which names that nobody gave decide what of an assembly text is assembled.

Two preprocessors may ask: C's (``#ifdef``), see :mod:`l1dflush.routine.c.conditions`, and the assembler itself
(``.ifdef``), for which an undefined name is nothing to speak of either; see :mod:`l1dflush.routine.assembly.asked`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from l1dflush.errors import InputError
from l1dflush.place import Place
from l1dflush.routine.assembly.asked import Asked, Given, asked, without_opaque, written
from l1dflush.routine.c.conditions import MOST, decided_by_directives, lines_left_out, unasked
from l1dflush.routine.c.text import cut
from l1dflush.routine.model import LeftOut, LeftOutKind
from l1dflush.routine.options import LoadOptions

_CONDITION = re.compile(r"(?:^|[;:])[^\S\n]*(\.(if(?:n|not)?def(?![\w.$])|if\w*|else\w*|endif)([^\n;]*))", re.M | re.I)
_OF_A_MACRO = "which name it asks for depends on what the macro is used with"


@dataclass(slots=True)
class _Open:
    """A condition whose end has not come yet: where it begins, where what is behind it does, and the same of its first
    other branch."""

    start: int
    behind: int
    keyword: str
    name: str
    other: tuple[int, int] | None = None


def left_out_of_assembly(
    text: str, options: LoadOptions, where: str, prelude: str | None, given: Given
) -> tuple[LeftOut, ...]:
    """What was left out of the object that the assembly file ``text`` becomes, or supposed in it; ``prelude`` is what
    C's preprocessor saw before it, ``None`` if that did not see it, and ``given`` what the assembler got."""
    plain = text.replace("\r\n", "\n")
    found: list[LeftOut] = []
    if prelude is not None:
        found += decided_by_directives(cut(plain, where=where), prelude, where, options)
    found += unasked(plain, options, where)
    found += _by_the_assembler(given, options, where)
    return tuple(dict.fromkeys(found))[:MOST]


def _by_the_assembler(given: Given, options: LoadOptions, where: str) -> Iterator[LeftOut]:
    try:
        answer = asked(given, where)
    except InputError as error:
        reason = f"which names the assembler is asked for could not be found out: {error.what}"
        yield LeftOut(LeftOutKind.PART, "conditions of the assembler", (), reason, Place(where))
        return
    code = without_opaque(given.text)
    stack: list[_Open] = []
    for match in _CONDITION.finditer(code):
        keyword = match.group(2).lower()
        if keyword.startswith("if"):
            name = written(given.text, match) if keyword.endswith("def") else ""
            stack.append(_Open(match.start(1), match.end(), keyword, name))
        elif keyword.startswith("else"):
            if stack and stack[-1].other is None:
                stack[-1].other = match.start(1), match.start(3)
        elif stack:
            yield from _of_condition(given, code, stack.pop(), match.start(1), answer, options, where)
    for one in stack:  # its end comes out of a macro
        yield from _of_condition(given, code, one, len(code), answer, options, where)
    for name, line in answer.hidden.items():
        if name not in options.given:
            reason = "a macro asks for it"
            place = _place(given.line(line), where)
            yield LeftOut(LeftOutKind.BRANCH, f".ifdef {name}", (name,), reason, place, ("1",))


def _place(line: int, where: str) -> Place:
    return Place(where, line or None)


def _of_condition(
    given: Given, code: str, one: _Open, end: int, answer: Asked, options: LoadOptions, where: str
) -> Iterator[LeftOut]:
    names = tuple(name for name in answer.undefined.get(one.start, ()) if name not in options.given)
    if not names:
        return
    place = _place(given.line_at(one.start), where)
    negated = one.keyword != "ifdef"
    if names != (one.name,):
        reason = _OF_A_MACRO
    elif negated and one.other is None and _only_defines(code[one.behind : end], one.name):
        yield LeftOut(LeftOutKind.DEFAULT, one.name, names, "it has the text's own value, unless it is given", place)
        return
    else:
        middle = one.other or (end, end)
        first, last = (middle[1], end) if negated else (one.behind, middle[0])
        body = code[first:last]
        ink = first + len(body) - len(body.lstrip("; \t\n")), first + len(body.rstrip("; \t\n"))
        reason = lines_left_out([(given.line_at(ink[0]), given.line_at(ink[1]))] if ink[0] < ink[1] else [])
    yield LeftOut(LeftOutKind.BRANCH, f".{one.keyword} {one.name}", names, reason, place, ("1",))


def _only_defines(body: str, name: str) -> bool:
    """Whether a piece of the text does nothing but define ``name``."""
    own = re.escape(name)
    pattern = rf"^\s*(?:\.(?:set|equ|equiv|eqv)\s+{own}\s*,|{own}\s*==?)[^;]*$"
    statements = [statement for statement in re.split(r"[\n;]", body) if statement.strip()]
    return bool(statements) and all(re.match(pattern, statement, re.I) for statement in statements)
