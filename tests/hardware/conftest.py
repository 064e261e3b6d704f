# SPDX-License-Identifier: GPL-2.0-or-later
"""Measuring takes as long as the machine lets it: where that is too long, it is skipped."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

# Seconds, for a test and the fixtures that it makes; a few where nothing else runs.
PATIENCE = 60
MEASURING = ("test_cost_measured", "test_driven_silicon", "test_measure_hardware")


def _too_long(*_: object) -> None:
    pytest.skip(f"this machine is too busy: it takes more than {PATIENCE} s here")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    if item.path.stem not in MEASURING:
        return (yield)
    before = signal.signal(signal.SIGALRM, _too_long)
    signal.setitimer(signal.ITIMER_REAL, PATIENCE)
    try:
        return (yield)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_teardown() -> None:
    # What a fixture gives back is given back, however long it took.
    signal.setitimer(signal.ITIMER_REAL, 0)
