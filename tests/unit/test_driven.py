# SPDX-License-Identifier: GPL-2.0-or-later
"""Driven counterexamples on regions that answer like silicon: what is seen, and when nothing can be said."""

from __future__ import annotations

from functools import cache

import jsonschema
import numpy as np
import pytest
from simulated_region import HIT_TICKS, SimulatedRegion

from l1dflush import _core
from l1dflush.arguments import DEFAULT_MEMORY
from l1dflush.cache.geometry import Geometry
from l1dflush.cache.policies import get_policy
from l1dflush.errors import UndecidedError
from l1dflush.proof.conditions import ALL_WAYS_VALID, Conditions, Start
from l1dflush.proof.limits import Limits
from l1dflush.report.layout import plain
from l1dflush.report.schemas import schema
from l1dflush.report.terminal.silicon import ladder, silicon_lines
from l1dflush.silicon.drive.drives import Drive, Scene, drive
from l1dflush.silicon.drive.plain_set import Act
from l1dflush.silicon.drive.scenes import one_short, scene_of
from l1dflush.silicon.measure import quiet
from l1dflush.silicon.measure.agreement import Agreement, agreement
from l1dflush.silicon.measure.driven import Driven, Seen, check_length, driven
from l1dflush.silicon.measure.model import EnvironmentInfo
from l1dflush.silicon.measure.region import PAGE, Rounds
from l1dflush.silicon.measure.silicon_model import SeenInfo, SiliconResult
from l1dflush.silicon.measure.silicon_replay import About, Place, silicon_replay
from l1dflush.verdict.judge import verify
from l1dflush.verdict.options import VerifyOptions
from l1dflush.verdict.replay.replayed import replayed

CONTROL_SET = 56
ROUNDS = 24
# The trials that look for pages that do not get into each other's way.
CALM = 5000
LIMITS = Limits(DEFAULT_MEMORY, 20.0)


@cache
def short(name: str, ways: int) -> tuple[Scene, Drive]:
    scene = one_short(get_policy(name, ways), ALL_WAYS_VALID, LIMITS).scene
    return scene, drive(scene)


def seen_on(region: SimulatedRegion, way_there: Drive) -> Driven:
    return driven(region, way_there, CONTROL_SET, 1, rounds=ROUNDS)


@pytest.mark.parametrize(
    ("name", "ways"), [("tree-PLRU", 4), ("FIFO", 4), ("LRU", 8), ("QLRU_H11_M1_R1_U2", 4), ("LRU3PLRU4", 12)]
)
def test_the_right_policy_does_as_the_model_says(name: str, ways: int) -> None:
    _, way_there = short(name, ways)
    found = seen_on(SimulatedRegion(get_policy(name, ways)), way_there)
    assert found.agreement is Agreement.SAME
    for line in way_there.watched:
        last = found.survivors[line][-1]
        assert (last.cached, last.hits) == (False, 0) and last.sets < 4
    first = found.survivors[next(iter(way_there.watched))]
    assert [one.cached for one in first] == [True] * (len(way_there.word)) + [False]
    assert all(one.hits == one.trials == ROUNDS for one in first[:-1])
    assert [one is not None and one.hits == ROUNDS for one in found.accesses] == list(way_there.hits)


@pytest.mark.parametrize(("other", "name"), [("LRU", "tree-PLRU"), ("tree-PLRU", "FIFO"), ("bit-PLRU", "FIFO")])
def test_another_policy_differs(other: str, name: str) -> None:
    found = seen_on(SimulatedRegion(get_policy(other, 4)), short(name, 4)[1])
    assert found.agreement is Agreement.DIFFERS


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_noisy_counter_in_steps(seed: int) -> None:
    region = SimulatedRegion(get_policy("tree-PLRU", 8), noise=20.0, step=26, seed=seed)
    found = seen_on(region, short("tree-PLRU", 8)[1])
    assert found.agreement is Agreement.SAME
    assert abs(found.played.levels.hit - HIT_TICKS) < 26


def test_trials_that_moved_are_dropped() -> None:
    region = SimulatedRegion(get_policy("tree-PLRU", 4), moves=0.2, calm=CALM)
    found = seen_on(region, short("tree-PLRU", 4)[1])
    assert found.agreement is Agreement.SAME
    assert 0 < found.played.moved < 0.25 * found.played.trials
    counted = sum(len(those) for those in found.played.missed)
    assert counted < found.played.rounds * len(found.played.missed)


