# SPDX-License-Identifier: GPL-2.0-or-later
"""What is asked of every cache, and what the answer is."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum, auto

from l1dflush.ending import Verdict
from l1dflush.errors import UndecidedError
from l1dflush.proof.conditions import DEFAULT, Conditions
from l1dflush.proof.limits import Limits
from l1dflush.proof.words import SetWord
from l1dflush.tracing.model import Path
from l1dflush.verdict.counterexample_result import CounterexampleInfo
from l1dflush.verdict.part import JudgedPart, judged_part
from l1dflush.verdict.places import Places
from l1dflush.verdict.set_words import Judged, Written
from l1dflush.verdict.verify_result import Candidate, ChanceInfo
from l1dflush.verdict.walk import Buffer, Placement

# So long after the deadline the prover still gets some time.
_GRACE_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Outcome:
    """The verdict for one cache. ``leftovers`` is the most old lines left in any set (None if undecided), or, with
    ``at_least``, as many as were found in the time."""

    verdict: Verdict
    needs: int | None
    has: int | None
    leftovers: int | None
    sets_without_walk: int
    cause: str | None = None
    reason: str = ""
    curve: tuple[int, ...] | None = None
    candidates: tuple[Candidate, ...] = ()
    counterexample: CounterexampleInfo | None = None
    chance: ChanceInfo | None = None
    at_least: bool = False
    words: tuple[Judged, ...] = ()

    @property
    def margin(self) -> int | None:
        """has - needs, unless the exact words say something else than the two numbers."""
        if self.needs is None or self.has is None:
            return None
        expected = Verdict.PROVED if self.has >= self.needs else Verdict.REFUTED
        return self.has - self.needs if self.verdict is expected else None


class Reach(Enum):
    """Of which of the judged events words are made."""

    WHOLE = auto()
    BEGINNING = auto()  # where there are very many, the first ones
    AHEAD = auto()  # where some are stores that need not bring their lines in, those before the first of them
    BEHIND = auto()  # and those behind the last


@dataclass(frozen=True, slots=True)
class PathWords:
    """The words of one walking path, and what else it does, as in :class:`l1dflush.verdict.part.JudgedPart`.
    ``whole``: the words are not only of the path's beginning."""

    per_set: list[SetWord]
    doubt: UndecidedError | None
    unknown: UndecidedError | None = None
    instead: tuple[list[SetWord], ...] = ()
    whole: bool = True


@dataclass(frozen=True, slots=True)
class Flush:
    """A routine's flush: the paths that walk the buffer, what that buffer is, and what places are called."""

    paths: tuple[Path, ...]
    buffer: Buffer
    places: Places
    # Not an argument: what is made of other paths with replace() must not have the parts of these.
    _parts: list[JudgedPart] = field(default_factory=list, init=False, repr=False, compare=False)

    def parts(self) -> Sequence[JudgedPart]:
        """What of each path is judged, which is found out once."""
        if not self._parts:
            self._parts.extend(judged_part(path, self.buffer, self.places) for path in self.paths)
        return self._parts


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked of every cache about a flush. ``others``: what takes its turn with it, for a steady start."""

    flush: Flush
    buffer_size: int | None
    skipped_path: bool
    memory: int
    # A time.monotonic() value: after it the prover is asked nothing more.
    deadline: float
    # Words by what they depend on: caches that differ in their ways only have the same.
    words: dict[tuple[int, int, int | None, int | None, Reach], list[PathWords]] = field(default_factory=dict)
    # Where the buffer lies, if it is a variable's own storage.
    placement: Placement | None = None
    conditions: Conditions = DEFAULT
    others: tuple[Flush, ...] = ()
    # Of rows that do not decide as well.
    all_examples: bool = True
    written: Written = field(default_factory=Written)

    @property
    def flushes(self) -> tuple[Flush, ...]:
        """All of them, in turn."""
        return self.flush, *self.others

    def limits(self) -> Limits:
        """What the prover may still take. A little time remains for a while, so that small questions are answered after
        large ones; without any it answers those that take a few thousand states."""
        left = self.deadline - time.monotonic()
        return Limits(self.memory, max(left, min(0.1, left + _GRACE_SECONDS), 0.0))
