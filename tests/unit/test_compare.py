"""Comparing two results: what counts as a difference, what as worse, and that the two sides are treated alike."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_results import counterexample_with, everything, result_with, row_with

from l1dflush.report.json_report import json_text, schema
from l1dflush.verdict.compare import compare
from l1dflush.verdict.comparison import Change, ComparisonResult, Differences, Effect
from l1dflush.verdict.likeness import exclude_each_other, pairs, without_names, without_places
from l1dflush.verdict.model import Candidate, Finding, PathInfo, Run, Verdict, VerifyResult
from l1dflush.verdict.severity import Severity

WORSE, BETTER, DIFFERENT, NONE = Effect.WORSE, Effect.BETTER, Effect.DIFFERENT, Effect.NONE
WALK = Run(
    kind="load", instruction="movzx", place="buffer", count=1024, first=0, last=65472, step=64, size=1, where="0x400003"
)
FENCE = Run(kind="fence", instruction="lfence", place="", count=1, first=0, last=0, step=0, size=0, where="0x400009")
OWN = Run(
    kind="store", instruction="push", place="stack", count=1, first=-16, last=-16, step=0, size=8, where="0x400000"
)


def path(*runs: Run, when: tuple[str, ...] = (), outcome: str = "software walk") -> PathInfo:
    loads = sum(run.count for run in runs if run.place == "buffer" and run.kind == "load")
    return PathInfo(outcome=outcome, decided_by=when, loads=loads, instructions=9, runs=runs)  # type: ignore[arg-type]


def skip(*when: str) -> PathInfo:
    return path(when=when, outcome="skipped")


def found(rule: str, severity: Severity, message: str = "a message") -> Finding:
    return Finding(id=rule, severity=severity, message=message, advice="do it", where="a.c:3")


def with_paths(*paths: PathInfo) -> VerifyResult:
    return result_with(paths=paths)


def effects(old: VerifyResult, new: VerifyResult) -> tuple[Effect, Effect]:
    """The effect of a change, and that of taking it back."""
    return compare(old, new).effect, compare(new, old).effect


def leaves(result: ComparisonResult, *, turned: bool) -> dict[str, list[str]]:
    """What differs, in no order; ``turned``: as if OLD and NEW were exchanged.

    Without the effect of what has several changes: one that is worse makes it worse, from whichever side.
    """
    mirror = {WORSE.value: BETTER.value, BETTER.value: WORSE.value} if turned else {}

    def seen(value: Any) -> Any:
        if isinstance(value, list):
            return [seen(one) for one in value]
        if not isinstance(value, dict):
            return value
        out = {key: seen(one) for key, one in value.items() if key not in ("diff", "decided_by")}
        if turned and "old" in out:
            out["old"], out["new"] = out["new"], out["old"]
        if out.get("changes"):
            del out["effect"]
        elif "effect" in out:
            out["effect"] = mirror.get(out["effect"], out["effect"])
        return out

    document = json.loads(result.differences.model_dump_json())
    return {key: sorted(json.dumps(seen(one), sort_keys=True) for one in value) for key, value in document.items()}


# --- results that are made at random


def runs() -> st.SearchStrategy[Run]:
    made = st.builds(
        lambda kind, place, count, step, where: WALK.model_copy(
            update={"kind": kind, "place": place, "count": count, "step": step, "where": where}
        ),
        st.sampled_from(["load", "store", "line-flush"]),
        st.sampled_from(["buffer", "stack", "counter"]),
        st.integers(1, 3),
        st.sampled_from([0, 64, -64]),
        st.sampled_from(["0x400003", "a.c:7"]),
    )
    return st.one_of(made, st.just(FENCE), st.just(OWN))


def paths() -> st.SearchStrategy[PathInfo]:
    sentences = ["`rsi` is zero (0x40)", "`rsi` is not zero (a.c:3)", "`x`: `jl 0x400020` taken (0x400010)"]
    return st.builds(
        lambda some, when, outcome: path(*some, when=tuple(when), outcome=outcome),
        st.lists(runs(), max_size=4),
        st.lists(st.sampled_from(sentences), max_size=2, unique=True),
        st.sampled_from(["software walk", "skipped", "MSR write"]),
    )


def findings() -> st.SearchStrategy[Finding]:
    return st.builds(
        found,
        st.sampled_from(["no-fence", "named-label"]),
        st.sampled_from(Severity),
        st.sampled_from(["one", "another (a.c:3)", "another (a.c:4)"]),
    )


def rows() -> st.SearchStrategy[list[Any]]:
    made = st.builds(
        lambda verdict, margin, decides, left: row_with(
            verdict=verdict, margin=margin, decides=decides, leftovers=left
        ),
        st.sampled_from([Verdict.PROVED, Verdict.REFUTED, Verdict.UNDECIDED]),
        st.sampled_from([None, -1, 0, 3]),
        st.booleans(),
        st.sampled_from([None, 0, 2]),
    )

    def named(some: list[Any]) -> list[Any]:
        return [row.model_copy(update={"cpus": (f"c{i}",), "titles": (f"C{i}",)}) for i, row in enumerate(some)]

    return st.lists(made, max_size=3).map(named)


def results() -> st.SearchStrategy[VerifyResult]:
    return st.builds(
        lambda ways, told, table, verdict: result_with(
            paths=tuple(ways), findings=tuple(told), rows=tuple(table), verdict=verdict
        ),
        st.lists(paths(), max_size=4),
        st.lists(findings(), max_size=3),
        rows(),
        st.sampled_from([Verdict.PROVED, Verdict.REFUTED, Verdict.UNDECIDED]),
    )


@given(results())
def test_nothing_differs_from_itself(result: VerifyResult) -> None:
    compared = compare(result, result)
    assert compared.differences == Differences()
    assert compared.effect is NONE
    assert compared.same_code


@given(results(), results())
def test_the_two_sides_are_treated_alike(old: VerifyResult, new: VerifyResult) -> None:
    assert leaves(compare(old, new), turned=True) == leaves(compare(new, old), turned=False)


@given(results(), results())
def test_the_diff_has_every_difference_once(old: VerifyResult, new: VerifyResult) -> None:
    for change in compare(old, new).differences.paths:
        if change.old is None or change.new is None:
            continue
        before, after = old.paths[change.old], new.paths[change.new]
        equal = [line for line in change.diff if line.old is not None and line.new is not None]
        gone = sum(line.new is None for line in change.diff)
        come = sum(line.old is None for line in change.diff)
        assert len(before.runs) - gone == len(after.runs) - come
        assert all(before.runs[a.old or 0].kind == after.runs[a.new or 0].kind for a in equal)


@given(results(), results())
def test_whatever_differs_the_document_fits_its_schema(old: VerifyResult, new: VerifyResult) -> None:
    result = compare(old, new)
    assert result.summary.startswith(result.effect)
    assert "\n" not in result.summary
    assert ComparisonResult.model_validate(json.loads(json_text(result))) == result


# --- the schema


def test_a_comparison_fits_its_schema_and_no_other() -> None:
    document = json.loads(json_text(compare(result_with(), everything())))
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
    other = WALK.model_copy(update={"place": "what `rsi` points to"})
    assert effects(with_paths(path(WALK)), with_paths(path(WALK, other))) == (DIFFERENT, DIFFERENT)


A, NOT_A, B, NOT_B = "`a` is zero (0x1)", "`a` is not zero (0x1)", "`b` is set (0x2)", "`b` is clear (0x2)"
ALWAYS = (path(WALK),)
SOMETIMES = (skip(A), path(WALK, when=(NOT_A,)))
FLIPPED = (skip(NOT_A), path(WALK, when=(A,)))
SELDOM = (skip(A, B), path(WALK, when=(A, NOT_B)), path(WALK, when=(NOT_A,)))
SPLIT = (skip(A, B), skip(A, NOT_B), path(WALK, when=(NOT_A,)))
MSR = (path(when=(B,), outcome="MSR write"), path(WALK, when=(NOT_B,)))


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


@pytest.mark.parametrize(("severity", "effect"), [(Severity.WARNING, DIFFERENT), (Severity.NOTE, NONE)])
def test_the_same_rule_with_another_message(severity: Severity, effect: Effect) -> None:
    old = result_with(findings=(found("no-fence", severity, "one"),))
    new = result_with(findings=(found("no-fence", severity, "two"),))
    assert effects(old, new) == (effect, effect)
    assert len(compare(old, new).differences.findings) == 1


def test_a_finding_that_moved_or_names_the_renamed_is_the_same() -> None:
    old = result_with(findings=(found("no-fence", Severity.ERROR, "`old_pages` when `x` is zero (a.c:3)"),))
    new = result_with(findings=(found("no-fence", Severity.ERROR, "`new_pages` when `x` is zero (b (1).c:44)"),))
    assert len(compare(old, new).differences.findings) == 1
    assert old.buffer is not None
    buffers = [old.buffer.model_copy(update={"name": f"what `{name}_pages` points to"}) for name in ("old", "new")]
    result = compare(old.model_copy(update={"buffer": buffers[0]}), new.model_copy(update={"buffer": buffers[1]}))
    assert result.differences == Differences(
        buffer=(Change(what="name", old=buffers[0].name, new=buffers[1].name, effect=NONE),)
    )
    assert result.effect is NONE


def test_a_buffer_of_another_size_matters_and_its_name_does_not() -> None:
    old = result_with()
    assert old.buffer is not None
    smaller = result_with(buffer=old.buffer.model_copy(update={"name": "x", "last": 32704, "size": 32768}))
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
        update={"taken_for_granted": (*scope.taken_for_granted, "`x` still holds its initial value")}
    )
    assert effects(result_with(), result_with(scope=more)) == (DIFFERENT, DIFFERENT)
    other = result_with().routine.model_copy(update={"kind": "object"})
    assert effects(result_with(), result_with(scope=more, routine=other)) == (NONE, NONE)


# --- what could not be followed


def test_of_a_routine_that_could_not_be_followed_code_and_verdict_are_compared() -> None:
    lost = {"paths": (), "rows": (), "findings": (), "buffer": None, "verdict": Verdict.UNDECIDED}
    other = result_with().routine.model_copy(update={"sha256": "cd" * 32})
    unknown = result_with(**lost, cause="too-many-paths", reason="more than 64 paths at 0x40000d", exit_status=3)
    result = compare(everything(), unknown)
    assert (result.not_followed, result.same_code, result.exit_status) == (("new",), True, 3)
    assert result.differences.paths == result.differences.findings == result.differences.rows == ()
    assert effects(result_with(), unknown) == (WORSE, BETTER)
    assert effects(unknown, unknown) == (NONE, NONE)
    assert effects(unknown, unknown.model_copy(update={"routine": other})) == (DIFFERENT, DIFFERENT)
    moved = unknown.model_copy(update={"reason": "more than 64 paths at 0x500000"})
    assert compare(unknown, moved).differences == Differences()


# --- texts


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("`rsi` is zero (a.c:3)", "`rsi` is zero"),
        (
            "no flush when: `a` is 0x10 (0x400012); `b` is zero (my (old) file.c:9)",
            "no flush when: `a` is 0x10; `b` is zero",
        ),
        ("`x`: `cmp rdi, 0x5; jbe` not taken (0x400010)", "`x`: `cmp rdi, 0x5; jbe` not taken"),
        ("bytes that are no instruction at 0x400000", "bytes that are no instruction at …"),
        ("touched: stack-0x10 (3 times)", "touched: stack-0x10 (3 times)"),
        ("MSR 0x10b = 0x1", "MSR 0x10b = 0x1"),
    ],
)
def test_places_are_taken_out(text: str, left: str) -> None:
    assert without_places(text) == left


def test_names_are_taken_out_whole() -> None:
    assert without_names("flush and l1d_flush", {"flush"}) == "… and l1d_flush"


@pytest.mark.parametrize(
    ("one", "other", "exclude"),
    [
        (("`a` is zero",), ("`a` is not zero",), True),
        (("`a` is 0x10",), ("`a` is not 0x10", "`b` is zero"), True),
        (("bit 3 of `a` is set",), ("bit 3 of `a` is clear",), True),
        (("`a`: `jl …` taken",), ("`a`: `jl …` not taken",), True),
        (("`a` is zero",), ("`b` is zero",), False),
        (("`a` is zero",), ("`a` is zero",), False),
        ((), ("`a` is zero",), False),
        (("`a`: `jl …` taken", "`a`: `jl …` not taken"), ("`a`: `jl …` taken",), False),
    ],
)
def test_decisions_that_exclude_each_other(one: tuple[str, ...], other: tuple[str, ...], exclude: bool) -> None:
    assert exclude_each_other(one, other) is exclude
    assert exclude_each_other(other, one) is exclude


def test_pairs_take_the_strictest_key_first() -> None:
    def first(text: str) -> str:
        return text[0]

    assert pairs(["ax", "ay"], ["ay", "az", "b"], [(str, str), (first, first)]) == [(0, 1), (1, 0), (None, 2)]
