# SPDX-License-Identifier: GPL-2.0-or-later
"""Pages of a region that do not get into each other's way.

Some L1Ds find a line's way by a short hash of its linear address (AMD's way predictor; Lipp et al., "Take A Way",
2020). Two lines of one set whose hashes are the same displace each other however many ways are free, and that says
nothing about replacement. Such pairs show: visited in turn, they miss every time.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from itertools import combinations

import numpy as np

from l1dflush.errors import UndecidedError
from l1dflush.silicon.measure.region import USABLE_PAGES, Region, Rounds, Trial, link, moved_about, page_step

_TURNS = 4
_ROUNDS = 5
# A pair in turn that takes so much longer than most do.
_SLOW = 1.3


def chosen_pages(region: Region, count: int, control_set: int, seed: int, first: int = 0) -> list[int]:
    """So many pages from page ``first`` on, in random order (pages in a row train prefetchers), linked, of which no two
    displace each other. Raises UndecidedError if there are not so many."""
    order = random.Random(seed)
    spare = order.sample(range(first, USABLE_PAGES), min(count + max(8, count // 4), USABLE_PAGES - first))
    link(region, spare, control_set, seed)
    slow = _slow_pairs(region, spare, control_set, seed)
    chosen: list[int] = []
    for page in spare:
        if not any(frozenset((page, other)) in slow for other in chosen):
            chosen.append(page)
        if len(chosen) == count:
            return chosen
    raise UndecidedError(
        "aliases", f"of {len(spare)} pages only {len(chosen)} do not displace each other", hint="try again"
    )


def _slow_pairs(region: Region, pages: Sequence[int], control_set: int, seed: int) -> set[frozenset[int]]:
    pairs = list(combinations(pages, 2))
    if not pairs:
        return set()
    trials = []
    for pair in pairs:
        steps = tuple(page_step(page, control_set) for page in pair)
        trials.append(Trial(steps, steps * _TURNS))
    rounds = Rounds(region, trials, control_set, seed)
    rounds.play(_ROUNDS)
    # Visit by visit, so that an interrupt does not count for all of them.
    times = [
        np.median(ticks, axis=0).sum() if len(ticks := rounds.ticks(index)) else np.inf for index in range(len(pairs))
    ]
    if min(times) == np.inf:
        raise moved_about()
    # A pair of which nothing is known, because its trials were moved, is not taken either.
    limit = _SLOW * float(np.median(times))
    return {frozenset(pair) for pair, time in zip(pairs, times, strict=True) if time > limit}
