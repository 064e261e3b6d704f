"""From an exception to what a person reads: one line, and with ``--json`` the same as a document."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from l1dflush.cli import interrupts
from l1dflush.cli.output import Outcome
from l1dflush.errors import InputError, InternalError, L1dflushError, UndecidedError, one_line

# In the order of the help text.
VERBS = (
    "verify", "check", "replay", "size", "plan", "run", "measure", "identify", "cost", "lab", "trace", "routines",
    "rules", "explain", "cpus", "policies", "schema", "vm", "status", "what-if", "gather", "help",
)  # fmt: skip
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
    if isinstance(error, UndecidedError):
        what, where, hint, status = error.what, error.where, error.hint, _UNDECIDED
        message = f"undecided ({error.cause}): {error}"
    elif isinstance(error, InputError):
        what, where, hint = error.what, error.where, error.hint
        message = str(error)
    elif isinstance(error, L1dflushError):
        what = message = str(error)
    elif (complaint := _usage(error)) is not None:
        what, hint = complaint, f"see 'l1dflush {verb} --help'".replace("  ", " ")
        message = f"{what} ({hint})"
    else:
        what, hint = _internal(error), f"please report this; {DEBUG_VARIABLE}=1 shows where it comes from"
        message = f"{what} ({hint})"
        if os.environ.get(DEBUG_VARIABLE) == "1":
            import traceback  # noqa: PLC0415

            message += "\n" + "".join(traceback.format_exception(error)).rstrip()
    # After "--" nothing is an option.
    options = list(arguments)[: list(arguments).index("--")] if "--" in arguments else arguments
    text = _json(verb, what, where, hint, status) if "--json" in options else ""
    return Outcome(status, text, message)


def _json(verb: str, what: str, where: str | None, hint: str | None, status: int) -> str:
    from l1dflush import __version__  # noqa: PLC0415
    from l1dflush.report.json_report import json_text  # noqa: PLC0415
    from l1dflush.verdict.model import ErrorInfo, ErrorResult, Verdict  # noqa: PLC0415

    info = ErrorInfo(what=what, where=where, hint=hint)
    verdict: Literal[Verdict.ERROR, Verdict.UNDECIDED] = Verdict.UNDECIDED if status == _UNDECIDED else Verdict.ERROR
    return json_text(
        ErrorResult(tool_version=__version__, command=verb, verdict=verdict, error=info, exit_status=status)
    )


def _usage(error: Exception) -> str | None:
    """What the command-line library complains about, in its own words; None if it is not its error."""
    import typer  # noqa: PLC0415

    # The class is public under no name that all versions share, but it is a base of one that is.
    complaints = next(c for c in typer.BadParameter.__mro__ if c.__name__ == "ClickException")
    if not isinstance(error, complaints):
        return None
    text = one_line(getattr(error, "format_message", error.__str__)()).rstrip(".").replace("Value error, ", "")
    return text[:1].lower() + text[1:] if text[1:2].islower() else text


def _internal(error: Exception) -> str:
    if isinstance(error, InternalError):
        return one_line(f"internal error: {error}"[:500]) + (f" at {error.place}" if error.place else "")
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    place = f" at {Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}" if trace else ""
    return one_line(f"internal error: {type(error).__name__}: {error}"[:500]) + place
