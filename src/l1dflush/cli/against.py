"""``verify NEW --against OLD``: the option, and what is done with the second routine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from l1dflush.errors import InputError

if TYPE_CHECKING:
    from l1dflush.verdict.comparison import ComparisonResult
    from l1dflush.verdict.model import VerifyResult
    from l1dflush.verdict.options import VerifyOptions

OPTION = "--against"
STANDARD_INPUT = "-"
Against = Annotated[
    list[str] | None,
    typer.Option(
        OPTION,
        metavar="OLD",
        help="Say what differs from this routine: anything that ROUTINE can be. All options apply to both.",
    ),
]


def checked(against: Sequence[str] | None, routine: str) -> str | None:
    """The routine to compare with, None if there is none.

    Raises InputError for more than one (several inputs are not linked together yet), and where both would have
    to be read from standard input.
    """
    if not against:
        return None
    if len(against) > 1:
        raise InputError("only one OLD can be compared with", where=OPTION, hint="give it once")
    (old,) = against
    if old == routine == STANDARD_INPUT:
        raise InputError("standard input cannot be both routines", where=OPTION, hint="put one of them into a file")
    return old


def options_for(source: str, asked: VerifyOptions) -> VerifyOptions:
    """The options for one of two routines: a built-in one has no functions that ``--function`` could pick from."""
    from l1dflush.routine import built_in  # noqa: PLC0415

    return replace(asked, function=None) if source in built_in.names() else asked


def compared(old_source: str, new: VerifyResult, judge: Callable[[str], VerifyResult]) -> ComparisonResult:
    """What differs between ``new`` and what ``judge`` says about ``old_source``.

    Raises InputError, which says that it is about OLD.
    """
    from l1dflush.verdict.compare import compare  # noqa: PLC0415 (takes long, and is not always needed)

    try:
        old = judge(old_source)
    except InputError as error:
        where = (
            f"{OPTION} {old_source}" if error.where in (None, old_source) else f"{OPTION} {old_source}: {error.where}"
        )
        raise InputError(error.what, where=where, hint=error.hint) from None
    return compare(old, new)
