# SPDX-License-Identifier: GPL-2.0-or-later
"""Random access sequences, and what each policy says comes of them.

A sequence begins with accesses that bring the set into a known state, whatever it held before (a *reset*), and goes on
with random ones whose hits and misses are looked at. Which reset is long enough depends on the policy; so each
policy is played from several states, and is asked only about the sequences in which all of them come to the same.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from l1dflush.cache.geometry import Geometry
from l1dflush.cache.policies import Deterministic, all_policies, get_policy
from l1dflush.cache.simulate import Simulator

TIMED = 40
"""Accesses per sequence that are looked at."""
_STATES = 8
# For policies that throw no dice, and for those that do: then it is a mean over the states.
_LAST_STATES = {False: 32, True: 64}
_CANDIDATES = 4
# In multiples of the ways: random accesses before, and those of a long reset.
_BEFORE = 6
_LONG = 24
_TURNS = 6


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

    They are the ones out of several times as many that settle policies, and tell them apart, as often as possible. What
    is said of these rests on more states than the choice does, for a state that was not tried may come to something
    else.
    """
    order = random.Random(seed)
    candidates = [_candidate(ways, order, number) for number in range(count * _CANDIDATES)]
    dice = {name: not isinstance(get_policy(name, ways), Deterministic) for name in all_policies(ways)}
    first = Played(ways, candidates, _STATES, seed)
    taken = _taken([first.by(name) for name, thrown in dice.items() if not thrown], count)
    asked = [candidates[i] for i in taken]
    played = {thrown: Played(ways, asked, states, seed + 1) for thrown, states in _LAST_STATES.items()}
    return asked, [played[thrown].by(name) for name, thrown in dice.items()]


class Played:
    """Sequences, each played from ``states`` states: what sets come to in which something went on before, most of them
    another of these sequences, as it is on silicon."""

    def __init__(self, ways: int, asked: Sequence[AccessSequence], states: int, seed: int = 1) -> None:
        self._ways = ways
        self._states = states
        self._count = len(asked)
        self._seed = seed
        # A set of the simulator for every sequence and state; sets do not know of each other.
        self._sets = 1 << (len(asked) * states - 1).bit_length()
        numbers = np.arange(self._sets)[:, None]
        chance = np.random.default_rng(seed)
        warm = chance.integers(lines_needed(ways), size=(self._sets, _BEFORE * ways))
        before = chance.integers(len(asked), size=len(asked) * states)
        whole = [np.array([[*one.reset, *one.accesses]]) for one in asked]
        self._before = np.concatenate(
            [
                self._addresses(warm, numbers),
                *(self._addresses(whole[which], numbers[at]) for at, which in enumerate(before)),
            ]
        )
        parts, timed, at = [], [], 0
        for index, one in enumerate(asked):
            mine = numbers[index * states : (index + 1) * states]
            parts.append(self._addresses(np.array([one.reset]), mine))
            parts.append(self._addresses(np.array([one.accesses]), mine))
            at += len(parts[-2]) + len(parts[-1])
            timed.append(np.arange(at - len(parts[-1]), at))
        self._asked = np.concatenate(parts)
        self._timed = np.concatenate(timed)

    def by(self, policy: str) -> Prediction:
        """What ``policy`` says of them."""
        shape = Geometry(self._sets * self._ways * 64, self._ways, 64)
        simulator = Simulator(policy, shape, seed=self._seed)
        simulator.access(self._before)
        hits = simulator.access(self._asked, each=True).each
        assert hits is not None
        missed = ~hits[self._timed].reshape(self._count, self._states, TIMED)
        settled = (missed == missed[:, :1]).all(axis=(1, 2))
        by_chance = not isinstance(get_policy(policy, self._ways), Deterministic)
        return Prediction(policy, by_chance, missed.mean(axis=1), settled)

    def _addresses(self, lines: NDArray[np.int64], sets_of: NDArray[np.int64]) -> NDArray[np.uint64]:
        return np.ascontiguousarray(((lines * self._sets + sets_of) * 64).ravel(), dtype=np.uint64)


def _candidate(ways: int, order: random.Random, number: int) -> AccessSequence:
    lines = list(range(lines_needed(ways)))
    order.shuffle(lines)
    spare, pool = lines[: 3 * ways], lines[3 * ways : 3 * ways + order.randint(ways + 1, ways + 4)]
    resets = (_distinct, _turns, _mixed, _wide)
    reset = tuple(resets[number % len(resets)](ways, spare, pool, order))
    return AccessSequence(reset, tuple(order.choice(pool) for _ in range(TIMED)))


def _distinct(ways: int, spare: list[int], pool: list[int], order: random.Random) -> Iterator[int]:
    """Misses only: enough where the state is about an order of the ways."""
    yield from spare


def _turns(ways: int, spare: list[int], pool: list[int], order: random.Random) -> Iterator[int]:
    """As many lines as there are ways, turn by turn, after misses: ages end up equal."""
    for _ in range(_TURNS):
        yield from spare[: 2 * ways]
        yield from spare[ways : 2 * ways]


def _mixed(ways: int, spare: list[int], pool: list[int], order: random.Random) -> Iterator[int]:
    """Misses, then hits and misses among few lines: states with counters need both."""
    yield from spare[: 2 * ways]
    few = spare[: ways + 3]
    yield from (order.choice(few) for _ in range(_LONG * ways))


def _wide(ways: int, spare: list[int], pool: list[int], order: random.Random) -> Iterator[int]:
    """Hits and misses among twice as many lines as there are ways."""
    some = spare[: 2 * ways]
    yield from (order.choice(some) for _ in range(_LONG * ways))


def _taken(said: Sequence[Prediction], count: int) -> list[int]:
    """Candidates by greed: each the one that does most for the policies that are settled least, and for the pairs of
    policies that are told apart least."""
    rows = [one.settled for one in said]
    for one, other in combinations(said, 2):
        apart = one.settled & other.settled & (one.misses != other.misses).any(axis=1)
        if apart.any():
            rows.append(apart)
    table = np.array(rows, dtype=np.float64)
    # There are more pairs than policies.
    weight = np.where(np.arange(len(table)) < len(said), len(table) / len(said), 1.0)
    have = np.zeros(len(table))
    free = np.ones(table.shape[1], dtype=np.bool_)
    taken: list[int] = []
    for _ in range(count):
        gain = np.where(free, (weight / (1 + have)) @ table, -1.0)
        best = int(gain.argmax())
        taken.append(best)
        free[best] = False
        have += table[:, best]
    return taken
