# SPDX-License-Identifier: GPL-2.0-or-later
"""Which words are shortest? Every word of a given length, repeats included, that leaves no old line in a set.

Pairwise different accesses are the usual way to empty a set (:func:`l1dflush.proof.prover.needs`); here it is asked
whether going back to a line may do with fewer accesses, or with fewer lines. The answer is exhaustive: all words up to
renaming of lines, each with all its runs; ``core/prover/shortest.hpp`` says what is skipped, and why that is safe.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from l1dflush import _core
from l1dflush.arguments import TOUCHES
from l1dflush.cache.core_policy import core_policy
from l1dflush.cache.policies import Policy
from l1dflush.errors import InputError
from l1dflush.proof.conditions import ALL_WAYS_VALID, Conditions
from l1dflush.proof.limits import UNLIMITED, Limits
from l1dflush.proof.prover import needs
from l1dflush.proof.question import Word, core_limits, core_start, resolved, told, word_of


def complete_words(
    policy: str | Policy,
    ways: int,
    length: int,
    conditions: Conditions = ALL_WAYS_VALID,
    *,
    limit: int | None = None,
    limits: Limits = UNLIMITED,
) -> tuple[Word, ...]:
    """Every word of ``length`` accesses after which no old line can be left; at most ``limit`` words, any ones.

    Lines are numbered in the order in which they first occur (two words that differ by names are one), and words are
    sorted. Raises ``InputError`` for a policy that does not exist at ``ways`` ways, for a ``length`` beyond
    ``LONGEST_WORD`` of the core, and for touches by others; ``ValueError`` for a steady start, and ``UndecidedError``
    with cause ``state-space-too-large``, ``out-of-time`` or ``unknown-fill``.
    """
    if not 0 <= length <= _core.LONGEST_WORD:
        raise InputError(f"words of {length} accesses are not searched", hint=f"0 to {_core.LONGEST_WORD}")
    if conditions.touches:
        raise InputError("words are searched without touches by others", hint=TOUCHES.given(0))
    twin = resolved(policy, ways)
    start = conditions.start
    with told(twin, limits):
        words, _searched = _core.complete_words(
            core_policy(twin), ways, length,
            limit=limit, start=core_start(start), cold=start.cold, **core_limits(limits),
        )  # fmt: skip
    return tuple(word_of(lines) for lines in words)


def shortest(
    policy: str | Policy,
    ways: int,
    conditions: Conditions = ALL_WAYS_VALID,
    *,
    longest: int | None = None,
    limits: Limits = UNLIMITED,
) -> tuple[int, tuple[Word, ...]]:
    """The fewest accesses that can empty a set, and every word of that length that does.

    Looks at words of up to ``longest`` accesses; by default as many as pairwise different ones need. Where no number of
    those is enough, ``longest`` must be given: repeats may do it all the same (LIP). Raises ``InputError`` if it is
    not, or if there is no word; otherwise as :func:`complete_words`, with ``limits`` for all lengths together.
    """
    left = limits.running()
    if longest is None:
        longest = needs(policy, ways, conditions, limits=limits)
    name = resolved(policy, ways).name
    if longest is None:
        raise InputError(f"no number of pairwise different accesses is enough for {name} at {ways} ways")
    for length in range(longest + 1):
        seconds = left().seconds
        words = complete_words(policy, ways, length, conditions, limits=replace(limits, seconds=seconds))
        if words:
            return length, words
    raise InputError(f"no word of up to {longest} accesses is enough for {name} at {ways} ways")


def fewest_lines(words: Iterable[Word]) -> tuple[Word, ...]:
    """Those of ``words`` that access the fewest different lines."""
    counted = [(len({line for line, _ in word}), word) for word in words]
    fewest = min((count for count, _ in counted), default=0)
    return tuple(word for count, word in counted if count == fewest)
