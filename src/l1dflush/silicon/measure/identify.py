# SPDX-License-Identifier: GPL-2.0-or-later
"""Which replacement policy explains this L1D: random sequences, and how many of them each policy foretells.

A policy fits a sequence if it foretells every access of it. What is seen of an access is the share of the sets in
which it missed, in the median round: about none or all of them where the policy is deterministic. One that throws dice
foretells the share.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from l1dflush.silicon.measure.calibrate import Levels, levels
from l1dflush.silicon.measure.pages import chosen_pages
from l1dflush.silicon.measure.region import Region, Rounds, Trial, page_step
from l1dflush.silicon.measure.sequences import AccessSequence, Prediction, lines_needed, sequences
from l1dflush.silicon.measure.statistics import chance_of_at_most, upper_bound

SEQUENCES = 150
ROUNDS = 40
LEAST_DECIDED = 20
"""A policy that is settled by fewer sequences is not judged."""
LEAST_MATCH = 0.9
"""Of the sequences, a policy that explains this L1D foretells at least so many."""
_CALIBRATIONS = 12
# In how many of the sets an access may miss that hits, or hit that misses.
_STABLE = 0.1
# So far may a share be from what is foretold: other things disturb some sets; and of dice the forecast is a mean over
# few states.
_TOLERANCE = 0.4
_CHANCE_TOLERANCE = 0.25
# How unlikely it has to be that the next best policy is as good and the best has been lucky.
_LUCK = 0.05


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


_Found = tuple[Match, NDArray[np.float64]]
# And per sequence 1 where it fits, 0 where not, nan where the policy decides nothing.


@dataclass(frozen=True, slots=True)
class Identified:
    """The matches, best first; ``fitting`` are the policies that explain this L1D about equally well."""

    matches: tuple[Match, ...]
    fitting: tuple[str, ...]
    repeatable: float
    levels: Levels
    sequences: int
    rounds: int
    trials: int
    moved: int

    @property
    def best(self) -> str | None:
        """The policy that explains this L1D; None where none does, or several do."""
        return self.fitting[0] if len(self.fitting) == 1 else None

    @property
    def margin(self) -> float | None:
        """Between the best match and the next that is not its twin, as shares; None if there is no other."""
        judged = [one for one in self.matches if one.judged]
        return judged[0].share - judged[1].share if len(judged) > 1 else None


def identify(
    region: Region,
    ways: int,
    control_set: int,
    seed: int,
    done: Callable[[int], None] = lambda _: None,
    *,
    count: int = SEQUENCES,
    times: int = ROUNDS,
) -> Identified:
    """Plays ``count`` sequences on ``region``, ``times`` times. ``done`` hears how many rounds are over.

    Raises UndecidedError where hits and misses cannot be told apart.
    """
    asked, predictions = sequences(ways, count, seed)
    pages = chosen_pages(region, lines_needed(ways), control_set, seed)
    steps = [page_step(page, control_set) for page in pages]
    trials = [*(_trial(one, steps) for one in asked), *_calibrations(steps, ways)]
    rounds = Rounds(region, trials, control_set, seed)
    rounds.play(times, done)
    hits = np.concatenate([rounds.ticks(len(asked) + i).ravel() for i in range(_CALIBRATIONS)])
    misses = np.concatenate([rounds.ticks(len(asked) + _CALIBRATIONS + i).ravel() for i in range(_CALIBRATIONS)])
    told = levels(hits, misses)
    # An interrupt takes as long as any number of misses: no mean.
    missed = np.array([np.median(told.share(rounds.ticks(i)).clip(0, 1), axis=0) for i in range(len(asked))])
    matches, fitting = ranked(missed, predictions)
    return Identified(
        matches,
        fitting,
        float(np.mean((missed < _STABLE) | (missed > 1 - _STABLE))),
        told,
        len(asked),
        times,
        rounds.run_trials,
        rounds.moved,
    )


def ranked(missed: NDArray[np.float64], predictions: Sequence[Prediction]) -> tuple[tuple[Match, ...], tuple[str, ...]]:
    """Every policy against what was seen, best first, and those that explain it. Policies that foretell the same are
    one.

    ``missed``: per sequence and access, the share of sets in which it missed.
    """
    groups: list[list[Prediction]] = []
    for one in predictions:
        same = next((group for group in groups if _twins(group[0], one)), None)
        if same is None:
            groups.append([one])
        else:
            same.append(one)
    found = [_match(missed, group[0], tuple(one.policy for one in group[1:])) for group in groups]
    found.sort(key=lambda pair: (pair[0].judged, pair[0].share, -pair[0].wrong), reverse=True)
    return tuple(match for match, _ in found), tuple(_fitting(found))


def _twins(one: Prediction, other: Prediction) -> bool:
    """Whether they foretell the same wherever both foretell something, and that is often enough."""
    if one.by_chance or other.by_chance:
        return False
    both = one.settled & other.settled
    return int(both.sum()) >= LEAST_DECIDED and np.array_equal(one.misses[both], other.misses[both])


def _match(missed: NDArray[np.float64], one: Prediction, twins: tuple[str, ...]) -> _Found:
    decided = one.settled | one.by_chance
    wrong = np.abs(missed - one.misses) > (_CHANCE_TOLERANCE if one.by_chance else _TOLERANCE)
    wrong &= decided[:, None]
    fits = decided & ~wrong.any(axis=1)
    accesses = int(decided.sum()) * missed.shape[1]
    match = Match(one.policy, int(decided.sum()), int(fits.sum()), int(wrong.sum()), accesses, twins)
    return match, np.where(decided, fits, np.nan)


def _fitting(found: Sequence[_Found]) -> Iterator[str]:
    """The best, if it foretells enough, and every other that does and is not clearly worse."""
    judged = [(match, fits) for match, fits in found if match.judged and match.share >= LEAST_MATCH]
    for other, others in judged:
        best = judged[0][1]
        # By the sequences that only one of the two foretells (the sign test).
        ahead, behind = int(((best == 1) & (others == 0)).sum()), int(((best == 0) & (others == 1)).sum())
        if chance_of_at_most(behind, ahead + behind) > _LUCK:
            yield other.policy


def _trial(one: AccessSequence, steps: list[int]) -> Trial:
    return Trial(tuple(steps[line] for line in one.reset), tuple(steps[line] for line in one.accesses))


def _calibrations(steps: list[int], ways: int) -> list[Trial]:
    """Visits that hit, because few lines are visited again and again; and visits that miss, because every line of a
    turn through all lines comes after all others. Some visits come twice in a row: LIP keeps a line that is visited
    again at once, and such lines only."""
    hits, misses = [], []
    for number in range(_CALIBRATIONS):
        few = tuple(steps[(3 * number + i // 2) % len(steps)] for i in range(6))
        hits.append(Trial(few * 4, few * 4))
        turned = tuple(steps[number:] + steps[:number])
        last = (line for line in turned[-ways:] for _ in range(2))
        misses.append(Trial((*turned, *last), turned[:ways]))
    return [*hits, *misses]
