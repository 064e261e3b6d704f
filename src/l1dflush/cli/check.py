# SPDX-License-Identifier: GPL-2.0-or-later
"""``l1dflush check``: does a certificate prove what it claims?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from l1dflush.cli import options
from l1dflush.cli.command import argument, verb
from l1dflush.cli.output import Outcome, Page
from l1dflush.cli.progress import while_working
from l1dflush.cli.values import FILE, ROUTINE
from l1dflush.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

    from l1dflush.verdict.options import VerifyOptions

_EXAMPLES = """\b
Examples:
  l1dflush verify linux-4.9.120 --certificate linux.l1d
                                                   write one
  l1dflush check linux.l1d                         check it
  l1dflush check linux.l1d --routine linux-4.9.120
                                                   is it about this one?

Exit status: 0 accepted, 1 error, 2 rejected, 3 too large to be checked, 130 interrupted.
"""


@verb("check", epilog=_EXAMPLES)
@argument("file", metavar="FILE", type=FILE, told="What 'verify --certificate' wrote; - for standard input.")
@click.option(
    "--routine",
    metavar="ROUTINE",
    multiple=True,
    type=ROUTINE,
    help="Compare with this routine's hash and words. Repeatable.",
)
@options.about_a_routine
@options.json
@options.no_color
def check(*, file: Path, routine: Sequence[str], asked: VerifyOptions, json: bool, no_color: bool) -> Outcome:
    """Check a certificate step by step, in plain Python that shares no code with the prover, and say what it
    proves. The options that concern the routine go with --routine."""
    from l1dflush.verdict.options import VerifyOptions

    if not routine and asked != VerifyOptions():
        what = "--function, --define and the like are about a routine, and there is none"
        raise InputError(what, hint="name it with --routine, or leave them out")

    from l1dflush.checking.read import read_certificate
    from l1dflush.sandbox.certified import check as checked

    result = checked(read_certificate(file), routine, asked, lambda what: while_working(what, None), str(file))
    if json:
        return Outcome(result.exit_status, result.to_json())
    from l1dflush.report.terminal.check import check_lines

    return Outcome(result.exit_status, Page(lambda width: check_lines(result, width), no_color))
