# SPDX-License-Identifier: GPL-2.0-or-later
"""From an exception to what a person reads: one line, and with ``--json`` the same as a document."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from l1dflush.cli import interrupts
from l1dflush.cli.output import Outcome
from l1dflush.cli.verbs import VERBS
from l1dflush.errors import InputError, InternalError, L1dflushError, UndecidedError, one_line
from l1dflush.extras import lacking

DEBUG_VARIABLE = "L1DFLUSH_DEBUG"
INTERRUPTED = Outcome(interrupts.STATUS, message=interrupts.MESSAGE)

_ERROR = 1
_UNDECIDED = 3


def outcome(error: Exception, arguments: Sequence[str]) -> Outcome:
    """The outcome of a command that ended in ``error``."""
    verb = next((word for word in arguments if word in VERBS), "")
    status = _ERROR
    where: str | None = None
    hint: str | None = None
    if isinstance(error, ImportError):
        error = lacking(error) or error
    if isinstance(error, UndecidedError):
        what, where, hint, status = error.what, error.where, error.hint, _UNDECIDED
        message = f"undecided ({error.cause}): {error}"
    elif isinstance(error, InputError):
        what, where, hint = error.what, error.where, error.hint
        message = str(error)
    elif isinstance(error, L1dflushError):
        what = message = str(error)
    elif (complaint := _usage(error)) is not None:
        what, meant = complaint
        hint = f"{meant}see 'l1dflush {verb} --help'".replace("  ", " ")
        message = f"{what} ({hint})"
    else:
        what, hint = _internal(error), f"please report this; {DEBUG_VARIABLE}=1 shows where it comes from"
        message = f"{what} ({hint})"
        if os.environ.get(DEBUG_VARIABLE) == "1":
            import traceback

            message += "\n" + "".join(traceback.format_exception(error)).rstrip()
    # After "--" nothing is an option.
    options = list(arguments)[: list(arguments).index("--")] if "--" in arguments else arguments
    text = _json(verb, what, where, hint, status) if "--json" in options else ""
    return Outcome(status, text, message)


def _json(verb: str, what: str, where: str | None, hint: str | None, status: int) -> str:
    from l1dflush import __version__
    from l1dflush.ending import Verdict
    from l1dflush.verdict.verify_result import ErrorInfo, ErrorResult

    info = ErrorInfo(what=what, where=where, hint=hint)
    verdict: Literal[Verdict.ERROR, Verdict.UNDECIDED] = Verdict.UNDECIDED if status == _UNDECIDED else Verdict.ERROR
    result = ErrorResult(tool_version=__version__, command=verb, verdict=verdict, error=info, exit_status=status)
    return result.to_json()


def _usage(error: Exception) -> tuple[str, str] | None:
    """What the command-line library complains about, mostly in its own words, and what may have been meant; None if it
    is not its error."""
    import click

    if isinstance(error, click.NoSuchOption):
        meant = f"did you mean {' or '.join(error.possibilities)}? " if error.possibilities else ""
        return one_line(f"there is no option {error.option_name}"), meant
    if not isinstance(error, click.ClickException):
        return None
    text = one_line(error.format_message()).rstrip(".")
    return text[:1].lower() + text[1:], ""


def _internal(error: Exception) -> str:
    if isinstance(error, InternalError):
        return one_line(f"internal error: {error}"[:500]) + (f" at {error.place}" if error.place else "")
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    place = f" at {Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}" if trace else ""
    return one_line(f"internal error: {type(error).__name__}: {error}"[:500]) + place
