# SPDX-License-Identifier: GPL-2.0-or-later
"""The reports of ``measure`` and ``identify`` on simulated silicon, compared with files; ``--refresh-golden`` rewrites
them."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from fake_silicon import INTEL, ZEN, FakeRegion, FakeSilicon, fake_silicon

from l1dflush.cache.policies import all_policies
from l1dflush.report.terminal.identify import identify_lines
from l1dflush.report.terminal.measure import measure_lines
from l1dflush.silicon.measure import survivors as surviving
from l1dflush.silicon.measure.costs import Costs, variants
from l1dflush.silicon.measure.identify import identify
from l1dflush.silicon.measure.results import identified, measured
from l1dflush.silicon.measure.session import CONTROL_SET

FOLDER = Path(__file__).parent / "measured"


def compare(name: str, lines: list[object], config: pytest.Config) -> None:
    text = "".join(f"{str(line).rstrip()}\n" for line in lines)
    file = FOLDER / name
    if config.getoption("--refresh-golden"):
        file.write_text(text, encoding="utf-8")
    assert file.read_text(encoding="utf-8") == text


def settled(there: FakeSilicon, monkeypatch: pytest.MonkeyPatch) -> None:
    """Took a second and a half, and nothing else went on."""
    monkeypatch.setattr(time, "monotonic", lambda: there.started + 1.5)


def test_identify(monkeypatch: pytest.MonkeyPatch, pytestconfig: pytest.Config) -> None:
    region = FakeRegion("LRU3PLRU4", 12, ZEN)
    there = fake_silicon(region)
    found = identify(region, 12, CONTROL_SET, 1, times=5)
    settled(there, monkeypatch)
    result = identified(there, found, "Ice Lake", "LRU3PLRU4", 1)
    compare("identify.txt", [*identify_lines(result, 80)], pytestconfig)


def test_measure(monkeypatch: pytest.MonkeyPatch, pytestconfig: pytest.Config) -> None:
    monkeypatch.setattr(surviving, "HISTORIES", 2)
    region = FakeRegion("tree-PLRU", 8, INTEL)
    there = fake_silicon(region)
    costs = Costs(region, 32 << 10, variants(13 * 4096))
    costs.play(4)
    survivors = surviving.begun(region, 8, 18, 1)
    surviving.played(survivors, 3)
    settled(there, monkeypatch)
    trials, moved = survivors.trials + costs.trials, survivors.moved + costs.moved
    result = measured(
        there, "Skylake", "tree-PLRU", 13 * 4096, 1, survivors, all_policies(8), costs.costs(), trials, moved, False
    )
    compare("measure.txt", [*measure_lines(result, 80)], pytestconfig)
