# SPDX-License-Identifier: GPL-2.0-or-later
"""Upper bounds that are found quickly, where what is left exactly may be out of reach: policies with an age per way.

Why they are bounds: ``core/prover/age_counts.hpp`` and ``docs/theory.md``.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from l1dflush import _core
from l1dflush.cache.core_policy import core_policy
from l1dflush.cache.policy.model import Policy
from l1dflush.proof.conditions import Base, Conditions, Start
from l1dflush.proof.limits import Limits
from l1dflush.proof.question import ItemKind, Word, core_start

# How long the search for a bound may take if there is any time: it is found once and then holds for every word.
_BOUND_SECONDS = 0.5
_bounds: dict[tuple[Policy, Start], tuple[int, ...] | None] = {}


def from_above(policy: Policy, conditions: Conditions, limits: Limits) -> tuple[int, ...] | None:
    """An upper bound of what pairwise different accesses leave that is found quickly; None if there is none."""
    if conditions.touches:
        return None
    start = conditions.start
    key = policy, start
    if key not in _bounds:
        seconds = max(limits.seconds, _BOUND_SECONDS) if limits.seconds else limits.seconds
        try:
            curve = _core.distinct_at_most(
                core_policy(policy), policy.ways,
                start=core_start(start), cold=start.cold, max_states=limits.states, max_seconds=seconds,
            )  # fmt: skip
        except (_core.StateSpaceTooLargeError, _core.OutOfTimeError):
            return None
        _bounds[key] = None if curve is None else tuple(curve)
    return _bounds[key]


def comes_to_0(policy: Policy, conditions: Conditions, limits: Limits, accesses: int | None = None) -> bool:
    """Whether a bound is known that comes to 0, after so many pairwise different accesses at most."""
    bound = from_above(policy, conditions, limits)
    return bound is not None and bound[-1] == 0 and (accesses is None or len(bound) - 1 <= accesses)


def empties(policy: Policy, word: Word, conditions: Conditions, own: Collection[int], limits: Limits) -> bool:
    """Whether a bound says of some stretch of pairwise different accesses in ``word`` that nothing is left after it.

    What comes before a stretch takes the set to a state that hits, misses and flushes lead to from the empty set,
    with any content: to one of the starts of ``any+invalidations``. If all ways are valid at the start and nothing is
    flushed, they stay so, and hits and misses do not lead out of ``any``. What comes behind it brings no old line.
    """
    start = conditions.start
    first, longest = stretches(word, own if start.cold else ())
    if comes_to_0(policy, conditions, limits, first):
        return True
    flushes = any(kind is ItemKind.FLUSH for _, kind in word)
    anywhere = Start(Base.ANY, invalidations=flushes or not start.all_ways_valid)
    return comes_to_0(policy, replace(conditions, start=anywhere), limits, longest)


def stretches(word: Word, own: Collection[int]) -> tuple[int, int]:
    """How many pairwise different accesses, none of ``own``, the word begins with; and the most in a row anywhere."""
    first = longest = begin = 0
    last: dict[int, int] = {}
    for at, (line, kind) in enumerate(word):
        begin = at + 1 if kind is not ItemKind.ACCESS else max(begin, last.get(line, -1) + 1)
        last[line] = at
        longest = max(longest, at + 1 - begin)
        if begin == 0 and first == at and line not in own:
            first = at + 1
    return first, longest