def test_nothing_but_moved_trials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quiet, "_MOST_LOUD", 3)
    region = SimulatedRegion(get_policy("tree-PLRU", 4), moves=1.0, calm=CALM)
    with pytest.raises(UndecidedError) as caught:
        seen_on(region, short("tree-PLRU", 4)[1])
    assert caught.value.cause == "moved-about"


def test_hits_like_misses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quiet, "_MOST_LOUD", 3)
    region = SimulatedRegion(get_policy("tree-PLRU", 4), miss_ticks=HIT_TICKS)
    with pytest.raises(UndecidedError) as caught:
        seen_on(region, short("tree-PLRU", 4)[1])
    assert caught.value.cause == "hits-like-misses"


def test_rounds_with_somebody_else_are_dropped() -> None:
    _, way_there = short("tree-PLRU", 8)
    alone = seen_on(SimulatedRegion(get_policy("tree-PLRU", 8)), way_there)
    assert alone.played.loud == 0
    found = seen_on(SimulatedRegion(get_policy("tree-PLRU", 8), busy=0.5), way_there)
    assert found.played.loud > 0 and found.played.rounds >= ROUNDS
    assert found.agreement is Agreement.SAME


def test_without_dropping_them_it_would_differ(monkeypatch: pytest.MonkeyPatch) -> None:
    def anything(batch: Rounds, told: object, first: int) -> bool:
        return True

    monkeypatch.setattr(quiet, "_is_quiet", anything)
    found = seen_on(SimulatedRegion(get_policy("tree-PLRU", 8), busy=1.0), short("tree-PLRU", 8)[1])
    assert found.agreement is not Agreement.SAME


def test_somebody_else_all_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quiet, "_MOST_LOUD", 3)
    monkeypatch.setattr(quiet, "_PAUSE_SECONDS", 0.0)
    with pytest.raises(UndecidedError) as caught:
        seen_on(SimulatedRegion(get_policy("tree-PLRU", 8), busy=1.0), short("tree-PLRU", 8)[1])
    assert caught.value.cause == "disturbed"


@pytest.mark.parametrize(("start", "touches"), [("any", 1), ("any+invalid", 1), ("steady-from-any", 0)])
def test_counterexamples_of_routines(start: str, touches: int) -> None:
    conditions = Conditions(Start.parse(start), touches)
    options = VerifyOptions(policy="tree-PLRU", geometry=Geometry(32768, 8, 64), conditions=conditions)
    example = verify("one-pass", options).rows[0].counterexample
    assert example is not None
    scene = scene_of(replayed(example))
    result = result_on(SimulatedRegion(scene.policy), scene, drive(scene))
    assert result.agreement is Agreement.SAME and result.exit_status == 0
    assert {one.line for one in result.survivors} == set(scene.watched)
    assert max(one.after for one in result.survivors) == len(result.steps)


def test_invalidations_are_not_timed() -> None:
    policy = get_policy("LRU", 4)
    word = (("x", False), ("a", True), ("y", False), ("x", False))
    scene = Scene(policy, policy.empty(), tuple("abcd"), word, ("b", "x"))
    way_there = drive(scene)
    found = seen_on(SimulatedRegion(policy), way_there)
    assert [one is None for one in found.accesses] == [False, True, False, False]
    assert found.agreement is Agreement.SAME


def test_what_is_too_long() -> None:
    acts = tuple(map(Act, range(2))) * 600
    with pytest.raises(UndecidedError, match="more than a trial has"):
        check_length(Drive(acts, (Act(2),), (False,), {"a": 0}, {"a": (True, False)}, 3, 2))
    with pytest.raises(UndecidedError, match="more than are measured"):
        check_length(Drive(acts[:4], (Act(2),), (False,), {"a": 0}, {"a": (True, False)}, 300, 2))


@pytest.mark.parametrize(
    ("same", "what"),
    [(100, Agreement.SAME), (90, Agreement.SAME), (89, Agreement.UNCLEAR), (51, Agreement.UNCLEAR),
     (50, Agreement.DIFFERS), (0, Agreement.DIFFERS)],
)  # fmt: skip
def test_agreement(same: int, what: Agreement) -> None:
    assert agreement(same, 100) is what
    assert Seen(cached=True, trials=100, hits=same, sets=0).agreement is what
    assert Seen(cached=False, trials=100, hits=100 - same, sets=0).agreement is what


# --- the report


def environment(trials: int, moved: int) -> EnvironmentInfo:
    return EnvironmentInfo(
        cpu="a simulated CPU", microcode="", kernel="0", hypervisor=False, smt="", governor="", load=0.0, on_cpu=3,
        huge_page=True, counter_step=1, counter_empty=20.0, ticks_per_cycle=1.0, ticks_per_ns=1.0, trials=trials,
        dropped=moved, seconds=0.1, doubts=("it is simulated",),
    )  # fmt: skip


