# SPDX-License-Identifier: GPL-2.0-or-later
"""Comparing any two results: nothing differs from itself, and the two sides are treated alike."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from made_results import FENCE, OWN, WALK, found, path, result_with, row_with

from l1dflush.ending import Verdict
from l1dflush.in_words import in_words
from l1dflush.place import Place
from l1dflush.severity import Severity
from l1dflush.tracing.region import BUFFER, STACK, Region, RegionKind
from l1dflush.verdict.compare.comparing import compare
from l1dflush.verdict.compare.result import ComparisonResult, Differences, Effect
from l1dflush.verdict.verify_result import Finding, PathInfo, Run, VerifyResult

WORSE, BETTER, DIFFERENT, NONE = Effect.WORSE, Effect.BETTER, Effect.DIFFERENT, Effect.NONE


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
        out = {key: seen(one) for key, one in value.items() if key not in ("diff", "decisions")}
        if turned and "old" in out:
            out["old"], out["new"] = out["new"], out["old"]
        if out.get("changes"):
            del out["effect"]
        elif "effect" in out:
            out["effect"] = mirror.get(out["effect"], out["effect"])
        return out

    document = json.loads(result.differences.model_dump_json())
    return {key: sorted(json.dumps(seen(one), sort_keys=True) for one in value) for key, value in document.items()}


def runs() -> st.SearchStrategy[Run]:
    made = st.builds(
        lambda kind, region, count, step, where: WALK.model_copy(
            update={"kind": kind, "region": region, "count": count, "step": step, "where": where}
        ),
        st.sampled_from(["load", "store", "line-flush"]),
        st.sampled_from([BUFFER, STACK, Region(RegionKind.SYMBOL, ("counter",))]),
        st.integers(1, 3),
        st.sampled_from([0, 64, -64]),
        st.sampled_from([Place(offset=0x400003), Place("a.c", 7)]),
    )
    return st.one_of(made, st.just(FENCE), st.just(OWN))


def paths() -> st.SearchStrategy[PathInfo]:
    sentences = ["`rsi` is zero (0x40)", "`rsi` is not zero (a.c:3)", "`x`: `jl 0x400020` taken (0x400010)"]
    return st.builds(
        lambda some, when, outcome: path(*some, when=tuple(when), outcome=outcome),
        st.lists(runs(), max_size=4),
        st.lists(st.sampled_from(sentences), max_size=2, unique=True),
        st.sampled_from(["software-walk", "skipped", "msr-write"]),
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
    assert result.summary.startswith(in_words(result.effect))
    assert "\n" not in result.summary
    assert ComparisonResult.model_validate(json.loads(result.to_json())) == result
