# SPDX-License-Identifier: GPL-2.0-or-later
"""Whatever a verb reads: a pipe that nobody writes is not waited for, and a pipe that somebody writes is read."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from l1dflush.cli.main import main

Capture = pytest.CaptureFixture[str]
ROOT = Path(__file__).parents[2]
SOURCES = Path(sys.modules["l1dflush"].__file__ or "").parents[1]
INPUTS = ROOT / "tests" / "golden" / "inputs"
needs_as = pytest.mark.skipif(shutil.which("as") is None, reason="there is no assembler")
needs_bash = pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
FLUSH = """
	.globl	flush
flush:	xorl	%eax, %eax
1:	movb	(%rdi,%rax), %cl
	addq	$64, %rax
	cmpq	$131072, %rax
	jne	1b
	lfence
	ret
"""
# Every option and argument that names a file to read; the file's name is put in for FILE.
READERS = [
    ["verify", "FILE"],
    ["verify", "linux-4.9.120", "--against", "FILE"],
    ["verify", "linux-4.9.120", "--start", "steady", "--then", "FILE"],
    ["verify", "FILE", "linux.s"],
    ["verify", "one-pass", "--policy", "./FILE", "--geometry", "32K,8,64"],
    ["check", "FILE"],
    ["check", str(INPUTS / "linux.l1d"), "--routine", "FILE"],
    ["trace", "FILE"],
    ["replay", "FILE"],
    ["replay", "--silicon", "FILE"],
    ["size", "--policy", "./FILE"],
    ["plan", "--geometry", "32K,8,64", "--policy", "./FILE"],
    ["policies", "./FILE"],
    ["lab", "FILE"],
    ["lab", "nmi", "--routine", "FILE"],
    ["cost", "FILE"],
    ["cost", str(INPUTS / "exits.txt"), "--costs", "FILE"],
    ["status", "--from", "FILE"],
    ["status", "--module", "FILE"],
    ["what-if", "--from", "FILE", "--smt", "off"],
    ["what-if", "--facts", "FILE"],
    ["cpus", "--cpu-folder", "folder"],
]


@pytest.fixture
def in_time() -> Iterator[None]:
    """What hangs is ended: a test that waits for ever would say nothing."""

    def late(_signal: int, _frame: object) -> None:
        raise TimeoutError("it waits")

    old = signal.signal(signal.SIGALRM, late)
    signal.alarm(60)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, old)


def put(kind: str, path: Path) -> None:
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "socket":
        with contextlib.closing(socket.socket(socket.AF_UNIX)) as one:
            one.bind(os.path.relpath(path))
    elif kind == "device":
        path.symlink_to("/dev/zero")
    else:
        path.mkdir()


@pytest.mark.parametrize("arguments", READERS, ids=lambda arguments: " ".join(map(str, arguments))[-40:])
@pytest.mark.parametrize("kind", ["pipe", "socket", "device", "directory"])
@pytest.mark.usefixtures("in_time")
def test_what_is_no_file_ends_at_once_in_one_line(
    arguments: list[str], kind: str, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "linux.s").write_text(FLUSH)
    (tmp_path / "folder").mkdir()
    put(kind, tmp_path / "no-file")
    if "folder" in arguments:
        put(kind, tmp_path / "folder" / "mine.toml")
    assert main([word.replace("FILE", "no-file") for word in arguments]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    name = "mine.toml" if "folder" in arguments else "no-file"
    assert err.count("\n") == 1
    assert f"{name}: {'nobody writes to this named pipe' if kind == 'pipe' else f'this is a {kind}'}" in err


@needs_as
@pytest.mark.parametrize("late", [0.0, 0.3])
@pytest.mark.usefixtures("in_time")
def test_a_named_pipe_with_a_writer_is_read(late: float, tmp_path: Path, capsys: Capture) -> None:
    """Also for the certificate, which needs the routine again."""
    pipe, file = tmp_path / "pipe", tmp_path / "flush.l1d"
    os.mkfifo(pipe)

    def write() -> None:
        with pipe.open("w") as there:
            time.sleep(late)
            there.write(FLUSH[:40])
            there.flush()
            time.sleep(late)
            there.write(FLUSH[40:])

    writer = threading.Thread(target=write)
    writer.start()
    assert main(["verify", str(pipe), "--cpu", "skylake", "--certificate", str(file)]) == 0
    writer.join()
    assert "PROVED" in capsys.readouterr().out
    assert main(["check", str(file)]) == 0


def shell(command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(SOURCES), "PYTHON": sys.executable}
    return subprocess.run(
        ["bash", "-c", f'l1dflush() {{ "$PYTHON" -m l1dflush "$@"; }}; {command}'],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@needs_as
@needs_bash
@pytest.mark.parametrize(
    ("command", "status"),
    [
        ("l1dflush verify <(cat flush.s) --cpu skylake -q", 0),
        ("l1dflush verify flush.s --against <(cat flush.s) --cpu skylake -q", 0),
        ("l1dflush verify one-pass --start steady --then <(cat flush.s) --cpu skylake -q", 0),
        # These need it twice: for the verdict, and for the words.
        ("l1dflush verify <(cat flush.s) --cpu skylake -q --certificate a.l1d && l1dflush check <(cat a.l1d) >&2", 0),
        ("cat flush.s | l1dflush verify - --cpu skylake -q --certificate a.l1d && l1dflush check - < a.l1d >&2", 0),
        ("l1dflush verify - --cpu skylake -q < flush.s", 0),
        ("l1dflush verify /dev/stdin --cpu skylake -q < flush.s", 0),
        ("cat flush.s | l1dflush verify /dev/stdin --cpu skylake -q", 0),
        ("l1dflush what-if --facts <(head -1 what-if.json)", 0),
        ("l1dflush verify <(true) -q", 1),
    ],
)
def test_what_a_shell_gives_open_is_read(command: str, status: int, tmp_path: Path) -> None:
    (tmp_path / "flush.s").write_text(FLUSH)
    shutil.copy(INPUTS / "what-if.json", tmp_path)
    done = shell(command, tmp_path)
    assert (done.returncode, "Traceback" in done.stderr) == (status, False), done.stderr
    if status:
        assert "it is empty" in done.stderr


# --- keys that are there twice


def twice(text: str, key: str, value: str) -> str:
    """The document with one more ``key``, in front of the first."""
    assert f'"{key}":' in text
    return text.replace(f'"{key}":', f'"{key}":{value},"{key}":', 1)


def test_a_certificate_with_a_key_twice(tmp_path: Path, capsys: Capture) -> None:
    trial = ROOT / "tests" / "data" / "trials" / "touches_twice.l1d"
    assert main(["check", str(trial)]) == 1
    assert 'the key "touches" is there twice in one object' in capsys.readouterr().err
    good = (INPUTS / "linux.l1d").read_text()
    file = tmp_path / "twice.l1d"
    for key, value in (("format_version", "1"), ("ways", "8"), ("items", "[]"), ("name", '"x"')):
        changed = twice(good, key, value)
        assert json.loads(changed) == json.loads(good)  # readers take the last, as a rule
        file.write_text(changed)
        assert main(["check", str(file)]) == 1
        assert "is there twice in one object, in line 1 (nobody can tell which" in capsys.readouterr().err
    # The same key, written in another way.
    file.write_text(good.replace('"touches":', '"to\\u0075ches":1,"touches":', 1))
    assert main(["check", str(file)]) == 1
    assert 'the key "touches" is there twice' in capsys.readouterr().err
    file.write_text(good)
    assert main(["check", str(file)]) == 0


def test_other_documents_with_a_key_twice(tmp_path: Path, capsys: Capture) -> None:
    file = tmp_path / "x.json"
    file.write_text(twice((INPUTS / "survivor.json").read_text().replace('": ', '":'), "policy", '"LRU"'))
    assert main(["replay", str(file)]) == 1
    assert 'the key "policy" is there twice' in capsys.readouterr().err
    lines = (INPUTS / "what-if.json").read_text().splitlines()
    question = next(line for line in lines if "release" in line).replace('": ', '":')
    file.write_text(twice(question, "release", '"4.18"'))
    assert main(["what-if", "--facts", str(file)]) == 1
    assert 'the key "release" is there twice' in "".join(capsys.readouterr())
