# SPDX-License-Identifier: GPL-2.0-or-later
"""Of several functions one is judged; another that may be the flush and cannot be followed is not passed over."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from l1dflush.cli.main import main

pytestmark = pytest.mark.skipif(shutil.which("as") is None, reason="the GNU assembler is not installed")
Capture = pytest.CaptureFixture[str]


def function(name: str, body: str) -> str:
    return f"\t.globl {name}\n\t.type {name}, @function\n{name}:\n{body}\tlfence\n\tret\n\t.size {name}, .-{name}\n"


WALK = "\tmovl $65536, %ecx\n1:\tmovb -1(%rdi,%rcx), %al\n\tsubl $64, %ecx\n\tjnz 1b\n"
# An instruction that nobody classified, and a count that is not known.
GATHER = (
    "\txorl %ecx, %ecx\n1:\tvpgatherqq %ymm0, (%rdi,%ymm1), %ymm2\n\taddq $64, %rdi\n\tincl %ecx\n"
    "\tcmpl $1024, %ecx\n\tjnz 1b\n"
)
COUNTED = "1:\tmovb (%rdi), %al\n\taddq $64, %rdi\n\tsubq $64, %rsi\n\tjnz 1b\n"
# It only writes to the buffer, as a set-up does.
FILLS = "1:\tmovb %cl, (%rdi)\n\taddq $4096, %rdi\n\tsubq $4096, %rsi\n\tjnz 1b\n"
STRAIGHT = "\tvpgatherqq %ymm0, (%rdi,%ymm1), %ymm2\n"


def judged(tmp_path: Path, capsys: Capture, texts: list[str], *options: str) -> tuple[int, dict[str, Any]]:
    names = []
    for number, text in enumerate(texts):
        names.append(tmp_path / f"{number}.s")
        names[-1].write_text(text)
    status = main(["verify", *map(str, names), "--cpu", "skylake", *options, "--json"])
    return status, json.loads(capsys.readouterr().out)


@pytest.mark.parametrize("other", [GATHER, COUNTED], ids=["instruction", "count"])
@pytest.mark.parametrize("names", [("l1d_flush", "sweep"), ("sweep_l1d", "flush_it"), ("wipe", "sweep")])
@pytest.mark.parametrize("together", [True, False], ids=["one file", "two files"])
def test_it_is_undecided_which_is_meant(
    other: str, names: tuple[str, str], together: bool, tmp_path: Path, capsys: Capture
) -> None:
    texts = [function(names[0], WALK), function(names[1], other)]
    texts = ["".join(texts)] if together else texts
    status, result = judged(tmp_path, capsys, texts)
    assert (status, result["verdict"], result["cause"]) == (3, "UNDECIDED", "another-walk-undecided")
    assert names[1] in result["reason"]
    assert "--function" in result["reason"]
    found = [one for one in result["findings"] if one["id"] == "another-walk-undecided"]
    assert [names[1] in one["message"] for one in found] == [True]
    # What was judged is still there.
    assert result["routine"]["name"] == names[0]
    assert [row["verdict"] for row in result["rows"]] == ["PROVED"]
    status, result = judged(tmp_path, capsys, texts, "--function", names[0])
    assert (status, result["verdict"], result["cause"]) == (0, "PROVED", None)
    assert "another-walk-undecided" not in [one["id"] for one in result["findings"]]


def test_it_takes_nothing_back_from_a_refuted_one(tmp_path: Path, capsys: Capture) -> None:
    texts = [function("l1d_flush", WALK.replace("65536", "32768")), function("sweep", GATHER)]
    status, result = judged(tmp_path, capsys, texts)
    assert (status, result["verdict"]) == (2, "REFUTED")
    assert "another-walk-undecided" in [one["id"] for one in result["findings"]]


@pytest.mark.parametrize("other", [FILLS, STRAIGHT], ids=["only writes", "no loop"])
def test_what_does_not_look_like_a_walk_is_only_said(other: str, tmp_path: Path, capsys: Capture) -> None:
    status, result = judged(tmp_path, capsys, [function("l1d_flush", WALK), function("l1d_flush_other", other)])
    assert (status, result["verdict"]) == (0, "PROVED")
    assert any("could not be followed: l1d_flush_other: " in one["text"] for one in result["scope"]["particular"])


@pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler")
def test_functions_of_c(tmp_path: Path, capsys: Capture) -> None:
    body = (
        "(const char *p, long n)\n{{\n\tfor (long i = 0; i < {0}; i += 64)\n\t\t*(volatile const char *)(p + i);\n}}\n"
    )
    source = tmp_path / "two.c"
    source.write_text("".join(f"void l1d_flush_{end}{body.format(end)}" for end in ("65536", "n")))
    assert main(["verify", str(source), "--cpu", "skylake"]) == 3
    assert "l1d_flush_n may be the flush" in " ".join(capsys.readouterr().out.split())
    assert main(["verify", str(source), "--cpu", "skylake", "--function", "l1d_flush_65536"]) == 0
