# SPDX-License-Identifier: GPL-2.0-or-later
"""Files kept from one run to the next: what is wrong with one never shows."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from l1dflush import cache_files
from l1dflush.cache_files import MAX_BYTES, OFF_VARIABLE, folder, keep, read_kept

NAME = "facts-1"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv(OFF_VARIABLE, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "l1dflush"


def in_a_child(task: Callable[[], bool]) -> bool:
    """What ``task`` says in a process that may be limited for good."""
    child = os.fork()
    if child == 0:
        status = 2
        try:
            status = int(task())
        finally:
            os._exit(status)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert code in (0, 1)
    return bool(code)


@pytest.mark.parametrize("data", [b"", b"one\ntwo\n", bytes(range(256))])
def test_what_was_kept_is_read(here: Path, data: bytes) -> None:
    assert keep(NAME, b"before") and keep(NAME, data)
    assert read_kept(NAME) == data and read_kept("another") == b""
    assert [path.name for path in here.iterdir()] == [NAME]
    assert here.stat().st_mode & 0o777 == 0o700 and (here / NAME).stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("position", range(0, 30, 3))
def test_damage_is_noticed(here: Path, position: int) -> None:
    assert keep(NAME, b"what is known so far, in one line")
    content = bytearray((here / NAME).read_bytes())
    content[position] ^= 4
    (here / NAME).write_bytes(content)
    assert read_kept(NAME) == b""
    (here / NAME).write_bytes(content[:position])
    assert read_kept(NAME) == b""


def test_too_much_is_not_kept(here: Path) -> None:
    assert not keep(NAME, bytes(MAX_BYTES))
    here.mkdir(exist_ok=True)
    (here / NAME).write_bytes(bytes(MAX_BYTES + 1))
    assert read_kept(NAME) == b""


def test_it_can_be_turned_off(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert keep(NAME, b"kept")
    monkeypatch.setenv(OFF_VARIABLE, "1")
    assert folder() is None and not keep(NAME, b"again") and read_kept(NAME) == b""
    monkeypatch.setenv(OFF_VARIABLE, "0")
    assert folder() == here and read_kept(NAME) == b"kept"


@pytest.mark.parametrize("home", [None, "", "relative/home", "/proc/none", "/dev/null"])
def test_no_home(home: str | None, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_CACHE_HOME")
    if home is None:
        monkeypatch.delenv("HOME", raising=False)
    else:
        monkeypatch.setenv("HOME", home)
    assert not keep(NAME, b"data") and read_kept(NAME) == b""


def test_the_home_is_taken_without_a_variable(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setenv("HOME", str(here.parent))
    assert folder() == here.parent / ".cache/l1dflush" and keep(NAME, b"data") and read_kept(NAME) == b"data"


@pytest.mark.parametrize("mode", [0o770, 0o777])
def test_others_may_not_write_there(here: Path, mode: int) -> None:
    assert keep(NAME, b"kept")
    here.chmod(mode)
    assert read_kept(NAME) == b"" and not keep(NAME, b"more")
    here.chmod(0o700)
    (here / NAME).chmod(mode & 0o666)
    assert read_kept(NAME) == b""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
def test_files_of_others_are_left_alone(here: Path) -> None:
    assert keep(NAME, b"kept")
    os.chown(here / NAME, 12345, 12345)
    assert read_kept(NAME) == b""
    os.chown(here, 12345, 12345)
    assert not keep(NAME, b"more")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_no_permission(here: Path) -> None:
    assert keep(NAME, b"kept")

    def task() -> bool:
        os.setresuid(12345, 12345, 12345)
        return keep(NAME, b"more") or read_kept(NAME) != b""

    assert not in_a_child(task)
    assert read_kept(NAME) == b"kept"


@pytest.mark.parametrize("kind", ["pipe", "link", "folder"])
def test_what_is_no_file(here: Path, kind: str) -> None:
    here.mkdir(mode=0o700)
    if kind == "pipe":
        os.mkfifo(here / NAME, 0o600)
    elif kind == "link":
        (here / NAME).symlink_to("/etc/passwd")
    else:
        (here / NAME).mkdir()
    assert read_kept(NAME) == b""


def test_a_full_disk(here: Path) -> None:
    """A limit on the size of files fails as a full disk does: in the middle."""
    assert keep(NAME, b"kept")

    def task() -> bool:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
        return keep(NAME, bytes(100_000))

    assert not in_a_child(task)
    assert read_kept(NAME) == b"kept" and [path.name for path in here.iterdir()] == [NAME]


def test_an_interrupt_leaves_nothing(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert keep(NAME, b"kept")

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        keep(NAME, b"more")
    assert read_kept(NAME) == b"kept" and [path.name for path in here.iterdir()] == [NAME]


def test_what_was_abandoned_is_removed(here: Path) -> None:
    here.mkdir(mode=0o700)
    old, new = here / f"{NAME}.0{cache_files._UNFINISHED}", here / f"{NAME}.1{cache_files._UNFINISHED}"
    for path in (old, new):
        path.write_bytes(b"half")
    os.utime(old, (1, 1))
    assert keep(NAME, b"kept")
    assert not old.exists() and new.exists() and read_kept(NAME) == b"kept"


def test_many_at_once(here: Path) -> None:
    """Whoever reads has one of the whole contents, whatever others write in the meantime."""
    code = (
        "import sys; from l1dflush.cache_files import keep, read_kept\n"
        "for i in range(60):\n"
        "    assert keep('x', sys.argv[1].encode() * (1 + 977 * i))\n"
        "    said = read_kept('x'); assert said and len(set(said)) == 1\n"
    )
    runs = [subprocess.Popen([sys.executable, "-c", code, letter]) for letter in "abc"]
    assert [run.wait() for run in runs] == [0, 0, 0]
    assert [path.name for path in here.iterdir()] == ["x"]
