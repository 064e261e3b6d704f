# SPDX-License-Identifier: GPL-2.0-or-later
"""Whatever ends the parent of a task ends the task, and what the task started."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from child_tasks import SMALL, gone, in_the_end, nothing_left  # noqa: F401 (a fixture for all)

from l1dflush.sandbox import child

PROGRAM = """
import os, signal, subprocess, sys, tempfile, time
from l1dflush.sandbox.child import run_in_child

def task():
    with tempfile.TemporaryDirectory(dir={folder!r}) as name:
        compiler = subprocess.Popen(["sleep", "1000"], start_new_session=True)
        try:
            with open({pids!r} + ".new", "w") as file:
                file.write(f"{{os.getpid()}} {{compiler.pid}}")
            os.rename({pids!r} + ".new", {pids!r})
            compiler.wait()
        finally:
            compiler.kill()
            compiler.wait()

signal.signal(signal.SIGINT, signal.default_int_handler)
try:
    run_in_child(task)
except KeyboardInterrupt:
    sys.exit(130)
"""


@pytest.mark.parametrize(
    ("number", "whole_group"),
    [(signal.SIGINT, False), (signal.SIGINT, True), (signal.SIGTERM, False), (signal.SIGKILL, False)],
)
def test_whatever_ends_the_parent_ends_all(number: signal.Signals, whole_group: bool, tmp_path: Path) -> None:
    folder, pids = tmp_path / "temporary", tmp_path / "pids"
    folder.mkdir()
    program = PROGRAM.format(folder=str(folder), pids=str(pids))
    parent = subprocess.Popen([sys.executable, "-c", program], stderr=subprocess.PIPE, start_new_session=True)
    assert in_the_end(pids.exists)
    assert list(folder.iterdir())
    (os.killpg if whole_group else os.kill)(parent.pid, number)
    _, err = parent.communicate(timeout=30)
    assert parent.returncode == (130 if number is signal.SIGINT else -number), err
    assert in_the_end(lambda: all(gone(int(pid)) for pid in pids.read_text().split()))
    assert in_the_end(lambda: not list(folder.iterdir()))


NATIVE = {
    "a sum": "sum(range(1 << 50))",
    "a hash": "hashlib.pbkdf2_hmac('sha256', b'', b'', (1 << 31) - 1)",
}
DEAF = """
import hashlib, os, signal
from l1dflush.sandbox.child import run_in_child
# Whoever runs the tests may ignore it (nohup does).
signal.signal(signal.SIGHUP, signal.SIG_DFL)

def task():
    with open({pids!r} + ".new", "w") as file:
        file.write(str(os.getpid()))
    os.rename({pids!r} + ".new", {pids!r})
    {native}

run_in_child(task)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
@pytest.mark.parametrize("native", NATIVE)
def test_native_code_that_hears_no_signal_ends_with_the_parent(
    native: str, number: signal.Signals, tmp_path: Path
) -> None:
    pids = tmp_path / "pids"
    program = DEAF.format(pids=str(pids), native=NATIVE[native])
    parent = subprocess.Popen([sys.executable, "-c", program], start_new_session=True)
    assert in_the_end(pids.exists)
    worker = int(pids.read_text())
    parent.send_signal(number)
    assert parent.wait(timeout=30) == -number
    assert in_the_end(lambda: gone(worker))
    # Nor is there anything else of its group, such as who watched over it.
    assert in_the_end(lambda: not _in_group(worker))


def _in_group(group: int) -> list[str]:
    """The processes of a group that are more than zombies."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, number = stat.read_text().rpartition(")")[2].split()[:3]
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(number) == group and state != "Z":
            found.append(stat.parent.name)
    return found


def test_a_parent_that_is_gone_already() -> None:
    read, write = os.pipe()
    middle = os.fork()
    if middle == 0:
        try:
            # As the child of a parent that died: the parent's number is not that of anybody.
            child._be_the_child(lambda: "done", SMALL, set(), write, parent=1 << 30)
        finally:
            os._exit(1)
    os.close(write)
    assert os.read(read, 100) == b""
    os.close(read)
    os.waitpid(middle, 0)


def test_several_at_once_do_not_disturb_each_other() -> None:
    command = [sys.executable, "-m", "l1dflush", "verify", "one-pass", "--json"]
    runs = [subprocess.Popen(command, stdout=subprocess.PIPE) for _ in range(3)]
    texts = {run.communicate(timeout=120)[0] for run in runs}
    assert len(texts) == 1
    assert b'"REFUTED"' in texts.pop()
