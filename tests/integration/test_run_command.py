# SPDX-License-Identifier: GPL-2.0-or-later
"""``l1dflush run``: on this machine as it is, and with a kernel that takes the request."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from l1dflush.cli.main import main
from l1dflush.errors import NoTaskFlushError
from l1dflush.silicon.speculation import flush_when_switched_out, this_machine

Capture = pytest.CaptureFixture[str]

# The prctl of a kernel that has the flush, and, if asked for, siblings that run.
WILLING = """
import sys
from dataclasses import replace
from l1dflush.silicon import speculation
found = speculation.this_machine()
speculation.this_machine = lambda: replace(found, siblings_run={siblings})
flush = speculation.flush_when_switched_out
speculation.flush_when_switched_out = lambda machine: flush(machine, lambda *_: 2)
sys.argv = ["l1dflush", "run", *sys.argv[1:]]
from l1dflush.cli.main import run
sys.exit(run())
"""


def willing(*arguments: str, siblings: bool = False) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    command = [sys.executable, "-c", WILLING.format(siblings=siblings), *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)


def test_on_this_machine(tmp_path: Path) -> None:
    """Either the kernel has the flush, and the command runs with it, or it is told why not, and does not run."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    sign = tmp_path / "sign"
    command = [sys.executable, "-m", "l1dflush", "run", "--", "touch", str(sign)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)
    if done.returncode == 0:
        assert sign.exists()
    else:
        assert done.returncode == 3 and not sign.exists()
        assert done.stderr.startswith("l1dflush: touch was not run: ") and done.stderr.count("\n") == 1
        assert done.stdout == ""


def test_the_kernel_of_this_machine_takes_the_request() -> None:
    program = (
        "import sys; from l1dflush.silicon.speculation import *\n"
        "try: flush_when_switched_out(this_machine())\n"
        "except NoTaskFlushError as error: sys.exit(str(error))\n"
        "import subprocess\n"
        "inherited = 'import sys; from l1dflush.silicon.speculation import *; sys.exit(prctl(52, 2, 0) & 2 == 0)'\n"
        "sys.exit(subprocess.run([sys.executable, '-c', inherited]).returncode)"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)
    if done.stderr:
        pytest.skip(f"this kernel does not flush for single tasks: {done.stderr.strip()}")
    # What it begins inherits the flush, also through exec.
    assert done.returncode == 0


def test_why_not_is_one_line(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: object) -> None:
        raise NoTaskFlushError("because of the weather")

    monkeypatch.setattr("l1dflush.silicon.speculation.flush_when_switched_out", refuse)
    assert main(["run", "--on-context-switch", "--", "no\nsuch"]) == 3
    assert capsys.readouterr() == ("", "l1dflush: no such was not run: because of the weather\n")


def test_the_command_gets_its_arguments_and_its_status_is_passed_on() -> None:
    script = "import sys; print(sys.argv[1:]); sys.exit(37)"
    done = willing("--on-context-switch", "--", sys.executable, "-c", script, "--json", "--help", "a b")
    assert (done.returncode, done.stdout, done.stderr) == (37, "['--json', '--help', 'a b']\n", "")
    # Without the hyphens as well: what comes behind the command is the command's.
    assert willing(sys.executable, "-c", script, "--help").stdout == "['--help']\n"


def test_a_signal_is_the_commands_own() -> None:
    done = willing("--", sys.executable, "-c", "import os, signal; os.kill(os.getpid(), signal.SIGTERM)")
    assert done.returncode == -signal.SIGTERM


def test_the_command_is_not_made_to_ignore_signals() -> None:
    done = willing("--", "grep", "SigIgn", "/proc/self/status")
    # SIGPIPE is 13 and SIGXFSZ 25, which Python itself ignores.
    assert int(done.stdout.split()[1], 16) & (1 << 12 | 1 << 24) == 0


def test_siblings_are_warned_of() -> None:
    done = willing("--", "true", siblings=True)
    assert done.returncode == 0
    assert done.stderr.startswith("l1dflush: warning: simultaneous multithreading is on") and "SIGBUS" in done.stderr


@pytest.mark.parametrize(
    ("command", "status", "told"),
    [
        (["no-such-command-here"], 127, "no-such-command-here: No such file or directory"),
        (["/etc/passwd"], 126, "/etc/passwd: Permission denied"),
        (["/tmp"], 126, "/tmp: Permission denied"),
        ([""], 1, "the command's name is empty"),
        (["no\x1b[31m"], 127, "no [31m: No such file"),
    ],
)
def test_commands_that_cannot_be_run(command: list[str], status: int, told: str) -> None:
    done = willing("--", *command)
    assert (done.returncode, done.stdout) == (status, "")
    assert told in done.stderr and done.stderr.count("\n") == 1


@pytest.mark.parametrize("arguments", [[], ["--"], ["--on-context-switch"], ["--nope", "true"]])
def test_no_command(arguments: list[str], capsys: Capture) -> None:
    assert main(["run", *arguments]) == 1
    assert "l1dflush run --help" in capsys.readouterr().err


def test_the_machine_is_read_without_error() -> None:
    found = this_machine()
    assert found.system == sys.platform and found.release
    with pytest.raises(NoTaskFlushError):
        flush_when_switched_out(found, _refusing)


def _refusing(*_: int) -> int:
    raise OSError(1, "Operation not permitted")
