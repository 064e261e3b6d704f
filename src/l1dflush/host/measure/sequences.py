"""Random access sequences, and what each policy says comes of them.

A sequence begins with accesses that bring the set into a known state, whatever it held before (a *reset*), and goes on
with random ones whose hits and misses are looked at. Which reset is long enough depends on the policy; so each
policy is played from several states, and is asked only about the sequences in which all of them come to the same.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from l1dflush.cache.geometry import Geometry
from l1dflush.cache.policies import Deterministic, all_policies, get_policy
from l1dflush.cache.simulate import Simulator

TIMED = 40
"""Accesses per sequence that are looked at."""
_STATES = 8
_CANDIDATES = 5
_BEFORE = 6


@dataclass(frozen=True, slots=True)
class AccessSequence:
    """Lines by number: the reset, and the accesses that count."""

    reset: tuple[int, ...]
    accesses: tuple[int, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Prediction:
    """What a policy says of all sequences.

    ``misses``: of shape (sequences, accesses), the share of the states tried in which the access misses. ``settled``:
    per sequence, whether all states tried agree on every access.
    """

    policy: str
    by_chance: bool
    misses: NDArray[np.float64]
    settled: NDArray[np.bool_]


def lines_needed(ways: int) -> int:
    """How many different lines the sequences use: few, so that all of them stay in the L2."""
    return 4 * ways + 4


def sequences(ways: int, count: int, seed: int) -> tuple[list[AccessSequence], list[Prediction]]:
    """So many sequences, and what every policy that is defined at ``ways`` ways says of them.

    They are the ones out of several times as many that settle as many policies as possible as often as possible.
    """
    order = random.Random(seed)
    candidates = [_candidate(ways, order, number) for number in range(count * _CANDIDATES)]
    predictions = [predicted(name, ways, candidates, seed) for name in all_policies(ways)]
    taken = _taken([one.settled for one in predictions], count)
    return [candidates[i] for i in taken], [
        Prediction(one.policy, one.by_chance, one.misses[taken], one.settled[taken]) for one in predictions
    ]


def predicted(policy: str, ways: int, asked: Sequence[AccessSequence], seed: int = 1) -> Prediction:
    """What ``policy`` says of these sequences, each played from several states."""
    sets = 1 << (len(asked) * _STATES - 1).bit_length()
    simulator = Simulator(policy, Geometry(sets * ways * 64, ways, 64), seed=seed)
    warm = np.random.default_rng(seed).integers(lines_needed(ways), size=(sets, _BEFORE * ways))
    # A set of the simulator for every sequence and state; sets do not know of each other.
    numbers = np.arange(sets)
    simulator.access(_addresses(warm, numbers[:, None], sets))
    misses = np.zeros((len(asked), TIMED))
    settled = np.zeros(len(asked), dtype=np.bool_)
    for index, one in enumerate(asked):
        mine = numbers[index * _STATES : (index + 1) * _STATES, None]
        simulator.access(_addresses(np.array([one.reset]), mine, sets))
        hits = simulator.access(_addresses(np.array([one.accesses]), mine, sets), each=True).each
        assert hits is not None
        missed = ~hits.reshape(_STATES, TIMED)
        misses[index] = missed.mean(axis=0)
        settled[index] = bool((missed == missed[0]).all())
    by_chance = not isinstance(get_policy(policy, ways), Deterministic)
    return Prediction(policy, by_chance, misses, settled)


def _addresses(lines: NDArray[np.int64], sets_of: NDArray[np.int64], sets: int) -> NDArray[np.uint64]:
    return np.ascontiguousarray(((lines * sets + sets_of) * 64).ravel(), dtype=np.uint64)


def _candidate(ways: int, order: random.Random, number: int) -> AccessSequence:
    lines = list(range(lines_needed(ways)))
    order.shuffle(lines)
    spare, pool = lines[: 3 * ways], lines[3 * ways : 3 * ways + order.randint(ways + 1, ways + 4)]
    resets = (_distinct, _mixed, _wide)
    reset = tuple(resets[number % len(resets)](ways, spare, pool, order))
    return AccessSequence(reset, tuple(order.choice(pool) for _ in range(TIMED)))


def _distinct(ways: int, spare: list[int], pool: list[int], order: random.Random) -> Iterator[int]:
    """Misses only: enough where the state is about an order of the ways."""
    yield from spare


def _mixed(ways: int, spare: list[int], pool: list[int], order: random.Random) -> Iterator[int]:
    """Misses, then hits and misses among few lines: states with counters need both."""
    yield from spare[: 2 * ways]
    few = spare[: ways + 3]
    yield from (order.choice(few) for _ in range(16 * ways))


def _wide(ways: int, spare: list[int], pool: list[int], order: random.Random) -> Iterator[int]:
    """Hits and misses among twice as many lines as there are ways."""
    some = spare[: 2 * ways]
    yield from (order.choice(some) for _ in range(16 * ways))


def _taken(settled: list[NDArray[np.bool_]], count: int) -> list[int]:
    """Candidates by greed: each the one that settles most of those that are settled least."""
    table = np.array(settled, dtype=np.float64)
    have = np.zeros(len(table))
    free = np.ones(table.shape[1], dtype=np.bool_)
    taken: list[int] = []
    for _ in range(count):
        gain = np.where(free, (table / (1 + have[:, None])).sum(axis=0), -1.0)
        best = int(gain.argmax())
        taken.append(best)
        free[best] = False
        have += table[:, best]
    return taken
