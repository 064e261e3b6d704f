# SPDX-License-Identifier: GPL-2.0-or-later
"""Walks that store: ordinary stores bring lines in, those of rep stos and non-temporal ones need not."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path

import pytest
from flush_programs import WALK, function, judged

from l1dflush.cache.geometry import Geometry
from l1dflush.ending import Verdict
from l1dflush.errors import InputError
from l1dflush.proof.conditions import Conditions, Start
from l1dflush.tracing.region import BUFFER
from l1dflush.verdict.if_any import verify_if_any
from l1dflush.verdict.options import VerifyOptions
from l1dflush.verdict.verify_result import NothingResult, VerifyResult

pytestmark = pytest.mark.skipif(
    shutil.which("as") is None or shutil.which("gcc") is None, reason="no assembler or compiler"
)


SMALL = Geometry(4096, 8, 64)


def stores(instruction: str, end: int = 65536) -> str:
    return f"xor %eax,%eax; 8: {instruction}; add $64,%eax; cmp ${end},%eax; jne 8b"


def kinds(result: VerifyResult) -> Counter[str]:
    count: Counter[str] = Counter()
    for run in result.paths[0].runs:
        count[run.kind] += run.count if run.region == BUFFER else 0
    return count


# --- ordinary stores

ORDINARY = ["movb %cl,(%rdi,%rax)", "movaps %xmm0,(%rdi,%rax)", "mov %rcx,8(%rdi,%rax)"]


@pytest.mark.parametrize("body", [*map(stores, ORDINARY), "mov $1024,%ecx; 8: stosb; add $63,%rdi; loop 8b"])
def test_a_walk_by_ordinary_stores_is_a_walk(body: str, tmp_path: Path) -> None:
    result = judged(tmp_path, function(body, "lfence"))
    assert result.verdict is Verdict.PROVED and kinds(result)["store"] == 1024
    assert any("allocates on writes" in one.text for one in result.scope.taken_for_granted)
    short = body.replace("65536", "16384").replace("1024", "256")
    assert judged(tmp_path, function(short, "lfence")).verdict is Verdict.REFUTED


def test_half_by_loads_and_half_by_stores_is_whole(tmp_path: Path) -> None:
    half = WALK.replace("65536", "32768")
    assert judged(tmp_path, function(half)).verdict is Verdict.REFUTED
    both = function(half, "add $32768,%rdi", stores("movb %cl,(%rdi,%rax)", 32768))
    assert judged(tmp_path, both).verdict is Verdict.PROVED


def test_reading_and_writing_at_once_is_a_walk(tmp_path: Path) -> None:
    assert judged(tmp_path, function(stores("addb $0,(%rdi,%rax)"))).verdict is Verdict.PROVED
    assert judged(tmp_path, function(stores("lock incl (%rdi,%rax)"))).verdict is Verdict.PROVED


# --- stores that may bring their lines in, or not

REP = {
    "stosb": "mov $65536,%ecx; rep stosb", "stosq": "mov $8192,%ecx; rep stosq", "movsq": "mov $8192,%ecx; rep movsq",
}  # fmt: skip


@pytest.mark.parametrize("body", [REP["stosb"], REP["stosq"]])
def test_rep_stos_alone_is_not_known_to_flush(body: str, tmp_path: Path) -> None:
    result = judged(tmp_path, function(body, "lfence"))
    assert (result.verdict, result.rows[0].cause) == (Verdict.UNDECIDED, "fills-by-rep-stos")
    assert kinds(result)["string-store"] and "rep sto" in result.reason


def test_the_loads_of_rep_movs_are_loads(tmp_path: Path) -> None:
    """It reads 8 KiB and stores elsewhere: the loads are enough, whether the stores come in between or not."""
    code = function("mov $1024,%ecx; rep movsq", "lfence")
    for policy in ("LRU", "tree-PLRU"):
        result = judged(tmp_path, code, bind={"rsi": "buffer"}, policy=policy, geometry=SMALL)
        assert (result.verdict, kinds(result)["load"]) == (Verdict.PROVED, 1024)
    read = function("mov $8192,%ecx; rep lodsq")
    assert judged(tmp_path, read).verdict is Verdict.PROVED


@pytest.mark.parametrize("where", ["before", "after", "in between, of its own"])
def test_rep_stos_that_the_walk_does_not_need_changes_nothing(where: str, tmp_path: Path) -> None:
    store = "push %rdi; lea -128(%rsp),%rdi; mov $16,%ecx; xor %eax,%eax; rep stosq; pop %rdi"
    parts = {
        "before": (store, WALK), "after": (WALK, store),
        "in between, of its own": (WALK, store, "add $65536,%rdi", WALK.replace("9", "7")),
    }[where]  # fmt: skip
    assert judged(tmp_path, function(*parts)).verdict is Verdict.PROVED


def test_what_leaves_lines_either_way_is_refuted(tmp_path: Path) -> None:
    """16 KiB are too few, whether the other 4 KiB come in or not."""
    body = function(WALK.replace("65536", "16384"), "add $16384,%rdi; mov $512,%ecx; rep stosq")
    assert judged(tmp_path, body).verdict is Verdict.REFUTED


NON_TEMPORAL = ["movnti %rcx,(%rdi,%rax)", "movntdq %xmm0,(%rdi,%rax)", "movntps %xmm1,(%rdi,%rax)"]


@pytest.mark.parametrize("instruction", NON_TEMPORAL)
def test_a_walk_by_non_temporal_stores_is_undecided(instruction: str, tmp_path: Path) -> None:
    result = judged(tmp_path, function(stores(instruction), "sfence"))
    assert (result.verdict, result.rows[0].cause) == (Verdict.UNDECIDED, "non-temporal-stores")
    assert kinds(result)["non-temporal-store"] == 1024
    # Before the walk, and to other memory, they do not matter.
    own = stores(instruction.replace("rdi", "rsi"), 4096)
    assert judged(tmp_path, function(own, WALK), bind={"rdi": "buffer"}).verdict is Verdict.PROVED


def test_lines_that_are_pushed_out_again_do_not_count(tmp_path: Path) -> None:
    """64 KiB are read, and the same lines are stored to past the cache on the way: invalid ways are filled next."""
    body = stores("movzbl (%rdi,%rax),%ecx; movnti %rcx,(%rdi,%rax)")
    assert judged(tmp_path, function(body)).verdict is Verdict.UNDECIDED


def test_too_few_non_temporal_stores_are_refuted(tmp_path: Path) -> None:
    assert judged(tmp_path, function(stores("movnti %rcx,(%rdi,%rax)", 8192))).verdict is Verdict.REFUTED


FIRST = {"rep stos": f"push %rdi; {REP['stosq']}; pop %rdi", "movnti": stores(NON_TEMPORAL[0])}


@pytest.mark.parametrize("first", FIRST)
def test_a_whole_walk_behind_such_stores_is_enough(first: str, tmp_path: Path) -> None:
    """Whatever they did to the buffer's lines: the walk behind them empties any set."""
    assert judged(tmp_path, function(FIRST[first], WALK)).verdict is Verdict.PROVED
    # Loads before them change nothing.
    assert judged(tmp_path, function(WALK, FIRST[first], WALK.replace("9", "7"))).verdict is Verdict.PROVED
    short = WALK.replace("65536", "16384")
    assert judged(tmp_path, function(FIRST[first], short)).verdict is not Verdict.PROVED


