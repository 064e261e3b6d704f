# SPDX-License-Identifier: GPL-2.0-or-later
"""What is loaded at an index of which few numbers are left: what lies there in the stack, and what all entries of a
table have in common. What may have been changed meanwhile is not known."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from flush_programs import function, judged

from l1dflush.ending import Verdict

pytestmark = pytest.mark.skipif(shutil.which("as") is None, reason="the GNU assembler is not installed")

FILL = "sub $40,%rsp; movl ${0},(%rsp); movl ${1},4(%rsp); movl $65536,8(%rsp); movl ${0},12(%rsp)"
LOAD = "mov %esi,%eax; and $1,%eax; mov (%rsp,%rax,4),%r8d"
WALK = "xor %eax,%eax; 9: movzbl (%rdi,%rax),%ecx; add $64,%eax; cmp %r8d,%eax; jb 9b; lfence; add $40,%rsp"
SAME, LESS = FILL.format(65536, 65536), FILL.format(65536, 8192)
OTHER = "mov %edx,%ecx; and $1,%ecx; "


@pytest.mark.parametrize(
    ("before", "then", "verdicts"),
    [
        (FILL.format(65536, 131072), "", {Verdict.PROVED}),
        (LESS, "", {Verdict.REFUTED}),
        (LESS, "movl $65536,4(%rsp)", {Verdict.PROVED}),  # it is put right
        (LESS, "movl $65536,6(%rsp)", {Verdict.REFUTED, Verdict.UNDECIDED}),  # the upper half of it is
        (SAME, "movw $0,2(%rsp); movl $0,-64(%rsp)", {Verdict.REFUTED, Verdict.UNDECIDED}),
        (SAME, "movl $0,16(%rsp)", {Verdict.PROVED}),  # next to it
        (SAME, OTHER + "movl $64,(%rsp,%rcx,4)", {Verdict.REFUTED, Verdict.UNDECIDED}),  # at an index of its own
        (SAME, OTHER + "movl $64,(%rsp,%rcx,4); movl $65536,(%rsp); movl $65536,4(%rsp)", {Verdict.PROVED}),
        (SAME, "movl $64,(%rsp,%rdx,4)", {Verdict.REFUTED, Verdict.UNDECIDED}),
        (SAME, "mov %esi,%eax; and $1,%eax; movl $64,(%rsp,%rax,4)", {Verdict.REFUTED, Verdict.UNDECIDED}),
        (SAME, "push %rdi; push %rsi; lea 16(%rsp),%rdi; call other; pop %rsi; pop %rdi", {Verdict.UNDECIDED}),
    ],
)
def test_an_array_on_the_stack(before: str, then: str, verdicts: set[Verdict], tmp_path: Path) -> None:
    text = function(before, then, LOAD, WALK)
    assert judged(tmp_path, text, every_path=True).verdict in verdicts


@pytest.mark.parametrize(
    ("before", "verdict"),
    [
        ("and $1,%esi; inc %esi", Verdict.PROVED),
        ("cmp $1,%esi; je 8f; cmp $2,%esi; je 8f; ret; 8:", Verdict.PROVED),  # nothing else is left
        ("and $3,%esi", Verdict.UNDECIDED),
        ("and $1,%esi; add $2,%esi", Verdict.UNDECIDED),
        ("and $2,%esi", Verdict.REFUTED),
    ],
)
def test_a_step_of_which_entries_are_left_that_are_the_same(before: str, verdict: Verdict, tmp_path: Path) -> None:
    walk = "xor %eax,%eax; 9: movzbl (%rdi,%rax),%ecx; add %r8d,%eax; cmp $65536,%eax; jb 9b"
    text = function(before, "mov %esi,%esi; mov steps(,%rsi,4),%r8d", walk)
    text += "        .section .rodata\n        .balign 4\nsteps:  .long 128, 64, 64, 4096\n"
    assert judged(tmp_path, text).verdict is verdict


@pytest.mark.parametrize(
    ("rest", "verdict"),
    [("movzbl (%rsi),%eax", Verdict.PROVED), ("movzwl (%rsi),%eax; and $0x1fe,%eax; shr $1,%eax", Verdict.PROVED)],
)
def test_what_is_left_of_a_byte(rest: str, verdict: Verdict, tmp_path: Path) -> None:
    """By 7, as compilers divide; where the entry of one number is too small it is found out."""
    by_7 = "mov %eax,%ecx; imul $37,%eax,%edx; shr $8,%edx; sub %edx,%ecx; shr $1,%ecx; add %edx,%ecx; shr $2,%ecx; "
    by_7 += "imul $7,%ecx,%ecx; sub %ecx,%eax"
    text = function(rest, by_7, "mov sizes(,%rax,4),%r8d", "sub $40,%rsp", WALK)
    data = "        .section .rodata\n        .balign 4\nsizes:  .long {0}\n"
    enough = ["65536"] * 6 + ["131072", "64"]
    assert judged(tmp_path, text + data.format(",".join(enough))).verdict is verdict
    for less in range(7):
        entries = [*enough[:less], "8192", *enough[less + 1 :]]
        result = judged(tmp_path, text + data.format(",".join(entries)), every_path=True)
        assert result.verdict is Verdict.REFUTED, less
