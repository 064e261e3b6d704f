# SPDX-License-Identifier: GPL-2.0-or-later
"""``verify --if-any``: a verdict, or that there is nothing to judge."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import RootModel

from l1dflush import __version__
from l1dflush.errors import InputError
from l1dflush.routine import built_in
from l1dflush.routine.elf.symbol_table import speaks_of_flush
from l1dflush.routine.given import given
from l1dflush.routine.load import read_input
from l1dflush.routine.without_flush import without_flush
from l1dflush.tracing.model import STORES
from l1dflush.tracing.region import BUFFER
from l1dflush.verdict.doubts import NO_WALK
from l1dflush.verdict.judge import verify
from l1dflush.verdict.options import VerifyOptions
from l1dflush.verdict.select import NoWalkError
from l1dflush.verdict.verify_result import LookedAtInfo, NothingResult, VerifyResult


class Answer(RootModel[VerifyResult | NothingResult]):
    """Either of the two results."""


def verify_if_any(sources: Sequence[str], options: VerifyOptions) -> Answer:
    """As :func:`l1dflush.verdict.judge.verify`; where ``sources`` surely have no flush in them, that.

    Raises InputError as that one, also where there may be a flush that was not found or not understood.
    """
    followed: tuple[str, ...] | None = None
    try:
        result = verify(sources, options)
    except InputError as error:
        if isinstance(error, NoWalkError):
            followed = error.followed
        nothing = _nothing(sources, followed)
        if nothing is None:
            raise
        return Answer(nothing)
    if (result.cause == NO_WALK and all(path.outcome == "skipped" for path in result.paths)) or _only_stores(result):
        followed = (result.routine.name,)
        return Answer(_nothing(sources, followed) or result)
    return Answer(result)


def _only_stores(result: VerifyResult) -> bool:
    """Whether it is memory that is written, and nothing says that this is for the cache's sake."""
    walks = [path for path in result.paths if path.outcome == "software-walk"]
    kinds = {run.kind for path in walks for run in path.runs if run.region == BUFFER}
    return bool(walks) and kinds <= STORES and not speaks_of_flush(result.routine.name)


def _nothing(sources: Sequence[str], followed: tuple[str, ...] | None) -> NothingResult | None:
    """The result, if there is surely no flush. Raises InputError for what cannot be read."""
    if set(sources) & set(built_in.names()):
        return None
    found = without_flush([given(read_input(source), source) for source in sources], followed)
    if found is None:
        return None
    looked_at = tuple(LookedAtInfo(name=one.name, how=one.how) for one in dict.fromkeys(found))
    return NothingResult(tool_version=__version__, sources=tuple(sources), looked_at=looked_at)
