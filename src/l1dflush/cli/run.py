# SPDX-License-Identifier: GPL-2.0-or-later
"""``l1dflush run``: a command whose L1D the kernel flushes."""

from __future__ import annotations

import os
import signal
import sys
from typing import TYPE_CHECKING

import click

from l1dflush.cli.command import argument, verb
from l1dflush.cli.output import Outcome
from l1dflush.errors import InputError, NoTaskFlushError, one_line

if TYPE_CHECKING:
    from collections.abc import Sequence

_EXAMPLES = """\b
Examples:
  l1dflush run -- ssh-agent -D             flush when it is switched out
  l1dflush run --on-context-switch -- CMD  the same

Exit status: that of CMD; 3 the kernel has no such flush here, and CMD was not run; 126 CMD cannot be run,
127 there is no CMD, 1 error.
"""
_SIBLINGS = (
    "l1dflush: warning: simultaneous multithreading is on; the kernel sends SIGBUS to a command with this flush"
    " that it finds on a core whose siblings are in use\n"
)


@verb(
    "run",
    epilog=_EXAMPLES,
    # What comes behind the command's name is the command's.
    context_settings={"allow_interspersed_args": False},
)
@argument("command", metavar="CMD...", nargs=-1, required=True, told="The command and its arguments, after --.")
@click.option(
    "--on-context-switch",
    is_flag=True,
    expose_value=False,
    help="Flush whenever CMD is switched out for another process. The default, since there is no other way.",
)
def run(*, command: Sequence[str]) -> Outcome:
    """Run a command with the kernel's own L1D flush (PR_SPEC_L1D_FLUSH) switched on for it and all that it begins, or
    say why there is none."""
    if not command[0]:
        raise InputError("the command's name is empty")

    from l1dflush.silicon.speculation import flush_when_switched_out, this_machine

    machine = this_machine()
    try:
        flush_when_switched_out(machine)
    except NoTaskFlushError as error:
        return Outcome(3, message=f"{one_line(command[0])} was not run: {error}")
    if machine.siblings_run:
        sys.stderr.write(_SIBLINGS)
        sys.stderr.flush()
    return _become(command)


def _become(command: Sequence[str]) -> Outcome:
    """The command takes this process's place, so signals and the exit status are its own. Returns if it cannot."""
    # Python ignores these, and what is ignored stays so.
    for ignored in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(ignored, signal.SIG_DFL)
    try:
        os.execvp(command[0], list(command))
    except (OSError, ValueError) as error:
        signal.signal(signal.SIGPIPE, signal.SIG_IGN)
        said = (error.strerror if isinstance(error, OSError) else None) or str(error)
        missing = isinstance(error, FileNotFoundError)
        return Outcome(127 if missing else 126, message=f"{one_line(command[0])}: {one_line(said)}")
