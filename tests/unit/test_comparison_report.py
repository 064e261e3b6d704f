# SPDX-License-Identifier: GPL-2.0-or-later
"""The text of a comparison: complete, in order, within its width, and safe whatever the names in it are."""

from __future__ import annotations

import pytest
from made_results import decision, everything, found, result_with, row_with
from rich.cells import cell_len

from l1dflush.assumption import Assumes, Assumption
from l1dflush.ending import Verdict
from l1dflush.place import Place
from l1dflush.report.layout import MIN_WIDTH, plain
from l1dflush.report.terminal.comparison import comparison_lines
from l1dflush.severity import Severity
from l1dflush.tracing.facts import Fact, Relation, Subject
from l1dflush.tracing.region import STACK, Region, RegionKind
from l1dflush.verdict.compare.comparing import compare
from l1dflush.verdict.described import assumed
from l1dflush.verdict.verify_result import DecisionInfo, Finding, PathInfo, Run, VerifyResult


def text(old: VerifyResult, new: VerifyResult, width: int = 80) -> str:
    return plain(comparison_lines(compare(old, new), width))


def own(count: int) -> tuple[Run, ...]:
    store = Run(
        kind="store",
        instruction="push",
        region=STACK,
        count=1,
        first=0,
        last=0,
        step=0,
        size=8,
        where=Place(offset=0x400000),
    )
    return tuple(store.model_copy(update={"first": -8 * i, "last": -8 * i}) for i in range(count))


def test_nothing_changed_says_what_was_compared() -> None:
    shown = text(everything(), everything())
    assert shown.count("flush (assembly, flush.S)") == 2
    assert "the machine code is the same\n\ncompared and the same: " in shown
    told = " ".join(shown.split())
    assert "compared and the same: the verdict, 3 paths with 2 runs of events, the buffer's extent, 3 findings," in told
    assert shown.startswith("no change that matters: nothing differs\nverdict  REFUTED, as before\nexit status 2\n\n")
    assert len(shown.splitlines()) <= 15


def test_all_parts_come_in_the_order_of_a_review() -> None:
    shown = text(result_with(), everything())
    parts = [
        "worse: ",
        "verdict  PROVED -> REFUTED",
        "exit status 2\n",
        "OLD  flush",
        "NEW  flush",
        "the machine code is",
        "path new: MSR write",
    ]
    parts += ["path new: skipped, if `wanted` is zero", "1 path does the same", "+ error    own-storage: bad (a.c:3)"]
    parts += ["+ warning  no-fence", "+ note     named-label", "CPUs with L1TF", "no verdict -> REFUTED"]
    parts += ["it also differs on 1 CPU without L1TF: 1 no verdict -> UNDECIDED; --every-cpu\nshows them"]
    places = []
    for part in parts:
        places.append(shown.index(part, places[-1] if places else 0))


@pytest.mark.parametrize("width", [MIN_WIDTH, 80, 120])
def test_no_line_is_longer_than_the_width(width: int) -> None:
    verdicts = (Verdict.UNDECIDED, Verdict.REFUTED)
    worst = [
        row_with(policy="QLRU_H11_M1_R0_U0", verdict=verdict, margin=margin, has=has, titles=("A long name",))
        for verdict, margin, has in zip(verdicts, (-10, -128), (1000, 2000), strict=True)
    ]
    old, new = (result_with(rows=(row,)) for row in worst)
    shown = text(old, new, width) + text(result_with(), everything(), width) + text(everything(), result_with(), width)
    assert max(cell_len(line) for line in shown.splitlines()) <= width


def test_a_diff_has_context_and_says_where_something_is_left_out() -> None:
    fence = own(1)[0].model_copy(update={"kind": "fence", "instruction": "lfence", "region": None})
    runs = own(30)
    old = result_with(paths=(result_with().paths[0].model_copy(update={"runs": runs}),))
    changed = (*runs[:5], fence, *runs[6:25], fence, *runs[26:])
    new = result_with(paths=(result_with().paths[0].model_copy(update={"runs": changed}),))
    lines = text(old, new).splitlines()
    diff = [line for line in lines if line.startswith(("- ", "+ ", "  1 store", "  ..."))]
    assert diff[3:5] == ["- 1 store, stack-40, 8 bytes", "+ lfence"]
    assert diff[8] == "  ..."
    assert len(diff) == 17


def test_runs_that_alternate_are_joined() -> None:
    (load,) = result_with().paths[0].runs
    two = (
        load.model_copy(update={"together": 7}),
        load.model_copy(update={"together": 7, "region": Region(RegionKind.SYMBOL, ("counter",))}),
    )
    new = result_with(paths=(result_with().paths[0].model_copy(update={"runs": two}),))
    shown = text(result_with(), new)
    assert "\n  ┌ 1024 loads, buffer" in shown
    assert "+ └ 1024 loads, counter" in shown


def test_what_is_too_much_is_counted() -> None:
    many = tuple(
        PathInfo(outcome="msr-write", decisions=(decision(f"`v{i}` is zero (0x1)"),), loads=0, instructions=1, runs=())
        for i in range(20)
    )
    assert "13 more paths differ (--json has all)" in text(result_with(), result_with(paths=many))
    long = result_with(paths=(result_with().paths[0].model_copy(update={"runs": own(300)}),))
    assert "more lines (--json has all)" in text(result_with(), long)


def test_a_changed_message_has_both() -> None:
    old, new = (result_with(findings=(found("no-fence", Severity.WARNING, text),)) for text in ("one", "two"))
    shown = text(old, new)
    assert "- warning  no-fence: one (a.c:3)\n+ warning  no-fence: two (a.c:3)\n" in shown
    assert "-> do it" not in shown


def test_what_could_not_be_followed_is_said() -> None:
    lost = result_with(
        paths=(), rows=(), buffer=None, verdict=Verdict.UNDECIDED, cause="budget", reason="too long", exit_status=3
    )
    shown = text(result_with(), lost)
    assert "verdict  PROVED -> UNDECIDED; NEW: budget: too long" in shown
    assert "NEW could not be followed, so only code and verdict" in shown
    assert "verdict  UNDECIDED, as before: budget: too long" in text(lost, lost)
    assert "OLD and NEW could not be followed" in text(lost, lost)


def test_names_are_made_harmless() -> None:
    hostile = "a\x1b[31m\nb"
    fact = Fact(Relation.BRANCH, (Subject(hostile),), True, instruction=hostile)
    asked = DecisionInfo(fact=fact, where=Place(hostile))
    routine = result_with().routine.model_copy(update={"name": hostile, "source": hostile, "detail": hostile})
    path = result_with().paths[0].model_copy(update={"decisions": (asked,)})
    finding = Finding(id=hostile, severity=Severity.NOTE, message=hostile, advice=hostile, where=Place(hostile))
    scope = result_with().scope.model_copy(
        update={"taken_for_granted": assumed([Assumption(Assumes.STILL_INITIAL, (hostile,))])}
    )
    row = row_with(titles=(hostile,), margin=0)
    new = result_with(routine=routine, paths=(path,), findings=(finding,), scope=scope, rows=(row,))
    assert "\x1b" not in text(result_with(), new)
    assert "\x1b" not in text(new, result_with())
