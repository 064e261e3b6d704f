# SPDX-License-Identifier: GPL-2.0-or-later
"""Which of several functions is the flush: who reads lines, and whoever puts the pieces together."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from flush_programs import WALK, function, judged

from l1dflush.errors import InputError

pytestmark = pytest.mark.skipif(
    shutil.which("as") is None or shutil.which("gcc") is None, reason="no assembler or compiler"
)

TRIAL = (Path(__file__).parents[1] / "data" / "trials" / "compiled" / "warm-and-fill.c").read_text()
PAGES = "xor %eax,%eax; 7: movzbl (%rdi,%rax),%ecx; add $4096,%eax; cmp $65536,%eax; jne 7b"
TOUCH, FILL = function(PAGES, name="touch"), function(WALK, name="fill")


@pytest.mark.parametrize("optimize", ["0", "1", "2", "3", "s"])
def test_who_calls_the_others_is_taken(optimize: str, tmp_path: Path) -> None:
    """Called at some levels, and put into it at others."""
    assert judged(tmp_path, TRIAL, optimize=optimize).routine.name == "scrub"


def test_so_it_is_in_assembly(tmp_path: Path) -> None:
    whole = function("push %rdi; call touch; pop %rdi; call fill", name="whole")
    assert judged(tmp_path, TOUCH + FILL + whole).routine.name == "whole"
    assert judged(tmp_path, whole + FILL + TOUCH).routine.name == "whole"


def test_who_calls_two_that_read_lines_is_taken(tmp_path: Path) -> None:
    halves = [function(WALK.replace("65536", "32768"), name=f"half{n}") for n in (1, 2)]
    whole = function("push %rdi; call half1; pop %rdi; add $32768,%rdi; call half2", name="whole")
    assert judged(tmp_path, "".join(halves) + whole).routine.name == "whole"


def test_who_touches_pages_only_is_no_rival(tmp_path: Path) -> None:
    assert judged(tmp_path, TOUCH + FILL).routine.name == "fill"
    # Alone it is what was given.
    assert judged(tmp_path, TOUCH + function("nop", name="other")).routine.name == "touch"


def test_who_does_nothing_but_call_one_is_not_taken_for_it(tmp_path: Path) -> None:
    assert judged(tmp_path, FILL + function("call fill", name="entry")).routine.name == "fill"


def test_two_walks_that_have_nothing_to_do_with_each_other_are_both_named(tmp_path: Path) -> None:
    twice = function(WALK, WALK.replace("9", "8"), name="fill_twice")
    with pytest.raises(InputError, match="several functions walk a buffer: fill, fill_twice"):
        judged(tmp_path, FILL + twice)


def test_a_name_that_speaks_of_a_flush_still_comes_first(tmp_path: Path) -> None:
    whole = function("push %rdi; call touch; pop %rdi; call l1d_flush", name="whole")
    assert judged(tmp_path, TOUCH + function(WALK, name="l1d_flush") + whole).routine.name == "l1d_flush"


@pytest.mark.parametrize("names", [("l1d_flush_all",), ("aa", "l1d_flush_all", "l1d_zz"), ("aa", "bb")])
def test_what_does_not_end_leaves_time_for_the_others(names: tuple[str, ...], tmp_path: Path) -> None:
    """Whether it stands in front of the walk or behind it, and whatever it is called."""
    endless = [function("mov $0x7000000000,%rax; 5: dec %rax; jnz 5b", name=name) for name in names]
    walk = function(WALK, name="touch_lines")
    for text in ("".join(endless) + walk, walk + "".join(endless)):
        assert judged(tmp_path, text, max_seconds=2.0).routine.name == "touch_lines"


def test_where_nobody_could_be_followed_each_says_why(tmp_path: Path) -> None:
    loop = "1: mov (%rdi),%al; add $64,%rdi; dec %rsi; jnz 1b"
    text = function(loop, name="f0") + function(loop.replace("1", "2"), name="f1")
    with pytest.raises(InputError, match=r"none of these functions could be followed: f0: more than .*; f1: more than"):
        judged(tmp_path, text, max_seconds=4.0)


def test_who_only_calls_what_is_not_here_is_told_what_is_missing(tmp_path: Path) -> None:
    calls = function("mov $1024,%ebx; 1: call touch_line; dec %ebx; jnz 1b", name="flush")
    assert "give the file that has touch_line, too" in judged(tmp_path, calls).reason
    once = function("call touch_line; lfence", name="flush")
    assert "give the file" not in judged(tmp_path, once).reason
