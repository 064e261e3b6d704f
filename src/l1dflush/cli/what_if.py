"""``l1dflush what-if``: what Linux would decide about L1TF, from facts alone."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from l1dflush.cli import options
from l1dflush.cli.output import Outcome, Page
from l1dflush.errors import InputError

if TYPE_CHECKING:
    from l1dflush.mitigation.question import WhatIfResult

_STANDARD_INPUT = "-"
_MOST_BYTES = 1 << 28
_EXAMPLES = """\b
Examples:
  l1dflush what-if --facts host.json
  echo '{"kernel": {"release": "6.12.1"}, "command_line": "l1tf=full"}' | l1dflush what-if --facts -
  l1dflush what-if --facts - --json < questions.jsonl > answers.jsonl
"""


def register(app: typer.Typer) -> None:
    """Adds the verb."""
    app.command("what-if", epilog=_EXAMPLES, short_help="Tell what Linux would decide about L1TF.")(what_if)


def what_if(
    *,
    facts: Annotated[
        str,
        typer.Option(
            "--facts",
            metavar="FILE",
            help="Questions in JSON, one a line (see docs/mitigation.md). - for standard input.",
        ),
    ],
    json: options.Json = False,
    no_color: options.NoColor = False,
) -> Outcome:
    """Tell what Linux decides about L1TF from CPU, kernel, boot line and what is done later: mode, SMT, PTE inversion,
    what sysfs says, and the rules that decided. With --json every question gets one line of JSON, also one that has no
    answer."""
    from l1dflush.data.l1tf_cpus import lists  # noqa: PLC0415
    from l1dflush.mitigation.question import answered, asked  # noqa: PLC0415

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
    from l1dflush.report.what_if import what_if_lines  # noqa: PLC0415

    return Outcome(0, Page(lambda width: what_if_lines(answers, width), no_color))


def _failure(error: InputError) -> str:
    from l1dflush import __version__  # noqa: PLC0415
    from l1dflush.verdict.model import ErrorInfo, ErrorResult  # noqa: PLC0415

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
    try:
        if facts == _STANDARD_INPUT:
            content = sys.stdin.buffer.read(_MOST_BYTES + 1)
        else:
            with Path(facts).open("rb") as file:
                content = file.read(_MOST_BYTES + 1)
        if len(content) > _MOST_BYTES:
            raise InputError(f"it has more than {_MOST_BYTES >> 20} MiB", where=_name(facts), hint="ask in parts")
        return content.decode()
    except UnicodeDecodeError:
        raise InputError("it is no text in UTF-8", where=_name(facts)) from None
    except (OSError, ValueError) as error:
        raise InputError(f"cannot be read: {getattr(error, 'strerror', None) or error}", where=_name(facts)) from None


def _name(facts: str) -> str:
    return "standard input" if facts == _STANDARD_INPUT else facts
