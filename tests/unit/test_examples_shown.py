# SPDX-License-Identifier: GPL-2.0-or-later
"""The report for people is made without the counterexamples that it does not show, and is the same."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from l1dflush.proof.conditions import Conditions, Start
from l1dflush.report.terminal.verify import verify_lines
from l1dflush.verdict.judge import verify
from l1dflush.verdict.options import VerifyOptions

STEADY = VerifyOptions(conditions=Conditions(Start.parse("steady")))
WALK = str(Path(__file__).parents[1] / "data" / "examples" / "walk.s")


@pytest.mark.parametrize(
    ("routine", "options", "left_out"),
    [
        ("linux-4.9.120", VerifyOptions(), True),
        ("one-pass", VerifyOptions(cpus=("skylake",)), False),
        ("one-pass", VerifyOptions(every_cpu=True), False),
        ("one-pass", STEADY, True),
        (WALK, VerifyOptions(bind={"rsi": "32768"}), True),
    ],
    ids=["linux", "one CPU", "every CPU", "steady", "half a walk"],
)
def test_the_report_is_the_same(routine: str, options: VerifyOptions, left_out: bool) -> None:
    # Each is decided in a second; what is cut off depends on the time.
    options = replace(options, max_seconds=60.0)
    full, short = verify(routine, options), verify(routine, replace(options, all_examples=False))
    assert [line.markup for line in verify_lines(full, 80)] == [line.markup for line in verify_lines(short, 80)]
    without = [one.counterexample is None and other.counterexample is not None
               for one, other in zip(short.rows, full.rows, strict=True)]  # fmt: skip
    assert any(without) is left_out
    for gone, one, other in zip(without, short.rows, full.rows, strict=True):
        assert not (gone and one.decides)
        assert one == (other.model_copy(update={"counterexample": None}) if gone else other)
    rest = {"rows": ()}
    assert full.model_copy(update=rest) == short.model_copy(update=rest)
