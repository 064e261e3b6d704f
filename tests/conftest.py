# SPDX-License-Identifier: GPL-2.0-or-later
"""What all tests share: the option that rewrites golden files, and results made by hand."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

import pytest
from made_results import counterexample_with, everything, refuted_with, result_with, row_with

from l1dflush.cache_files import OFF_VARIABLE
from l1dflush.verdict.verify_result import CounterexampleInfo, Row, VerifyResult


def pytest_configure() -> None:
    # Nor is anything taken from the user's cache, or put there.
    os.environ[OFF_VARIABLE] = "1"
    # A shell starts what is in the background with Ctrl-C ignored, and so would be what the tests interrupt.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--refresh-golden", action="store_true", help="rewrite tests/golden/expected with what comes out now"
    )


ResultMaker = Callable[..., VerifyResult]
RowMaker = Callable[..., Row]


@pytest.fixture
def make_row() -> RowMaker:
    return row_with


@pytest.fixture
def make_result() -> ResultMaker:
    return result_with


@pytest.fixture
def make_counterexample() -> Callable[..., CounterexampleInfo]:
    return counterexample_with


@pytest.fixture
def make_refuted() -> Callable[[CounterexampleInfo], VerifyResult]:
    return refuted_with


@pytest.fixture
def full_result() -> VerifyResult:
    return everything()