def test_a_whole_walk_before_such_stores_is_enough(tmp_path: Path) -> None:
    """Into the buffer, too; what is gone does not come back."""
    for last in ("movnti %eax,(%rdi)", "add $8192,%rdi; mov $512,%ecx; rep stosq", NON_TEMPORAL[1]):
        assert judged(tmp_path, function(WALK, last)).verdict is Verdict.PROVED
    for start in ("any", "cold"):
        result = judged(tmp_path, function(WALK, "movnti %eax,(%rdi)"), conditions=Conditions(start=Start.parse(start)))
        assert result.verdict is Verdict.PROVED
    short = WALK.replace("65536", "16384")
    assert judged(tmp_path, function(short, "movnti %eax,(%rdi)")).verdict is not Verdict.PROVED


def test_from_a_full_set_on_a_line_that_was_pushed_out_counts(tmp_path: Path) -> None:
    """Behind a non-temporal store a way may be invalid, which no set that is full at first has."""
    body = function(FIRST["movnti"], WALK)
    full = Conditions(start=Start.parse("any"))
    result = judged(tmp_path, body, conditions=full)
    assert (result.verdict, result.rows[0].cause) == (Verdict.UNDECIDED, "non-temporal-stores")


# --- in C

MEMSET = "#include <string.h>\nstatic char junk[{size}];\nvoid {name}(int v)\n{{\n\t{body}\n}}\n"
LOOP = "for (volatile char *p = junk; p < junk + sizeof junk; p += 64) *p = v;"


