# SPDX-License-Identifier: GPL-2.0-or-later
"""Files that the program keeps for itself from one run to the next, in the user's cache.

They only save time: whatever is wrong with one, it is as if it was not there, and what cannot be written is not kept.
A file is replaced as a whole, so that another run sees the old one or the new one. Files and folders of other users,
and those that others may write to, are left alone: what is kept there decides what is told later.
"""

from __future__ import annotations

import contextlib
import os
import stat
import time
import zlib
from pathlib import Path

OFF_VARIABLE = "L1DFLUSH_NO_CACHE"
"""Nothing is kept or read if this variable of the environment is set, and neither empty nor 0."""

MAX_BYTES = 4 << 20
# As long as nobody takes to write one: then whoever began it was ended.
_ABANDONED_SECONDS = 3600.0
_UNFINISHED = ".unfinished"


def folder() -> Path | None:
    """Where files are kept: ``$XDG_CACHE_HOME/l1dflush`` or ``~/.cache/l1dflush``; None if nowhere."""
    if os.environ.get(OFF_VARIABLE, "0") not in ("", "0"):
        return None
    # Relative ones are invalid (XDG Base Directory Specification).
    for root, inner in (("XDG_CACHE_HOME", ""), ("HOME", ".cache")):
        named = os.environ.get(root, "")
        if named.startswith("/") and "\0" not in named:
            return Path(named) / inner / "l1dflush"
    return None


def read_kept(name: str) -> bytes:
    """What was kept under a name; empty if there is nothing that can be relied on."""
    where = folder()
    if where is None:
        return b""
    try:
        if not _is_ours(where.stat()):
            return b""
        file = os.open(where / name, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
        with open(file, "rb") as opened:  # noqa: PTH123 (a descriptor)
            status = os.fstat(file)
            if not stat.S_ISREG(status.st_mode) or not _is_ours(status) or status.st_size > MAX_BYTES:
                return b""
            content = opened.read(MAX_BYTES + 1)
    except (OSError, ValueError):
        return b""
    checksum, newline, data = content.partition(b"\n")
    return data if newline and checksum == _checksum(data) else b""


def keep(name: str, data: bytes) -> bool:
    """Keeps ``data`` under a name, instead of what was there; whether that could be done."""
    where = folder()
    content = _checksum(data) + b"\n" + data
    if where is None or len(content) > MAX_BYTES:
        return False
    unfinished = where / f"{name}.{os.urandom(8).hex()}{_UNFINISHED}"
    try:
        where.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not _is_ours(where.stat()):
            return False
        _tidy_up(where)
        file = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except (OSError, ValueError):
        return False
    try:
        with open(file, "wb") as opened:  # noqa: PTH123 (a descriptor)
            opened.write(content)
        unfinished.replace(where / name)
    except BaseException as error:
        with contextlib.suppress(OSError):
            unfinished.unlink()
        # A full disk, a limit on the size of files; an interrupt goes on.
        if isinstance(error, OSError):
            return False
        raise
    return True


def _checksum(data: bytes) -> bytes:
    return b"%08x %d" % (zlib.crc32(data), len(data))


def _is_ours(status: os.stat_result) -> bool:
    """Whether nobody else can write to it."""
    return status.st_uid == os.geteuid() and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


def _tidy_up(where: Path) -> None:
    """Removes what runs that were ended left behind."""
    for path in where.glob(f"*{_UNFINISHED}"):
        # It may be finished by now.
        with contextlib.suppress(FileNotFoundError):
            if time.time() - path.lstat().st_mtime > _ABANDONED_SECONDS:
                path.unlink()
