# SPDX-License-Identifier: GPL-2.0-or-later
"""What survives a flush, as the analysis of ticks says, beside what is known of simulated silicon."""

from __future__ import annotations

import random

import numpy as np
import pytest
from fake_silicon import INTEL, ZEN, Disturbance, FakeRegion, fake_silicon
from thorough import examples

from l1dflush.errors import UndecidedError
from l1dflush.silicon.measure import survivors as measured
from l1dflush.silicon.measure.model import Seen
from l1dflush.silicon.measure.pages import chosen_pages
from l1dflush.silicon.measure.region import PAGE, SETS
from l1dflush.silicon.measure.results import measured as result_of
from l1dflush.silicon.measure.results import seen
from l1dflush.silicon.measure.survivors import FULL, WORK, Curve, Survivors, begun, planned, played, predicted

PAGES = 14


def some_pages(_: object, count: int, *rest: object, first: int) -> list[int]:
    """Where no page displaces another, any will do."""
    return random.Random(count).sample(range(first, 400), count)


@pytest.fixture(autouse=True)
def _quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measured, "HISTORIES", 2)
    monkeypatch.setattr(measured, "chosen_pages", some_pages)


def survivors_on(region: FakeRegion, pages: int = PAGES, rounds: int = 4, seed: int = 1) -> Survivors:
    found = begun(region, region.ways, pages, seed)
    played(found, rounds)
    return found


def curves_on(region: FakeRegion, pages: int = PAGES, rounds: int = 4) -> tuple[Survivors, dict[str, Curve]]:
    found = survivors_on(region, pages, rounds)
    return found, {curve.kind: curve for curve in found.curves()}


@pytest.mark.parametrize("policy", ["LRU", "FIFO", "tree-PLRU", "bit-PLRU", "SRRIP-HP", "random"])
@pytest.mark.parametrize("disturbance", [INTEL, ZEN], ids=["fine", "coarse"])
def test_what_is_seen_is_what_the_policy_predicts(policy: str, disturbance: Disturbance) -> None:
    region = FakeRegion(policy, disturbance=disturbance)
    found, curves = curves_on(region, rounds=4 if disturbance is INTEL else 12)
    said = predicted(found.plan, policy)
    for kind, curve in curves.items():
        # Two kinds of 15 points: four standard errors, and what a policy that starts elsewhere or throws dice leaves.
        error = 4 * (curve.at_most - np.maximum(curve.left, 0)) / 1.645 / SETS + 0.15
        if policy in ("random", "SRRIP-HP", "bit-PLRU"):
            error = error + 0.35
        assert (np.abs(curve.left / SETS - np.array(said[kind])) < error).all(), kind
        assert (curve.seen is not None) == (disturbance is INTEL)
        assert curve.per_set.shape == (PAGES + 1, SETS)


def test_a_48_kib_l1d(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measured, "chosen_pages", chosen_pages)
    found, curves = curves_on(FakeRegion("LRU3PLRU4", 12), pages=24, rounds=2)
    said = predicted(found.plan, "LRU3PLRU4")
    for kind, curve in curves.items():
        assert np.abs(curve.left / SETS - np.array(said[kind])).max() < 0.2
    assert (curves[FULL].left[12], curves[FULL].left[11]) == (0, pytest.approx(SETS, abs=SETS / 5))


def test_predictions_by_hand() -> None:
    plan = planned(8, 10, seed=3)
    assert predicted(plan, "LRU")[FULL] == pytest.approx([8, 7, 6, 5, 4, 3, 2, 1, 0, 0, 0])
    assert predicted(plan, "FIFO")[FULL] == pytest.approx([8, 7, 6, 5, 4, 3, 2, 1, 0, 0, 0])
    assert predicted(plan, "tree-PLRU")[FULL] == pytest.approx([8, 7, 6, 5, 4, 3, 2, 1, 0, 0, 0])
    # A miss takes one of 8 at random: after n of them (7/8)^n of the old lines are there.
    chance = np.array(predicted(plan, "random")[FULL])
    assert (chance[1:] < chance[:-1]).all()
    assert chance[10] / chance[0] == pytest.approx((7 / 8) ** 10, abs=0.12)
    # In work, what is left at 0 pages are the distinct old lines that were touched, at most one per way.
    work = [history for history in plan.histories if history.kind == WORK]
    touched = [len(set(history.accesses) & set(plan.old)) for history in work]
    assert predicted(plan, "LRU")[WORK][0] == pytest.approx(np.mean(touched))


INTERRUPTED = Disturbance(interrupts=0.008)


