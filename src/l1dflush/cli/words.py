# SPDX-License-Identifier: GPL-2.0-or-later
"""The words of the command line, looked at before anything is done with them."""

from __future__ import annotations

from collections.abc import Sequence

from l1dflush.errors import InputError

# Empty means something there: nothing is added to the boot line, no parameter is given to the module.
_MAY_BE_EMPTY = frozenset({"--cmdline", "--load"})
# What follows `--` are the words of another command.
_RUNS_A_COMMAND = "run"


def refuse_empty(arguments: Sequence[str]) -> None:
    """Raises InputError for an empty word. It is a variable of the shell that is not set, and what would be done
    without it (an empty path is the folder one is in) is the answer to another question."""
    before = "l1dflush"
    behind = False
    for word in arguments:
        option, equals, value = word.partition("=")
        if equals and not value and option.startswith("--") and not behind and option not in _MAY_BE_EMPTY:
            raise _empty(f"the value of {option} is empty")
        if not word and before not in _MAY_BE_EMPTY:
            raise _empty(f"the word after '{before}' is empty")
        if word == "--":
            if _RUNS_A_COMMAND in arguments[:1]:
                return
            behind = True
        before = word


def _empty(what: str) -> InputError:
    return InputError(what, hint="is a variable of the shell not set?")
