# SPDX-License-Identifier: GPL-2.0-or-later
"""Damaged kernel modules, compressed and not: a result or one line, in time, and a PROVED only where it is true."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
import seeds
from damage import damaged_compressed, damaged_objects
from fuzzing import Part, fuzz

pytestmark = pytest.mark.skipif(not seeds.HAS_AS, reason="the GNU assembler is not installed")


def test_damaged_modules(shard: Part, tally: Counter[str], tmp_path: Path) -> None:
    fuzz(damaged_objects(seeds.modules()), shard, tmp_path, tally)


def test_damaged_compressed(shard: Part, tally: Counter[str], tmp_path: Path) -> None:
    fuzz(damaged_compressed(seeds.compressed()), shard, tmp_path, tally)
