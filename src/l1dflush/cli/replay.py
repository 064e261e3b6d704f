"""``l1dflush replay``: a counterexample, step by step."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from l1dflush.cli import options
from l1dflush.cli.output import Outcome, Steps
from l1dflush.errors import InputError

if TYPE_CHECKING:
    from l1dflush.verdict.model import CounterexampleInfo, VerifyResult

STANDARD_INPUT = "-"
MAX_BYTES = 64 << 20
_LIE = 2
_EXAMPLES = """\b
Examples:
  l1dflush verify one-pass --cpu skylake --json > one-pass.json
  l1dflush replay one-pass.json
  l1dflush verify 52k --cpu ice-lake --json | l1dflush replay -

\b
Exit status: 0 it happens as the file says, 1 error, 2 it does not.
"""


def register(app: typer.Typer) -> None:
    """Adds the verb."""
    app.command("replay", epilog=_EXAMPLES, short_help="Play a counterexample, step by step.")(replay)


def replay(
    file: Annotated[str, typer.Argument(metavar="FILE", help="What 'verify --json' wrote; - for standard input.")],
    row: Annotated[
        int | None,
        typer.Option(
            "--row", metavar="N", min=1, help="The counterexample of the N-th row.  [default: the first]",
            show_default=False,
        ),
    ] = None,
    no_color: options.NoColor = False,
) -> Outcome:  # fmt: skip
    """Play a counterexample on the plain policy, check that what happens is what the file says, and draw the
    set after each step. In a terminal Enter shows the next one, and q ends it."""
    example = _example(_result(file), row, file)

    from l1dflush.report.replay import replay_parts  # noqa: PLC0415
    from l1dflush.verdict.replay_model import FileLiesError  # noqa: PLC0415
    from l1dflush.verdict.replayed import replayed  # noqa: PLC0415

    try:
        found = replayed(example)
    except InputError as error:
        where = f"{file}: {error.where}" if error.where else file
        raise InputError(error.what, where=where, hint=error.hint) from None
    except FileLiesError as error:
        from l1dflush.errors import one_line  # noqa: PLC0415

        return Outcome(_LIE, message=one_line(f"{file}: {str(error)[:400]}"))
    return Outcome(0, Steps(lambda width: replay_parts(found, width), no_color))


def _result(file: str) -> VerifyResult:
    from pydantic import ValidationError  # noqa: PLC0415

    from l1dflush.verdict.model import VerifyResult  # noqa: PLC0415

    content = _content(file)
    if len(content) > MAX_BYTES:
        raise InputError("the file is too large", where=file, hint=f"at most {MAX_BYTES >> 20} MiB")
    hint = "what 'l1dflush verify --json' writes, without --against"
    try:
        return VerifyResult.model_validate_json(content)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"]))[:80]
        what = f"this is no result of verify: {place + ': ' if place else ''}{first['msg'][:120]}"
        raise InputError(what, where=file, hint=hint) from None


def _content(file: str) -> bytes:
    try:
        if file == STANDARD_INPUT:
            return sys.stdin.buffer.read(MAX_BYTES + 1)
        with open(file, "rb") as opened:  # noqa: PTH123 (a path may not be one: a zero byte in it)
            return opened.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise InputError(f"cannot read it: {reason}", where=file[:200]) from None


def _example(result: VerifyResult, row: int | None, file: str) -> CounterexampleInfo:
    there = {number: one.counterexample for number, one in enumerate(result.rows, 1) if one.counterexample is not None}
    if not there:
        raise InputError("there is no counterexample in it", where=file, hint="only a refuted row has one")
    found = there.get(min(there) if row is None else row)
    if found is None:
        listed = ", ".join(map(str, list(there)[:20]))
        raise InputError(f"row {row} has no counterexample", where=file, hint=f"these have one: {listed}")
    return found
