# SPDX-License-Identifier: GPL-2.0-or-later
"""Whether silicon does as a model says, from how many trials did."""

from __future__ import annotations

from enum import StrEnum

LEAST_SAME = 0.9
"""Silicon does as the model says if it does so in this share of the trials at least."""
MOST_OTHER = 0.5
"""It does otherwise if it does as the model says in this share of the trials at most; in between it is unclear."""


class Agreement(StrEnum):
    """What silicon does, next to what the model says."""

    SAME = "as-the-model-says"
    DIFFERS = "differs"
    UNCLEAR = "unclear"


def agreement(same: int, trials: int) -> Agreement:
    """What it comes to if ``same`` of ``trials`` were as the model says."""
    if same >= LEAST_SAME * trials:
        return Agreement.SAME
    return Agreement.DIFFERS if same <= MOST_OTHER * trials else Agreement.UNCLEAR