@pytest.mark.parametrize("disturbance", [INTEL, ZEN, INTERRUPTED], ids=["fine", "coarse", "interrupted"])
def test_at_most_covers_the_truth(disturbance: Disturbance) -> None:
    """95%, one-sided, of each point: in ten measurements, or in thirty."""
    covered, times = [], examples(10, 30)
    for seed in range(times):
        region = FakeRegion("tree-PLRU", disturbance=disturbance, seed=seed)
        found = survivors_on(region, pages=4, rounds=2 if disturbance.step == 1 else 3, seed=seed)
        said = predicted(found.plan, "tree-PLRU")
        for curve in found.curves():
            covered += (curve.at_most + 1e-9 >= np.array(said[curve.kind]) * SETS).tolist()
    assert len(covered) == 10 * times
    assert np.mean(covered) >= 0.9


def test_nothing_left_says_how_little_there_may_be() -> None:
    _, curves = curves_on(FakeRegion("LRU", disturbance=Disturbance(noise=0.5)))
    last = curves[FULL]
    assert last.seen is not None
    assert last.seen[-1] == 0
    # The rule of three: none of n, so at most 3/n of 512.
    assert last.at_most[-1] == pytest.approx(3 / last.visits[-1] * 512, rel=0.02)


def test_a_set_that_keeps_its_lines_is_the_worst() -> None:
    """Set 5 never gets a line of the buffer: it keeps what it has, and the figures say in which set."""

    class Keeping(FakeRegion):
        def _read(self, addresses):  # type: ignore[no-untyped-def]
            if len(addresses) > 60:
                addresses = addresses[addresses // 64 % 64 != 5]
            return addresses

    found, curves = curves_on(Keeping("LRU"), rounds=8)
    curve = curves[FULL]
    assert curve.per_set[-1].argmax() == 5
    assert curve.per_set[-1][5] == pytest.approx(8, abs=0.5)
    assert np.delete(curve.per_set[-1], 5).max() < 0.5
    result = result_of(
        fake_silicon(FakeRegion("LRU")),
        "",
        "LRU",
        None,
        1,
        found,
        ["LRU", "FIFO"],
        [],
        found.trials,
        found.moved,
        False,
    )
    point = result.survivors[0].points[-1]
    assert point.worst_set == pytest.approx(8, abs=0.5)
    assert point.flushed == PAGES * PAGE
    assert point.seen is Seen.SOME


def test_moved_trials_are_dropped_and_counted() -> None:
    found, curves = curves_on(FakeRegion("LRU", disturbance=Disturbance(moved=0.3)))
    assert 0.25 * found.trials < found.moved < 0.35 * found.trials
    assert np.abs(curves[FULL].left / SETS - np.maximum(8 - np.arange(PAGES + 1), 0)).max() < 0.5


def test_all_were_moved() -> None:
    region = FakeRegion("LRU")
    found = begun(region, 8, 4, 1)
    region.disturbance = Disturbance(moved=1.0)
    played(found, 1)
    with pytest.raises(UndecidedError) as error:
        found.curves()
    assert error.value.cause == "moved-about"


def test_hits_as_slow_as_misses() -> None:
    found = survivors_on(FakeRegion("LRU", disturbance=Disturbance(noise=3.0), hit=7.0, miss=7.01), pages=4)
    with pytest.raises(UndecidedError) as error:
        found.curves()
    assert error.value.cause == "hits-like-misses"


def test_an_interrupt_keeps_what_was_measured() -> None:
    region = FakeRegion("LRU")
    found = begun(region, 8, 4, 1)
    assert not found.complete
    played(found, 2)
    before = region.trials
    region.most_trials = before + 700
    with pytest.raises(KeyboardInterrupt):
        played(found, 5)
    assert found.complete
    curve = found.curves()[0]
    assert np.abs(curve.left / SETS - np.maximum(8 - np.arange(5), 0)).max() < 0.3


def test_the_ladder() -> None:
    # Of 512 lines: left, at most, blank, hits.
    assert seen(0.0, 2.0, 0.0, 0) is Seen.NONE
    assert seen(5.0, 12.0, 0.0, None) is Seen.NOISE
    assert seen(8.0, 12.0, 5.0, None) is Seen.NOISE
    assert seen(8.0, 10.0, 5.0, None) is Seen.SOME
    assert seen(-3.0, 4.0, 0.0, None) is Seen.NOISE
    assert seen(1.0, 1.5, 0.2, 40) is Seen.SOME
    assert seen(0.1, 0.3, 0.2, 3) is Seen.NOISE


def test_the_policy_asked_about_is_nearest_if_it_is_as_near() -> None:
    found = survivors_on(FakeRegion("tree-PLRU"), pages=10)

    def nearest(policy: str | None, policies: list[str]) -> list[str]:
        result = result_of(fake_silicon(FakeRegion("tree-PLRU")), "", policy, None, 1, found, policies, [], 1, 0, False)
        return [one.nearest for one in result.survivors]

    assert nearest("LRU2PLRU4", ["tree-PLRU", "LRU2PLRU4", "random"]) == ["LRU2PLRU4", "LRU2PLRU4"]
    assert "random" not in nearest("random", ["tree-PLRU", "random"])
