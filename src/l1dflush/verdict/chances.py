# SPDX-License-Identifier: GPL-2.0-or-later
"""How likely an old line is left, where the policy leaves something to chance: in one set and in the whole cache."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction

from l1dflush.cache.geometry import Geometry
from l1dflush.cache.policies import Policy
from l1dflush.proof.chance import Chance, chance, whole_cache
from l1dflush.verdict.question import PathWords, Question
from l1dflush.verdict.verify_result import ChanceInfo

# Longer ones nobody reads, and the exact chances of the sets say the same.
MOST_DIGITS = 20_000


def chance_of(question: Question, words: Sequence[PathWords], geometry: Geometry, policy: str | Policy) -> ChanceInfo:
    """The largest chance over all starts, paths, and places of own lines. Raises UndecidedError.

    In the whole cache it is exact where each set has one word; where own lines may lie in one set or another, it is
    that of a cache in which each set has the worst of its words, which is a bound from above.
    """
    in_a_set, anywhere, exact = Fraction(0), Fraction(0), True
    for path in words:
        found = [
            (
                chance(policy, geometry.ways, one.word, question.conditions, own=one.own, limits=question.limits()),
                one.sets,
            )
            for one in path.per_set
        ]
        exact &= path.doubt is None and all(one.exact for one, _ in found)
        exact &= sum(sets for _, sets in found) == geometry.sets
        in_a_set = max(in_a_set, *(one.exact_value for one, _ in found))
        anywhere = max(anywhere, whole_cache(_worst(found, geometry.sets)))
    if question.skipped_path:
        in_a_set = anywhere = Fraction(1)
    return ChanceInfo(
        exact=exact,
        in_a_set=fraction_text(in_a_set),
        in_a_set_float=float(in_a_set),
        anywhere=fraction_text(anywhere),
        anywhere_float=float(anywhere),
    )


def _worst(found: Sequence[tuple[Chance, int]], sets: int) -> list[tuple[Fraction, int]]:
    """Each of ``sets`` with the likeliest leftover of the words that it may have; a word is in so many at most."""
    worst = []
    for one, most in sorted(found, key=lambda item: -item[0].exact_value):
        taken = min(most, sets)
        sets -= taken
        worst.append((one.exact_value, taken))
    return worst


def fraction_text(value: Fraction) -> str | None:
    """``value`` as two whole numbers; None if they are too long. Python itself refuses to write long ones."""
    if max(value.numerator, value.denominator).bit_length() > MOST_DIGITS * 3.3:
        return None
    return f"{Decimal(value.numerator):f}/{Decimal(value.denominator):f}"
