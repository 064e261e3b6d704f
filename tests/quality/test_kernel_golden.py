# SPDX-License-Identifier: GPL-2.0-or-later
"""The model says what real kernels said: every boot, every observation, every value that can be read."""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from kernel_observations import Comparison, recorded, replay

ROOT = Path(__file__).parents[2]
SHARED = Path(os.environ.get("L1DFLUSH_SHARED", ROOT.parent / "shared"))
GOLDEN = SHARED / "data" / "kernel-golden"
OWN = ROOT / "tests" / "data" / "kernel-observations"

NOT_EXPLAINED: dict[tuple[str, int, str], str] = {}
"""What the rules cannot explain: run, seq and kind, with the reason. None at present."""
AT_MOST = 0
"""So that the list cannot grow unnoticed."""


def compared(folder: Path) -> Comparison:
    comparison = Comparison()
    for boot, observations in recorded(folder):
        assert observations, f"nothing was observed in {boot['run']}"
        replay(boot, observations, comparison)
    return comparison


def unexplained(comparison: Comparison) -> list[str]:
    return [
        f"{one.run} {one.seq} {one.what}: the kernel {one.recorded!r}, the model {one.model!r}"
        for one in comparison.differences
        if (one.run, one.seq, one.what) not in NOT_EXPLAINED
    ]


@pytest.mark.skipif(not GOLDEN.is_dir(), reason="the recordings of real kernels are not there: data/kernel-golden")
def test_real_kernels(capsys: pytest.CaptureFixture[str]) -> None:
    comparison = compared(GOLDEN)
    kinds: Counter[str] = Counter()
    for (_, kind), number in comparison.counts.items():
        kinds[kind] += number
    report = [f"  {number:6} {kind}\n" for kind, number in sorted(kinds.items())]
    total = f"  {sum(kinds.values()):6} values compared, {len(comparison.differences)} differ\n"
    with capsys.disabled():
        sys.stdout.write("\n" + "".join(report) + total)
    assert not unexplained(comparison)
    known = {(one.run, one.seq, one.what) for one in comparison.differences}
    assert not set(NOT_EXPLAINED) - known, "explained by now: take it off the list"
    assert len(NOT_EXPLAINED) <= AT_MOST
    for kind in ("sysfs", "parameter", "parameter write", "smt write", "smt control", "log: L1TF CPU bug", "flushes"):
        assert kinds[kind] > 100, f"hardly any {kind} was compared"


def test_boots_written_down_by_hand() -> None:
    comparison = compared(OWN)
    assert not unexplained(comparison)
    assert sum(comparison.counts.values()) > 100


@pytest.mark.parametrize(
    ("seq", "field", "wrong"),
    [
        (2, "sysfs_l1tf", "Mitigation: PTE Inversion"),
        (2, "param_value", "cond"),
        (2, "l1d_flush", 3),
        (3, "dmesg_lines", []),
        (4, "runtime_writes", [{"w": "never\n", "rc": "ok"}, {"w": "Cond", "rc": "ok"}]),
        (5, "smt_control", "off"),
        (7, "param_value", "never"),
    ],
)
def test_a_difference_is_found(tmp_path: Path, seq: int, field: str, wrong: object) -> None:
    """What is compared is really compared: one wrong value in the recording is one difference."""
    (tmp_path / "boots.json").write_text((OWN / "boots.json").read_text())
    lines = [json.loads(line) for line in (OWN / "observations.jsonl").read_text().splitlines()]
    changed: list[dict[str, Any]] = [
        one | {field: wrong} if (one["run"], one["seq"]) == ("own-full", seq) else one for one in lines
    ]
    assert changed != lines
    (tmp_path / "observations.jsonl").write_text("".join(json.dumps(one) + "\n" for one in changed))
    assert len(compared(tmp_path).differences) == 1
