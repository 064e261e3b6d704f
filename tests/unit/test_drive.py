# SPDX-License-Identifier: GPL-2.0-or-later
"""Drives: they lead to the start of a counterexample from wherever a set is, on plain and on compiled policies."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest

from l1dflush.arguments import DEFAULT_MEMORY
from l1dflush.cache.geometry import Geometry
from l1dflush.cache.policies import Deterministic, Policy, all_policies, all_states, get_policy
from l1dflush.cache.policy.machine import parse_machine
from l1dflush.cache.simulate import Simulator
from l1dflush.errors import UndecidedError
from l1dflush.proof import prover
from l1dflush.proof.conditions import ALL_WAYS_VALID, Base, Conditions, Start
from l1dflush.proof.limits import Limits
from l1dflush.silicon.drive.drives import Drive, Scene, drive
from l1dflush.silicon.drive.plain_set import Act
from l1dflush.silicon.drive.scenes import one_short, scene_of
from l1dflush.verdict.judge import verify
from l1dflush.verdict.options import VerifyOptions
from l1dflush.verdict.replay.replayed import replayed

LIMITS = Limits(DEFAULT_MEMORY, 20.0)
INVALID = Conditions(Start(Base.ANY_INVALID))
MACHINES = sorted((Path(__file__).parents[1] / "data" / "learned-policies").glob("*/*.dot"))
CASES = [
    (name, ways)
    for ways in (2, 3, 4, 5, 6, 7, 8)
    for name in all_policies(ways)
    if isinstance(get_policy(name, ways), Deterministic)
]


def scene(policy: Policy, conditions: Conditions) -> Scene:
    """One access fewer than needed, and the last one; for policies that need infinitely many, some."""
    if prover.needs(policy, policy.ways, conditions, limits=LIMITS) is not None:
        return one_short(policy, conditions, LIMITS).scene
    items = 2 * policy.ways
    found = prover.counterexample(policy, policy.ways, prover.word_of(range(items)), conditions, limits=LIMITS)
    content = tuple(str(line) if line is not None else None for line in found.content)
    word = tuple((str(line), False) for line in range(items))
    return Scene(policy, found.policy_state, content, word, found.leftovers)


def oracle(found: Drive, one: Scene, state: tuple[int, ...], content: list[int | None]) -> None:
    """Plays the drive and then, beside it, the counterexample itself: each step does the same in both."""
    policy = one.policy

    def access(state: tuple[int, ...], lines: list[int | None], act: Act) -> tuple[tuple[int, ...], str]:
        if act.flush:
            lines[:] = [None if line == act.line else line for line in lines]
            return state, "flush"
        if act.line in lines:
            return policy.hit(state, lines.index(act.line)), "hit"
        invalid = [way for way, line in enumerate(lines) if line is None]
        choice = policy.fills(state, policy.invalid_way(invalid))[0] if invalid else policy.misses(state)[0]
        lines[choice.way] = act.line
        return choice.state, "miss"

    for act in found.acts:
        state, _ = access(state, content, act)
    numbers = {name: act.line for (name, _), act in zip(one.word, found.word, strict=True)} | found.watched
    # Of the start, lines that are neither used nor watched are any others.
    theirs: list[int | None] = [
        None if name is None else numbers.get(name, -100 - way) for way, name in enumerate(one.content)
    ]
    true = one.state
    for number, act in enumerate(found.word):
        state, here = access(state, content, act)
        true, there = access(true, theirs, act)
        assert here == there == {None: "flush", True: "hit", False: "miss"}[found.hits[number]]
        for name, line in found.watched.items():
            assert (line in content) == (line in theirs) == found.there[name][number + 1]


def check(found: Drive, one: Scene, seed: int = 5) -> None:
    policy, order = one.policy, random.Random(seed)
    states = list(all_states(policy)) if policy.ways <= 4 else []
    # A drive that begins with invalidations is one for sets without lines of somebody else.
    others = not found.acts[0].flush
    for number in range(60):
        content: list[int | None] = list(order.sample(range(-policy.ways if others else 0, found.lines), policy.ways))
        if policy.has_fills and number % 3 == 0:
            content[order.randrange(policy.ways)] = None
        state = order.choice(states) if states else policy.empty()
        if not states:
            for _ in range(order.randrange(99)):
                miss = order.random() < 0.4
                state = policy.misses(state)[0].state if miss else policy.hit(state, order.randrange(policy.ways))
        oracle(found, one, state, content)


@pytest.mark.parametrize(("name", "ways"), CASES)
def test_drives_lead_to_the_start(name: str, ways: int) -> None:
    policy = get_policy(name, ways)
    for conditions in (ALL_WAYS_VALID, INVALID) if ways <= 4 else (ALL_WAYS_VALID,):
        one = scene(policy, conditions)
        found = drive(one)
        assert found.ways == ways and len(found.word) == len(one.word)
        assert all(found.there[name][0] for name in one.watched)
        check(found, one)


@pytest.mark.parametrize("name", ["LRU", "FIFO", "tree-PLRU", "LRU2PLRU4", "CLOCK"])
def test_the_compiled_policies_do_the_same(name: str) -> None:
    """Another implementation of the policies: sets with random content, driven by addresses."""
    one = scene(get_policy(name, 8), ALL_WAYS_VALID)
    found = drive(one)
    assert not any(act.flush for act in found.acts)
    sets = 256
    simulator = Simulator(name, Geometry(sets * 8 * 64, 8, 64), seed=3)

    def addresses(lines: np.ndarray) -> np.ndarray:
        return np.ascontiguousarray(((lines * sets + np.arange(sets)[:, None]) * 64).ravel(), dtype=np.uint64)

    warm = np.random.default_rng(3).integers(found.lines + 9, size=(sets, 90))
    simulator.access(addresses(warm))
    simulator.access(addresses(np.array([[act.line for act in found.acts]] * sets)))
    hits = simulator.access(addresses(np.array([[act.line for act in found.word]] * sets)), each=True).each
    assert hits is not None
    assert (hits.reshape(sets, -1) == np.array(found.hits)).all()


def test_the_twelve_ways_of_the_issue() -> None:
    """A line survives 20 of the 21 accesses and is gone at the 21st."""
    one = one_short(get_policy("LRU3PLRU4", 12), ALL_WAYS_VALID, LIMITS)
    found = drive(one.scene)
    assert one.needs == 21
    assert [there[-2:] for there in found.there.values()] == [(True, False)]
    check(found, one.scene)


# Nobody says what fills do there, so that nothing may be flushed; and hits and misses alone do not lead there.
NOT_BY_ACCESSES = ("lip_4", "plip_4", "srripfp_4", "srriphp_4")


@pytest.mark.parametrize("path", MACHINES, ids=lambda path: path.stem)
def test_machines_from_files(path: Path) -> None:
    policy = parse_machine(path.read_text(), path.name)
    one = scene(policy, ALL_WAYS_VALID)
    if path.stem in NOT_BY_ACCESSES:
        with pytest.raises(UndecidedError, match=r"no (accesses|hits and misses) were found"):
            drive(one)
    else:
        check(drive(one), one)


@pytest.mark.parametrize("name", ["random", "BIP", "BRRIP"])
def test_what_leaves_choices_cannot_be_driven(name: str) -> None:
    policy = get_policy(name, 4)
    with pytest.raises(UndecidedError, match="leaves choices") as caught:
        drive(scene(policy, ALL_WAYS_VALID))
    assert caught.value.cause == "not-drivable"


def test_a_state_that_accesses_do_not_lead_to() -> None:
    policy = get_policy("bit-PLRU", 4)
    with pytest.raises(UndecidedError, match="no hits and misses were found"):
        drive(Scene(policy, (1, 1, 1, 1), tuple("abcd"), (("x", False),), ("a",)))


@pytest.mark.parametrize(
    ("start", "touches"), [("any", 0), ("any", 2), ("any+invalid", 1), ("cold", 1), ("steady-from-any", 0)]
)
def test_counterexamples_of_routines(start: str, touches: int) -> None:
    conditions = Conditions(Start.parse(start), touches)
    options = VerifyOptions(policy="tree-PLRU", geometry=Geometry(32768, 8, 64), conditions=conditions)
    example = verify("one-pass", options).rows[0].counterexample
    assert example is not None
    one = scene_of(replayed(example))
    found = drive(one)
    check(found, one)
    assert len(found.word) == sum(step.result != "dropped" for step in example.steps)
    assert sum(there[-1] for there in found.there.values()) == example.leftovers
