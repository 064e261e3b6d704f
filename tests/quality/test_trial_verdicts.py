# SPDX-License-Identifier: GPL-2.0-or-later
"""Small inputs that were judged wrongly once, each with the exit statuses that are right."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from l1dflush.cli.main import main

TRIALS = Path(__file__).parents[1] / "data" / "trials"
SKYLAKE = ("--cpu", "skylake")
needs = pytest.mark.skipif(shutil.which("gcc") is None or shutil.which("as") is None, reason="no compiler")


@needs
@pytest.mark.parametrize(
    ("file", "options", "right", "says", "never"),
    [
        ("soundness/wrmsr_mtrr_off.s", SKYLAKE, {3}, "MSR 0x2ff", ""),
        ("soundness/wrmsr_unknown.s", SKYLAKE, {3}, "number is not known", ""),
        ("soundness/wrpkru.s", SKYLAKE, {3}, "wrpkru", ""),
        ("soundness/rep_stosb_half.s", SKYLAKE, {3}, "fills-by-rep-stos", ""),
        ("soundness/lzcnt_nehalem.s", ("--cpu", "nehalem"), {3}, "instruction-not-there", ""),
        ("compiled/warm-and-fill.c", SKYLAKE, {0}, "scrub (C", ""),
        ("inputs/28-list-walk.c", SKYLAKE, {3}, "links", "[["),
        (
            "inputs/29-list-made-by-another-function.c",
            (*SKYLAKE, "--run-first", "l1_prepare"),
            {0},
            "first = l1_prepare",
            "",
        ),
        ("inputs/29-list-made-by-another-function.c", SKYLAKE, {3}, "--run-first l1_prepare", ""),
        ("inputs/23-memset.c", SKYLAKE, {3}, "fills-by-rep-stos", ""),
        ("compiled/msr-from-variable.s", SKYLAKE, {0}, "MSR write of an unknown value", "skipped"),
        ("compiled/msr-from-variable.s", (*SKYLAKE, "--every-path"), {3}, "--bind flush_command=VALUE", "skipped"),
    ],
)
def test_the_answer_is_right(
    file: str, options: tuple[str, ...], right: set[int], says: str, never: str, capsys: pytest.CaptureFixture[str]
) -> None:
    status = main(["verify", str(TRIALS / file), *options])
    out, err = capsys.readouterr()
    shown = " ".join((out + err).split())
    assert status in right, shown
    assert says in shown and (not never or never not in shown)
