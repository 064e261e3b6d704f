# SPDX-License-Identifier: GPL-2.0-or-later
"""Random bytes as code end in a trace or in one of the errors that are meant for people, and in time."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import Literal

import pytest
import trace_programs as programs
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from l1dflush.errors import InputError, UndecidedError
from l1dflush.tracing.abstract import trace
from l1dflush.tracing.options import TraceOptions
from l1dflush.verdict.judge import verify
from l1dflush.verdict.options import VerifyOptions

bounded = settings(
    max_examples=400, derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck)
)
# Pieces that get further than noise does: moves, arithmetic, stack, strings, branches, vectors, prefixes.
PIECES = (
    b"\x48\x89\xc8", b"\x8a\x07", b"\x48\x8b\x07", b"\x48\x8b\x04\x24", b"\x88\x47\x08", b"\x48\x01\x07", b"\x50",
    b"\x58", b"\x5c", b"\xc9", b"\xf3\xac", b"\xf3\xaa", b"\xf3\xa4", b"\xb1\x05", b"\xb8\x10\x00\x00\x00",
    b"\xff\xc8", b"\x75\xfa", b"\x74\x02", b"\xe3\xf8", b"\xe2\xfc", b"\xeb\xfe", b"\xe8\x00\x00\x00\x00", b"\xc3",
    b"\xff\x27", b"\x0f\x44\x07", b"\x0f\x10\x07", b"\x0f\x11\x07", b"\x66\x48\x0f\x7e\xc0", b"\xc5\xfd\x6f\x07",
    b"\x65\x48\x8b\x04\x25\x00\x00\x00\x00", b"\x66", b"\x67", b"\xf0", b"\xf2", b"\x0f\xa2", b"\x0f\x30",
    b"\x0f\xae\x3f", b"\xd3\xe0", b"\xd0\xd0", b"\xf7\xf1", b"\x48\x0f\xc1\x07",
    b"\xa1\x00\x00\x00\x00\xff\xff\xff\xff", b"\x48\x8b\x04\x25\xfc\xff\xff\xff", b"\xfd", b"\x66\xb8\x01\x00",
)  # fmt: skip
codes = st.one_of(
    st.binary(min_size=1, max_size=24),
    st.lists(st.one_of(st.sampled_from(PIECES), st.binary(min_size=1, max_size=2)), min_size=1, max_size=12).map(
        b"".join
    ),
)


def check(routine: object) -> None:
    start = time.process_time()
    try:
        trace(routine, TraceOptions(max_seconds=0.2, max_instructions=20_000, max_paths=16))  # type: ignore[arg-type]
    except (InputError, UndecidedError) as error:
        assert str(error).isprintable()
    assert time.process_time() - start < 4


@bounded
@given(codes, st.sampled_from((32, 64)))
def test_random_code(code: bytes, bits: Literal[32, 64]) -> None:
    check(programs.code_only(code + b"\xc3", bits))


@pytest.mark.skipif(shutil.which("as") is None, reason="the GNU assembler is not installed")
@pytest.mark.parametrize(
    "text",
    [
        "jmp 1f+1; 1: mov $0xc3c3c3c3,%eax; ret",
        "lea 1f(%rip),%rax; push %rax; ret; 1: ret",
        "mov %rdi,%rsp; leave; ret",
        "push %rsp; pop %rsp; ret",
        "and $-64,%rsp; movaps %xmm0,-64(%rsp); ret",
        "mov $0x7fff0000,%rax; jmp *%rax",
        "mov $0x7fffffffffff,%rax; mov (%rax),%rbx; ret",
        "mov $0xffff800000000000,%rax; mov (%rax),%rbx; ret",
        "mov $-1,%rax; prefetcht0 (%rax); clflush (%rax); ret",
        "movaps 1(%rsp),%xmm0; ret",
        "mov %gs:0,%rax; mov %fs:(%rax),%rbx; ret",
        # Each iteration needs memory of its own.
        "xor %eax,%eax; 1: movzbl (%rdi,%rax),%ecx; add $0xae00,%eax; cmp $0x10000,%eax; jne 1b; ret",
    ],
)
def test_odd_code(text: str) -> None:
    check(programs.function(text))


@pytest.mark.skipif(shutil.which("as") is None, reason="the GNU assembler is not installed")
def test_a_walk_in_huge_steps(tmp_path: Path) -> None:
    """It spans nearly 2 GiB; what it leaves out is told without looking at each line."""
    text = "mov $30,%ecx; 1: movzbl (%rdi),%eax; add $0x3fffc40,%rdi; dec %ecx; jnz 1b; ret"
    path = tmp_path / "steps.o"
    path.write_bytes(programs.elf(f".globl flush\n.type flush,@function\nflush: {text}"))
    start = time.process_time()
    result = verify(str(path), VerifyOptions(cpus=("haswell",)))
    assert time.process_time() - start < 20  # a tenth of a second where nothing else runs
    (found,) = [f.message for f in result.findings if f.id == "skipped-line"]
    assert found == "the walk goes in steps of 67107904 bytes: 1048560 of 1048561 lines are left out"
