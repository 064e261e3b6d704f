# SPDX-License-Identifier: GPL-2.0-or-later
"""Which policy explains an L1D: on silicon that is simulated, so that it is known which one is right."""

from __future__ import annotations

import functools
import random
from collections.abc import Iterator

import numpy as np
import pytest
from fake_silicon import INTEL, ZEN, Disturbance, FakeRegion, fake_silicon

from l1dflush.cache.policies import Deterministic, all_policies, get_policy
from l1dflush.ending import ExitStatus
from l1dflush.errors import UndecidedError
from l1dflush.silicon.measure import identify as measured
from l1dflush.silicon.measure.identify import Identified, identify, ranked
from l1dflush.silicon.measure.pages import chosen_pages
from l1dflush.silicon.measure.region import USABLE_PAGES, link
from l1dflush.silicon.measure.results import identified
from l1dflush.silicon.measure.sequences import Prediction, sequences
from l1dflush.silicon.measure.session import CONTROL_SET

ONCE = functools.cache(sequences)
# With 12 ways, few sequences that settle both tell them apart.
CLOSE = ({"QLRU_H11_M1_R0_U0", "QLRU_H11_M1_R1_U2"}, {"SRRIP-FP", "SRRIP-HP"})
DETERMINISTIC = [
    (policy, ways) for ways in (8, 12) for policy in all_policies(ways)
    if isinstance(get_policy(policy, ways), Deterministic)
]  # fmt: skip


def some_pages(region: FakeRegion, count: int, control_set: int, seed: int) -> list[int]:
    """Where no page displaces another, any will do."""
    if region.disturbance.aliases or region.disturbance.moved == 1:
        return chosen_pages(region, count, control_set, seed)
    pages = random.Random(seed).sample(range(USABLE_PAGES), count)
    link(region, pages, control_set, seed)
    return pages


