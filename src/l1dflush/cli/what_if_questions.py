# SPDX-License-Identifier: GPL-2.0-or-later
"""``l1dflush what-if --facts``: questions in JSON, answered without any host."""

from __future__ import annotations

from collections.abc import Iterator

from l1dflush import __version__
from l1dflush.cli.output import Outcome, Page
from l1dflush.data.l1tf_cpus import lists
from l1dflush.errors import InputError
from l1dflush.mitigation.question import WhatIfResult, answered, asked
from l1dflush.user_files import read_file
from l1dflush.verdict.verify_result import ErrorInfo, ErrorResult

_STANDARD_INPUT = "-"
_MOST_BYTES = 1 << 28


def answers_to(facts: str, *, json: bool, no_color: bool) -> Outcome:
    """The answers to the questions in a file. Raises InputError for what cannot be read, and without ``json`` for the
    first question that has no answer."""
    known = lists()
    answers: list[WhatIfResult] = []
    lines: list[str] = []
    failed = 0
    for where, line in _questions(facts):
        try:
            answer = answered(asked(line, where), known, where)
        except InputError as error:
            if not json:
                raise
            failed += 1
            lines.append(_failure(error))
            continue
        if json:
            lines.append(answer.model_dump_json())
        else:
            answers.append(answer)
    if not lines and not answers:
        raise InputError("there is no question in it", where=_name(facts))
    if json:
        message = f"{failed} of {len(lines)} questions have no answer" if failed else ""
        return Outcome(1 if failed else 0, "".join(f"{line}\n" for line in lines), message)
    from l1dflush.report.terminal.what_if import what_if_lines

    return Outcome(0, Page(lambda width: what_if_lines(answers, width), no_color))


def _failure(error: InputError) -> str:
    info = ErrorInfo(what=error.what, where=error.where, hint=error.hint)
    return ErrorResult(tool_version=__version__, command="what-if", error=info, exit_status=1).model_dump_json()


def _questions(facts: str) -> Iterator[tuple[str, str]]:
    """The questions with where they stand. A file that is one document over several lines is one question."""
    text, name = _read(facts), _name(facts)
    first = next((line for line in text.splitlines() if line.strip()), "")
    if first.strip() and not first.rstrip().endswith("}"):
        yield name, text
        return
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            yield f"{name}:{number}", line


def _read(facts: str) -> str:
    content = read_file(facts, _MOST_BYTES)
    try:
        return content.decode()
    except UnicodeDecodeError:
        raise InputError("it is not text in UTF-8", where=_name(facts)) from None


def _name(facts: str) -> str:
    return "standard input" if facts == _STANDARD_INPUT else facts
