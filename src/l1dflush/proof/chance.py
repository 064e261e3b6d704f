# SPDX-License-Identifier: GPL-2.0-or-later
"""Policies with an element of chance: how likely is it at most that an old line is left?

The adversary chooses the start before anything happens (policy state, content, invalid ways), and during the word
the touches, which prefetches are dropped, and outcomes whose chance nobody knows: those having seen everything that
chance did so far. Exact whole numbers throughout; what is computed and when it is exact: ``core/prover/chance.hpp`` and
``docs/theory.md``.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction

from l1dflush import _core
from l1dflush.cache.core_policy import core_policy
from l1dflush.cache.geometry import Geometry
from l1dflush.cache.policies import Deterministic, Policy
from l1dflush.cache.policy.machine import MachinePolicy
from l1dflush.errors import InputError, UndecidedError
from l1dflush.proof.conditions import DEFAULT, Conditions
from l1dflush.proof.limits import UNLIMITED, Limits
from l1dflush.proof.prover import decide, survivors
from l1dflush.proof.question import Word, core_conditions, core_limits, core_question, resolved, told

MOST_ACCESSES = 1 << 16
"""How many accesses are tried where it is not clear whether any number is enough."""


@dataclass(frozen=True, slots=True)
class Chance:
    """The largest chance that an old line is left in a set.

    ``exact_value`` is the chance itself if ``exact``; otherwise a sound upper bound of it, and the chance is
    ``at_least`` something smaller. ``states``: how many states the search kept.
    """

    exact_value: Fraction
    exact: bool
    states: int
    at_least: Fraction

    @property
    def float(self) -> float:
        """``exact_value``, rounded."""
        return float(self.exact_value)

    def __str__(self) -> str:
        return f"{self.float:.4g}" if self.exact else f"at most {self.float:.4g}"


def by_chance(policy: str | Policy, ways: int) -> bool:
    """Whether anything about the policy is left to chance. Raises InputError as :func:`chance`."""
    twin = resolved(policy, ways)
    if not isinstance(twin, MachinePolicy):
        return not isinstance(twin, Deterministic)
    states = [(number,) for number in range(len(twin.states))]
    choices = [choice for state in states for choice in twin.misses(state)]
    if twin.has_fills:
        choices += [choice for state in states for way in range(ways) for choice in twin.fills(state, way)]
    return any(choice.chance not in (None, 1) for choice in choices)


def chance(
    policy: str | Policy,
    ways: int,
    word: Word,
    conditions: Conditions = DEFAULT,
    *,
    own: Iterable[int] = (),
    limits: Limits = UNLIMITED,
) -> Chance:
    """The largest chance that an old line is left after ``word``.

    0 or 1 where nothing is left to chance. Arguments and errors as for :func:`l1dflush.proof.prover.decide`.
    """
    twin = resolved(policy, ways)
    if not by_chance(twin, ways):
        outcome = decide(twin, ways, word, conditions, own=own, limits=limits)
        return _certain(outcome.leftovers > 0, outcome.states)
    question = core_question(word, conditions, own)
    with told(twin, limits):
        lower, upper, base, exponent, states = _core.chance(core_policy(twin), ways, **question, **core_limits(limits))
    return _bounds(lower, upper, base**exponent, states)


def chance_curve(
    policy: str | Policy,
    ways: int,
    n_max: int,
    conditions: Conditions = DEFAULT,
    *,
    limits: Limits = UNLIMITED,
) -> tuple[Chance, ...]:
    """The chance after 0, 1, ..., ``n_max`` pairwise different accesses. Raises as :func:`chance`."""
    twin = resolved(policy, ways)
    if not by_chance(twin, ways):
        curve = survivors(twin, ways, conditions, limit=n_max, limits=limits)
        # It ends with the first 0, or earlier where it goes round in a circle.
        return tuple(_certain(curve[min(n, len(curve) - 1)] > 0, 0) for n in range(n_max + 1))
    curve_of, _endless = _curve(twin, n_max, conditions, limits)
    return curve_of


def accesses_for_chance(
    policy: str | Policy,
    geometry: Geometry,
    chance: Fraction,
    conditions: Conditions = DEFAULT,
    *,
    limits: Limits = UNLIMITED,
) -> int | None:
    """The fewest pairwise different accesses to every set after which it is less likely than ``chance`` that an old
    line is left anywhere in the cache; None if no number is enough.

    Where the chances are upper bounds only, so is the number. Raises as :func:`l1dflush.proof.chance.chance`, and
    ``UndecidedError`` with cause ``chance-not-reached`` if :data:`MOST_ACCESSES` are not enough and it cannot be told
    whether more would be.
    """
    if not 0 < chance <= 1:
        raise InputError(f"a chance of {chance}", hint="above 0 and at most 1")
    twin = resolved(policy, geometry.ways)
    if not by_chance(twin, geometry.ways):
        curve_left = survivors(twin, geometry.ways, conditions, limits=limits)
        return None if curve_left[-1] else len(curve_left) - 1

    def enough(one: Chance) -> bool:
        return whole_cache([(one.exact_value, geometry.sets)]) < chance

    # It only falls with every access; twice as many are tried until it is low enough.
    left = limits.running()
    n_max = 64
    while True:
        curve, endless = _curve(twin, n_max, conditions, left())
        if enough(curve[-1]):
            break
        if endless and curve[-1].exact_value == 1:
            return None
        if n_max >= MOST_ACCESSES:
            raise UndecidedError(
                "chance-not-reached", f"with {twin.name} {n_max} accesses do not bring the chance below {chance}"
            )
        n_max *= 2
    low, high = -1, n_max  # not enough, enough
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(curve[middle]) else (middle, high)
    return high


def whole_cache(sets: Iterable[tuple[Fraction, int]]) -> Fraction:
    """The chance that an old line is left in any set: 1 - product of (1 - p)^n over the (p, n) given.

    ``sets``: the chance of one set, and how many sets have it. What chance does in one set is independent of the
    others, and the adversary gains nothing by looking at several: the chance that none keeps an old line is a product,
    and each factor is smallest by itself.
    """
    none_left = Fraction(1)
    for one, count in sets:
        none_left *= (1 - one) ** count
    return 1 - none_left


def whole_cache_float(sets: Iterable[tuple[Fraction, int]]) -> float:
    """The same, rounded: for many different chances, whose exact product would be a very long fraction.

    log1p and expm1 keep the leading digits of chances far below the spacing of numbers next to 1.
    """
    logarithm = 0.0
    for one, count in sets:
        if count and one == 1:
            return 1.0
        logarithm += count * math.log1p(-float(one)) if one < Fraction(1, 2) else count * _log(1 - one)
    return -math.expm1(logarithm)


def _log(value: Fraction) -> float:
    # Of whole numbers Python takes the logarithm however large they are.
    return math.log(value.numerator) - math.log(value.denominator)


def _curve(policy: Policy, n_max: int, conditions: Conditions, limits: Limits) -> tuple[tuple[Chance, ...], bool]:
    with told(policy, limits):
        bounds, base, endless, states = _core.chance_curve(
            core_policy(policy), policy.ways, n_max, **core_conditions(conditions), **core_limits(limits)
        )
    return _curve_of(bounds, base, conditions.touches, states), endless


def _curve_of(bounds: Sequence[tuple[bytes, bytes]], base: int, touches: int, states: int) -> tuple[Chance, ...]:
    return tuple(_bounds(lower, upper, base ** (n + touches), states) for n, (lower, upper) in enumerate(bounds))


def _bounds(lower: bytes, upper: bytes, denominator: int, states: int) -> Chance:
    most = Fraction(int.from_bytes(upper, "little"), denominator)
    least = most if lower == upper else Fraction(int.from_bytes(lower, "little"), denominator)
    return Chance(most, lower == upper, states, least)


def _certain(left: bool, states: int) -> Chance:
    return Chance(Fraction(left), True, states, Fraction(left))
