# SPDX-License-Identifier: GPL-2.0-or-later
"""The door: runs a verb, writes what it returns, and turns errors into one line of text.

A verb returns an :class:`~l1dflush.cli.output.Outcome` and neither prints nor exits. This module imports
nothing that takes time before it can handle Ctrl-C, and a verb imports only what it needs, so that ``--help``
is quick.
"""

from __future__ import annotations

import contextlib
import gc
import io
import itertools
import os
import sys
from collections.abc import Sequence

from l1dflush.cli import failure, interrupts
from l1dflush.cli.output import Outcome, fitted, write
from l1dflush.cli.words import refuse_empty

# In the environment: a shell asks what a word may become.
_COMPLETE_VARIABLE = "_L1DFLUSH_COMPLETE"


def run() -> int:
    """The entry point of the console script."""
    # A short process that imports much: looking for garbage at every 700th object costs a tenth of its time.
    gc.set_threshold(200_000)
    # Looking for plugins of pydantic among all installed packages takes as long as a small proof.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    if "--no-color" in itertools.takewhile(lambda one: one != "--", sys.argv[1:]):
        # What is said while a verb works knows no options.
        os.environ["NO_COLOR"] = "1"
    status = write(answer(sys.argv[1:]))
    interrupts.written()
    if status == failure.INTERRUPTED.status:
        # An interrupt that came while a module was being made makes Python kill itself with the signal at its
        # end, handled or not. Everything is written and cleaned up by now.
        os._exit(status)
    # The interpreter's end would look at all that was ever made for garbage, which takes as long as a small proof.
    gc.freeze()
    return status


def main(arguments: Sequence[str]) -> int:
    """Runs one command, writes its answer, and returns its exit status."""
    return write(answer(arguments))


def answer(arguments: Sequence[str]) -> Outcome:
    """What a command has to say; whatever went wrong is said in it."""
    try:
        try:
            outcome = fitted(_outcome(arguments))
        except Exception as error:  # whatever it is, a person gets one line
            outcome = failure.INTERRUPTED if interrupts.seen() else failure.outcome(error, arguments)
        # From here on the answer stands: an interrupt must not make a whole verdict end with the status of none.
        interrupts.writing()
    except KeyboardInterrupt:
        interrupts.writing()
        return failure.INTERRUPTED
    return outcome


def _outcome(arguments: Sequence[str]) -> Outcome:
    refuse_empty(arguments)
    # Whatever the arguments: the shell gives none, and somebody who sets it by hand asks for nothing else.
    if _COMPLETE_VARIABLE in os.environ:
        from l1dflush.cli.completion import completed

        return completed(_COMPLETE_VARIABLE, os.environ[_COMPLETE_VARIABLE])
    from l1dflush.cli.app import command, outcome

    # Help texts are printed by the library that parses; caught here they take the same way out as all else,
    # and nothing that a library may say by the way gets between the lines of a result.
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        whole = command(arguments)
        interrupts.working()
        result = outcome(whole, arguments)
    if isinstance(result, int):
        return Outcome(result, said.getvalue())
    if not isinstance(result, Outcome):
        raise TypeError(f"a verb returned {type(result).__name__}")
    return result


if __name__ == "__main__":
    sys.exit(run())
