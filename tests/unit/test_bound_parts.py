# SPDX-License-Identifier: GPL-2.0-or-later
"""``--bind`` of a part of a register."""

from __future__ import annotations

import shutil

import pytest
from trace_programs import traced

pytestmark = pytest.mark.skipif(shutil.which("as") is None, reason="the GNU assembler is not installed")


@pytest.mark.parametrize(
    ("name", "value", "asked", "paths"),
    [
        ("rsi", 5, "cmp $5,%rsi", 1),
        ("esi", 5, "cmp $5,%esi", 1),
        # Of what is above nothing was said.
        ("esi", 5, "cmp $5,%rsi", 2),
        ("si", 5, "cmp $5,%esi", 2),
        ("sil", 5, "cmp $5,%sil", 1),
        ("dh", 5, "cmp $5,%dh", 1),
        ("dh", 5, "cmp $5,%dl", 2),
        ("dh", 5, "mov %edx,%eax; shr $8,%eax; cmp $5,%al", 1),
        ("esi", -1, "cmp $-1,%esi", 1),
        ("esi", -1, "cmp $-1,%rsi", 2),
    ],
)
def test_a_part_of_a_register_is_no_more_than_that(name: str, value: int, asked: str, paths: int) -> None:
    text = f"{asked}; jne 1f; nop; 1: ret"
    assert len(traced(text, bind={name: str(value)}).paths) == paths


def test_a_part_may_be_relative_too() -> None:
    text = "lea 64(%rdi),%eax; cmp %eax,%esi; jne 1f; nop; 1: ret"
    assert len(traced(text, bind={"esi": "rdi+64"}).paths) == 1
    assert len(traced(text.replace("%eax", "%rax").replace("%esi", "%rsi"), bind={"esi": "rdi+64"}).paths) == 2
