# SPDX-License-Identifier: GPL-2.0-or-later
"""What the command line asks of :mod:`l1dflush.verdict`, each in a child process; programs should as well."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, TypeVar

from l1dflush.document import build
from l1dflush.errors import UndecidedError
from l1dflush.routine.given import MAX_BYTES
from l1dflush.sandbox.child import run_in_child
from l1dflush.sandbox.limits import limits_for
from l1dflush.user_files import keep

if TYPE_CHECKING:
    from l1dflush.cache.geometry import Geometry
    from l1dflush.verdict.claimed import ClaimedWords
    from l1dflush.verdict.if_any import Answer
    from l1dflush.verdict.options import VerifyOptions
    from l1dflush.verdict.verify_result import NothingResult, TraceResult, VerifyResult

_Waiting = AbstractContextManager[None]
Working = Callable[[str], _Waiting]
"""What is entered while something takes long, with a line of text that says what it is."""
_Warn = Callable[[str], None]
_Result = TypeVar("_Result", "VerifyResult", "Answer", "TraceResult", "ClaimedWords")


def verify(
    source: str | Sequence[str], options: VerifyOptions, *, waiting: _Waiting | None = None, warn: _Warn | None = None
) -> VerifyResult:
    """As :func:`l1dflush.verdict.judge.verify`, in a child process.

    ``waiting`` and ``warn`` and the further causes of UndecidedError: see
    :func:`l1dflush.sandbox.child.run_in_child`.
    """

    # Before the child is started: both processes need the model, the rest of the judge only the child.
    from l1dflush.verdict.verify_result import VerifyResult

    def task() -> str:
        from l1dflush.verdict import judge

        return judge.verify(source, options).model_dump_json()

    return _isolated(VerifyResult, task, source, options, waiting, warn)


def verify_if_any(
    sources: Sequence[str], options: VerifyOptions, *, waiting: _Waiting | None = None, warn: _Warn | None = None
) -> VerifyResult | NothingResult:
    """As :func:`l1dflush.verdict.if_any.verify_if_any`, in a child process; otherwise as :func:`verify`."""
    from l1dflush.verdict.if_any import Answer, verify_if_any

    def task() -> str:
        return verify_if_any(sources, options).model_dump_json()

    return _isolated(Answer, task, sources, options, waiting, warn).root


def trace_of(
    source: str | Sequence[str], options: VerifyOptions, *, waiting: _Waiting | None = None, warn: _Warn | None = None
) -> TraceResult:
    """As :func:`l1dflush.verdict.judge.trace_of`, in a child process; otherwise as :func:`verify`."""
    from l1dflush.verdict.verify_result import TraceResult

    def task() -> str:
        from l1dflush.verdict import judge

        return judge.trace_of(source, options).model_dump_json()

    return _isolated(TraceResult, task, source, options, waiting, warn)


def words_of(
    source: str | Sequence[str],
    options: VerifyOptions,
    geometries: Sequence[Geometry],
    *,
    waiting: _Waiting | None = None,
    warn: _Warn | None = None,
) -> ClaimedWords:
    """As :func:`l1dflush.verdict.claimed.words_of`, in a child process; otherwise as :func:`verify`."""
    from l1dflush.verdict.claimed import ClaimedWords

    def task() -> str:
        from l1dflush.verdict import claimed

        return claimed.words_of(source, options, geometries).model_dump_json()

    return _isolated(ClaimedWords, task, source, options, waiting, warn)


def _isolated(
    model: type[_Result],
    task: Callable[[], str],
    source: str | Sequence[str],
    options: VerifyOptions,
    waiting: _Waiting | None,
    warn: _Warn | None,
) -> _Result:
    # In the child and here: it is a fork.
    build(model)
    # The child has no other open files, and a routine may be needed again.
    keep([*([source] if isinstance(source, str) else source), *options.then], MAX_BYTES)

    def keeping() -> str:
        from l1dflush.tracing import translation

        try:
            return task()
        finally:
            translation.save()

    text = run_in_child(keeping, limits_for(options.max_seconds, options.memory), waiting=waiting, warn=warn)
    try:
        return model.model_validate_json(text)
    except ValueError:
        # From a child that was taken over, or whose memory is damaged: the complaint could be of any length.
        what = "the process that runs the routine gave a result that is none"
        raise UndecidedError("library-crashed", what, hint="please report it, with the input") from None
