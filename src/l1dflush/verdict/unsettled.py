# SPDX-License-Identifier: GPL-2.0-or-later
"""Paths of which nobody knows whether any input takes them: they count for a proof, but refute nothing.

What they decide was not settled in time, or depends on a result that an instruction makes of what is known, in a way
that nobody here follows: ``pshufb``, a comparison of floating-point numbers. Each input has some such result. So where
all paths from such a decision on refute, one that is taken does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from l1dflush.ending import Verdict
from l1dflush.tracing.model import Decision, Path, Trace
from l1dflush.verdict.mechanism import mechanism
from l1dflush.verdict.question import Flush, Question
from l1dflush.verdict.verify_result import Row

CAUSE = "path-not-settled"
_REASON = "what it does on a path leaves old lines, and whether any input takes that path could not be settled"
_IN_TIME = f"{_REASON} in time"
_Ask = Callable[[Question], list[Row]]


def certain(rows: list[Row], question: Question, traces: Sequence[Trace], ask: _Ask) -> list[Row]:
    """``rows``, the answers to ``question`` about ``traces``; what only an unsettled path refutes is undecided.
    ``ask`` answers a question in the same order."""
    if all(_is_taken(path) for trace in traces for path in trace.paths):
        return rows
    if not any(row.verdict is Verdict.REFUTED for row in rows):
        return rows
    flushes = [replace(one, paths=tuple(path for path in one.paths if _is_taken(path))) for one in question.flushes]
    skipped = question.skipped_path and any(_skips(path, question.flush) for path in traces[0].paths if _is_taken(path))
    if all(flush.paths for flush in flushes):
        sure = ask(replace(question, flush=flushes[0], others=tuple(flushes[1:]), skipped_path=skipped, words={}))
    else:
        # Nothing is left that could refute but a path that skips the flush.
        sure = rows if skipped else [row.model_copy(update={"verdict": Verdict.UNDECIDED}) for row in rows]
    refuted = {number for number, row in enumerate(sure) if row.verdict is Verdict.REFUTED}
    doubtful = {n for n, row in enumerate(rows) if row.verdict is Verdict.REFUTED} - refuted
    if doubtful and not question.others:
        for together in _groups(traces[0]):
            doubtful -= _all_refute(together, question, ask)
    reason = _IN_TIME if any(not path.settled for trace in traces for path in trace.paths) else _REASON
    return [_doubted(row, reason) if number in doubtful else sure[number] if number in refuted else row
            for number, row in enumerate(rows)]  # fmt: skip


def _is_taken(path: Path) -> bool:
    """Whether some input surely takes a path."""
    return path.settled and all(decision.followed for decision in path.decisions)


def _groups(trace: Trace) -> Iterator[list[Path]]:
    """The paths that go on from one decision that nobody follows, of which one is taken."""
    found: dict[tuple[Decision, ...], list[Path]] = {}
    for path in trace.paths:
        first = next((n for n, decision in enumerate(path.decisions) if not decision.followed), None)
        if first is not None:
            found.setdefault(path.decisions[:first], []).append(path)
    yield from (paths for paths in found.values() if any(path.settled for path in paths))


def _all_refute(paths: Sequence[Path], question: Question, ask: _Ask) -> set[int]:
    """The numbers of the rows that each of ``paths`` refutes alone."""
    left: set[int] | None = None
    for path in paths:
        if path not in question.flush.paths:
            # It skips the flush, or flushes in another way.
            if not (question.skipped_path and _skips(path, question.flush)):
                return set()
            continue
        alone = ask(replace(question, flush=replace(question.flush, paths=(path,)), skipped_path=False, words={}))
        refuted = {number for number, row in enumerate(alone) if row.verdict is Verdict.REFUTED}
        left = refuted if left is None else left & refuted
        if not left:
            return set()
    return left or set()


def _skips(path: Path, flush: Flush) -> bool:
    return mechanism(path, path in flush.paths, flush.buffer) == "skipped"


def _doubted(row: Row, reason: str) -> Row:
    gone = {"leftovers": None, "counterexample": None, "chance": None, "candidates": ()}
    doubt = {"verdict": Verdict.UNDECIDED, "cause": CAUSE, "leftovers": None, "at_least": False}
    sets = tuple(one.model_copy(update=doubt) if one.verdict is Verdict.REFUTED else one for one in row.sets)
    return row.model_copy(update={"verdict": Verdict.UNDECIDED, "cause": CAUSE, "reason": reason, "sets": sets, **gone})
