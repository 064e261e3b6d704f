# SPDX-License-Identifier: GPL-2.0-or-later
"""``verify NEW --against OLD``: the option, and what is done with the second routine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import click

from l1dflush.cli.values import ROUTINE
from l1dflush.errors import InputError

if TYPE_CHECKING:
    from l1dflush.verdict.compare.result import ComparisonResult
    from l1dflush.verdict.verify_result import VerifyResult

OPTION = "--against"
STANDARD_INPUT = "-"
against = click.option(
    OPTION,
    metavar="OLD",
    multiple=True,
    type=ROUTINE,
    help="Say what differs from this routine: anything that ROUTINE can be. All options apply to both. Repeat it for an"
    " OLD of several files.",
)


def checked(against: Sequence[str], routine: Sequence[str]) -> tuple[str, ...]:
    """The inputs to compare with, none if there are none; several are taken together.

    Raises InputError where both routines would have to be read from standard input.
    """
    old = tuple(against)
    if STANDARD_INPUT in old and STANDARD_INPUT in routine:
        raise InputError("standard input cannot be both routines", where=OPTION, hint="put one of them into a file")
    return old


def compared(
    old_sources: Sequence[str], new: VerifyResult, judge: Callable[[Sequence[str]], VerifyResult]
) -> ComparisonResult:
    """What differs between ``new`` and what ``judge`` says about ``old_sources``.

    Raises InputError, which says that it is about OLD.
    """
    from l1dflush.verdict.compare.comparing import compare

    try:
        old = judge(old_sources)
    except InputError as error:
        named = " ".join(old_sources)
        where = f"{OPTION} {named}" if error.where in (None, named) else f"{OPTION} {named}: {error.where}"
        raise InputError(error.what, where=where, hint=error.hint) from None
    return compare(old, new)
