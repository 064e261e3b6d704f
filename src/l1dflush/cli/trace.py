# SPDX-License-Identifier: GPL-2.0-or-later
"""``l1dflush trace``: what a routine does to memory, in order."""

from __future__ import annotations

from typing import TYPE_CHECKING

from l1dflush.cli import options
from l1dflush.cli.command import verb
from l1dflush.cli.output import Outcome, Page
from l1dflush.cli.progress import while_working

if TYPE_CHECKING:
    from collections.abc import Sequence

    from l1dflush.verdict.options import VerifyOptions

_EXAMPLES = """\b
Examples:
  l1dflush trace linux-4.9.120
  l1dflush trace entry.o --function vmx_l1d_flush --json
"""


@verb("trace", epilog=_EXAMPLES)
@options.sources
@options.about_a_routine
@options.json
@options.no_color
def trace(*, routine: Sequence[str], asked: VerifyOptions, json: bool, no_color: bool) -> Outcome:
    """Show what a routine reads, writes and executes, path by path. --json has every single event."""
    from l1dflush.sandbox.judged import trace_of

    notes: list[str] = []
    waiting = while_working(f"running {' + '.join(routine)} ...", None if json else "l1dflush.report.terminal.trace")
    result = trace_of(routine, asked, waiting=waiting, warn=notes.append)
    message = "".join(notes)
    if json:
        return Outcome(result.exit_status, result.to_json(), message)
    from l1dflush.report.terminal.trace import trace_lines

    return Outcome(result.exit_status, Page(lambda width: trace_lines(result, width), no_color), message)
