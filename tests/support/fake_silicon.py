# SPDX-License-Identifier: GPL-2.0-or-later
"""A region that answers like real silicon and is simulated: it is known which lines are cached.

It stands for :class:`l1dflush._core.Region` in tests of what is made of ticks. Chains are followed as the core does,
every line goes through a simulated L1D of 64 sets, and a visit takes so many ticks per hit and per miss. What disturbs
real ticks is all here and can be turned up: noise, a counter in coarse steps, interrupts, a clock that drifts, trials
that were moved to another CPU, pages that displace each other (a way predictor), a stride prefetcher, and what the
probe itself touches in its control sets.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

from l1dflush import _core
from l1dflush.cache.geometry import Geometry
from l1dflush.cache.simulate import Simulator
from l1dflush.silicon.measure.clock import Clock
from l1dflush.silicon.measure.environment import Counters, Environment, doubts
from l1dflush.silicon.measure.region import LINE, PAGE, REGION_PAGES, SETS
from l1dflush.silicon.measure.session import Silicon

Ticks = NDArray[np.uint32]
_OWN_PAGE = REGION_PAGES - _core.CONTROL_PAGES
CYCLES = {"none": 0.0, "fill": 60.0, "planned": 100.0, "linux-2018": 13_000.0, "stream": 40.0}
"""What a loop of :meth:`FakeRegion.costs` takes beyond reading its bytes."""
BYTES_PER_CYCLE = {"flushed": 32.0, "clean": 30.0, "dirty": 24.0}


@dataclass(frozen=True, slots=True)
class Disturbance:
    """``step``: of the counter. ``noise``: standard deviation of a visit, in ticks. ``interrupts``: how often a visit
    is stopped for thousands of ticks. ``moved``: how often a trial ends on another CPU. ``drift``: how much longer
    everything takes in the end. ``aliases``: pairs of pages that displace each other. ``dice``: how often a visit that
    hit looks like a miss, or the other way round, for no reason."""

    step: int = 1
    noise: float = 1.0
    interrupts: float = 0.0
    moved: float = 0.0
    drift: float = 0.0
    aliases: frozenset[frozenset[int]] = frozenset()
    prefetcher: bool = False
    dice: float = 0.0


INTEL = Disturbance(step=1, noise=1.5, interrupts=0.001)
ZEN = Disturbance(step=26, noise=1.5, interrupts=0.001)


@dataclass(slots=True)
class FakeRegion:
    """See above. ``hit`` and ``miss`` are the ticks of a line, ``empty`` those between two readings of the counter.

    ``most_trials``: after so many, ``stop`` is raised, as a Ctrl-C would be.
    """

    policy: str
    ways: int = 8
    disturbance: Disturbance = INTEL
    seed: int = 1
    hit: float = 3.5
    miss: float = 10.5
    empty: float = 30.0
    ticks_per_cycle: float = 0.7
    most_trials: int | None = None
    stop: BaseException | None = None
    trials: int = 0
    visits: int = 0
    _next: NDArray[np.int64] = field(init=False)
    _chains: dict[int, NDArray[np.uint64]] = field(init=False, default_factory=dict)
    _cache: Simulator = field(init=False)
    _chance: np.random.Generator = field(init=False)

    def __post_init__(self) -> None:
        self._next = np.zeros(REGION_PAGES * PAGE // 8, dtype=np.int64)
        self._cache = Simulator(self.policy, Geometry(SETS * self.ways * LINE, self.ways, LINE), seed=self.seed)
        self._chance = np.random.default_rng(self.seed)

    def chain(self, nodes: NDArray[np.uint32], /) -> None:
        """Offsets are never null as pointers are, so a null is 0 and an offset one more."""
        for here, there in zip(nodes.tolist(), [*nodes.tolist()[1:], -1], strict=True):
            assert here % 8 == 0 and here // PAGE < _OWN_PAGE
            self._next[here // 8] = there + 1
        self._chains.clear()

    def run(
        self, steps: Ticks, prepare: Ticks, timed: Ticks, flush: Ticks, /, *, flush_from: int = 0, control_set: int
    ) -> tuple[Ticks, NDArray[np.bool_]]:
        """As the core's, and with its order: prepare, fill, then page by page the timed ones."""
        assert len(prepare) == len(timed) == len(flush)
        assert len(steps) == prepare.sum() + timed.sum()
        play = _Play(self._cache)
        pages = (steps // PAGE).tolist()
        controls = {page: play.part([page * PAGE + control_set * LINE]) for page in sorted(set(pages))}
        parts = {step: self._part(play, step) for step in sorted(set(steps.tolist()))}
        program = [parts[step] for step in steps.tolist()]
        # Before each timed visit, what the probe itself touches of that page.
        watched = [part for page, step in zip(pages, program, strict=True) for part in (controls[page], step)]
        fills = {size: play.part(self._read(_lines(flush_from, size))) for size in sorted(set(flush.tolist())) if size}
        at = 0
        for before, count, size in zip(prepare.tolist(), timed.tolist(), flush.tolist(), strict=True):
            assert before + count <= _core.MOST_STEPS and count <= _core.MOST_TIMED
            own = play.part(self._own(control_set))
            behind = at + before + count
            play.access([own, *program[at : at + before], *([fills[size]] if size else [])])
            play.timed(watched[2 * (at + before) : 2 * behind])
            play.access([own])
            at = behind
            self._count()
        hits, misses = play.counts()
        ticks = self._ticks(hits * self.hit + misses * self.miss, hits + misses)
        moved = self._chance.random(len(prepare)) < self.disturbance.moved
        # Another CPU's L1D has none of it, and its counter may be another as well.
        gone = np.repeat(moved, timed)
        ticks[gone] = self._chance.integers(1 << 20, size=int(gone.sum()))
        return ticks, moved

    def costs(
        self, loop: str, start: int, size: int, /, *, before: str, victims_from: int, victims: int, trials: int
    ) -> tuple[Ticks, Ticks, NDArray[np.bool_]]:
        """By :data:`CYCLES` and :data:`BYTES_PER_CYCLE`."""
        assert start % PAGE == 0 and start + size <= _OWN_PAGE * PAGE
        assert before == "flushed" or victims_from >= start + size or victims_from + victims <= start
        for _ in range(trials):
            self._count()
        cycles = 0.0 if loop == "none" else CYCLES[loop] + size / BYTES_PER_CYCLE[before]
        ticks = self._ticks(np.full(trials, cycles * self.ticks_per_cycle), np.ones(trials))
        chain = self._ticks(np.full(trials, _core.CHAIN_CYCLES * self.ticks_per_cycle), np.ones(trials))
        moved = self._chance.random(trials) < self.disturbance.moved
        ticks[moved] = 1
        return ticks, chain, moved

    def _count(self) -> None:
        self.trials += 1
        if self.most_trials is not None and self.trials > self.most_trials:
            raise self.stop or KeyboardInterrupt

    def _part(self, play: _Play, step: int) -> int:
        """What a step does, for ``play``."""
        if step & _core.FLUSH_PAGE:
            return play.part([], flushed=_lines(step ^ _core.FLUSH_PAGE, PAGE).tolist())
        lines = self._chains.get(step)
        if lines is None:
            lines = self._chains[step] = self._read(self._followed(step))
        others = [other for pair in self.disturbance.aliases if step // PAGE in pair for other in pair - {step // PAGE}]
        return play.part(lines, flushed=[other * PAGE + int(line) % PAGE for other in others for line in lines])

    def _followed(self, step: int) -> NDArray[np.uint64]:
        nodes = [step]
        while after := int(self._next[nodes[-1] // 8]):
            nodes.append(after - 1)
        return np.array(nodes, dtype=np.uint64)

    def _read(self, addresses: NDArray[np.uint64]) -> NDArray[np.uint64]:
        """With what a stride prefetcher adds: two strides alike, and it reads one further."""
        if not self.disturbance.prefetcher or len(addresses) < 3:
            return addresses
        strides = np.diff(addresses.astype(np.int64))
        (alike,) = np.nonzero((strides[1:] == strides[:-1]) & (np.abs(strides[1:]) <= PAGE))
        further = addresses[alike + 2].astype(np.int64) + strides[alike + 1]
        # A visit counts its own lines only: what is fetched besides is marked by its lowest bit.
        return np.insert(addresses, alike + 3, further.astype(np.uint64) | np.uint64(1))

    def _own(self, control_set: int) -> NDArray[np.uint64]:
        sets = self._chance.integers(control_set, control_set + _core.CONTROL_SETS, size=12)
        pages = self._chance.integers(_OWN_PAGE, REGION_PAGES, size=12)
        return (pages * PAGE + sets * LINE).astype(np.uint64)

    def _ticks(self, pure: NDArray[np.float64], lines: NDArray[np.float64]) -> Ticks:
        there = self.disturbance
        count = len(pure)
        now = self.visits + np.arange(count)
        self.visits += count
        mistaken = self._chance.random(count) < there.dice
        pure = np.where(mistaken, lines * (self.hit + self.miss) - pure, pure)
        ticks = self.empty + pure * (1 + there.drift * np.minimum(now / 20_000, 1.0))
        ticks = ticks + np.abs(self._chance.normal(0, there.noise, count))
        ticks = ticks + (self._chance.random(count) < there.interrupts) * self._chance.integers(2_000, 50_000, count)
        phase = self._chance.random(count) * there.step
        return np.asarray(np.floor((phase + ticks) / there.step) * there.step, dtype=np.uint32)


def _lines(start: int, size: int) -> NDArray[np.uint64]:
    return np.arange(start, start + size, LINE, dtype=np.uint64)


class _Play:
    """Accesses in order, as many as possible at once. What is accessed often is a part, made once."""

    def __init__(self, cache: Simulator) -> None:
        self._cache = cache
        self._parts: list[NDArray[np.uint64]] = []
        self._flushed: dict[int, list[int]] = {}
        self._order: list[int] = []
        # Of each in the order, which timed visit it is, or -1.
        self._visits: list[int] = []
        self._timed = 0

    def part(self, addresses: ArrayLike, flushed: Sequence[int] = ()) -> int:
        """The number of a part: lines that are flushed, and then accesses."""
        number = len(self._parts)
        self._parts.append(np.asarray(addresses, dtype=np.uint64))
        if flushed:
            self._flushed[number] = list(flushed)
        return number

    def access(self, parts: Sequence[int]) -> None:
        self._order += parts
        self._visits += [-1] * len(parts)

    def timed(self, parts: Sequence[int]) -> None:
        """Every second part is a timed visit."""
        self._order += parts
        for visit in range(self._timed, self._timed + len(parts) // 2):
            self._visits += (-1, visit)
        self._timed += len(parts) // 2

    def counts(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Plays it all. Hits and misses of each timed visit."""
        sizes = np.array([len(part) for part in self._parts])
        order = np.array(self._order)
        lengths = sizes[order]
        ends = np.cumsum(lengths)
        begins = ends - lengths
        within = np.arange(lengths.sum()) - np.repeat(begins, lengths)
        addresses = np.concatenate(self._parts)[np.repeat((np.cumsum(sizes) - sizes)[order], lengths) + within]
        each: list[NDArray[np.bool_]] = []
        done = 0
        for at in np.flatnonzero(np.isin(order, list(self._flushed))).tolist():
            done = self._do(addresses, done, int(begins[at]), each)
            for line in self._flushed[self._order[at]]:
                self._cache.flush_line(line)
        self._do(addresses, done, len(addresses), each)
        hit = np.concatenate(each)
        visits = np.repeat(self._visits, lengths)
        counts = (visits >= 0) & (addresses & np.uint64(1) == 0)
        return (
            np.bincount(visits[counts & hit], minlength=self._timed).astype(np.float64),
            np.bincount(visits[counts & ~hit], minlength=self._timed).astype(np.float64),
        )

    def _do(self, addresses: NDArray[np.uint64], begin: int, end: int, each: list[NDArray[np.bool_]]) -> int:
        if end > begin:
            hit = self._cache.access(addresses[begin:end], each=True).each
            assert hit is not None
            each.append(hit)
        return end


class FakeSilicon(Silicon):
    """Nothing happened meanwhile."""

    def doubts(self, trials: int, moved: int) -> list[str]:
        return doubts(self.environment, self.counters, self.counters, 1.0, trials, moved)


def fake_silicon(region: FakeRegion, cpu_name: str = "A CPU of the tests") -> FakeSilicon:
    """A machine whose L1D is ``region``; the same each time but for the seconds that it takes."""
    there = Environment(
        cpu_name=cpu_name, microcode="0x1", kernel="6.1.0", hypervisor=False, smt="off", governor="performance",
        load=0.0, on_cpu=0, huge_page=True,
        clock=Clock(region.empty, region.disturbance.step, region.ticks_per_cycle, 2.6),
    )  # fmt: skip
    shape = Geometry(SETS * region.ways * LINE, region.ways, LINE)
    return FakeSilicon(region, shape, there, Counters(0, 0.0), 0.0)