def c(body: str, name: str = "flush_cache", size: str = "1 << 18") -> str:
    return MEMSET.format(size=size, name=name, body=body)


@pytest.mark.parametrize("call", ["memset(junk, v, sizeof junk);", "memmove(junk, junk + v, sizeof junk / 2);"])
def test_a_call_of_memset_is_not_known_to_fill(call: str, tmp_path: Path) -> None:
    result = judged(tmp_path, c(call))
    assert (result.verdict, result.cause) == (Verdict.UNDECIDED, "fills-by-rep-stos")
    assert call.partition("(")[0] in result.reason


def test_memset_behind_a_walk_that_is_too_short_may_fill_the_rest(tmp_path: Path) -> None:
    walk = "for (int i = 0; i < 16384; i += 64) ((volatile char *)junk)[i];"
    assert judged(tmp_path, c(walk)).verdict is Verdict.REFUTED
    result = judged(tmp_path, c(walk + " memset(junk, v, sizeof junk);"))
    assert (result.verdict, result.rows[0].cause) == (Verdict.UNDECIDED, "fills-by-rep-stos")
    whole = walk.replace("16384", "65536") + " memset(junk, v, 64);"
    assert judged(tmp_path, c(whole)).verdict is Verdict.PROVED


def test_a_loop_of_ordinary_stores_in_c(tmp_path: Path) -> None:
    assert judged(tmp_path, c(LOOP)).verdict is Verdict.PROVED


# --- which function is meant


def test_who_only_stores_is_no_rival_of_who_reads(tmp_path: Path) -> None:
    code = function(stores("movb %cl,(%rdi,%rax)"), name="l1d_flush_init") + function(WALK, name="fill")
    assert judged(tmp_path, code).routine.name == "fill"


def test_who_only_stores_is_taken_if_the_name_says_so(tmp_path: Path) -> None:
    other = "void clear(int v)\n{\n\tfor (volatile char *p = junk; p < junk + sizeof junk; p += 64)\n\t\t*p = v;\n}\n"
    assert judged(tmp_path, c(LOOP) + other).routine.name == "flush_cache"
    with pytest.raises(InputError, match="none of these functions"):
        judged(tmp_path, c(LOOP, "wipe") + other)
    with pytest.raises(InputError, match="several functions walk a buffer by stores"):
        judged(tmp_path, c(LOOP) + other.replace("clear", "flush_too"))


def test_who_only_stores_is_nothing_to_judge_for_a_check_of_every_change(tmp_path: Path) -> None:
    code = tmp_path / "table.c"
    code.write_text(
        "char table[8192];\nvoid fill_table(void)\n{\n\tfor (int i = 0; i < 8192; i++)\n\t\ttable[i] = i;\n}\n"
    )
    assert isinstance(verify_if_any([str(code)], VerifyOptions(cpus=("skylake",))).root, NothingResult)
    code.write_text(code.read_text().replace("fill_table", "flush_table"))
    assert isinstance(verify_if_any([str(code)], VerifyOptions(cpus=("skylake",))).root, VerifyResult)
