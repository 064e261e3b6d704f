# SPDX-License-Identifier: GPL-2.0-or-later
"""What all tests share: the option that rewrites golden files, and results made by hand."""

from __future__ import annotations

import gc
import importlib
import os
import pkgutil
import signal
from collections.abc import Callable
from typing import Literal

import pytest
from made_results import counterexample_with, everything, refuted_with, result_with, row_with

import l1dflush
from l1dflush.cache_files import OFF_VARIABLE
from l1dflush.tracing.translation import translator
from l1dflush.verdict.counterexample_result import CounterexampleInfo
from l1dflush.verdict.verify_result import Row, VerifyResult

FEW = 20
"""So many tests are through sooner than everything is loaded."""
NOP = b"\x90"
MODES: tuple[Literal[32, 64], ...] = (32, 64)


def pytest_configure() -> None:
    # Nor is anything taken from the user's cache, or put there.
    os.environ[OFF_VARIABLE] = "1"
    # A shell starts what is in the background with Ctrl-C ignored, and so would be what the tests interrupt.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_finish(session: pytest.Session) -> None:
    # What thousands of tests are made of stays: nothing of it is garbage, and looking through it again and again took a
    # sixth of the time.
    gc.freeze()
    gc.set_threshold(50_000)
    if len(session.items) > FEW:
        _load_everything()


def _load_everything() -> None:
    """What a verb imports in a child process, the child of the next test would import again; here it is there before,
    and so are both translators of instructions. That takes as long as three children do."""
    importlib.import_module("bitwuzla")
    for module in pkgutil.walk_packages(l1dflush.__path__, "l1dflush."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    for bits in MODES:
        translator(bits).translate(((NOP, 0),))


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
