# SPDX-License-Identifier: GPL-2.0-or-later
"""How much is fuzzed: L1DFLUSH_FUZZ_INPUTS in all, begun at L1DFLUSH_FUZZ_SEED (0).

If not set, that is 1,000, and 2,000 with L1DFLUSH_THOROUGH=1.

The same seed gives the same inputs. ``make fuzz`` takes 100,000 from a new seed and prints it, and besides 10,000
programs, a million strings of bytes, and the words of 2,000 random loops.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from dataclasses import dataclass

import pytest
from thorough import examples

ASKED = os.environ.get("L1DFLUSH_FUZZ_INPUTS")
INPUTS = int(ASKED or examples(1000, 2000))
SEED = int(os.environ.get("L1DFLUSH_FUZZ_SEED", "0"))
# Of a hundred inputs. A text is assembled or compiled, twice where it is C, and so it counts for several objects.
SHARES = {"objects": 31, "modules": 48, "compressed": 8, "assembly": 8, "patches": 2, "c": 3}
# For each hundred inputs that are asked for so many more of other kinds, and so many if nobody asks.
BESIDES = {"programs": (10, 200), "bytes": (1000, 1000), "words": (2, 20)}
# Inputs of one test: few enough that the tests of a long run can be spread.
SHARD = 250
_SHARDS = {"programs": 50, "bytes": 500, "words": 50}
_PROPERTY = "fuzz"


@dataclass(frozen=True)
class Shard:
    """The part of the inputs of one kind that one test takes."""

    kind: str
    seed: int
    inputs: int


def shards(kind: str) -> list[Shard]:
    """The parts that the inputs of a kind are cut into."""
    share, usual = BESIDES.get(kind) or (SHARES[kind], 1)
    wanted = usual if kind in BESIDES and ASKED is None else max(INPUTS * share // 100, 1)
    number = -(-wanted // _SHARDS.get(kind, SHARD))
    if kind in BESIDES:
        # Each input has a seed of its own.
        first, step = SEED * 10_000_000, wanted // number + 1
    else:
        first, step = SEED * 1_000_000 + list(SHARES).index(kind) * 100_000, 1
    return [Shard(kind, first + i * step, wanted // number + (i < wanted % number)) for i in range(number)]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "shard" in metafunc.fixturenames:
        kind = metafunc.function.__name__.rpartition("_")[2]
        parts = shards(kind)
        metafunc.parametrize("shard", parts, ids=[f"seed {part.seed}, {part.inputs} inputs" for part in parts])


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What came out of how many inputs: a fuzzer that proves nothing any more checks nothing any more."""
    counts: dict[str, Counter[str]] = {}
    for reports in terminalreporter.stats.values():
        for report in reports:
            for name, value in getattr(report, "user_properties", ()):
                if name == _PROPERTY and getattr(report, "when", "") == "teardown":
                    kind, found = json.loads(value)
                    counts.setdefault(kind, Counter()).update(found)
    if counts:
        terminalreporter.section(f"fuzzed, from seed {SEED}")
    for kind, found in counts.items():
        parts = ", ".join(f"{what} {count}" for what, count in found.most_common())
        terminalreporter.line(f"{kind}: {found.total()} inputs: {parts}")


@pytest.fixture
def tally(shard: Shard, record_property: pytest.RecordProperty) -> Counter[str]:  # type: ignore[misc]
    """Counts what came out; it is printed at the end of the run."""
    counts: Counter[str] = Counter()
    yield counts
    record_property(_PROPERTY, json.dumps([shard.kind, counts]))
