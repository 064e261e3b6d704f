# SPDX-License-Identifier: GPL-2.0-or-later
"""Whole processes, as a user waits for them: ``l1dflush --help`` and ``l1dflush verify``."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

COMMAND = Path(sys.executable).with_name("l1dflush")


@pytest.mark.skipif(not COMMAND.is_file(), reason=f"not installed as a command: {COMMAND}")
@pytest.mark.parametrize("arguments", [["--help"], ["verify", "linux-4.9.120"]], ids=" ".join)
def test_process(arguments: list[str], benchmark: BenchmarkFixture) -> None:
    done = benchmark.pedantic(
        subprocess.run, ([str(COMMAND), *arguments],), {"capture_output": True}, rounds=10, warmup_rounds=2
    )
    assert done.returncode == 0
