# SPDX-License-Identifier: GPL-2.0-or-later
"""The fewest accesses that are provably enough: from a cache and what is assumed to a word for every set.

The prover decides; nothing here knows a figure.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import pairwise

from l1dflush.cache.geometry import Geometry
from l1dflush.cache.policies import Policy
from l1dflush.errors import InputError, UndecidedError
from l1dflush.proof.conditions import Base, Conditions, Start
from l1dflush.proof.limits import UNLIMITED, Limits
from l1dflush.proof.prover import decide, needs
from l1dflush.proof.question import word_of
from l1dflush.proof.shortest import fewest_lines, shortest
from l1dflush.proof.steady import least_lines

MOST_PASSES = 8
"""How many times in a row a buffer is read at most, where a small one is looked for."""


class Goal(StrEnum):
    """What is to be small."""

    LOADS = "loads"
    """The fewest pairwise different accesses."""
    WORD = "word"
    """The fewest accesses, repeats included."""
    BUFFER = "buffer"
    """The fewest different lines, read in order as often as that takes."""


class NeverError(Exception):
    """No number of accesses is enough."""


@dataclass(frozen=True, slots=True)
class Found:
    """A word that empties a set under ``conditions``. ``least``: no smaller one exists, in the sense of its goal."""

    word: tuple[int, ...]
    conditions: Conditions
    goal: Goal
    least: bool

    @property
    def lines(self) -> int:
        """How many different lines it accesses."""
        return len(set(self.word))


def find(
    policy: Policy, geometry: Geometry, conditions: Conditions, goal: Goal = Goal.LOADS, limits: Limits = UNLIMITED
) -> Found:
    """The smallest word for one set. Raises NeverError where there is none, InputError for a goal that cannot be had
    under these conditions, and UndecidedError."""
    if goal is Goal.LOADS:
        return Found(tuple(range(_loads(policy, conditions, limits))), conditions, goal, least=True)
    if conditions.start.steady:
        raise InputError(f"a steady plan reads every line once, so there is no other goal than {Goal.LOADS}")
    if goal is Goal.WORD:
        _length, words = shortest(policy, policy.ways, conditions, limits=limits)
        best = min(fewest_lines(words), key=_jumps)
        return Found(tuple(line for line, _ in best), conditions, goal, least=True)
    return _small_buffer(policy, conditions, limits)


def _loads(policy: Policy, conditions: Conditions, limits: Limits) -> int:
    if conditions.start.steady:
        least = least_lines(policy, policy.ways, conditions.start, touches=conditions.touches, limits=limits)
    else:
        least = needs(policy, policy.ways, conditions, limits=limits)
    if least is None:
        raise NeverError(f"no number of accesses is certain to empty a set with {policy.name} at {policy.ways} ways")
    return least


def _jumps(word: tuple[tuple[int, int], ...]) -> tuple[int, tuple[int, ...]]:
    """How many loops its walk has; then the word itself, so that the choice is always the same one."""
    lines = tuple(line for line, _ in word)
    return sum(after != before + 1 for before, after in pairwise(lines)), lines


def _small_buffer(policy: Policy, conditions: Conditions, limits: Limits) -> Found:
    """Fewer lines than ways cannot do, because each access leaves all ways but one as they are."""
    most = _loads(policy, conditions, limits)
    left = limits.running()
    for lines in range(policy.ways, most):
        for passes in range(2, MOST_PASSES + 1):
            word = tuple(range(lines)) * passes
            if decide(policy, policy.ways, word_of(word), conditions, limits=left()).proved:
                return Found(word, conditions, Goal.BUFFER, least=lines == policy.ways)
    return Found(tuple(range(most)), conditions, Goal.BUFFER, least=most == policy.ways)


@dataclass(frozen=True, slots=True)
class Saving:
    """What a further assumption would save: so many accesses are enough under it, None if it is not known."""

    assumption: str
    conditions: Conditions
    needs: int | None


def savings(policy: Policy, conditions: Conditions, limits: Limits = UNLIMITED) -> Iterator[Saving]:
    """What each stronger assumption about the start or others would save, one by one.

    ``limits`` hold for each.
    """
    for assumption, stronger in _stronger(conditions):
        enough: int | None = None
        with suppress(UndecidedError, NeverError):
            enough = _loads(policy, stronger, limits)
        yield Saving(assumption, stronger, enough)


def _stronger(conditions: Conditions) -> Iterator[tuple[str, Conditions]]:
    start = conditions.start
    if conditions.touches:
        yield "nobody else touches the set during the flush", replace(conditions, touches=0)
    if start.invalidations:
        yield "nobody invalidates lines", replace(conditions, start=Start(start.base))
    assumed = {
        Base.ANY: "all ways are valid",
        Base.COLD: "no buffer line is cached at the start",
        Base.STEADY_FROM_ANY: "the same flush comes again and again",
        Base.STEADY: "the same flush comes again and again, and no buffer line is cached before the first",
    }
    order = (Base.ANY_INVALID, Base.ANY, Base.STEADY_FROM_ANY, Base.STEADY)
    behind = order[order.index(start.base) + 1 :] if start.base in order else ()
    for base in behind:
        yield assumed[base], replace(conditions, start=Start(base, start.invalidations))
    if start.base in (Base.ANY_INVALID, Base.ANY):
        yield assumed[Base.COLD], replace(conditions, start=Start(Base.COLD, start.invalidations))
