# SPDX-License-Identifier: GPL-2.0-or-later
"""``replay`` as a command: what verify writes, what others write, and a person at a terminal."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import subprocess
import sys
from pathlib import Path
from typing import BinaryIO

import pytest

from l1dflush.cli.main import main

Capture = pytest.CaptureFixture[str]
SURVIVOR = Path(__file__).parents[1] / "golden" / "inputs" / "survivor.json"


def test_what_verify_writes_can_be_played(tmp_path: Path, capsys: Capture) -> None:
    assert main(["verify", "linux-4.9.120", "--cpu", "ice-lake", "--json"]) == 2
    file = tmp_path / "result.json"
    file.write_text(capsys.readouterr().out)
    assert main(["replay", str(file)]) == 0
    assert capsys.readouterr().out.endswith("all 16 steps are as the file says\n")
    document = json.loads(file.read_text())
    document["rows"][0]["counterexample"]["steps"][4]["way"] = 11
    file.write_text(json.dumps(document))
    assert main(["replay", str(file)]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1
    assert err.startswith(f"l1dflush: {file}: step 5 is not what LRU3PLRU4 does")


def test_what_is_proved_is_not_played(tmp_path: Path, capsys: Capture) -> None:
    assert main(["verify", "linux-4.9.120", "--cpu", "skylake", "--json"]) == 0
    file = tmp_path / "result.json"
    file.write_text(capsys.readouterr().out)
    assert main(["replay", str(file)]) == 1
    err = capsys.readouterr().err
    assert err.startswith(f"l1dflush: {file}: it is PROVED") and err.count("\n") == 1
    assert "--certificate FILE" in err and "l1dflush check FILE" in err


@pytest.mark.parametrize(
    "content", [b"", b"{}", b"[" * 100_000, b"\xff\xfe", b'{"format_version": 1}', b'"x"', b"9" * 10_000, b"\x00" * 10]
)
def test_files_that_are_no_result(content: bytes, tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "x.json").write_bytes(content)
    assert main(["replay", str(tmp_path / "x.json")]) == 1
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1 and len(err) < 500
    assert "this is not a result of verify" in err


@pytest.mark.parametrize(("keys", "steps"), [(b"q", 0), (b"\n\nq", 2), (b"\n" * 10, 9), (b"\x04", 0)])
def test_in_a_terminal_a_key_shows_the_next_step(keys: bytes, steps: int) -> None:
    leader, follower = pty.openpty()
    with os.fdopen(leader, "r+b", buffering=0) as terminal:
        run = subprocess.Popen(
            [sys.executable, "-m", "l1dflush", "replay", str(SURVIVOR)],
            stdin=follower, stdout=follower, stderr=subprocess.PIPE, env=os.environ | {"NO_COLOR": "1"},
        )  # fmt: skip
        os.close(follower)
        shown = b""
        for key in keys:
            shown += until(terminal, b"\n  next  ")
            terminal.write(bytes([key]))
        _, err = run.communicate(timeout=60)
        shown += rest(terminal)
    assert run.returncode == 0, err
    assert shown.count(b" old left") == steps
    assert err.count(b"Enter: next, q: end") >= min(len(keys), steps + 1)


def until(terminal: BinaryIO, end: bytes) -> bytes:
    """What the terminal shows, up to the end of the line that begins with ``end``, the last of each drawing."""
    shown = b""
    while not (end in shown and shown.endswith(b"\n")):
        shown += terminal.read(1)
    return shown


def rest(terminal: BinaryIO) -> bytes:
    """What else it shows, until it is closed, which Linux reports as an error."""
    shown = b""
    with contextlib.suppress(OSError):
        while more := terminal.read(4096):
            shown += more
    return shown
