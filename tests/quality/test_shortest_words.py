# SPDX-License-Identifier: GPL-2.0-or-later
"""Pairwise different accesses are as few as it gets where that matters most: no word with repeats is shorter."""

from __future__ import annotations

from pathlib import Path

from l1dflush.cache.policy.machine import parse_machine
from l1dflush.proof.conditions import ALL_WAYS_VALID
from l1dflush.proof.prover import needs
from l1dflush.proof.shortest import complete_words

LEARNED = Path(__file__).parents[1] / "data" / "learned-policies" / "hw"


def test_no_twenty_accesses_empty_lru3plru4() -> None:
    assert needs("LRU3PLRU4", 12, ALL_WAYS_VALID) == 21
    assert complete_words("LRU3PLRU4", 12, 20) == ()


def test_a_cache_that_was_learned_has_the_words_of_tree_plru() -> None:
    skylake = parse_machine((LEARNED / "skylake_l1.dot").read_text(encoding="utf-8"), "skylake_l1.dot")
    assert complete_words(skylake, 8, 12) == ()
    words = complete_words(skylake, 8, 13)
    assert len(words) == 76
    assert words == complete_words("tree-PLRU", 8, 13)
