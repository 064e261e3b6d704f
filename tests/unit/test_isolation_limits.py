# SPDX-License-Identifier: GPL-2.0-or-later
"""A task in a child process that crashes or takes too much: the parent goes on and says it in one line."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest
from child_tasks import SMALL, nothing_left, undecided  # noqa: F401 (a fixture for all)

from l1dflush.errors import InputError
from l1dflush.sandbox import child
from l1dflush.sandbox.child import run_in_child
from l1dflush.sandbox.limits import Limits, limits_for


@pytest.mark.parametrize(
    ("crash", "name"),
    [
        (lambda: ctypes.string_at(0), "SIGSEGV"),
        (os.abort, "SIGABRT"),
        (lambda: os.kill(os.getpid(), signal.SIGILL), "SIGILL"),
        (lambda: os.kill(os.getpid(), signal.SIGBUS), "SIGBUS"),
        (lambda: os.kill(os.getpid(), signal.SIGRTMIN + 3), f"signal {signal.SIGRTMIN + 3}"),
    ],
)
def test_a_crash_is_undecided(crash: Callable[[], object], name: str) -> None:
    error = undecided(lambda: str(crash()), "library-crashed")
    assert f"ended by {name}" in error.what
    assert error.hint and "report" in error.hint


def test_a_library_that_ends_the_process() -> None:
    assert "ended with status 1" in str(undecided(lambda: os._exit(1), "library-crashed"))


def test_the_killer_of_the_kernel() -> None:
    undecided(lambda: str(os.kill(os.getpid(), signal.SIGKILL)), "out-of-memory")


@pytest.mark.parametrize("piece", [1 << 16, 1 << 24, 1 << 40])
def test_memory_is_limited(piece: int) -> None:
    def task() -> str:
        kept = []
        while True:
            kept.append(bytes(piece))

    assert "256 MiB" in str(undecided(task, "out-of-memory"))


def test_a_library_that_aborts_for_want_of_memory() -> None:
    # What this process has ever had does not count, but the child may have it as well.
    had = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10

    def task() -> str:
        kept = b"x" * (2 * had + (250 << 20))
        os.abort()
        return str(len(kept))

    undecided(task, "out-of-memory", Limits(memory_bytes=2 * had + (400 << 20)))


def test_processor_time_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Limits, "cpu_seconds", 1)

    def task() -> str:
        while True:
            pass

    error = undecided(task, "budget")
    assert error.hint and "--max-seconds" in error.hint


def test_time_is_limited() -> None:
    undecided(lambda: str(time.sleep(1000)), "budget", Limits(wall_seconds=0.2))


def test_a_child_that_does_not_listen_is_ended_by_force(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child, "_GRACE_SECONDS", 0.2)

    def task() -> str:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        return str(time.sleep(1000))

    undecided(task, "budget", Limits(wall_seconds=0.2))


def test_files_are_limited(tmp_path: Path) -> None:
    file = tmp_path / "file"

    def task() -> str:
        with file.open("wb") as target:
            while True:
                target.write(b"x" * (1 << 18))

    assert "more than 1 MiB" in str(undecided(task, "file-too-large"))
    assert file.stat().st_size <= 1 << 20


def test_stricter_limits_stay() -> None:
    def task() -> str:
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 8192))
        Limits().apply()
        return repr((resource.getrlimit(resource.RLIMIT_FSIZE), resource.getrlimit(resource.RLIMIT_CORE)))

    assert run_in_child(task, SMALL) == "((4096, 8192), (0, 0))"


@pytest.mark.parametrize("seconds", [1e-9, 10.0, 1e300])
def test_any_time_limit_makes_limits(seconds: float) -> None:
    limits = limits_for(seconds)
    assert 120 <= limits.wall_seconds <= 1e9
    assert run_in_child(lambda: "done", limits) == "done"


def test_the_limits_of_the_parent_are_untouched() -> None:
    before = [resource.getrlimit(n) for n in (resource.RLIMIT_AS, resource.RLIMIT_CPU, resource.RLIMIT_FSIZE)]
    run_in_child(lambda: "", SMALL)
    assert before == [resource.getrlimit(n) for n in (resource.RLIMIT_AS, resource.RLIMIT_CPU, resource.RLIMIT_FSIZE)]


def test_no_process_to_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    def none() -> NoReturn:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(os, "fork", none)
    with pytest.raises(InputError, match="cannot start a process: Resource temporarily unavailable"):
        run_in_child(lambda: "", SMALL)


def test_no_file_to_be_had() -> None:
    old = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, old[1]))
    try:
        with pytest.raises(InputError, match="cannot start a process: Too many open files"):
            run_in_child(lambda: "", SMALL)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, old)
