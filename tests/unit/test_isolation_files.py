# SPDX-License-Identifier: GPL-2.0-or-later
"""A task in a child process writes to temporary files and to its own cache only."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from child_tasks import SMALL, nothing_left  # noqa: F401 (a fixture for all)

from l1dflush import cache_files
from l1dflush.sandbox import files
from l1dflush.sandbox.child import run_in_child
from l1dflush.sandbox.limits import Limits

landlock = pytest.mark.skipif(
    ctypes.CDLL(None).syscall(files._CREATE_RULESET, None, 0, files._TELL_VERSION) < 1,
    reason="this kernel has no Landlock, or it is off",
)


@pytest.fixture
def home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is none for temporary files."""
    temporary = tmp_path_factory.mktemp("temporary")
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    home = tmp_path_factory.mktemp("home")
    (home / "file").write_text("as it was")
    monkeypatch.setenv("XDG_CACHE_HOME", str(home / "cache"))
    monkeypatch.delenv(cache_files.OFF_VARIABLE, raising=False)
    return home


def tried(does: Callable[[], object]) -> str:
    def task() -> str:
        try:
            does()
        except OSError as error:
            return type(error).__name__
        return "done"

    return run_in_child(task, SMALL)


@landlock
@pytest.mark.parametrize(
    "does",
    [
        lambda home: (home / "file").write_text("spoilt"),
        lambda home: (home / "file").open("a"),
        lambda home: os.truncate(home / "file", 0),
        lambda home: (home / "new").write_text(""),
        lambda home: (home / "new").mkdir(),
        lambda home: (home / "new").symlink_to("file"),
        lambda home: (home / "new").hardlink_to(home / "file"),
        lambda home: os.mkfifo(home / "new"),
        lambda home: (home / "file").unlink(),
        lambda home: (home / "file").rename(home / "other"),
        lambda home: (home / "file").rename(Path(tempfile.gettempdir()) / "stolen"),
    ],
)
def test_no_file_of_the_user_s_changes(home: Path, does: Callable[[Path], object]) -> None:
    before = sorted(home.iterdir())
    assert tried(lambda: does(home)) in ("PermissionError", "OSError")
    assert (home / "file").read_text() == "as it was"
    assert set(home.iterdir()) - set(before) <= {home / "cache"}
    # Here it can be done.
    (home / "file").write_text("changed")


@landlock
def test_neither_by_what_the_child_starts(home: Path) -> None:
    command = [sys.executable, "-c", "import sys; open(sys.argv[1], 'w')", str(home / "file")]

    def task() -> str:
        return subprocess.run(command, stderr=subprocess.PIPE, text=True, check=False).stderr

    assert "PermissionError" in run_in_child(task, Limits())
    assert (home / "file").read_text() == "as it was"


def test_what_is_its_own_can_be_written(home: Path) -> None:
    assert tried(lambda: cache_files.keep("a", b"kept")) == "done" and cache_files.read_kept("a") == b"kept"
    assert tried(tempfile.mkdtemp) == "done"
    assert tried(lambda: Path(os.devnull).write_text("gone")) == "done"
    assert tried((home / "file").read_text) == "done"


def test_without_a_cache(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(cache_files.OFF_VARIABLE, "1")
    assert tried(lambda: cache_files.keep("a", b"kept")) == "done" and not (home / "cache").exists()


def test_where_there_is_none_the_child_runs_as_well(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "_CREATE_RULESET", 1 << 20)  # no such call
    assert tried(lambda: (home / "file").write_text("changed")) == "done" and (home / "file").read_text() == "changed"


@pytest.mark.skipif(shutil.which("gcc") is None, reason="no compiler")
def test_a_source_is_compiled(home: Path) -> None:
    source = home / "walk.c"
    source.write_text(
        'void l1d_flush(volatile char *p) { for (int i = 0; i < 65536; i += 64) p[i]; asm volatile("lfence"); }\n'
    )
    done = subprocess.run(
        [sys.executable, "-m", "l1dflush", "verify", str(source), "--cpu", "skylake"],
        capture_output=True, text=True, check=False, env={**os.environ, "TMPDIR": tempfile.gettempdir()},
    )  # fmt: skip
    assert done.stdout.startswith("PROVED"), done.stderr
    assert list(Path(tempfile.gettempdir()).iterdir()) == []


@pytest.mark.skipif(shutil.which("gcc") is None, reason="no compiler")
def test_ccache_is_told_to_keep_nothing(home: Path) -> None:
    compiler, source = home / "cc", home / "walk.c"
    compiler.write_text('#!/bin/sh\n[ "$CCACHE_DISABLE" = 1 ] || exit 9\nexec gcc "$@"\n')
    compiler.chmod(0o755)
    source.write_text("void l1d_flush(volatile char *p) { for (int i = 0; i < 65536; i += 64) p[i]; }\n")
    done = subprocess.run(
        [sys.executable, "-m", "l1dflush", "verify", str(source), "--cpu", "skylake"],
        capture_output=True, text=True, check=False, env={**os.environ, "CC": str(compiler)},
    )  # fmt: skip
    assert done.stdout.startswith("PROVED"), done.stderr
