# SPDX-License-Identifier: GPL-2.0-or-later
"""Where a routine could not be followed is a fact in its result, whoever passed the reason on."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from l1dflush.place import Place
from l1dflush.verdict.judge import verify
from l1dflush.verdict.options import VerifyOptions

pytestmark = pytest.mark.skipif(shutil.which("as") is None, reason="the GNU assembler is not installed")

UNKNOWN = """.globl f
.type f,@function
f: xor %eax,%eax
1: mov (%rdi,%rax),%cl
add $64,%rax
cmp LIMIT,%rax
jb 1b
ret
.size f,.-f
"""
ANOTHER = """.globl g
.type g,@function
g: movq $65536,limit(%rip)
ret
.size g,.-g
.comm limit,8,8
"""


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        (UNKNOWN.replace("LIMIT", "%rsi"), "--bind rsi=VALUE"),
        # Picked among several, and with a function that would help.
        (UNKNOWN.replace("LIMIT", "%rsi") + ANOTHER, "--bind rsi=VALUE"),
        (UNKNOWN.replace("LIMIT", "limit(%rip)") + ANOTHER, "--run-first g, which writes `limit`"),
    ],
    ids=["alone", "picked", "with a hint of another's"],
)
def test_the_place_is_told_as_a_fact(text: str, hint: str, tmp_path: Path) -> None:
    source, code = tmp_path / "f.s", tmp_path / "f.o"
    source.write_text(text)
    # Without lines.
    subprocess.run(["as", "-o", str(code), str(source)], check=True)
    for path in (source, code):
        why = verify(str(path), VerifyOptions(cpus=("skylake",))).undecided
        assert why is not None and why.where is not None and why.hint == hint
        if path is source:
            assert why.where == Place(str(source), 7)
        else:
            assert (why.where.file, why.where.function) == (None, "f") and why.where.offset
