# SPDX-License-Identifier: GPL-2.0-or-later
"""How many old lines survive a flush of 0, 4, 8, ... KiB on this CPU, beside what policies predict.

Before every flush the sets are brought into a state by a *history*, in two kinds:

``full``
    other lines displace everything, then every way gets an old line: no line of the buffer is cached.
``work``
    the buffer is read as an earlier flush did, then random work touches old lines, each set the same ones in the same
    order: part of the buffer is still cached, so some of the flush's loads hit and displace nothing.

Then the native fill loop reads so many pages, and some lines of one old page are visited one by one. A visit spoils
what it looks at, so every trial looks at one page, and the sum over the pages is what is left.

Where the counter is fine enough, every visit is a hit or a miss by its own ticks, and leftovers are counted. Where it
moves in coarse steps, the mean over many visits says how many of them hit: the moments at which visits begin are spread
evenly over a step, so the mean is exact though no single time is.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from l1dflush import _core
from l1dflush.cache.geometry import Geometry
from l1dflush.cache.simulate import Simulator
from l1dflush.errors import UndecidedError
from l1dflush.silicon.measure.pages import chosen_pages
from l1dflush.silicon.measure.region import (
    PAGE,
    SETS,
    Region,
    Rounds,
    Trial,
    line_step,
    link,
    measured_sets,
    page_step,
)
from l1dflush.silicon.measure.statistics import mean_bounds, upper_bound

FULL, WORK = "full", "work"
HISTORIES = 6
"""Histories of each kind, with other random numbers each."""
ROUNDS = 100
# After some misses in a page that was in use lately, prefetchers fetch its other lines, and their visits would hit.
_LINES_AT_ONCE = 6
# Of the slowest misses so many do not count: interrupts.
_OUTLIERS = 0.1
_STATES = 8
# How many standard errors the difference between the means of hits and of misses has to be.
_LEAST_ERRORS = 10.0
# Of the visits whose outcome is known, so many may be on the wrong side if single ones are to count.
_MOST_WRONG = 0.01


@dataclass(frozen=True, slots=True)
class History:
    """Lines by number: those of the buffer are 0 to ``buffer`` - 1, then the old lines, then others."""

    kind: str
    accesses: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """What is tried: the flush sizes in pages, from 0 on, and the histories. ``old`` and ``other`` are line numbers."""

    ways: int
    pages: int
    old: tuple[int, ...]
    other: tuple[int, ...]
    histories: tuple[History, ...]


def planned(ways: int, pages: int, seed: int) -> Plan:
    """A plan for flushes of 0 to ``pages`` pages."""
    old = tuple(range(pages, pages + ways))
    other = tuple(range(pages + ways, pages + 4 * ways))
    order = random.Random(seed)
    histories = []
    for _ in range(HISTORIES):
        shuffled = order.sample(old, ways)
        histories.append(History(FULL, (*order.sample(other, len(other)), *shuffled)))
        # About as many accesses as there are ways, some of them to the same line.
        work = [order.choice(old) for _ in range(order.randint(ways // 2, 2 * ways))]
        histories.append(History(WORK, (*order.sample(other, len(other)), *range(pages), *work)))
    return Plan(ways, pages, old, other, tuple(histories))


def predicted(plan: Plan, policy: str, seed: int = 1) -> dict[str, list[float]]:
    """Old lines left in a set after 0, 1, ... pages by kind of history, as ``policy`` says: means over the histories.

    Played from several states; for a policy that throws dice that is a mean as well.
    """
    lines = plan.pages + 4 * plan.ways
    sums = {kind: np.zeros(plan.pages + 1) for kind in (FULL, WORK)}
    sets = _STATES
    warm = np.random.default_rng(seed).integers(lines, size=(sets, 6 * plan.ways))
    numbers = np.arange(sets)[:, None]

    def addresses(of: Sequence[Sequence[int]] | NDArray[np.int64]) -> NDArray[np.uint64]:
        return np.ascontiguousarray(((np.asarray(of) * sets + numbers) * 64).ravel(), dtype=np.uint64)

    for history in plan.histories:
        simulator = Simulator(policy, Geometry(sets * plan.ways * 64, plan.ways, 64), seed=seed)
        simulator.access(addresses(warm))
        simulator.access(addresses([history.accesses]))
        for pages in range(plan.pages + 1):
            if pages:
                simulator.access(addresses([[pages - 1]]))
            left = np.isin(simulator.contents // sets, plan.old).sum() / sets
            sums[history.kind][pages] += left / HISTORIES
    return {kind: values.tolist() for kind, values in sums.items()}


@dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """What was seen after flushes of 0, 1, ... pages, for one kind of history.

    ``left``: old lines left in the whole cache; ``at_most``: the upper confidence bound of that (95%, one-sided).
    ``per_set``: of shape (points, sets), old lines left in each set, and ``set_error`` the standard error of one of
    these. ``visits``: how many visits each point rests on; ``seen``: how many of them hit, None where single visits
    do not say. ``blank``: what is seen of the whole cache where nothing can be left; less cannot be told from nothing.
    """

    kind: str
    left: NDArray[np.float64]
    at_most: NDArray[np.float64]
    per_set: NDArray[np.float64]
    set_error: float
    visits: NDArray[np.int64]
    seen: NDArray[np.int64] | None
    blank: float


@dataclass(frozen=True, slots=True)
class Scale:
    """From ticks to lines left. ``wrong``: of the visits whose outcome is known, the share on the wrong side of the
    middle; ``error``: the standard error of the scale, as a share of the distance."""

    hit: float
    miss: float
    most: float
    error: float
    wrong: float

    @property
    def single(self) -> bool:
        """Whether a single visit says what it was."""
        return self.wrong <= _MOST_WRONG

    def left(self, ticks: NDArray[np.float64]) -> NDArray[np.float64]:
        """Per visit 1 for a hit and 0 for a miss; where single visits do not say, what has these means."""
        if self.single:
            return (ticks < (self.hit + self.miss) / 2).astype(np.float64)
        return (self.miss - np.minimum(ticks, self.most)) / (self.miss - self.hit)


@dataclass(slots=True)
class Survivors:
    """The measurement, which goes on round by round; :meth:`curves` may be asked at any time after the first."""

    plan: Plan
    halves: list[Half] = field(default_factory=list)

    @property
    def trials(self) -> int:
        """How many trials were run."""
        return sum(half.rounds.run_trials for half in self.halves)

    @property
    def moved(self) -> int:
        """How many were dropped."""
        return sum(half.rounds.moved for half in self.halves)

    @property
    def complete(self) -> bool:
        """Whether every trial was run at least once."""
        return bool(self.halves) and all(half.rounds.over for half in self.halves)

    def scale(self) -> Scale:
        """Raises UndecidedError where hits and misses cannot be told apart."""
        return scale(_ticks(self.halves, "hits"), _ticks(self.halves, "misses"))

    def curves(self) -> list[Curve]:
        """What was seen so far. Raises UndecidedError as :meth:`scale`."""
        told = self.scale()
        blank = max(_share(self.halves, told, kind) for kind in range(3)) * SETS * self.plan.ways
        return [_curve(self.plan, kind, self.halves, told, blank) for kind in (FULL, WORK)]


def begun(region: Region, ways: int, pages: int, seed: int) -> Survivors:
    """A measurement with flushes of 0 to ``pages`` pages on ``region``; nothing but the choice of pages is done yet.

    Each half of it measures the sets that the other one keeps for the probe.
    """
    plan = planned(ways, pages, seed)
    last = SETS - _core.CONTROL_SETS
    page_of = [*range(pages), *chosen_pages(region, 4 * ways, last, seed, first=pages)]
    return Survivors(plan, [Half.of(region, plan, page_of, control, seed) for control in (last, 0)])


def played(survivors: Survivors, rounds: int = ROUNDS, done: Callable[[int], None] = lambda _: None) -> None:
    """So many more rounds. A KeyboardInterrupt leaves what was measured."""
    for number in range(1, rounds + 1):
        for half in survivors.halves:
            half.play()
        done(number)


@dataclass(slots=True)
class Half:
    """All trials that keep the same control sets. ``points``: those of a history and a number of pages; ``hits`` and
    ``misses``: those that make the scale; ``blanks``: other ones of which nothing can be left, by kind; ``sets_of``:
    the sets that a trial looks at."""

    region: Region
    page_of: list[int]
    control_set: int
    rounds: Rounds
    points: dict[tuple[str, int], list[int]]
    hits: list[int]
    misses: list[int]
    blanks: tuple[list[int], ...]
    sets_of: list[list[int]]
    seed: int

    @classmethod
    def of(cls, region: Region, plan: Plan, page_of: list[int], control: int, seed: int) -> Half:
        """Makes the trials, and runs none."""
        order = random.Random(seed + control)
        free = measured_sets(control)
        trials: list[Trial] = []
        sets_of: list[list[int]] = []

        def add(accesses: Iterable[int], old: int, flush: int) -> int:
            sets_of.append(order.sample(free, _LINES_AT_ONCE))
            lines = tuple(line_step(page_of[old], s) for s in sets_of[-1])
            trials.append(Trial(tuple(page_step(page_of[line], control) for line in accesses), lines, flush * PAGE))
            return len(trials) - 1

        points = {
            (kind, pages): [
                add(one.accesses, old, pages) for one in plan.histories if one.kind == kind for old in plan.old
            ]
            for kind in (FULL, WORK)
            for pages in range(plan.pages + 1)
        }
        hits, misses = [], []
        blanks: tuple[list[int], ...] = ([], [], [])
        for one in plan.histories:
            for old in plan.old:
                others = [line for line in range(len(page_of)) if line != old]
                again = [*one.accesses, *order.sample(others, len(others))]
                hits.append(add((*one.accesses, old), old, 0))
                misses.append(add(again, old, plan.pages))
                blanks[0].append(add(again, old, 0))
                blanks[1].append(add(again, old, plan.pages // 2))
                blanks[2].append(add((*again, *order.sample(others, len(others))), old, plan.pages))
        rounds = Rounds(region, trials, control, seed)
        return cls(region, page_of, control, rounds, points, hits, misses, blanks, sets_of, seed)

    def play(self) -> None:
        """One round."""
        link(self.region, self.page_of, self.control_set, self.seed)
        self.rounds.play(1)


def _ticks(halves: Sequence[Half], which: str) -> NDArray[np.float64]:
    return np.concatenate([half.rounds.ticks(i).ravel() for half in halves for i in getattr(half, which)])


def scale(hits: NDArray[np.float64], misses: NDArray[np.float64]) -> Scale:
    """From visits that hit and visits that miss. Raises UndecidedError if they cannot be told apart."""
    if len(hits) < 2 or len(misses) < 2:
        raise UndecidedError("moved-about", "too few trials ended on the CPU that they began on")
    middle = (float(np.median(hits)) + float(np.median(misses))) / 2
    wrong = max(float((hits >= middle).mean()), float((misses < middle).mean()))
    most = float(np.quantile(misses, 1 - _OUTLIERS))
    hits, misses = np.minimum(hits, most), np.minimum(misses, most)
    hit, miss = float(hits.mean()), float(misses.mean())
    error = float(np.hypot(hits.std() / np.sqrt(len(hits)), misses.std() / np.sqrt(len(misses))))
    if miss - hit <= _LEAST_ERRORS * error:
        raise UndecidedError(
            "hits-like-misses",
            f"a visit takes {hit:.1f} ticks when it hits and {miss:.1f} when it misses: they cannot be told apart here",
        )
    return Scale(hit, miss, most, error / (miss - hit), wrong)


def _curve(plan: Plan, kind: str, halves: Sequence[Half], told: Scale, blank: float) -> Curve:
    points, lines = plan.pages + 1, SETS * plan.ways
    left, at_most, visits = np.zeros(points), np.zeros(points), np.zeros(points, dtype=np.int64)
    seen = np.zeros(points, dtype=np.int64)
    sums, counts = np.zeros((points, SETS)), np.zeros((points, SETS))
    noise = 0.0
    for pages in range(points):
        variance = 0.0
        trials = [(half, i) for half in halves for i in half.points[kind, pages]]
        for half, i in trials:
            rows = told.left(half.rounds.ticks(i))
            if not len(rows):
                continue
            sums[pages, half.sets_of[i]] += rows.sum(axis=0)
            counts[pages, half.sets_of[i]] += len(rows)
            # Which lines a history leaves is not an error of measurement: only what varies from round to round is.
            variance += float(rows.var(axis=0).mean()) / rows.size
        visits[pages] = int(counts[pages].sum())
        share = sums[pages].sum() / max(visits[pages], 1)
        left[pages] = share * lines
        if told.single:
            seen[pages] = int(sums[pages].sum())
            # Some of the visits that hit took as long as a miss.
            most = min(upper_bound(int(seen[pages]), int(visits[pages])) / (1 - told.wrong), 1.0)
        else:
            error = np.sqrt(variance) / len(trials) + told.error
            # Less than nothing is only noise, and no reason to hope for more.
            most = mean_bounds(max(share, 0.0), float(error))[1]
        at_most[pages] = most * lines
        noise += np.sqrt(variance * len(trials)) / points
    per_set = np.divide(sums, counts, out=np.zeros_like(sums), where=counts > 0) * plan.ways
    set_error = float(noise / max(len(halves), 1) / np.sqrt(max(counts.mean(), 1.0)) * plan.ways)
    return Curve(kind, left, at_most, per_set, set_error, visits, seen if told.single else None, blank)


def _share(halves: Sequence[Half], told: Scale, kind: int) -> float:
    """How much seems to be left, of lines of which nothing can be left; not less than nothing."""
    rows = np.concatenate([told.left(half.rounds.ticks(i)).ravel() for half in halves for i in half.blanks[kind]])
    return max(float(rows.mean()), 0.0) if len(rows) else 0.0