@pytest.fixture(autouse=True)
def _once(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The sequences do not depend on the silicon."""
    monkeypatch.setattr(measured, "sequences", ONCE)
    monkeypatch.setattr(measured, "chosen_pages", some_pages)
    yield


def on(
    policy: str, ways: int = 8, disturbance: Disturbance = ZEN, times: int = 3, seed: int = 1, **more: float
) -> Identified:
    region = FakeRegion(policy, ways, disturbance, seed, **more)  # type: ignore[arg-type]
    return identify(region, ways, CONTROL_SET, 1, times=times)


@pytest.mark.parametrize(("policy", "ways"), DETERMINISTIC)
def test_every_policy_is_told_from_all_others(policy: str, ways: int) -> None:
    found = on(policy, ways)
    best = found.matches[0]
    assert found.fitting == (best.policy,) or (ways == 12 and set(found.fitting) in CLOSE)
    assert policy in (best.policy, *best.twins)
    # All but what a state that was not tried may come to.
    assert best.matched >= best.decided - 2
    assert found.margin is not None and found.margin > 0 and found.levels.single


def test_a_48_kib_l1d() -> None:
    """What was seen on such a CPU: LRU3PLRU4 foretells 150 of 150."""
    found = on("LRU3PLRU4", 12, INTEL)
    best = found.matches[0]
    assert (found.best, best.matched, best.decided, best.wrong) == ("LRU3PLRU4", 150, 150, 0)
    assert (best.accesses, found.sequences, found.rounds) == (6000, 150, 3)
    assert 0.019 < best.most_wrong < 0.0201
    assert found.levels.single


@pytest.mark.parametrize("ways", [8, 12])
def test_random_replacement(ways: int) -> None:
    found = on("random", ways)
    assert found.best == "random"
    assert found.repeatable < 0.8


@pytest.mark.parametrize("policy", ["BIP", "BRRIP"])
@pytest.mark.parametrize("ways", [8, 12])
def test_dice_that_are_seldom_thrown(policy: str, ways: int) -> None:
    """With 1 in 32 they are close to each other and to LIP: what cannot be told is not told."""
    found = on(policy, ways, times=6)
    assert found.best in (None, policy)
    assert policy in [match.policy for match in found.matches if match.share > 0.9]


@pytest.mark.parametrize(
    ("policy", "ways"), [("QLRU_H10_M2_R0_U0_UMO", 8), ("QLRU_H11_M3_R0_U0", 8), ("QLRU_H20_M3_R0_U0_UMO", 12)]
)
def test_a_policy_that_is_not_among_them(policy: str, ways: int) -> None:
    assert policy not in all_policies(ways)
    found = on(policy, ways)
    assert found.best is None
    result = identified(fake_silicon(FakeRegion(policy, ways)), found, "", None, 1)
    assert (result.policy, result.exit_status) == (None, ExitStatus.UNDECIDED)


def test_visits_that_come_one_way_or_the_other_say_nothing() -> None:
    with pytest.raises(UndecidedError) as error:
        on("tree-PLRU", disturbance=Disturbance(dice=0.48))
    assert error.value.cause == "hits-like-misses"


@pytest.mark.parametrize(
    "disturbance",
    [
        Disturbance(noise=60.0),
        Disturbance(interrupts=0.02),
        Disturbance(step=26, drift=0.3),
        Disturbance(dice=0.05),
        Disturbance(prefetcher=True),
        Disturbance(step=100, noise=10.0),
    ],
    ids=["noise", "interrupts", "drift", "mistakes", "prefetcher", "coarse steps"],
)
def test_what_disturbs_without_making_it_impossible(disturbance: Disturbance) -> None:
    found = on("tree-PLRU", disturbance=disturbance, times=20)
    assert found.best == "tree-PLRU"
    assert found.matches[0].matched >= 148


def test_trials_that_were_moved_are_dropped_and_counted() -> None:
    found = on("tree-PLRU", disturbance=Disturbance(moved=0.3), times=10)
    assert (found.best, found.matches[0].matched) == ("tree-PLRU", 150)
    assert found.trials == 10 * (150 + 24)
    assert 0.25 * found.trials < found.moved < 0.35 * found.trials


def test_nothing_stayed_on_its_cpu() -> None:
    with pytest.raises(UndecidedError) as error:
        on("tree-PLRU", disturbance=Disturbance(moved=1.0))
    assert error.value.cause == "moved-about"


def test_hits_as_slow_as_misses() -> None:
    with pytest.raises(UndecidedError) as error:
        on("tree-PLRU", disturbance=Disturbance(noise=20.0), hit=7.0, miss=7.1)
    assert error.value.cause == "hits-like-misses"


def test_pages_that_displace_each_other_are_avoided() -> None:
    """A way predictor: two pages with one hash. None of the pages chosen displaces another, and the policy is found."""
    chance = np.random.default_rng(3).permutation(400)
    pairs = frozenset(frozenset(map(int, pair)) for pair in chance.reshape(-1, 2))
    region = FakeRegion("tree-PLRU", disturbance=Disturbance(aliases=pairs))
    # Whatever is chosen first, some of it is in pairs.
    chosen = set(chosen_pages(region, 60, CONTROL_SET, seed=5))
    assert not any(pair <= chosen for pair in pairs)
    assert on("tree-PLRU", disturbance=Disturbance(aliases=pairs)).best == "tree-PLRU"


def test_too_few_pages_that_get_on() -> None:
    """Every page displaces one in three of the others: 20 that do not displace each other are not among 28."""

    class Displacing(FakeRegion):
        def run(self, steps, prepare, timed, flush, /, **more):  # type: ignore[no-untyped-def]
            ticks, moved = super().run(steps, prepare, timed, flush, **more)
            program = np.split(steps // 4096, np.cumsum(prepare + timed)[:-1])
            slow = [(int(trial[0]) - int(trial[1])) % 3 == 0 for trial in program]
            return np.where(np.repeat(slow, timed), 3 * ticks, ticks), moved

    with pytest.raises(UndecidedError) as error:
        chosen_pages(Displacing("LRU"), 20, CONTROL_SET, seed=1)
    assert error.value.cause == "aliases"


def test_the_same_seed_gives_the_same() -> None:
    assert on("NRU", seed=7) == on("NRU", seed=7)


# --- what is made of the shares


def foretold(policy: str, misses: list[list[float]], settled: list[bool], by_chance: bool = False) -> Prediction:
    return Prediction(policy, by_chance, np.array(misses), np.array(settled))


def test_ranked_counts_by_hand() -> None:
    seen = np.array([[0.0, 1.0]] * 30 + [[1.0, 1.0]] * 10)
    right = foretold("right", seen.tolist(), [True] * 35 + [False] * 5)
    wrong = foretold("wrong", [[0.0, 1.0]] * 40, [True] * 40)
    few = foretold("few", seen.tolist(), [True] * 19 + [False] * 21)
    matches, fitting = ranked(seen, [few, wrong, right])
    assert fitting == ("right",)
    assert [(m.policy, m.matched, m.decided, m.wrong, m.accesses, m.judged, m.twins) for m in matches] == [
        ("right", 35, 35, 0, 70, True, ()),
        ("wrong", 30, 40, 10, 80, True, ()),
        ("few", 19, 19, 0, 38, False, ()),
    ]


def test_twins_agree_where_both_are_settled() -> None:
    seen = np.array([[0.0, 1.0]] * 40)
    one = foretold("one", seen.tolist(), [True] * 30 + [False] * 10)
    same = foretold("same", [[0.5, 0.5]] * 10 + seen[10:].tolist(), [False] * 10 + [True] * 30)
    (match,), fitting = ranked(seen, [one, same])
    assert (match.policy, match.twins, fitting) == ("one", ("same",), ("one",))
    apart = foretold("apart", [[1.0, 1.0]] * 15 + seen[15:].tolist(), [False] * 11 + [True] * 29)
    matches, fitting = ranked(seen, [one, apart])
    assert [m.twins for m in matches] == [(), ()]
    assert fitting == ("one",)


def test_two_that_fit_as_well_leave_it_open() -> None:
    """Four sequences that speak against the next best may be luck, five are not."""
    seen = np.array([[0.0, 1.0]] * 100)
    best_of_all = foretold("a", seen.tolist(), [True] * 100)
    for against, fitting in ((4, ("a", "b")), (5, ("a",))):
        other = foretold("b", [[1.0, 1.0]] * against + seen[against:].tolist(), [True] * 100)
        assert ranked(seen, [best_of_all, other])[1] == fitting


def test_none_fits_well_enough() -> None:
    seen = np.array([[0.0, 1.0]] * 100)
    for against, fitting in ((10, ("a",)), (11, ())):
        said = foretold("a", [[1.0, 1.0]] * against + seen[against:].tolist(), [True] * 100)
        assert ranked(seen, [said])[1] == fitting
