# SPDX-License-Identifier: GPL-2.0-or-later
"""Words of random loops, made from the folded events and, by another program, event by event."""

from __future__ import annotations

import random
from collections import Counter

from fuzzing import Part
from word_runs import check_random


def test_random_words(shard: Part, tally: Counter[str]) -> None:
    for seed in range(shard.seed, shard.seed + shard.inputs):
        try:
            decided = check_random(random.Random(seed))
        except AssertionError as error:
            raise AssertionError(f"seed {seed}") from error
        tally["the same" if decided else "too many placements, both say"] += 1
