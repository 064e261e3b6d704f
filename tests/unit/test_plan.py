# SPDX-License-Identifier: GPL-2.0-or-later
"""Plans: the smallest word, and code for it that is proved through every front end."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from l1dflush.cache.geometry import Geometry
from l1dflush.cache.policies import get_policy
from l1dflush.ending import Verdict
from l1dflush.errors import InputError, UndecidedError
from l1dflush.planning.emit import assembly, c_function, machine_code
from l1dflush.planning.find import Found, Goal, NeverError, find, savings
from l1dflush.planning.first import First, first_flush
from l1dflush.planning.kernel import FIRST, FLUSH, kernel_source
from l1dflush.planning.walk import Stretch, Walk, walk_of
from l1dflush.proof.conditions import ALL_WAYS_VALID, Conditions, Start
from l1dflush.proof.limits import UNLIMITED, Limits
from l1dflush.proof.prover import decide, needs
from l1dflush.proof.question import word_of
from l1dflush.verdict.judge import verify
from l1dflush.verdict.options import VerifyOptions

TREE = Geometry(32768, 8, 64)
ICE_LAKE = Geometry(49152, 12, 64)
needs_as = pytest.mark.skipif(shutil.which("as") is None, reason="the GNU assembler is not installed")
needs_cc = pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler")


def found(start: str = "any", touches: int = 0, goal: Goal = Goal.LOADS, policy: str = "tree-PLRU") -> Found:
    shape = ICE_LAKE if policy == "LRU3PLRU4" else TREE
    return find(get_policy(policy, shape.ways), shape, Conditions(Start.parse(start), touches), goal)


@pytest.mark.parametrize(
    ("start", "touches", "policy", "lines"),
    [
        ("any", 0, "tree-PLRU", 13),
        ("steady", 0, "tree-PLRU", 8),
        ("steady-from-any", 0, "tree-PLRU", 9),
        ("steady+invalidations", 0, "tree-PLRU", 13),
        ("any", 1, "tree-PLRU", 20),
        ("any", 0, "LRU3PLRU4", 21),
    ],
)
def test_fewest_loads(start: str, touches: int, policy: str, lines: int) -> None:
    plan = found(start, touches, policy=policy)
    assert plan.word == tuple(range(lines)) and plan.least


def test_the_shortest_word_has_the_fewest_lines() -> None:
    plan = found(goal=Goal.WORD)
    assert (len(plan.word), plan.lines) == (13, 10)
    assert decide("tree-PLRU", 8, word_of(plan.word), ALL_WAYS_VALID).proved


@pytest.mark.parametrize("policy", ["FIFO", "bit-PLRU", "LRU"])
def test_a_small_buffer_is_enough_and_one_line_less_is_not(policy: str) -> None:
    plan = found(goal=Goal.BUFFER, policy=policy)
    assert 8 <= plan.lines <= (needs(policy, 8) or 0)
    assert decide(policy, 8, word_of(plan.word), ALL_WAYS_VALID).proved


def test_what_cannot_be_planned() -> None:
    with pytest.raises(NeverError, match="LIP at 8 ways"):
        found(policy="LIP")
    with pytest.raises(InputError, match="no other goal"):
        found("steady", goal=Goal.WORD)


def test_savings_are_what_the_prover_says() -> None:
    asked = savings(get_policy("tree-PLRU", 8), Conditions(), Limits(seconds=5))
    assert {one.assumption: one.needs for one in asked} == {
        "all ways are valid": 13,
        "the same flush comes again and again": 9,
        "the same flush comes again and again, and no buffer line is cached before the first": 8,
        "no buffer line is cached at the start": 8,
    }
    touched = savings(get_policy("tree-PLRU", 8), Conditions(ALL_WAYS_VALID.start, 1), Limits(seconds=0.5))
    assert next(touched).needs == 13


def test_a_saving_that_takes_too_long_is_not_known() -> None:
    told = list(savings(get_policy("SRRIP-HP", 8), Conditions(touches=1), Limits(seconds=0.001)))
    assert told and all(one.needs is None for one in told)


def test_walks_are_made_of_whole_ways() -> None:
    assert walk_of([0, 1, 2], TREE).stretches == (Stretch(0, 3 * 4096),)
    walk = walk_of([0, 1, 0, 3], TREE)
    assert walk.stretches == (Stretch(0, 8192), Stretch(0, 4096), Stretch(3 * 4096, 4 * 4096))
    assert (walk.buffer_bytes, walk.loads) == (4 * 4096, 4 * 64)
    with pytest.raises(ValueError, match="has a line"):
        walk_of([], TREE)


PLANS = [("any", Goal.LOADS, 13), ("any", Goal.WORD, 10), ("steady-from-any", Goal.LOADS, 9)]


@needs_as
@pytest.mark.parametrize(("start", "goal", "has"), PLANS)
def test_emitted_assembly_is_proved_and_is_the_machine_code(start: str, goal: Goal, has: int, tmp_path: Path) -> None:
    walk = walk_of(found(start, goal=goal).word, TREE)
    (tmp_path / "plan.s").write_text(assembly(walk, "flush", ["a plan"]))
    result = verify(str(tmp_path / "plan.s"), options(start))
    assert (result.verdict, result.rows[0].has, result.findings) == (Verdict.PROVED, has, ())
    # The assembler may choose other encodings, and no other instructions.
    assert abs(result.routine.code_bytes - len(machine_code(walk))) <= 4 * len(walk.stretches) + 4


@needs_cc
@pytest.mark.parametrize("level", ["0", "2"])
@pytest.mark.parametrize(("start", "goal", "has"), PLANS)
def test_emitted_c_is_proved_without_optimisation_too(
    start: str, goal: Goal, has: int, level: str, tmp_path: Path
) -> None:
    walk = walk_of(found(start, goal=goal).word, TREE)
    (tmp_path / "plan.c").write_text(c_function(walk, "flush", ["a plan"]))
    result = verify(str(tmp_path / "plan.c"), options(start, level))
    assert (result.verdict, result.rows[0].has) == (Verdict.PROVED, has)
    assert not [one for one in result.findings if one.severity != "note"]


def first_of(plan: Found, limits: Limits = UNLIMITED, policy: str = "tree-PLRU") -> First | None:
    return first_flush(get_policy(policy, 8), TREE, plan, limits)


@pytest.mark.parametrize("touches", [0, 1])
def test_what_comes_before_the_first_flush_is_what_the_prover_says(touches: int) -> None:
    first = first_of(found("steady", touches))
    assert first is not None and first.walk is not None
    enough = needs("tree-PLRU", 8, Conditions(touches=touches))
    assert (first.needs, first.conditions, first.missing) == (enough, Conditions(touches=touches), None)
    assert first.walk.loads == 64 * (enough or 0)
    assert f"{first.walk.loads} loads from {first.walk.buffer_bytes} bytes" in first.note
    assert f"--start any+invalid{' --touches 1' if touches else ''}'" in first.note


def test_a_plan_that_does_from_any_start_needs_nothing_before() -> None:
    assert first_of(found("any")) is None
    assert first_of(found("steady+invalidations")) is None
    assert first_of(found("steady", policy="LRU"), policy="LRU") is None


def test_the_first_flushes_of_a_plan_that_begins_anywhere() -> None:
    first = first_of(found("steady-from-any"))
    assert first is not None and first.walk is None and first.missing is None
    assert "the first ones may leave something (from any+invalid it takes 13 accesses" in first.note


def test_a_first_flush_that_nobody_knows() -> None:
    first = first_of(found("steady"), Limits(memory=1))
    assert first is not None and (first.needs, first.walk) == (None, None)
    assert isinstance(first.missing, UndecidedError) and "was not found out" in first.note


KERNEL = [("any", Goal.LOADS), ("any", Goal.WORD), ("any", Goal.BUFFER), ("steady", Goal.LOADS)]


def kernel_plan(start: str, goal: Goal = Goal.LOADS) -> tuple[str, Walk, First | None]:
    plan = found(start, goal=goal, policy="FIFO" if goal is Goal.BUFFER else "tree-PLRU")
    walk, first = walk_of(plan.word, TREE), first_of(plan)
    return kernel_source(walk, ["a plan"], None if first is None else first.walk), walk, first


@needs_cc
@pytest.mark.parametrize("level", ["0", "2"])
@pytest.mark.parametrize(("start", "goal"), KERNEL)
def test_emitted_kernel_code_is_proved_without_being_told_the_buffer(
    start: str, goal: Goal, level: str, tmp_path: Path
) -> None:
    text, walk, first = kernel_plan(start, goal)
    (tmp_path / "plan.c").write_text(text)
    policy = "FIFO" if goal is Goal.BUFFER else "tree-PLRU"
    result = verify(str(tmp_path / "plan.c"), replace(options(start, level), function=FLUSH, policy=policy))
    assert (result.verdict, result.rows[0].has) == (Verdict.PROVED, walk.buffer_bytes // 4096)
    assert not [one for one in result.findings if one.severity != "note"]
    assert (first is not None) == (start == "steady") == (FIRST in text)
    if first is not None:
        asked = replace(options("any+invalid", level), function=FIRST)
        result = verify(str(tmp_path / "plan.c"), asked)
        assert (result.verdict, result.rows[0].has) == (Verdict.PROVED, first.needs)
        assert not [one for one in result.findings if one.severity != "note"]


@needs_cc
@pytest.mark.parametrize("start", ["any", "steady"])
def test_the_pages_that_setup_fills_are_seen(start: str, tmp_path: Path) -> None:
    text, *_ = kernel_plan(start)
    fill = "\t\twords[i * PAGE_SIZE / sizeof(*words)] = i + 1;\n"
    assert text.count(fill) == 1
    for number, changed in enumerate((text, text.replace(fill, "\t\t;\n"), text.replace("= i + 1;", "= 1;"))):
        (tmp_path / "plan.c").write_text(changed)
        result = verify(str(tmp_path / "plan.c"), replace(options(start), function=FLUSH))
        rules = [one.id for one in result.findings if one.severity != "note"]
        assert rules == (["buffer-not-initialised"] if number else [])


def test_a_buffer_that_no_kernel_allocates() -> None:
    shape = Geometry(4 << 20, 8, 64)
    assert "L1D_FLUSH_ORDER\t10\n" in kernel_source(walk_of(range(8), shape), ["a plan"])
    with pytest.raises(InputError, match="at most 4 MiB at once, not 1152 pages"):
        kernel_source(walk_of(range(9), shape), ["a plan"])


def options(start: str, level: str = "2") -> VerifyOptions:
    conditions = Conditions(Start.parse(start))
    return VerifyOptions(policy="tree-PLRU", geometry=TREE, conditions=conditions, optimize=level, max_seconds=60)
