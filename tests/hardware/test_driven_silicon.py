# SPDX-License-Identifier: GPL-2.0-or-later
"""Counterexamples on the L1D of the machine that runs the tests, with whatever policy it shows."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from simulated_region import SimulatedRegion

from l1dflush.arguments import DEFAULT_MEMORY
from l1dflush.cache.policies import Deterministic, Policy, get_policy
from l1dflush.errors import InputError, UndecidedError
from l1dflush.proof.conditions import ALL_WAYS_VALID
from l1dflush.proof.limits import Limits
from l1dflush.silicon.drive.drives import drive
from l1dflush.silicon.drive.scenes import one_short
from l1dflush.silicon.measure.agreement import Agreement
from l1dflush.silicon.measure.driven import Driven, driven
from l1dflush.silicon.measure.identify import identify
from l1dflush.silicon.measure.session import CONTROL_SET, Silicon, silicon

LIMITS = Limits(DEFAULT_MEMORY, 20.0)
# Whoever disturbs may be gone after a while.
TRIES = 3


@pytest.fixture(scope="module")
def there() -> Iterator[Silicon]:
    try:
        with silicon() as found:
            yield found
    except (UndecidedError, InputError) as error:
        pytest.skip(f"this L1D cannot be measured: {error}")


@pytest.fixture(scope="module")
def policy(there: Silicon) -> Policy:
    for seed in range(1, TRIES + 1):
        try:
            found = identify(there.region, there.geometry.ways, CONTROL_SET, seed)
        except UndecidedError as error:
            reason = str(error)
            continue
        if found.best is not None:
            return get_policy(found.best, there.geometry.ways)
        reason = "no policy explains this L1D"
    pytest.skip(reason)


def played(there: Silicon, policy: Policy, seed: int) -> Driven:
    try:
        return driven(there.region, drive(one_short(policy, ALL_WAYS_VALID, LIMITS).scene), CONTROL_SET, seed)
    except UndecidedError as error:
        pytest.skip(f"{policy.name} cannot be driven here: {error}")


def test_the_policy_that_was_identified_does_as_the_model_says(there: Silicon, policy: Policy) -> None:
    found = [played(there, policy, seed) for seed in range(1, TRIES + 1)]
    best = next((one for one in found if one.agreement is Agreement.SAME), found[0])
    assert best.agreement is Agreement.SAME, [one.survivors for one in found]
    *kept, gone = next(iter(best.survivors.values()))
    assert all(look.cached and look.hits > look.trials / 2 for look in kept)
    assert not gone.cached and gone.hits < gone.trials / 2


@pytest.mark.parametrize("other", ["FIFO", "tree-PLRU", "LRU", "LRU3PLRU4"])
def test_what_is_no_policy_of_this_cpu_differs(there: Silicon, policy: Policy, other: str) -> None:
    """What a model foretells of its own counterexample, the real one does otherwise if its own model does."""
    try:
        wrong = get_policy(other, there.geometry.ways)
    except InputError as error:
        pytest.skip(str(error))
    assert isinstance(policy, Deterministic)
    way_there = drive(one_short(wrong, ALL_WAYS_VALID, LIMITS).scene)
    foretold = driven(SimulatedRegion(policy), way_there, CONTROL_SET, 1, rounds=8)
    if foretold.agreement is Agreement.SAME:
        pytest.skip(f"{other} and {policy.name} do the same there")
    try:
        found = driven(there.region, way_there, CONTROL_SET, 1)
    except UndecidedError as error:
        pytest.skip(str(error))
    assert found.agreement is Agreement.DIFFERS
