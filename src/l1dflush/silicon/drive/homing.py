# SPDX-License-Identifier: GPL-2.0-or-later
"""Sequences that bring a set into one known state, whatever it was in before.

The sets that there may be at the beginning are played side by side; two that have become alike stay so. A sequence
is found by greed: each time the access after which the fewest different ones are left.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

from l1dflush.arguments import DEFAULT_MEMORY
from l1dflush.cache.policies import Policy
from l1dflush.errors import UndecidedError
from l1dflush.proof import prover
from l1dflush.proof.conditions import ALL_WAYS_VALID
from l1dflush.proof.limits import Limits
from l1dflush.silicon.drive.plain_set import FLUSH_EVERYTHING, Act, PlainSet, beginnings

# Few are quick, and mostly enough; where a sequence turns out not to be one, more.
_SAMPLES = (60, 120, 300)
# Lines of ours that may be cached and are none of those that a sequence uses.
_SPARE = 24
_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Homing:
    """A sequence, how many lines it uses (0 and up), and a set that it leads to, which stands for all of them."""

    acts: tuple[Act, ...]
    lines: int
    found: PlainSet


def homings(policy: Policy, seed: int = 1) -> Iterator[Homing]:
    """The sequences that were found, those without invalidations first."""
    ways = policy.ways
    needs = _needs(policy)
    flushed = (FLUSH_EVERYTHING, *map(Act, range(ways)))
    for number, samples in enumerate(_SAMPLES):
        if needs is not None:
            yield from _homing(policy, tuple(map(Act, range(needs + ways))), needs, samples, seed + number)
        if policy.has_fills:
            yield from _homing(policy, flushed, 0, samples, seed + number)
            # After three hits in every way no counter remembers anything: the largest has two bits.
            yield from _homing(policy, (*flushed, *flushed[1:] * 3), 0, samples, seed + number)


def _needs(policy: Policy) -> int | None:
    """So many misses leave nothing of what there was; None if nobody knows a number."""
    try:
        known = prover.needs(policy, policy.ways, limits=Limits(DEFAULT_MEMORY, _SECONDS))
    except UndecidedError as error:
        if error.cause != "unknown-fill":
            return None
        # Where nobody knows what a fill does, all ways are valid.
        return _needs_of_full(policy)
    return known


def _needs_of_full(policy: Policy) -> int | None:
    try:
        return prover.needs(policy, policy.ways, ALL_WAYS_VALID, limits=Limits(DEFAULT_MEMORY, _SECONDS))
    except UndecidedError:
        return None


def _homing(policy: Policy, first: tuple[Act, ...], scrub: int, samples: int, seed: int) -> Iterator[Homing]:
    """The one that begins with ``first``, if there is one. The lines below ``scrub`` are not used again."""
    pool = range(scrub, scrub + 2 * policy.ways + 2)
    others = FLUSH_EVERYTHING not in first
    acts = list(first)
    sets = beginnings(policy, pool.stop + _SPARE, samples, seed, others=others)
    for one in sets:
        one.play(first)
    order = random.Random(seed)
    sets = _different(sets)
    patience = 30 * policy.ways
    while len(sets) > 1 and patience:
        patience -= 1
        tried = [(act, _after(sets, act)) for act in map(Act, order.sample(pool, len(pool)))]
        fewest = min(len(left) for _, left in tried)
        act, sets = order.choice([one for one in tried if len(one[1]) == fewest])
        acts.append(act)
    if len(sets) == 1 and None not in sets[0].content:
        yield Homing(tuple(acts), pool.stop, sets[0])


def _after(sets: list[PlainSet], act: Act) -> list[PlainSet]:
    after = [one.copy() for one in sets]
    for one in after:
        one.act(act)
    return _different(after)


def _different(sets: list[PlainSet]) -> list[PlainSet]:
    return list({one.key: one for one in sets}.values())
