# SPDX-License-Identifier: GPL-2.0-or-later
"""Accesses a second of the model machine, end to end: a script of random work, entries and flushes, played whole.

Numbers are drawn, addresses made, accesses simulated and the L1D looked at after every entry; reading the routine,
which is done once, is not counted.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from l1dflush.cache.geometry import Geometry
from l1dflush.verdict.options import VerifyOptions
from l1dflush.vmentry.lab.machine import Hardware
from l1dflush.vmentry.lab.play import Played, own_setting, play
from l1dflush.vmentry.lab.routine_accesses import routine_accesses
from l1dflush.vmentry.lab.scenario import read_scenario

ENTRIES = 2000
AT_LEAST = 5e6
FILE = """
title = "random work"
script = '''
repeat {entries}
  event emulation
  touch heap 1000 random
  touch vault 6 random
  sibling vault 4 random
  enter
end
'''
[machine]
smt = true
[flush]
mode = "{mode}"
[memory]
vault = {{ size = "8K", secret = true }}
heap = {{ size = "256K" }}
"""


@pytest.mark.parametrize("mode", ["never", "always"])
def test_random_work(
    mode: str, benchmark: BenchmarkFixture, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "made.toml").write_text(FILE.format(entries=ENTRIES, mode=mode))
    scenario = read_scenario(str(tmp_path / "made.toml"))
    routine = routine_accesses("linux-4.18", VerifyOptions())
    hardware = Hardware("tree-PLRU", Geometry(32768, 8, 64))

    def run() -> Played:
        return play(scenario, own_setting(scenario, "skylake"), hardware, routine, None)

    played = benchmark.pedantic(run, rounds=5)
    assert played.entries == ENTRIES and played.flushes == (ENTRIES if mode == "always" else 0)
    assert played.accesses >= 1010 * ENTRIES
    rate = played.accesses / benchmark.stats.stats.min
    benchmark.extra_info["million_accesses_a_second"] = round(rate / 1e6, 1)
    with capsys.disabled():
        sys.stdout.write(f"\n{mode}: {rate / 1e6:.1f} million accesses a second\n")
    assert rate >= AT_LEAST
