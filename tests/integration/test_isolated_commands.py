# SPDX-License-Identifier: GPL-2.0-or-later
"""Commands do their work in a child process: what a crash, an interrupt or a closed input looks like from outside."""

from __future__ import annotations

import json
import os
import pty
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import jsonschema
import pytest

from l1dflush.report.schemas import schema

SOURCES = Path(sys.modules["l1dflush"].__file__ or "").parents[1]
CRASH = "import ctypes\nctypes.string_at(0)\n"
DEFECT = "1 / 0\n"
SLOW_C = "void flush(char *p)\n{\n\tfor (int i = 0; i < 65536; i += 64)\n\t\t*(volatile char *)(p + i);\n}\n"


def command(
    *arguments: str, path: Path | None = None, stdin: int | None = subprocess.DEVNULL, **environment: str
) -> subprocess.Popen[str]:
    """``l1dflush`` as a process; modules in ``path`` hide those of the same name."""
    paths = [str(folder) for folder in (path, SOURCES) if folder is not None]
    return subprocess.Popen(
        [sys.executable, "-m", "l1dflush", *arguments],
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(paths)} | environment,
    )


@pytest.fixture
def library(tmp_path: Path) -> Path:
    """A folder for a module that is loaded instead of a library."""
    folder = tmp_path / "modules"
    folder.mkdir()
    return folder


@pytest.mark.parametrize("verb", ["verify", "trace"])
def test_a_crash_of_a_library_is_undecided(verb: str, library: Path) -> None:
    (library / "pypcode.py").write_text(CRASH)
    run = command(verb, "one-pass", path=library)
    out, err = run.communicate(timeout=60)
    assert (run.returncode, out) == (3, "")
    assert err.startswith(
        "l1dflush: undecided (library-crashed): the process that runs the routine was ended by SIGSEGV"
    )
    assert err.count("\n") == 1
    run = command(verb, "one-pass", "--json", path=library)
    document = json.loads(run.communicate(timeout=60)[0])
    jsonschema.Draft202012Validator(schema("error")).validate(document)
    assert (run.returncode, document["verdict"], document["exit_status"]) == (3, "UNDECIDED", 3)
    assert "SIGSEGV" in document["error"]["what"]


def test_an_internal_error_there_is_one_line_here(library: Path) -> None:
    (library / "pypcode.py").write_text(DEFECT)
    run = command("verify", "one-pass", path=library)
    out, err = run.communicate(timeout=60)
    assert (run.returncode, out) == (1, "")
    assert err.startswith(
        "l1dflush: internal error: ZeroDivisionError: division by zero at pypcode.py:1 (please report"
    )
    assert err.count("\n") == 1
    run = command("verify", "one-pass", path=library, L1DFLUSH_DEBUG="1")
    err = run.communicate(timeout=60)[1]
    assert err.count("Traceback (most recent call last)") == 2
    assert "1 / 0" in err


def test_standard_input_reaches_the_child() -> None:
    run = command("verify", "-", "--define", "SIZE=1", stdin=subprocess.PIPE)
    err = run.communicate("nothing that is known\n", timeout=60)[1]
    assert (run.returncode, err.startswith("l1dflush: -: text of no known kind")) == (1, True)


def test_standard_input_is_closed() -> None:
    shell = f"exec {sys.executable} -m l1dflush verify - <&-"
    run = subprocess.run(["sh", "-c", shell], capture_output=True, text=True, check=False)
    assert (run.returncode, run.stderr) == (1, "l1dflush: -: standard input is closed\n")


def test_ctrl_c_stops_the_compiler_and_leaves_no_files(tmp_path: Path) -> None:
    compiler, source, temporary = tmp_path / "slow-cc", tmp_path / "flush.c", tmp_path / "temporary"
    temporary.mkdir()
    # Elsewhere a compiler cannot write.
    started = temporary / "started"
    compiler.write_text(f"#!/bin/sh\necho $$ > {started}.new\nmv {started}.new {started}\nexec sleep 1000\n")
    compiler.chmod(0o755)
    source.write_text(SLOW_C)
    run = command("verify", str(source), CC=str(compiler), TMPDIR=str(temporary))
    for _ in range(600):
        if started.exists():
            break
        time.sleep(0.05)
    assert list(temporary.glob("l1dflush-*"))
    run.send_signal(signal.SIGINT)
    assert run.communicate(timeout=30) == ("", "l1dflush: interrupted\n")
    assert run.returncode == 130
    assert list(temporary.iterdir()) == [started]
    state = Path("/proc", started.read_text().strip(), "stat")
    assert not state.exists() or state.read_text().rpartition(")")[2].split()[0] == "Z"


@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler is installed")
def test_compilers_work_within_the_limits(tmp_path: Path) -> None:
    source = tmp_path / "flush.c"
    source.write_text(SLOW_C)
    run = command("verify", str(source), "--json")
    document = json.loads(run.communicate(timeout=60)[0])
    assert document["verdict"] in {"PROVED", "REFUTED"}


def test_a_sign_of_life_on_a_terminal(library: Path) -> None:
    (library / "pypcode.py").write_text("import time\ntime.sleep(2.5)\nraise ZeroDivisionError\n")
    ours, theirs = pty.openpty()
    environment = os.environ | {"PYTHONPATH": f"{library}{os.pathsep}{SOURCES}", "TERM": "xterm"}
    arguments = [sys.executable, "-m", "l1dflush", "verify", "one-pass"]
    run = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=theirs, env=environment)
    os.close(theirs)
    said = b""
    while True:
        try:
            piece = os.read(ours, 1 << 16)
        except OSError:
            break  # how the end of a terminal shows
        if not piece:
            break
        said += piece
    os.close(ours)
    assert run.wait(timeout=60) == 1
    assert b"running and proving one-pass" in said
    assert b"internal error: ZeroDivisionError" in said
