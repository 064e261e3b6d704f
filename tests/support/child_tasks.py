# SPDX-License-Identifier: GPL-2.0-or-later
"""What the tests of tasks in a child process share."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn

import pytest

from l1dflush.errors import UndecidedError
from l1dflush.sandbox.child import run_in_child
from l1dflush.sandbox.limits import Limits

SMALL = Limits(wall_seconds=20, memory_bytes=256 << 20, file_bytes=1 << 20, answer_bytes=1 << 20)


def undecided(task: Callable[[], str], cause: str, limits: Limits = SMALL) -> UndecidedError:
    with pytest.raises(UndecidedError) as caught:
        run_in_child(task, limits)
    assert "\n" not in str(caught.value)
    assert caught.value.cause == cause, caught.value
    return caught.value


def raising(error: BaseException) -> Callable[[], str]:
    def task() -> NoReturn:
        raise error

    return task


def gone(pid: int) -> bool:
    """Whether the process is no more; a zombie that nobody waits for counts as gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def in_the_end(condition: Callable[[], bool]) -> bool:
    for _ in range(300):
        if condition():
            return True
        time.sleep(0.05)
    return False


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    """No child and no open file is left behind, whatever happened."""
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    yield
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)
