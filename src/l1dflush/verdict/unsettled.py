"""Paths of which nobody knows whether any input takes them: they count for a proof, but refute nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from l1dflush.trace.model import Path, Trace
from l1dflush.verdict.model import Row, Verdict
from l1dflush.verdict.question import Flush, Question
from l1dflush.verdict.walk import mechanism

CAUSE = "path-not-settled"
_REASON = "what it does on a path leaves old lines, and whether any input takes that path could not be settled in time"


def certain(
    rows: list[Row], question: Question, traces: Sequence[Trace], ask: Callable[[Question], list[Row]]
) -> list[Row]:
    """``rows``, the answers to ``question`` about ``traces``; what only an unsettled path refutes is undecided.
    ``ask`` answers a question in the same order."""
    if all(path.settled for trace in traces for path in trace.paths):
        return rows
    if not any(row.verdict is Verdict.REFUTED for row in rows):
        return rows
    flushes = [_settled(flush) for flush in question.flushes]
    skipped = question.skipped_path and any(_skips(path, question.flush) for path in traces[0].paths if path.settled)
    if all(flush.paths for flush in flushes):
        sure = ask(replace(question, flush=flushes[0], others=tuple(flushes[1:]), skipped_path=skipped, words={}))
    else:
        # Nothing is left that could refute but a path that skips the flush.
        sure = rows if skipped else [row.model_copy(update={"verdict": Verdict.UNDECIDED}) for row in rows]
    return [_doubted(row) if row.verdict is Verdict.REFUTED and other.verdict is not Verdict.REFUTED
            else other if other.verdict is Verdict.REFUTED else row
            for row, other in zip(rows, sure, strict=True)]  # fmt: skip


def _settled(flush: Flush) -> Flush:
    return replace(flush, paths=tuple(path for path in flush.paths if path.settled))


def _skips(path: Path, flush: Flush) -> bool:
    return mechanism(path, path in flush.paths) == "skipped"


def _doubted(row: Row) -> Row:
    gone = {"leftovers": None, "counterexample": None, "chance": None, "candidates": ()}
    return row.model_copy(update={"verdict": Verdict.UNDECIDED, "cause": CAUSE, "reason": _REASON, **gone})
