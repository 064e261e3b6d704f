# SPDX-License-Identifier: GPL-2.0-or-later
"""A task in a child process has no network."""

from __future__ import annotations

import ctypes
import os
import socket
import subprocess
import sys
from collections.abc import Callable

import pytest
from child_tasks import SMALL, nothing_left  # noqa: F401 (a fixture for all)

from l1dflush.sandbox import child, network
from l1dflush.sandbox.child import run_in_child
from l1dflush.sandbox.limits import Limits


def tries(*family_and_kind: int) -> Callable[[], str]:
    def task() -> str:
        try:
            socket.socket(*family_and_kind).close()
        except OSError as error:
            return type(error).__name__
        return "open"

    return task


SOCKETS = [
    (socket.AF_INET, socket.SOCK_STREAM),
    (socket.AF_INET, socket.SOCK_DGRAM),
    (socket.AF_INET6, socket.SOCK_STREAM),
    (socket.AF_INET6, socket.SOCK_DGRAM),
    (socket.AF_NETLINK, socket.SOCK_RAW),
]
filtered = pytest.mark.skipif(os.uname().machine not in network._ABIS, reason="no filter is known for this machine")


@filtered
@pytest.mark.parametrize("kind", SOCKETS)
def test_there_is_no_network(kind: tuple[int, int]) -> None:
    assert run_in_child(tries(*kind), SMALL) == "PermissionError"
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM):
        pass  # here it is still to be had


@filtered
def test_neither_is_there_for_what_the_child_starts() -> None:
    program = "import socket; socket.socket()"

    def task() -> str:
        done = subprocess.run([sys.executable, "-c", program], stderr=subprocess.PIPE, text=True, check=False)
        return done.stderr

    assert "PermissionError" in run_in_child(task, Limits())


def test_unix_sockets_stay() -> None:
    assert run_in_child(tries(socket.AF_UNIX, socket.SOCK_STREAM), SMALL) == "open"


@filtered
def test_no_detour_by_io_uring() -> None:
    def task() -> str:
        libc = ctypes.CDLL(None, use_errno=True)
        libc.syscall(425, 1, ctypes.create_string_buffer(200))
        return os.strerror(ctypes.get_errno())

    assert run_in_child(task, SMALL) == "Permission denied"


def test_sockets_of_the_parent_are_closed() -> None:
    with socket.socket() as ours:
        number = ours.fileno()
        error = "OSError"

        def task() -> str:
            try:
                os.fstat(number)
            except OSError:
                return error
            return "open"

        assert run_in_child(task, SMALL) == error


def test_a_network_of_its_own_where_there_is_no_filter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network, "_ABIS", {})
    warnings: list[str] = []

    def task() -> str:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
            try:
                udp.connect(("192.0.2.1", 9))
            except OSError as error:
                return str(error.strerror)
        return "reached"

    said = run_in_child(task, SMALL, warn=warnings.append)
    if warnings:
        pytest.skip("this system lets nobody have a network of his own")
    assert said == "Network is unreachable"


def test_where_nothing_helps_it_is_said_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network, "cut_off", lambda: False)
    warnings: list[str] = []
    assert run_in_child(lambda: "done", SMALL, warn=warnings.append) == "done"
    assert warnings == [child.NETWORK_IS_OPEN]
    assert run_in_child(lambda: "done", SMALL) == "done"
