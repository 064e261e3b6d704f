# SPDX-License-Identifier: GPL-2.0-or-later
"""Damaged object files: a result or one line, in time, and a PROVED only where it is true."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
import seeds
from damage import damaged_objects
from fuzzing import Part, fuzz

pytestmark = pytest.mark.skipif(not seeds.HAS_AS, reason="the GNU assembler is not installed")


def test_damaged_objects(shard: Part, tally: Counter[str], tmp_path: Path) -> None:
    fuzz(damaged_objects(seeds.objects()), shard, tmp_path, tally)
