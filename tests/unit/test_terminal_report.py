# SPDX-License-Identifier: GPL-2.0-or-later
"""The text of a result: complete, aligned, 80 columns, and safe whatever the names in it are."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from made_results import decision
from rich.cells import cell_len

from l1dflush.assumption import Assumes, Assumption
from l1dflush.ending import Verdict
from l1dflush.place import Place
from l1dflush.report.layout import MIN_WIDTH, Column, header, plain, row, wrap
from l1dflush.report.terminal.counterexample import counterexample_lines, labels, picture
from l1dflush.report.terminal.trace import trace_lines
from l1dflush.report.terminal.verify import verify_lines
from l1dflush.tracing.facts import Fact, Relation, Subject
from l1dflush.tracing.region import STACK
from l1dflush.verdict.counterexample_result import CounterexampleInfo, LineInfo, LineKind
from l1dflush.verdict.described import assumed
from l1dflush.verdict.verify_result import Run, TracePath, TraceResult, VerifyResult

Make = Callable[..., Any]


def text(result: VerifyResult, width: int = 80) -> str:
    return plain(verify_lines(result, width))


def test_a_proved_result_says_what_it_is_about(make_result: Make) -> None:
    shown = text(make_result())
    assert shown.startswith("PROVED on Haswell: no old line is left in any set\n  flush (assembly, flush.S)\n")
    assert "code    = 50 bytes of 64-bit code, sha256 abababababab\n          a detail\n" in shown
    assert "buffer  = what `rdi` points to; read: +0 … +65472, 65473 bytes" in shown
    assert "trace   = 1024 loads" in shown
    assert "all ways valid; no touches by others" in shown
    assert re.search(r"exit status\s+0\n", shown)


def test_a_row_has_its_numbers(make_result: Make) -> None:
    row = next(line for line in text(make_result()).splitlines() if line.startswith("Haswell"))
    assert row.split()[:4] == ["Haswell", "32K", "8x64", "tree-PLRU"]
    assert row.split()[-4:] == ["13", "16", "+3", "PROVED"]


@pytest.mark.parametrize("width", [MIN_WIDTH, 80, 100, 200])
def test_no_line_is_longer_than_the_width(full_result: VerifyResult, width: int) -> None:
    assert max(cell_len(line) for line in text(full_result, width).splitlines()) <= width


def test_all_parts_come_in_order(full_result: VerifyResult) -> None:
    shown = text(full_result)
    parts = ["REFUTED on 1 of 2 L1TF-affected CPUs: an old line can survive", "exit status 2", "CPUs with L1TF"]
    parts += ["1 CPU without L1TF also judged: 1 UNDECIDED; --every-cpu shows them", "code    = ", "3 paths:"]
    parts += ["error    own-storage: bad (a.c:3)", "warning  no-fence", "note     named-label"]
    parts += ["how an old line survives", "start   ", "assumed "]
    places = [shown.index(part) for part in parts]
    assert places == sorted(places)


def deciding(result: VerifyResult) -> VerifyResult:
    """As with ``--every-cpu``."""
    return result.model_copy(update={"rows": tuple(row.model_copy(update={"decides": True}) for row in result.rows)})


def test_the_candidates_of_an_unknown_policy_are_listed(full_result: VerifyResult) -> None:
    told = "PROVED if it is LRU; REFUTED if it is FIFO (4 left)"
    assert told not in text(full_result)
    assert told in text(deciding(full_result))


def test_rows_that_decide_nothing_are_one_line_without_a_counterexample(
    make_result: Make, make_row: Make, make_counterexample: Make
) -> None:
    bad = make_row(
        decides=False, l1tf_affected=False, verdict=Verdict.REFUTED, counterexample=make_counterexample(),
        titles=("Alpha", "Beta"), cpus=("alpha", "beta"),
    )  # fmt: skip
    open_ = make_row(decides=False, l1tf_affected=False, verdict=Verdict.UNDECIDED, titles=("Gamma",), cpus=("gamma",))
    result = make_result(rows=(make_row(), bad, open_))
    shown = text(result, 100)
    assert "3 CPUs without L1TF also judged: 2 REFUTED, 1 UNDECIDED; --every-cpu shows them" in shown
    assert "Alpha" not in shown
    assert "how an old line survives" not in shown
    shown = text(deciding(result))
    assert "also judged" not in shown
    assert "how an old line survives on Alpha and 1 other" in shown


@pytest.mark.parametrize("width", [100, 120, 200, 400])
def test_prose_is_never_wider_than_100_columns(full_result: VerifyResult, make_row: Make, width: int) -> None:
    long = "a sentence of many words " * 30
    finding = full_result.findings[0].model_copy(update={"message": long, "advice": long})
    routine = full_result.routine.model_copy(update={"detail": long})
    granted = assumed([Assumption(Assumes.STILL_INITIAL, (long,))])
    scope = full_result.scope.model_copy(update={"taken_for_granted": granted, "particular": granted})
    asked = decision("`x` is zero (0x1)").model_copy(update={"fact": Fact(Relation.FORMULA, (Subject(long),), True)})
    path = full_result.paths[0].model_copy(update={"decisions": (asked, asked)})
    wide = make_row(titles=tuple(f"a CPU with number {number}" for number in range(20)), reason=long)
    result = full_result.model_copy(
        update={"findings": (finding,), "routine": routine, "scope": scope, "paths": (path, path), "reason": long}
        | {"rows": (wide, *full_result.rows)}
    )
    shown = text(result, width).splitlines()
    end = shown.index("")
    begin = shown.index("CPUs with L1TF", end)
    table = [line for line in shown[begin : shown.index("", begin)] if "a sentence" not in line]
    assert max(cell_len(line) for line in shown if line not in table) <= 100
    assert max(cell_len(line) for line in table) > 90


def test_only_what_is_particular_to_the_verdict_is_spelled_out(make_result: Make) -> None:
    granted = assumed([Assumption(Assumes.PROGRAM_ORDER), Assumption(Assumes.ALIGNED, ("x", "32"))])
    others = assumed([Assumption(Assumes.OTHERS), Assumption(Assumes.OTHER_PLACES)])
    scope = make_result().scope.model_copy(update={"taken_for_granted": granted, "not_modelled": others})
    shown = text(make_result(scope=scope))
    assert "l1dflush help theory" in shown
    assert not any(name in shown for name in ("program order", "x is 32-byte", "prefetchers", "fill buffers"))
    some = scope.model_copy(update={"particular": (granted[1], others[1])})
    shown = text(make_result(scope=some))
    assert "('l1dflush help theory'), and\n              x is 32-byte aligned, and " in shown
    assert "\nnot modelled  fill buffers, store buffers and other levels of the cache\n" in shown
    assert "program order" not in shown
    assert "prefetchers" not in shown


def test_what_paths_have_in_common_is_told_once(make_result: Make) -> None:
    (path,) = make_result().paths

    def shown(*ways: tuple[str, ...]) -> str:
        paths = (path.model_copy(update={"decisions": tuple(map(decision, way))}) for way in ways)
        return text(make_result(paths=tuple(paths)))

    a, one, two = "`a` is not zero (0x1)", "`b` is 1 (0x2)", "`b` is 2 (0x2)"
    ways = "        - `b` is 0x1 (0x2)\n        - `b` is 0x2 (0x2)\n"
    assert f"      if `a` is not zero (0x1), and one of\n{ways}" in shown((a, one), (a, two))
    assert "      if `a` is not zero (0x1)\n      if `a` is not zero (0x1) and `b` is 0x1 (0x2)\n" in shown(
        (a,), (a, one)
    )


def test_paths_say_what_decides_them(full_result: VerifyResult) -> None:
    shown = text(full_result)
    assert "- MSR write: 1024 loads\n      if `has_msr` is not zero (0x1)\n" in shown
    assert "- skipped: nothing\n      if `wanted` is zero (0x1)\n" in shown


def test_rows_without_a_cpu_are_told_by_their_policy(make_result: Make, make_row: Make) -> None:
    row = make_row(cpus=(), titles=(), l1tf_affected=False, policy="FIFO", policy_certainty="given")
    assert "PROVED for FIFO" in text(make_result(rows=(row,)))


def test_all_affected_cpus_are_counted(make_result: Make, make_row: Make) -> None:
    many = make_row(cpus=("a", "b", "c"), titles=("A", "B", "C"))
    one = make_row(cpus=("d",), titles=("D",))
    other = make_row(decides=False, l1tf_affected=False, verdict=Verdict.REFUTED)
    assert "PROVED on all 4 L1TF-affected CPUs" in text(make_result(rows=(many, one, other)))


def test_a_routine_that_cannot_be_followed_has_a_cause(make_result: Make) -> None:
    undecided = {"rows": (), "buffer": None, "paths": (), "exit_status": 3, "verdict": Verdict.UNDECIDED}
    shown = text(make_result(cause="unclassified-instruction", reason="`xsave` at 0x40", **undecided))
    assert "UNDECIDED: unclassified-instruction: `xsave` at 0x40" in shown


def test_an_exit_status_that_differs_is_explained(make_result: Make) -> None:
    assert re.search(r"exit status\s+2 \(because of --fail-on or --expect\)", text(make_result(exit_status=2)))


@pytest.mark.parametrize("ways", [3, 4, 6, 8, 12, 16])
def test_the_picture_fits_80_columns(make_counterexample: Make, ways: int) -> None:
    example = make_counterexample(ways=ways)
    lines = plain(picture(example, 80)).splitlines()
    assert max(map(len, lines)) <= 80
    number = next(line for line in lines if line.lstrip().startswith("way"))
    before = next(line for line in lines if "before" in line)
    after = next(line for line in lines if "after" in line)
    marks = next(line for line in lines if "^" in line)
    assert before.count("│") == after.count("│") == ways + 1
    left = example.end[-1]
    # The number of a way, its box and its mark are in one column.
    column = after.index(f" {left} ") + 1
    assert marks.index("^") == column
    assert number[: column + 2].split()[-1] == str(ways - 1)
    assert before.index(" a ") + 1 == number.index("0")


def test_a_picture_with_long_numbers_is_split(make_counterexample: Make) -> None:
    example = make_counterexample(ways=16, accesses=20_000 // 16)
    lines = plain(picture(example, 60)).splitlines()
    assert sum("before" in line for line in lines) == 2
    assert max(map(len, lines)) <= 60


def test_lines_are_named_short(make_counterexample: Make) -> None:
    example: CounterexampleInfo = make_counterexample(
        ways=4, accesses=1, start=("a", "stack-0x10", "invalid", "buffer+0x40")
    )
    names = labels(example)
    assert names["a"] == "a"
    assert names["buffer"] == "0"
    assert names["stack-0x10"] == "x0"
    assert names["invalid"] == ""


def test_a_long_word_shows_first_and_last_steps(make_counterexample: Make) -> None:
    shown = plain(counterexample_lines(make_counterexample(accesses=100), 80))
    assert "68 steps left out (--json has all)" in shown
    assert re.search(r"^ +24 ", shown, re.MULTILINE)
    assert not re.search(r"^ +25 ", shown, re.MULTILINE)
    assert re.search(r"^ +93 ", shown, re.MULTILINE)
    assert max(map(len, shown.splitlines())) <= 80


def test_steps_are_told_in_words(make_counterexample: Make) -> None:
    example = make_counterexample()
    first = example.steps[0].model_copy(update={"result": "not-cached", "way": None, "evicted": None})
    shown = plain(counterexample_lines(example.model_copy(update={"steps": (first, *example.steps[1:])}), 80))
    assert "not cached" in shown and "not-cached" not in shown


def test_forty_steps_are_all_shown(make_counterexample: Make) -> None:
    shown = plain(counterexample_lines(make_counterexample(accesses=40), 80))
    assert "left out" not in shown


def test_a_refuted_row_says_why_where_the_numbers_do_not(
    make_result: Make, make_row: Make, make_counterexample: Make
) -> None:
    """With has >= needs there is no margin, and something else than too few lines is the reason."""
    lines = make_counterexample().lines
    counter = LineInfo(name="stack-0x40", kind=LineKind.OWN, region=STACK, offset=-64)

    def told(results: dict[int, str], has: int = 16, own: int | None = None) -> tuple[str, str]:
        example = make_counterexample()
        steps = list(example.steps)
        for number, result in results.items():
            steps[number] = steps[number].model_copy(update={"result": result})
        if own is not None:
            steps[own] = steps[own].model_copy(update={"access": counter.name})
        example = example.model_copy(update={"steps": tuple(steps), "lines": (*lines, counter)})
        margin = None if has >= 13 else has - 13
        row = make_row(verdict=Verdict.REFUTED, needs=13, has=has, margin=margin, leftovers=3, counterexample=example)
        shown = text(make_result(verdict=Verdict.REFUTED, rows=(row,)))
        head = " ".join(shown[: shown.index("exit status")].split())
        (below,) = (part for part in " ".join(shown.split()).split("3 old lines may stay in a set")[1:2])
        return head, below

    own = ", as the routine's own accesses come between the buffer's: stack"
    for said in told({}, own=3):
        assert own in said
    assert "an old line can survive, as some of its accesses need not happen" in told({3: "dropped"})[0]
    assert told({3: "flushed"})[1].startswith(", as it flushes lines while it reads")
    assert told({})[1].startswith(", as accesses that hit displace nothing")
    # Too few lines are reason enough.
    head, below = told({}, has=8, own=3)
    assert "survive, as" not in head and not below.startswith(", as")


def test_one_counterexample_is_told_once(make_result: Make, make_row: Make, make_counterexample: Make) -> None:
    example = make_counterexample()
    bad = [
        make_row(verdict=Verdict.REFUTED, titles=(name,), cpus=(name,), counterexample=example)
        for name in ("Alpha", "Beta")
    ]
    shown = text(make_result(rows=tuple(bad), verdict=Verdict.REFUTED, exit_status=2))
    assert shown.count("how an old line survives") == 1
    assert "how an old line survives on Alpha and 1 other" in shown


_CLOSED = {"relation", "verdict", "severity", "kind", "outcome", "result", "start", "command", "bits"}


def poisoned(value: Any, bad: str, key: str = "") -> Any:
    """``value`` with ``bad`` before every free text."""
    if isinstance(value, dict):
        return {name: poisoned(inner, bad, name) for name, inner in value.items()}
    if isinstance(value, list):
        return [poisoned(inner, bad, "") for inner in value]
    return bad + value if isinstance(value, str) and key not in _CLOSED else value


@pytest.mark.parametrize("bad", ["\x1b[31m", "\x9b2J", "\r\n", "\x07\x08", "\u202e", "[red]", "\ud800"])
def test_hostile_names_do_not_reach_the_terminal(full_result: VerifyResult, bad: str) -> None:
    result = VerifyResult.model_validate(poisoned(full_result.model_dump(mode="json"), bad))
    shown = text(result)
    assert all(char.isprintable() for char in shown.replace("\n", ""))
    if bad == "[red]":
        assert "[red]" in shown  # text, not markup


def in_a_column(text: str, width: int) -> list[str]:
    return [line.plain for line in row([Column("", width)], [text])]


def test_words_longer_than_a_line_stay_whole_but_in_a_table() -> None:
    path = "/" + "x" * 50
    assert wrap(f"see {path} there", 20) == ["see", path, "there"]
    assert all(len(line) <= 20 for line in in_a_column(path, 20))
    assert "".join(in_a_column(path, 20)) == path
    assert wrap("", 20) == [""] == in_a_column("", 20)


def test_wide_characters_count_twice() -> None:
    assert all(cell_len(line) <= 10 for line in in_a_column("漢字" * 20, 10))


def test_cells_are_no_markup_and_do_nothing_to_the_terminal() -> None:
    said = in_a_column("[bold]a[/bold] :smile:\x1b[31m\nred", 60)
    assert len(said) == 1 and said[0].startswith("[bold]a[/bold] :smile:") and said[0].isprintable()


def test_numbers_stand_to_the_right_and_cells_beside_each_other() -> None:
    columns = [Column("a", 6), Column("b", 5, right=True), Column("c", 8)]
    assert [line.plain for line in row(columns, ["one two", "12", "three"])] == ["one        12  three", "two"]
    assert header(columns).plain == "a           b  c"


def test_a_trace_is_folded(full_result: VerifyResult) -> None:
    store = Run(
        kind="store", instruction="mov", region=STACK, count=512, first=-16, last=-16, step=0, size=8,
        where=Place("a.c", 7), together=1,
    )  # fmt: skip
    load = full_result.paths[0].runs[0].model_copy(update={"together": 1, "count": 512})
    cpuid = Run(
        kind="serialise",
        instruction="cpuid",
        region=None,
        count=1,
        first=0,
        last=0,
        step=0,
        size=0,
        where=Place(offset=0x9),
    )
    trace = TraceResult(
        tool_version="0",
        routine=full_result.routine,
        buffer=full_result.buffer,
        paths=(TracePath(decisions=(), instructions=9, runs=(cpuid, store, load), events=()),),
        exit_status=0,
    )
    shown = plain(trace_lines(trace, 80))
    assert "path: 1025 events in 3 runs, 9 instructions" in shown
    assert "  1   cpuid at 0x9\n" in shown
    assert "  2 ┌ 512 stores, stack-16 … -16, step 0, 8 bytes each, mov at a.c:7\n" in shown
    assert "  3 └ 512 loads, buffer+0 … +65472, step 64, movzx at 0x400003\n" in shown
