# SPDX-License-Identifier: GPL-2.0-or-later
"""Ctrl-C at any moment from the entry point on: 130 and one line, or the finished result; never a traceback."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from l1dflush.cli import interrupts, main

SOURCES = Path(sys.modules["l1dflush"].__file__ or "").parents[1]
# Says when it has come to the entry point: how long the interpreter takes is not ours.
ENTRY = r"""
import os, sys
from l1dflush.__main__ import run
try:
    os.write(int(sys.argv.pop(1)), b".")
    status = run()
except KeyboardInterrupt:
    # Before the first instruction of it.
    os.write(2, b"l1dflush: interrupted\n")
    os._exit(130)
sys.exit(status)
"""
VERBS = [
    ["schema"],
    ["schema", "status"],
    ["verify", "linux-4.9.120", "--cpu", "skylake"],
    ["verify", "linux-4.9.120", "--json", "--cpu", "skylake"],
    ["status", "--json"],
    ["size", "--policy", "LRU"],
    ["--help"],
    ["nonsense"],
]
INTERRUPTED = b"l1dflush: interrupted\n"


def begun(arguments: list[str], **streams: object) -> subprocess.Popen[bytes]:
    """The command line, once it has come to the entry point."""
    told, tell = os.pipe()
    command = [sys.executable, "-c", ENTRY, str(tell), *arguments]
    environment = os.environ | {"PYTHONPATH": str(SOURCES)}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | streams
    run = subprocess.Popen(command, pass_fds=[tell], env=environment, **pipes)  # type: ignore[call-overload]
    os.close(tell)
    assert os.read(told, 1) == b"."
    os.close(told)
    return run  # type: ignore[no-any-return]


@pytest.mark.parametrize("arguments", VERBS, ids=" ".join)
def test_an_interrupt_at_many_moments(arguments: list[str]) -> None:
    start = time.monotonic()
    run = begun(arguments)
    wanted, _ = run.communicate(timeout=120)
    took, status = time.monotonic() - start, run.returncode
    for part in range(10):
        run = begun(arguments)
        time.sleep(took * part / 10)
        run.send_signal(signal.SIGINT)
        out, err = run.communicate(timeout=120)
        if run.returncode == 130:
            assert (out, err) == (b"", INTERRUPTED)
        else:
            assert run.returncode == status
            assert len(out.splitlines()) == len(wanted.splitlines())
            assert b"Traceback" not in err


def test_at_the_entry_point_it_ends_at_once() -> None:
    run = begun(["verify", "linux-4.9.120"])
    time.sleep(0.05)
    run.send_signal(signal.SIGINT)
    out, err = run.communicate(timeout=60)
    assert (run.returncode, out, err) == (130, b"", INTERRUPTED)


def test_a_reader_that_does_not_read_is_not_waited_for() -> None:
    """What does not fit into the pipe waits for a reader; an interrupt gives it a second."""
    run = begun(["trace", "linux-4.9.120", "--json"])
    assert run.stdout is not None
    assert run.stderr is not None
    first = run.stdout.read(1)
    time.sleep(1)
    assert (first, run.poll()) == (b"{", None)
    run.send_signal(signal.SIGINT)
    assert run.wait(timeout=30) == 130
    assert run.stderr.read() == INTERRUPTED
    run.stdout.close()
    run.stderr.close()


def test_a_reader_that_reads_late_gets_everything() -> None:
    run = begun(["trace", "linux-4.9.120", "--json"])
    assert run.stdout is not None
    first = run.stdout.read(1)
    run.send_signal(signal.SIGINT)
    rest, err = run.communicate(timeout=60)
    assert (run.returncode, err) == (0, b"")
    assert (first + rest).endswith(b"}\n")


@pytest.mark.parametrize("where", ["closed pipe", "full"])
def test_an_interrupt_where_nothing_can_be_written(where: str) -> None:
    for delay in (0.0, 0.3, 0.8, 1.5):
        if where == "full":
            stream = os.open("/dev/full", os.O_WRONLY)
        else:
            reader, stream = os.pipe()
            os.close(reader)
        run = begun(["rules"], stdout=stream)
        os.close(stream)
        time.sleep(delay)
        run.send_signal(signal.SIGINT)
        _, err = run.communicate(timeout=60)
        assert (run.returncode, err) in (
            (130, INTERRUPTED),
            (0, b""),
            (1, b"l1dflush: cannot write the result: No space left on device\n"),
        )


def test_an_error_that_an_interrupt_became_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where a library makes a schema: the interrupt comes out as the library's own error."""

    def broken(_: object) -> None:
        raise RuntimeError("Error calling __set_name__ on 'x' instance") from KeyboardInterrupt()

    monkeypatch.setattr(main, "_outcome", broken)
    monkeypatch.setattr(interrupts, "_seen", True)
    assert main.answer(["rules"]).status == 130
    monkeypatch.setattr(interrupts, "_seen", False)
    assert main.answer(["rules"]).status == 1


def test_an_interrupt_that_got_lost_comes_again() -> None:
    """In a callback of the interpreter's nobody can catch it."""
    script = """
import signal, sys, time
from l1dflush.cli import interrupts
interrupts.install()
interrupts.working()
class Late:
    def __del__(self):
        signal.raise_signal(signal.SIGINT)
try:
    Late()
    time.sleep(30)
except KeyboardInterrupt:
    print("again")
"""
    environment = os.environ | {"PYTHONPATH": str(SOURCES)}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, timeout=60, check=False)
    assert (done.stdout, done.stderr) == (b"again\n", b"")


def test_other_lost_errors_are_told_as_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[object] = []
    monkeypatch.setattr(sys, "__unraisablehook__", told.append)
    what = SimpleNamespace(exc_type=ValueError)
    interrupts._lost(what)
    assert told == [what]


LOADED = """
import sys
before = set(sys.modules)
import l1dflush.__main__
print(*sorted(set(sys.modules) - before))
"""


def test_next_to_nothing_is_loaded_before_an_interrupt_is_answered() -> None:
    """What the interpreter has not loaded before takes time, in which an interrupt is a traceback."""
    environment = {"PYTHONPATH": str(SOURCES), "PATH": os.environ["PATH"]}
    run = subprocess.run([sys.executable, "-S", "-c", LOADED], env=environment, capture_output=True, check=True)
    slow = {"typing", "enum", "signal", "re", "functools", "collections"}
    assert {b"l1dflush", b"l1dflush.__main__"} <= set(run.stdout.split())
    assert not {name.decode() for name in run.stdout.split()} & slow


# What every import waits for: an interrupt at each of them in turn, from the entry point on.
AT_EACH_IMPORT = r"""
import os, signal, sys
from l1dflush.__main__ import run
number = int(sys.argv.pop(1))

class Interrupting:
    def find_spec(self, name, path=None, target=None):
        global number
        number -= 1
        if number == 0:
            os.kill(os.getpid(), signal.SIGINT)
        return None

sys.meta_path.insert(0, Interrupting())
sys.exit(run())
"""


@pytest.mark.parametrize("number", [1, 2, 3, 5, 8, 13, 40, 100, 300])
def test_an_interrupt_while_modules_are_loaded(number: int) -> None:
    environment = os.environ | {"PYTHONPATH": str(SOURCES)}
    command = [sys.executable, "-c", AT_EACH_IMPORT, str(number), "verify", "linux-4.9.120", "--cpu", "skylake"]
    run = subprocess.run(command, check=False, env=environment, capture_output=True, timeout=120)
    assert (run.returncode, run.stdout, run.stderr) == (130, b"", INTERRUPTED)
