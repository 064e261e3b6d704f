# SPDX-License-Identifier: GPL-2.0-or-later
"""Comparing two results: what counts as a difference, and what as worse."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import pytest
from made_results import FENCE, OWN, WALK, counterexample_with, everything, found, path, result_with, row_with

from l1dflush.assumption import Assumes, Assumption
from l1dflush.ending import Verdict
from l1dflush.place import Place
from l1dflush.report.schemas import schema
from l1dflush.report.terminal.rows import candidates
from l1dflush.severity import Severity
from l1dflush.tracing.region import Region, RegionKind
from l1dflush.verdict.compare.comparing import compare
from l1dflush.verdict.compare.result import Change, Differences, Effect
from l1dflush.verdict.described import assumed
from l1dflush.verdict.verify_result import Candidate, PathInfo, Run, UndecidedInfo, VerifyResult

WORSE, BETTER, DIFFERENT, NONE = Effect.WORSE, Effect.BETTER, Effect.DIFFERENT, Effect.NONE


def skip(*when: str) -> PathInfo:
    return path(when=when, outcome="skipped")


def with_paths(*paths: PathInfo) -> VerifyResult:
    return result_with(paths=paths)


def effects(old: VerifyResult, new: VerifyResult) -> tuple[Effect, Effect]:
    """The effect of a change, and that of taking it back."""
    return compare(old, new).effect, compare(new, old).effect


# --- the schema


def test_a_comparison_fits_its_schema_and_no_other() -> None:
    document = json.loads(compare(result_with(), everything()).to_json())
    for which in (None, "comparison"):
        jsonschema.Draft202012Validator(schema(which)).validate(document)
    for which in ("verify", "trace", "error"):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.Draft202012Validator(schema(which)).validate(document)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft202012Validator(schema("comparison")).validate(document["new"])


def test_both_results_are_there_and_the_status_is_that_of_new() -> None:
    result = compare(result_with(), everything())
    assert (result.old, result.new) == (result_with(), everything())
    assert (result.verdict, result.exit_status) == (Verdict.REFUTED, 2)


# --- paths


def test_what_moved_is_no_difference() -> None:
    moved = [run.model_copy(update={"where": "0x500000", "instruction": "mov"}) for run in (OWN, WALK)]
    old = with_paths(path(OWN, WALK, when=("`rsi` is zero (a.c:3)",)))
    new = with_paths(path(*moved, when=("`rsi` is zero (0x400007)",)))
    assert compare(old, new).differences == Differences()


def test_decisions_in_another_order_are_the_same_path() -> None:
    old = with_paths(path(WALK, when=("`a` is zero (0x1)", "`b` is zero (0x2)")))
    new = with_paths(path(WALK, when=("`b` is zero (0x1)", "`a` is zero (0x2)")))
    assert compare(old, new).differences == Differences()


@pytest.mark.parametrize(
    ("runs_of_new", "what"),
    [
        ((WALK,), {"fences"}),
        ((WALK.model_copy(update={"count": 512, "last": 32704}), FENCE), {"loads from the buffer", "offsets"}),
        ((WALK.model_copy(update={"step": 128, "last": 130944}), FENCE), {"step", "offsets"}),
        ((WALK.model_copy(update={"first": 65472, "last": 0, "step": -64}), FENCE), {"order"}),
        ((FENCE, WALK), {"sequence of events"}),
        ((WALK, FENCE.model_copy(update={"instruction": "mfence"})), {"fences"}),
        ((WALK, FENCE, FENCE.model_copy(update={"kind": "call", "instruction": "f"})), {"outside calls"}),
        (
            (WALK, FENCE.model_copy(update={"kind": "msr-write", "instruction": "MSR 0x10b = 0x1"}), FENCE),
            {"MSR writes"},
        ),
        ((WALK.model_copy(update={"size": 4}), FENCE), {"bytes per access"}),
    ],
)
def test_what_a_path_does_differently(runs_of_new: tuple[Run, ...], what: set[str]) -> None:
    (change,) = compare(with_paths(path(WALK, FENCE)), with_paths(path(*runs_of_new))).differences.paths
    assert {one.what for one in change.changes} == what
    assert change.effect is DIFFERENT
    assert change.diff


def test_own_accesses_are_told_and_do_not_matter() -> None:
    old, new = with_paths(path(WALK)), with_paths(path(OWN, WALK))
    (change,) = compare(old, new).differences.paths
    assert change.changes == (Change(what="own accesses", old=0, new=1, effect=NONE),)
    assert effects(old, new) == (NONE, NONE)
    assert "own accesses" in compare(old, new).summary


def test_a_walk_over_other_memory_is_not_the_routines_own() -> None:
    other = WALK.model_copy(update={"region": Region(RegionKind.POINTED, ("rsi",))})
    assert effects(with_paths(path(WALK)), with_paths(path(WALK, other))) == (DIFFERENT, DIFFERENT)


A, NOT_A, B, NOT_B = "`a` is zero (0x1)", "`a` is not zero (0x1)", "`b` is set (0x2)", "`b` is clear (0x2)"
ALWAYS = (path(WALK),)
SOMETIMES = (skip(A), path(WALK, when=(NOT_A,)))
FLIPPED = (skip(NOT_A), path(WALK, when=(A,)))
SELDOM = (skip(A, B), path(WALK, when=(A, NOT_B)), path(WALK, when=(NOT_A,)))
SPLIT = (skip(A, B), skip(A, NOT_B), path(WALK, when=(NOT_A,)))
MSR = (path(when=(B,), outcome="msr-write"), path(WALK, when=(NOT_B,)))


@pytest.mark.parametrize(
    ("old", "new", "effect", "back"),
    [
        (ALWAYS, SOMETIMES, WORSE, BETTER),
        (SOMETIMES, FLIPPED, WORSE, WORSE),
        (SOMETIMES, SELDOM, BETTER, WORSE),
        (SOMETIMES, SPLIT, DIFFERENT, DIFFERENT),
        (ALWAYS, MSR, DIFFERENT, DIFFERENT),
        ((skip(A), path(WALK, when=(NOT_A,))), (path(WALK, when=(A,)), path(WALK, when=(NOT_A,))), BETTER, WORSE),
        ((skip(),), (path(WALK),), BETTER, WORSE),
    ],
)
def test_a_path_that_skips_is_worse_where_old_flushed(
    old: tuple[PathInfo, ...], new: tuple[PathInfo, ...], effect: Effect, back: Effect
) -> None:
    assert effects(with_paths(*old), with_paths(*new)) == (effect, back)


def test_the_walk_is_compared_although_a_condition_was_added() -> None:
    changes = compare(with_paths(*ALWAYS), with_paths(*SOMETIMES)).differences.paths
    assert {(change.old, change.new) for change in changes} == {(0, 1), (None, 0)}
    changed = next(change for change in changes if change.old == 0)
    assert changed.changes == (Change(what="taken if", old="always", new="`a` is not zero", effect=DIFFERENT),)


def test_long_traces_are_compared_in_one_piece() -> None:
    many = [WALK.model_copy(update={"first": i * 4096 % 99991, "last": 0, "count": 1, "step": 0}) for i in range(4000)]
    changed = [*many[:1500], FENCE, *many[1501:]]
    (change,) = compare(with_paths(path(*many)), with_paths(path(*changed))).differences.paths
    lines = [(line.old, line.new) for line in change.diff]
    assert lines == [
        *((i, i) for i in (1497, 1498, 1499)),
        (1500, None),
        (None, 1500),
        *((i, i) for i in range(1501, 1504)),
    ]


# --- findings, buffer, names


@pytest.mark.parametrize(
    ("severity", "effect", "back"),
    [(Severity.ERROR, WORSE, BETTER), (Severity.WARNING, WORSE, BETTER), (Severity.NOTE, DIFFERENT, DIFFERENT)],
)
def test_a_new_finding(severity: Severity, effect: Effect, back: Effect) -> None:
    old, new = result_with(), result_with(findings=(found("no-fence", severity),))
    assert effects(old, new) == (effect, back)
    (change,) = compare(old, new).differences.findings
    assert (change.old, change.new) == (None, new.findings[0])
    if effect is WORSE:
        assert compare(old, new).summary == f"worse: new {severity} no-fence"


def test_that_one_of_two_verdicts_is_better_is_no_new_warning() -> None:
    """A flush that is repaired, where it is optimised: that it is not at -O0 is no worse than that it was nowhere."""
    warning = (found("optimisation-dependent", Severity.WARNING),)
    bad = {"verdict": Verdict.REFUTED, "exit_status": 2}
    assert effects(result_with(**bad), result_with(findings=warning)) == (BETTER, WORSE)
    assert compare(result_with(**bad), result_with(findings=warning)).summary.startswith("better: REFUTED -> PROVED")
    # With the same verdict it is one.
    assert effects(result_with(), result_with(findings=warning)) == (WORSE, BETTER)


@pytest.mark.parametrize(("severity", "effect"), [(Severity.WARNING, DIFFERENT), (Severity.NOTE, NONE)])
def test_the_same_rule_with_another_message(severity: Severity, effect: Effect) -> None:
    old = result_with(findings=(found("no-fence", severity, "one"),))
    new = result_with(findings=(found("no-fence", severity, "two"),))
    assert effects(old, new) == (effect, effect)
    assert len(compare(old, new).differences.findings) == 1


def test_a_finding_that_moved_or_names_the_renamed_is_the_same() -> None:
    old = result_with(findings=(found("no-fence", Severity.ERROR, "`old_pages` is small"),))
    new = result_with(findings=(found("no-fence", Severity.ERROR, "`new_pages` is small"),))
    assert len(compare(old, new).differences.findings) == 1
    assert old.buffer is not None
    regions = [Region(RegionKind.POINTED, (f"{name}_pages",)) for name in ("old", "new")]
    buffers = [old.buffer.model_copy(update={"region": region}) for region in regions]
    result = compare(old.model_copy(update={"buffer": buffers[0]}), new.model_copy(update={"buffer": buffers[1]}))
    assert result.differences == Differences(
        buffer=(Change(what="name", old=str(regions[0]), new=str(regions[1]), effect=NONE),)
    )
    assert result.effect is NONE


def test_a_buffer_of_another_size_matters_and_its_name_does_not() -> None:
    old = result_with()
    assert old.buffer is not None
    smaller = result_with(
        buffer=old.buffer.model_copy(update={"region": Region(RegionKind.SYMBOL, ("x",)), "last": 32704, "size": 32768})
    )
    changes = {change.what: change.effect for change in compare(old, smaller).differences.buffer}
    assert changes == {"name": NONE, "highest offset": DIFFERENT, "size": DIFFERENT}
    (gone,) = compare(old, result_with(buffer=None)).differences.buffer
    assert (gone.what, gone.new) == ("buffer", None)


def test_other_names_are_mentioned() -> None:
    renamed = result_with().routine.model_copy(
        update={"name": "g", "source": "g.o", "kind": "object", "sha256": "cd" * 32}
    )
    result = compare(result_with(), result_with(routine=renamed))
    assert [change.what for change in result.differences.names] == ["function", "input", "kind of input"]
    assert (result.effect, result.same_code) == (NONE, False)
    assert result.summary == "no change that matters: nothing differs but names"


# --- rows and the verdict


@pytest.mark.parametrize(
    ("changes", "effect", "back"),
    [
        ({"margin": 1, "has": 14}, WORSE, BETTER),
        ({"verdict": Verdict.REFUTED, "margin": None, "leftovers": 2}, WORSE, BETTER),
        ({"verdict": Verdict.UNDECIDED, "margin": None, "leftovers": None, "cause": "budget"}, WORSE, BETTER),
        ({"leftovers": 3}, WORSE, BETTER),
        ({"margin": None}, DIFFERENT, DIFFERENT),
        ({"sets_without_walk": 4}, DIFFERENT, DIFFERENT),
        ({"policy": "FIFO"}, DIFFERENT, DIFFERENT),
        ({"curve": None, "counterexample": counterexample_with(), "policy_certainty": "given"}, NONE, NONE),
    ],
)
def test_a_row_that_changed(changes: dict[str, Any], effect: Effect, back: Effect) -> None:
    assert effects(result_with(), result_with(rows=(row_with(**changes),))) == (effect, back)


def test_between_refuted_and_undecided_nothing_is_better() -> None:
    refuted = result_with(rows=(row_with(verdict=Verdict.REFUTED, margin=None),), verdict=Verdict.REFUTED)
    undecided = result_with(rows=(row_with(verdict=Verdict.UNDECIDED, margin=None),), verdict=Verdict.UNDECIDED)
    assert effects(refuted, undecided) == (DIFFERENT, DIFFERENT)


def test_rows_for_information_are_never_worse() -> None:
    informs = row_with(decides=False, cpus=("zen",), titles=("Zen",))
    worse = informs.model_copy(update={"verdict": Verdict.REFUTED, "margin": -4})
    old, new = result_with(rows=(row_with(), informs)), result_with(rows=(row_with(), worse))
    assert effects(old, new) == (DIFFERENT, DIFFERENT)


def test_cpus_are_compared_one_by_one_and_told_together() -> None:
    both = row_with(cpus=("a", "b", "c"), titles=("A", "B", "C"))
    apart = (
        row_with(cpus=("a", "c"), titles=("A", "C"), margin=2),
        row_with(cpus=("b",), titles=("B",)),
    )
    result = compare(result_with(rows=(both,)), result_with(rows=apart))
    (change,) = result.differences.rows
    assert (change.cpus, change.old, change.new) == (("a", "c"), 0, 0)
    assert result.summary == "worse: margin +3 -> +2 on A and 1 other"


def test_a_row_that_only_one_has_is_another_question() -> None:
    given_cache = row_with(cpus=(), titles=())
    other = given_cache.model_copy(update={"policy": "FIFO"})
    assert effects(result_with(rows=(given_cache,)), result_with(rows=(other,))) == (DIFFERENT, DIFFERENT)
    assert len(compare(result_with(rows=(given_cache,)), result_with(rows=(other,))).differences.rows) == 2


def test_a_routine_that_walks_no_more_has_lost_its_proofs() -> None:
    lost = result_with(rows=(), verdict=Verdict.UNDECIDED, cause="no-software-walk", exit_status=3)
    assert effects(result_with(), lost) == (WORSE, BETTER)
    assert "PROVED -> no verdict on Haswell" in compare(result_with(), lost).summary


def test_what_an_unknown_policy_could_be() -> None:
    def unknown(verdict: Verdict, left: int) -> VerifyResult:
        one = Candidate(policy="FIFO", verdict=verdict, needs=15, leftovers=left)
        values = {"policy": "unknown", "verdict": Verdict.UNDECIDED, "margin": None, "candidates": (one,)}
        return result_with(rows=(row_with(**values),), verdict=Verdict.UNDECIDED)

    proved, refuted, more = unknown(Verdict.PROVED, 0), unknown(Verdict.REFUTED, 1), unknown(Verdict.REFUTED, 2)
    assert effects(proved, refuted) == effects(refuted, more) == (WORSE, BETTER)
    assert compare(proved, refuted).summary == "worse: fewer of the possible policies are proved on Haswell"
    assert compare(more, refuted).summary == "better: fewer old lines left with a possible policy on Haswell"


def test_worse_is_said_first_and_better_too() -> None:
    old = result_with(findings=(found("no-fence", Severity.WARNING),))
    new = result_with(rows=(row_with(margin=0),))
    assert compare(old, new).summary == "worse: margin +3 -> 0 on Haswell; but better: warning no-fence is gone"


def test_what_is_taken_for_granted() -> None:
    scope = result_with().scope
    more = scope.model_copy(
        update={"taken_for_granted": (*scope.taken_for_granted, *assumed([Assumption(Assumes.STILL_INITIAL, ("x",))]))}
    )
    assert effects(result_with(), result_with(scope=more)) == (DIFFERENT, DIFFERENT)
    other = result_with().routine.model_copy(update={"kind": "object"})
    assert effects(result_with(), result_with(scope=more, routine=other)) == (NONE, NONE)


# --- what could not be followed


def test_of_a_routine_that_could_not_be_followed_code_and_verdict_are_compared() -> None:
    lost = {"paths": (), "rows": (), "findings": (), "buffer": None, "verdict": Verdict.UNDECIDED}
    other = result_with().routine.model_copy(update={"sha256": "cd" * 32})
    why = UndecidedInfo(what="more than 64 paths", where=Place(offset=0x40000D))
    reason = "more than 64 paths at 0x40000d"
    unknown = result_with(**lost, cause="too-many-paths", undecided=why, reason=reason, exit_status=3)
    result = compare(everything(), unknown)
    assert (result.not_followed, result.same_code, result.exit_status) == (("new",), True, 3)
    assert result.differences.paths == result.differences.findings == result.differences.rows == ()
    assert effects(result_with(), unknown) == (WORSE, BETTER)
    assert effects(unknown, unknown) == (NONE, NONE)
    assert effects(unknown, unknown.model_copy(update={"routine": other})) == (DIFFERENT, DIFFERENT)
    elsewhere = why.model_copy(update={"where": Place(offset=0x500000)})
    moved = unknown.model_copy(update={"reason": "more than 64 paths at 0x500000", "undecided": elsewhere})
    assert compare(unknown, moved).differences == Differences()
    another = moved.model_copy(update={"undecided": UndecidedInfo(what="another")})
    (change,) = compare(unknown, another).differences.verdict
    assert (change.what, change.effect) == ("reason", NONE)


def test_what_was_found_in_the_time_is_no_difference() -> None:
    """How many old lines are left at least depends on how fast the machine is."""

    def unknown(left: int, at_least: bool) -> VerifyResult:
        one = Candidate(policy="FIFO", verdict=Verdict.REFUTED, needs=15, leftovers=left, at_least=at_least)
        values = {"policy": "unknown", "verdict": Verdict.UNDECIDED, "margin": None, "candidates": (one,)}
        return result_with(rows=(row_with(**values),), verdict=Verdict.UNDECIDED)

    assert effects(unknown(1, False), unknown(2, False)) == (WORSE, BETTER)
    for old, new in ((unknown(1, True), unknown(2, False)), (unknown(1, True), unknown(3, True))):
        assert effects(old, new) == (NONE, NONE)


def test_a_figure_that_is_no_more_than_a_bound_says_so() -> None:
    one = Candidate(policy="FIFO", verdict=Verdict.REFUTED, needs=15, leftovers=2)
    assert candidates([one]) == "REFUTED if it is FIFO (2 left)"
    assert candidates([one.model_copy(update={"at_least": True})]) == "REFUTED if it is FIFO (at least 2 left)"