def result_on(region: SimulatedRegion, scene: Scene, way_there: Drive, about: About | None = None) -> SiliconResult:
    place = Place(region, CONTROL_SET, environment)
    return silicon_replay(scene, way_there, about or About("in-the-file"), place, 1, rounds=ROUNDS)


@pytest.mark.parametrize(("other", "status"), [("tree-PLRU", 0), ("LRU", 2)])
@pytest.mark.parametrize("width", [76, 80, 120])
def test_report(other: str, status: int, width: int) -> None:
    scene, way_there = short("tree-PLRU", 8)
    result = result_on(SimulatedRegion(get_policy(other, 8)), scene, way_there, About("given", "any", 13))
    assert result.exit_status == status
    jsonschema.Draft202012Validator(schema("silicon")).validate(result.model_dump(mode="json"))
    assert SiliconResult.model_validate_json(result.model_dump_json()) == result
    text = plain(silicon_lines(result, scene.policy, width))
    assert max(map(len, text.splitlines())) <= width
    assert "proved" not in text.lower() and "safe" not in text.lower()
    flat = " ".join(text.split())
    line = result.survivors[0].line
    if status == 0:
        assert f"old line {line} is still there after 12 accesses in 24 of 24 trials" in flat
        assert "and is seen after 13 accesses in none of 24 trials" in flat
        assert "of the 13 accesses 4 hit and 9 miss, as the model says" in flat
        assert "seen in none of 24 0 11.7%" in flat
    else:
        assert "silicon does otherwise than the model says" in flat
    assert "it is simulated" in flat


class FillsTheVictim(SimulatedRegion):
    """A CPU that replaces the victim of its policy although other ways are invalid."""

    def visit(self, step: int) -> bool | None:
        here = self.set
        line = (step & ~_core.FLUSH_PAGE) // PAGE
        if step & _core.FLUSH_PAGE or line in here.content:
            return super().visit(step)
        (choice,) = self.policy.misses(here.state)
        here.content[choice.way], here.state = line, choice.state
        return False


def test_silicon_that_does_not_fill_invalid_ways_first() -> None:
    policy = get_policy("tree-PLRU", 8)
    scene = one_short(policy, Conditions(Start.parse("any+invalid")), LIMITS).scene
    assert None in scene.content
    result = result_on(FillsTheVictim(policy), scene, drive(scene))
    assert result.agreement is Agreement.DIFFERS and result.exit_status == 2
    assert "the start has invalid ways" in plain(silicon_lines(result, policy, 80))
    full, way_there = short("tree-PLRU", 8)
    assert result_on(FillsTheVictim(policy), full, way_there).agreement is Agreement.SAME


def test_an_unclear_result_is_undecided() -> None:
    scene, way_there = short("tree-PLRU", 4)
    region = SimulatedRegion(get_policy("tree-PLRU", 4))
    result = result_on(region, scene, way_there)
    seen = result.survivors[0].seen.model_copy(update={"hits": 18, "agreement": Agreement.UNCLEAR})
    unclear = result.model_copy(
        update={
            "survivors": (result.survivors[0].model_copy(update={"seen": seen}), *result.survivors[1:]),
            "agreement": Agreement.UNCLEAR,
        }
    )
    text = " ".join(plain(silicon_lines(unclear, scene.policy, 80)).split())
    assert "in some, 18 of 24" in text and "unclear: " in text


@pytest.mark.parametrize(
    ("hits", "told"),
    [(24, "there in all of 24"), (23, "there in 23 of 24"), (12, "in some, 12 of 24"), (1, "seen in 1 of 24"),
     (0, "seen in none of 24")],
)  # fmt: skip
def test_ladder(hits: int, told: str) -> None:
    seen = SeenInfo(cached=True, trials=24, hits=hits, sets=1, bound=1.0, agreement=Agreement.SAME)
    assert ladder(seen) == told


def test_bounds_are_those_of_the_share_that_is_otherwise() -> None:
    assert Seen(cached=False, trials=200, hits=0, sets=0).most_other == pytest.approx(1 - 0.05 ** (1 / 200))
    assert Seen(cached=True, trials=200, hits=0, sets=0).most_other == 1.0
    assert np.isclose(Seen(cached=True, trials=200, hits=200, sets=56).most_other, 0.01487, atol=1e-4)
