# SPDX-License-Identifier: GPL-2.0-or-later
"""Flushes again and again, as ``verify`` judges them: the known figures, and routines with several ways to run."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from l1dflush.cache.geometry import Geometry
from l1dflush.ending import Verdict
from l1dflush.errors import InputError
from l1dflush.proof.conditions import Conditions, Start
from l1dflush.verdict.judge import verify
from l1dflush.verdict.options import VerifyOptions
from l1dflush.verdict.verify_result import Row, VerifyResult

pytestmark = pytest.mark.skipif(shutil.which("as") is None, reason="the GNU assembler is not installed")
STARTS = ("steady", "steady-from-any", "steady+invalidations")


def function(body: str) -> str:
    return f"\t.globl flush\n\t.type flush, @function\nflush:\n{body}\tlfence\n\tret\n\t.size flush, . - flush\n"


def loop(first: int, end: int, step: int, inside: str = "") -> str:
    body = f"7:\tmovzbl (%rdi,%rax), %ecx\n{inside}\tadd ${step}, %eax\n\tcmp ${end}, %eax\n\tjne 7b\n"
    return f"\tmov ${first}, %eax\n{body}"


def forwards(pages: int) -> str:
    return function(loop(0, 4096 * pages, 64))


def backwards(pages: int) -> str:
    return function(loop(4096 * pages - 64, -64, -64))


def written(folder: Path, name: str, text: str) -> str:
    (folder / name).write_text(text)
    return str(folder / name)


def judged(source: str, start: str, *then: str, touches: int = 0, policy: str = "tree-PLRU") -> VerifyResult:
    conditions = Conditions(Start.parse(start), touches)
    options = VerifyOptions(
        policy=policy, geometry=Geometry(32768, 8, 64), conditions=conditions, then=then, max_seconds=60
    )
    return verify(source, options)


def row(*arguments: str, **options: int) -> Row:
    return judged(*arguments, **options).rows[0]  # type: ignore[arg-type]


@pytest.mark.parametrize(("start", "needs"), list(zip(STARTS, (8, 9, 13), strict=True)))
def test_one_order_again_and_again(start: str, needs: int, tmp_path: Path) -> None:
    enough = row(written(tmp_path, "enough.s", forwards(needs)), start)
    assert (enough.verdict, enough.needs, enough.has, enough.margin) == (Verdict.PROVED, needs, needs, 0)
    one_less = row(written(tmp_path, "less.s", forwards(needs - 1)), start)
    assert (one_less.verdict, one_less.needs, one_less.margin) == (Verdict.REFUTED, needs, -1)
    assert one_less.counterexample is not None


def test_forwards_and_backwards_in_turn(tmp_path: Path) -> None:
    for pages, left in ((8, 1), (9, 0)):
        there = written(tmp_path, "there.s", forwards(pages))
        back = written(tmp_path, "back.s", backwards(pages))
        result = judged(there, "steady", back)
        assert (result.rows[0].leftovers, result.rows[0].has) == (left, pages)
        assert [routine.source for routine in result.then] == [back]
    # As margins are about one fixed order, there is none where the exact words say something else.
    assert (
        row(written(tmp_path, "there.s", forwards(8)), "steady", written(tmp_path, "b.s", backwards(8))).margin is None
    )


def test_a_path_for_each_direction_is_as_bad_as_any_turn(tmp_path: Path) -> None:
    either = function(
        "\ttest %esi, %esi\n\tjne 8f\n" + loop(0, 4096 * 8, 64) + "\tlfence\n\tret\n8:\n"
        + loop(4096 * 8 - 64, -64, -64).replace("7:", "9:").replace("7b", "9b")
    )  # fmt: skip
    assert row(written(tmp_path, "either.s", either), "steady").leftovers == 1


def test_a_counter_in_memory_lies_where_it_lay(tmp_path: Path) -> None:
    # With the counter between every two lines three old lines stay for ever from any start; here the same memory is
    # used by every flush, and nothing else is cached when it begins for the first time.
    counted = written(tmp_path, "counted.s", function(loop(0, 65536, 64, "\tincl -8(%rsp)\n")))
    assert row(counted, "any").leftovers == 3
    found = row(counted, "steady")
    assert found.verdict is Verdict.REFUTED and found.leftovers == 3
    assert found.counterexample is not None
    assert any("stack" in step.access for step in found.counterexample.steps)


def test_touches_count_for_each_flush(tmp_path: Path) -> None:
    eight = written(tmp_path, "eight.s", forwards(8))
    assert row(eight, "steady").verdict is Verdict.PROVED
    found = row(eight, "steady", touches=1)
    assert found.verdict is Verdict.REFUTED


def test_a_call_in_the_middle_is_no_word(tmp_path: Path) -> None:
    called = function(
        loop(0, 4096, 64) + "\tcall outside\n" + loop(4096, 4096 * 2, 64).replace("7:", "9:").replace("7b", "9b")
    )
    found = row(written(tmp_path, "called.s", called), "steady")
    assert (found.verdict, found.cause) == (Verdict.UNDECIDED, "outside-call")


def test_a_routine_in_turn_without_a_walk(tmp_path: Path) -> None:
    nothing = written(tmp_path, "nothing.s", function("\tnop\n"))
    result = judged("one-pass", "steady", nothing)
    assert (result.verdict, result.cause) == (Verdict.UNDECIDED, "no-software-walk")
    assert "takes its turn" in result.reason


def test_routines_in_turn_need_a_steady_start() -> None:
    with pytest.raises(InputError, match="need a steady start"):
        judged("one-pass", "any", "two-passes")
