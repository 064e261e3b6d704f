# SPDX-License-Identifier: GPL-2.0-or-later
"""What a shell is told when somebody presses the Tab key: the library's own scripts and answers."""

from __future__ import annotations

from click.shell_completion import get_completion_class

from l1dflush.cli.app import NAME, command
from l1dflush.cli.output import Outcome
from l1dflush.errors import InputError


def completed(variable: str, instruction: str) -> Outcome:
    """The answer to the ``instruction`` that is the environment's ``variable``: to ``bash_source`` a script for that
    shell, to ``bash_complete`` what may stand where the key was pressed; zsh and fish the same. Raises
    InputError for anything else."""
    shell, _, what = instruction.partition("_")
    kind = get_completion_class(shell)
    if kind is None or what not in ("source", "complete"):
        what = f"the shells are bash, fish and zsh: {instruction[:80]!r} is not an instruction"
        raise InputError(what, where=variable, hint="like bash_source")
    asked = kind(command(), {}, NAME, variable)
    if what == "source":
        return Outcome(0, asked.source())
    try:
        words = asked.get_completion_args()
    except (KeyError, ValueError):
        raise InputError("the shell does not say where the key was pressed", where="COMP_WORDS, COMP_CWORD") from None
    found = asked.get_completions(*words)
    return Outcome(0, "".join(f"{asked.format_completion(one)}\n" for one in found))
