# SPDX-License-Identifier: GPL-2.0-or-later
"""What ``--bind NAME=buffer`` means: what a pointer leads to, and of an array its own storage."""

from __future__ import annotations

from pathlib import Path

import pytest

from l1dflush.ending import Verdict
from l1dflush.verdict.judge import verify
from l1dflush.verdict.options import VerifyOptions

WALK = """
void flush_it(void)
{{
    __asm__ __volatile__(
        "xorl %%eax, %%eax\\n"
        "1: movzbl (%0,%%rax), %%ecx\\n"
        "addq $4096, %%rax\\n"
        "cmpq $65536, %%rax\\n"
        "jne 1b\\n"
        "lfence\\n"
        "xorl %%eax, %%eax\\n"
        "2: movzbl (%0,%%rax), %%ecx\\n"
        "addq $64, %%rax\\n"
        "cmpq $65536, %%rax\\n"
        "jne 2b\\n"
        "lfence\\n"
        : : "r" ({name}) : "rax", "rcx", "cc", "memory");
}}
"""


@pytest.mark.parametrize(
    "declaration", ["static char *pages;", "static char pages[65536] __attribute__((aligned(4096)));"]
)
def test_naming_the_buffer_changes_nothing(tmp_path: Path, declaration: str) -> None:
    file = tmp_path / "walk.c"
    file.write_text(declaration + WALK.format(name="pages"))
    found = verify(str(file), VerifyOptions(cpus=("skylake",)))
    named = verify(str(file), VerifyOptions(cpus=("skylake",), bind={"pages": "buffer"}))
    assert found.verdict is named.verdict is Verdict.PROVED
    assert found.buffer == named.buffer
    assert found.findings == named.findings
    assert [row.has for row in named.rows] == [16]
