"""Which replacement policy explains this L1D: random sequences, and how many of them each policy foretells.

A policy fits a sequence if it foretells every access of it, hit or miss. One that throws dice foretells how often each
access misses, and fits if that is about what is seen.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from l1dflush.host.measure.calibrate import Levels, levels
from l1dflush.host.measure.pages import chosen_pages
from l1dflush.host.measure.region import Region, Rounds, Trial, page_step
from l1dflush.host.measure.sequences import AccessSequence, Prediction, lines_needed, sequences
from l1dflush.host.measure.statistics import upper_bound

SEQUENCES = 150
ROUNDS = 40
LEAST_DECIDED = 20
"""A policy that is settled by fewer sequences is not judged."""
LEAST_MATCH = 0.9
"""Of the sequences, a policy that explains this L1D foretells at least so many."""
_CALIBRATIONS = 12
# How often an access may miss that "always hits", or hit that "always misses".
_STABLE = 0.1
# As far as shares of 40 rounds come from a chance.
_CHANCE_TOLERANCE = 0.3


@dataclass(frozen=True, slots=True)
class Match:
    """How a policy does. ``wrong`` counts accesses, over the sequences that are decided for it."""

    policy: str
    decided: int
    matched: int
    wrong: int
    accesses: int
    twins: tuple[str, ...] = ()

    @property
    def share(self) -> float:
        """Of the sequences that are decided, the share that match."""
        return self.matched / self.decided if self.decided else 0.0

    @property
    def judged(self) -> bool:
        """Whether there are enough of them."""
        return self.decided >= LEAST_DECIDED

    @property
    def most_wrong(self) -> float:
        """Upper confidence bound on the share of such sequences that it does not foretell."""
        return upper_bound(self.decided - self.matched, self.decided)


@dataclass(frozen=True, slots=True)
class Identified:
    """The matches, best first; ``best`` is the policy that explains this L1D, None where none does."""

    matches: tuple[Match, ...]
    best: str | None
    repeatable: float
    levels: Levels
    sequences: int
    rounds: int
    trials: int
    moved: int

    @property
    def margin(self) -> float | None:
        """Between the best match and the next that is not its twin, as shares; None if there is no other."""
        judged = [one for one in self.matches if one.judged]
        return judged[0].share - judged[1].share if len(judged) > 1 else None


def identify(
    region: Region, ways: int, control_set: int, seed: int, done: Callable[[int], None] = lambda _: None
) -> Identified:
    """Plays the sequences on ``region``. ``done`` hears how many of :data:`ROUNDS` rounds are over.

    Raises UndecidedError where hits and misses cannot be told apart.
    """
    asked, predictions = sequences(ways, SEQUENCES, seed)
    pages = chosen_pages(region, lines_needed(ways), control_set, seed)
    steps = [page_step(page, control_set) for page in pages]
    trials = [*(_trial(one, steps) for one in asked), *_calibrations(steps, ways)]
    rounds = Rounds(region, trials, control_set, seed)
    rounds.play(ROUNDS, done)
    hits = np.concatenate([rounds.ticks(len(asked) + i).ravel() for i in range(_CALIBRATIONS)])
    misses = np.concatenate([rounds.ticks(len(asked) + _CALIBRATIONS + i).ravel() for i in range(_CALIBRATIONS)])
    told = levels(hits, misses)
    missed = np.array([(told.share(rounds.ticks(i)) > 0.5).mean(axis=0) for i in range(len(asked))])
    matches = ranked(missed, predictions)
    return Identified(
        matches,
        _best(matches),
        float(np.mean((missed < _STABLE) | (missed > 1 - _STABLE))),
        told,
        len(asked),
        ROUNDS,
        rounds.run_trials,
        rounds.moved,
    )


def ranked(missed: NDArray[np.float64], predictions: list[Prediction]) -> tuple[Match, ...]:
    """Every policy against what was seen, best first; policies that foretell the same are one.

    ``missed``: per sequence and access, the share of rounds in which it missed.
    """
    groups: list[list[Prediction]] = []
    for one in predictions:
        same = next((group for group in groups if np.array_equal(group[0].misses, one.misses)), None)
        if same is None:
            groups.append([one])
        else:
            same.append(one)
    matches = [_match(missed, group[0], tuple(one.policy for one in group[1:])) for group in groups]
    return tuple(sorted(matches, key=lambda match: (match.judged, match.share, -match.wrong), reverse=True))


def _match(missed: NDArray[np.float64], one: Prediction, twins: tuple[str, ...]) -> Match:
    if one.by_chance:
        decided = np.ones(len(missed), dtype=np.bool_)
        wrong = np.abs(missed - one.misses) > _CHANCE_TOLERANCE
    else:
        decided = one.settled
        wrong = (missed > 0.5) != (one.misses > 0.5)
    wrong = wrong[decided]
    return Match(
        one.policy, int(decided.sum()), int((~wrong.any(axis=1)).sum()), int(wrong.sum()), int(wrong.size), twins
    )


def _best(matches: tuple[Match, ...]) -> str | None:
    judged = [one for one in matches if one.judged]
    if not judged or judged[0].share < LEAST_MATCH:
        return None
    # Two that fit about as well leave it open.
    if len(judged) > 1 and judged[1].share >= LEAST_MATCH:
        return None
    return judged[0].policy


def _trial(one: AccessSequence, steps: list[int]) -> Trial:
    return Trial(tuple(steps[line] for line in one.reset), tuple(steps[line] for line in one.accesses))


def _calibrations(steps: list[int], ways: int) -> list[Trial]:
    """Visits that hit, because few lines are visited again and again; and visits that miss, because every line of a
    turn through all lines comes after all others."""
    hits, misses = [], []
    for number in range(_CALIBRATIONS):
        few = tuple(steps[(3 * number + i) % len(steps)] for i in range(3))
        hits.append(Trial(few * 4, few * 4))
        turned = tuple(steps[number:] + steps[:number])
        misses.append(Trial(turned, turned[:ways]))
    return [*hits, *misses]
