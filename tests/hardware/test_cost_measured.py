# SPDX-License-Identifier: GPL-2.0-or-later
"""The costs that ``l1dflush cost`` measures, where this machine lets it."""

from __future__ import annotations

import pytest

from l1dflush.errors import InputError, UndecidedError
from l1dflush.vmentry.cost.flushes import ROUNDS, measured_costs


def test_costs_of_this_machine() -> None:
    heard: list[int] = []
    try:
        found = measured_costs(None, "LRU", heard.append)
    except (UndecidedError, InputError) as error:
        pytest.skip(f"cannot be measured here: {error}")
    assert heard[-1] == ROUNDS
    assert set(found) == {"linux-2018", "planned"}
    # Twice as many lines and more, and a cpuid.
    assert found["linux-2018"].nanoseconds > found["planned"].nanoseconds > 0
    assert all("here" in one.source for one in found.values())


def test_a_policy_that_is_none() -> None:
    try:
        measured_costs(None, "LRU")
    except (UndecidedError, InputError) as error:
        pytest.skip(f"cannot be measured here: {error}")
    with pytest.raises(InputError, match="--policy: unknown replacement policy"):
        measured_costs(None, "nope")
