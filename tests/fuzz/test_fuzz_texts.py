# SPDX-License-Identifier: GPL-2.0-or-later
"""Damaged assembly, mails, diffs and C: a result or one line, in time, and a PROVED only where it is true."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
import seeds
from damage import damaged_texts
from fuzzing import Part, fuzz

needs_as = pytest.mark.skipif(not seeds.HAS_AS, reason="the GNU assembler is not installed")
needs_cc = pytest.mark.skipif(not seeds.HAS_CC, reason="there is no C compiler")


@needs_as
def test_damaged_assembly(shard: Part, tally: Counter[str], tmp_path: Path) -> None:
    fuzz(damaged_texts(seeds.assembly()), shard, tmp_path, tally)


@needs_cc
def test_damaged_patches(shard: Part, tally: Counter[str], tmp_path: Path) -> None:
    fuzz(damaged_texts(seeds.patches()), shard, tmp_path, tally)


@needs_cc
def test_damaged_c(shard: Part, tally: Counter[str], tmp_path: Path) -> None:
    fuzz(damaged_texts(seeds.c_texts()), shard, tmp_path, tally)
