# SPDX-License-Identifier: GPL-2.0-or-later
"""Where the default start takes too long to be searched, a start with all ways valid may refute a routine soon."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from l1dflush.cli.main import main
from l1dflush.errors import UndecidedError
from l1dflush.proof import prover
from l1dflush.proof.conditions import Conditions
from l1dflush.proof.counterexample import Counterexample

Capture = pytest.CaptureFixture[str]
pytestmark = pytest.mark.skipif(shutil.which("as") is None, reason="there is no assembler")
TWICE = """
	.globl	flush
	.type	flush, @function
flush:	movl	$2, %edx
2:	xorl	%eax, %eax
1:	movzbl	(%rdi,%rax), %ecx
	addq	$64, %rax
	cmpq	${}, %rax
	jb	1b
	decl	%edx
	jnz	2b
	lfence
	ret
	.size	flush, . - flush
"""


def judged(text: str, policy: str, folder: Path, capsys: Capture) -> Path:
    (folder / "flush.s").write_text(text)
    arguments = ["--policy", policy, "--geometry", "32K,8,64", "--max-seconds", "8"]
    assert main(["verify", str(folder / "flush.s"), *arguments, "--json"]) == 2
    file = folder / "result.json"
    file.write_text(capsys.readouterr().out)
    return file


@pytest.mark.parametrize(("policy", "pages"), [("FIFO", 9), ("FIFO", 10), ("SRRIP-HP", 8)])
def test_two_passes_over_a_little_more(policy: str, pages: int, tmp_path: Path, capsys: Capture) -> None:
    file = judged(TWICE.format(pages * 4096), policy, tmp_path, capsys)
    (row,) = json.loads(file.read_text())["rows"]
    assert row["verdict"] == "REFUTED"
    assert row["leftovers"] >= 1
    assert row["counterexample"]["leftovers"] >= 1
    assert main(["replay", str(file)]) == 0
    assert "old" in capsys.readouterr().out


def test_only_what_was_searched_is_called_the_smallest(
    tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    search = prover.counterexample

    def few(policy: str, ways: int, word: object, conditions: Conditions, **more: object) -> Counterexample:
        if not conditions.start.all_ways_valid:
            raise UndecidedError("out-of-time", "it takes longer than allowed")
        return search(policy, ways, word, conditions, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(prover, "counterexample", few)
    monkeypatch.setattr("l1dflush.sandbox.judged.run_in_child", lambda task, *_, **__: task())
    file = judged(TWICE.format(4 * 4096), "FIFO", tmp_path, capsys)
    (row,) = json.loads(file.read_text())["rows"]
    assert row["counterexample"]["smallest"] is False
    assert all(line != "-" for line in row["counterexample"]["start"])
    assert main(["replay", str(file)]) == 0
    capsys.readouterr()
    arguments = ["--policy", "FIFO", "--geometry", "32K,8,64"]
    assert main(["verify", str(tmp_path / "flush.s"), *arguments]) == 2
    out = capsys.readouterr().out
    assert "a start in which a line survives" in out
    assert "the smallest start" not in out
