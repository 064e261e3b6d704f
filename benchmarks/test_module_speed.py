# SPDX-License-Identifier: GPL-2.0-or-later
"""Whole commands on kernel modules as distributions ship them, from the folder that ``L1DFLUSH_MODULES`` names.

At most 2 s for a 6.1 module and 4 s for the largest are wanted.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

COMMAND = Path(sys.executable).with_name("l1dflush")
FOLDER = os.environ.get("L1DFLUSH_MODULES", "")
MODULES = sorted((p for p in Path(FOLDER).rglob("*.ko*") if p.stat().st_size > 4096), key=lambda p: p.stat().st_size)
SHOWN = [path for path in MODULES if "6.1.0" in str(path) and "cloud" in str(path)][:1] + MODULES[-1:]
CHOSEN = {str(path): path for path in SHOWN} if FOLDER else {}


@pytest.mark.skipif(not COMMAND.is_file(), reason=f"not installed as a command: {COMMAND}")
@pytest.mark.skipif(not CHOSEN, reason="L1DFLUSH_MODULES names no folder with kernel modules")
@pytest.mark.parametrize("name", CHOSEN or [""])
def test_module(name: str, benchmark: BenchmarkFixture) -> None:
    done = benchmark.pedantic(
        subprocess.run,
        ([str(COMMAND), "verify", str(CHOSEN[name])],),
        {"capture_output": True},
        rounds=5,
        warmup_rounds=1,
    )
    assert done.returncode == 0
