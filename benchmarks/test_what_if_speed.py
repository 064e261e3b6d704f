# SPDX-License-Identifier: GPL-2.0-or-later
"""The decision about L1TF in bulk, as a whole process: 100,000 questions through ``what-if --facts -``, which should
take less than a minute; and ``status`` for this host.
"""

from __future__ import annotations

import json
import subprocess
import sys

from pytest_benchmark.fixture import BenchmarkFixture

QUESTIONS = 100_000
MOST_SECONDS = 60.0
COMMAND = (sys.executable, "-m", "l1dflush")

RELEASES = ("4.9.130", "5.10.262", "6.1.192", "6.12.117", "7.2.13")
LINES = ("quiet", "l1tf=full,force", "mitigations=off l1tf=full", "nosmt l1tf=flush,nosmt", "mitigations=auto,nosmt")
WRITES = ("never", "cond", "always", "auto", "rubbish")


def questions(count: int) -> bytes:
    """So many different ones, one a line."""
    lines = []
    for number in range(count):
        release, line = RELEASES[number % 5], LINES[number // 5 % 5]
        lines.append(
            json.dumps(
                {
                    "kernel": {"release": release},
                    "cpu": {"flush_l1d": bool(number & 1), "threads_per_core": 1 + (number >> 1 & 1)},
                    "command_line": f"{line} n={number}",
                    "actions": [{"do": "load"}, {"do": "create-vm"}, {"do": "write", "text": WRITES[number // 25 % 5]}],
                }
            )
        )
    return "\n".join(lines).encode() + b"\n"


def test_questions(benchmark: BenchmarkFixture) -> None:
    asked = questions(QUESTIONS)
    done = benchmark.pedantic(
        subprocess.run,
        ([*COMMAND, "what-if", "--facts", "-", "--json"],),
        {"input": asked, "capture_output": True},
        rounds=3,
    )
    assert done.returncode == 0
    assert done.stdout.count(b"\n") == QUESTIONS
    benchmark.extra_info["questions a minute"] = round(QUESTIONS / benchmark.stats.stats.median * 60)
    assert benchmark.stats.stats.median < MOST_SECONDS


def test_status(benchmark: BenchmarkFixture) -> None:
    done = benchmark.pedantic(subprocess.run, ([*COMMAND, "status"],), {"capture_output": True}, rounds=5)
    assert done.returncode in (0, 2, 3)
