# SPDX-License-Identifier: GPL-2.0-or-later
"""Accesses at places that nobody knows: a walk in steps that are not followed is no path without a walk, and what is
read of memory that is known, at a place that is not, refutes nothing alone."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from flush_programs import WALK, function, judged

from l1dflush.ending import Verdict
from l1dflush.verdict.if_any import verify_if_any
from l1dflush.verdict.options import VerifyOptions

pytestmark = pytest.mark.skipif(shutil.which("as") is None, reason="the GNU assembler is not installed")

PROVED, REFUTED, UNDECIDED = Verdict.PROVED, Verdict.REFUTED, Verdict.UNDECIDED
SHORT = WALK.replace("65536", "8192")
STEPS = "9: movzbl (%rdi,%rax),%ecx; add %r9d,%eax; cmp $65536,%eax; jb 9b"


def in_steps(steps: str) -> str:
    """A walk whose step one input chooses among the first two of a table, and another the third."""
    return function(
        "mov $2,%eax; test %esi,%esi; jz 1f; mov %edx,%eax; and $1,%eax",
        "1: lea steps(%rip),%r8; mov (%r8,%rax,4),%r9d; xor %eax,%eax", STEPS, "lfence",
    ) + f".section .rodata; steps: .long {steps}\n"  # fmt: skip


@pytest.mark.parametrize("every_path", [False, True])
@pytest.mark.parametrize("steps", ["128,128,32", "64,64,32", "4096,4096,64", "1024,1024,64"])
def test_a_walk_in_steps_that_are_not_known_is_not_skipped(steps: str, every_path: bool, tmp_path: Path) -> None:
    """With the first and the last two half of the lines or more are left out; with the second none."""
    result = judged(tmp_path, in_steps(steps), every_path=every_path)
    assert (result.verdict is PROVED) == (steps == "64,64,32")
    assert "skipped" not in {path.outcome for path in result.paths}


C = """
extern char buffer[65536];
static const int steps[4] = {128, 128, 32, 16};
void flush(unsigned x)
{
    int step = steps[x & 3];
    for (int at = 0; at < 65536; at += step)
        *(volatile char *)(buffer + at);
    __asm__ volatile("lfence" ::: "memory");
}
"""


@pytest.mark.parametrize("bits", ["-m64", "-m32"])
@pytest.mark.parametrize("level", ["-O0", "-O1", "-O2", "-Os"])
@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_compiled_steps_are_not_proved(compiler: str, level: str, bits: str, tmp_path: Path) -> None:
    if shutil.which(compiler) is None:
        pytest.skip(f"{compiler} is not installed")
    (tmp_path / "flush.c").write_text(C)
    out = tmp_path / "flush.o"
    subprocess.run([compiler, bits, level, "-c", "-o", str(out), "flush.c"], cwd=tmp_path, check=True)
    from l1dflush.verdict.judge import verify  # noqa: PLC0415 (compiled code only)

    result = verify(str(out), VerifyOptions(cpus=("skylake",), function="flush"))
    assert result.verdict is not PROVED


@pytest.mark.parametrize("reads", ["mov (%rdi,%rdx,4),%eax", "mov (%rdi,%rdx,4),%eax; mov 8(%rdi,%rdx,4),%eax"])
def test_a_few_reads_of_it_are_no_walk(reads: str, tmp_path: Path) -> None:
    text = function(f"{reads}; test %esi,%esi; jz 5f; lfence; ret", f"5: {WALK}", "lfence")
    result = judged(tmp_path, text)
    assert result.verdict is PROVED
    assert sorted(path.outcome for path in result.paths) == ["skipped", "software-walk"]


def test_reads_in_steps_of_an_input_may_be_a_flush(tmp_path: Path) -> None:
    """Where nothing walks in steps that are known, it is not certain that there is nothing to judge."""
    code = tmp_path / "steps.s"
    code.write_text(function("mov $70,%ecx", "9: movzbl (%rdi),%eax; add %rsi,%rdi; dec %ecx; jnz 9b"))
    assert verify_if_any([str(code)], VerifyOptions()).root.verdict is UNDECIDED


KNOWN = {
    "two slots of the stack": "sub $32,%rsp; movl $5,(%rsp); movl $6,4(%rsp); xor %eax,%eax; test %esi,%esi; setz %al;"
    " mov (%rsp,%rax,4),%eax; add $32,%rsp; cmp $7,%eax",
    "what was pushed": "push $5; xor %eax,%eax; test %esi,%esi; setz %al; movzbl 0(%rsp,%rax),%eax; pop %rcx;"
    " cmp $7,%eax",
    "a table of 256 entries": "movzbl %sil,%eax; lea table(%rip),%r8; movzbl (%r8,%rax),%eax; cmp $9,%al",
    "xlat of it": "push %rbx; mov %sil,%al; lea table(%rip),%rbx; xlat; pop %rbx; cmp $9,%al",
    "what is behind a pointer": "mov pointer+4(%rip),%rax; shr $32,%rax; cmp $9,%eax",
    "what is before a pointer": "mov before-4(%rip),%rax; mov %eax,%eax; cmp $9,%eax",
    "what is behind a pointer that a loader writes": "mov later+4(%rip),%rax; shr $32,%rax; cmp $9,%eax",
}
DATA = """
        .section .rodata
table:  .rept 32; .byte 0,1,2,3,4,5,6,7; .endr
        .long 8
before: .quad flush_it
pointer: .quad flush_it
        .long 8, 8
        .section .data.rel.ro, "aw"
later:  .quad flush_it
        .long 8, 8
"""


@pytest.mark.parametrize("name", KNOWN)
def test_what_is_known_where_it_is_refutes_nothing(name: str, tmp_path: Path) -> None:
    """None of what may be read is what is asked for: the short walk is never taken."""
    never = function(f"{KNOWN[name]}; je 5f", WALK, "lfence; ret", "5:", SHORT, "lfence") + DATA
    assert judged(tmp_path, never).verdict in (UNDECIDED, PROVED)
    either = function(f"{KNOWN[name]}; je 5f", SHORT, "lfence; ret", "5:", SHORT, "lfence") + DATA
    assert judged(tmp_path, either).verdict is REFUTED
    both = function(f"{KNOWN[name]}; je 5f", WALK, "lfence; ret", "5:", WALK, "lfence") + DATA
    assert judged(tmp_path, both).verdict is PROVED


def test_what_the_caller_gave_is_not_known(tmp_path: Path) -> None:
    asked = function("cmpl $7,16(%rsp)", "je 5f", WALK, "lfence; ret", "5:", SHORT, "lfence")
    assert judged(tmp_path, asked).verdict is REFUTED
    table = function(
        "movzbl %sil,%eax; lea table(%rip),%r8; cmpb $9,(%r8,%rax); je 5f", WALK, "lfence; ret", "5:", SHORT
    )
    writable = table + "\n        .data\ntable: .rept 32; .byte 0,1,2,3,4,5,6,7; .endr\n"
    assert judged(tmp_path, writable).verdict is REFUTED
