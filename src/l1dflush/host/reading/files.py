# SPDX-License-Identifier: GPL-2.0-or-later
"""The one door through which a host's files are read: of this host, or of a folder that has copies of them.

Whatever it is, nothing is written, every read is bounded, and what cannot be read has a reason that a person
understands. What is read from may be hostile, except this host.
"""

from __future__ import annotations

import errno
import io
import os
import re
import stat
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import NamedTuple, Protocol
from urllib.parse import quote, unquote

from l1dflush.errors import L1dflushError, one_line

MOST_BYTES = 4 << 20
"""Of one file. The largest that are read are /proc/cpuinfo (2 KiB a thread) and /proc/config.gz."""
UNAME = "/l1dflush/uname.txt"
UNREAD = "/l1dflush/unread.txt"
NO_FILE = "there is no such file"
EMPTY = "it is empty"
NOT_GATHERED = "not gathered"

_PIECE = 1 << 16
_MOST_LINKS = 40  # as Linux
_LONGEST_PATH = 4096
_LONGEST_REASON = 200
# What the kernel's own files and configuration files never have.
_JUNK = re.compile(r"[\x00-\x08\x0e-\x1a\x1c-\x1f\ufffd]")
_PLAIN = "/@+,=~"
_NOWHERE = ("dev", "null")
_XL = ("/usr/sbin/xl", "/usr/local/sbin/xl", "/usr/bin/xl", "/usr/local/bin/xl", "/sbin/xl")
_SECONDS = 10
_REASONS = {
    errno.ENOENT: NO_FILE,
    errno.ENOTDIR: NO_FILE,
    errno.EACCES: "permission denied",
    errno.EPERM: "not permitted",
    errno.EISDIR: "it is a folder",
    errno.ELOOP: "too many symbolic links",
}


class UnreadableError(L1dflushError):
    """Something of a host cannot be read. ``why`` is the reason alone, in a few words."""

    def __init__(self, why: str) -> None:
        self.why = one_line(why)[:_LONGEST_REASON]
        super().__init__(self.why)


class Uname(NamedTuple):
    """As ``uname -r``, ``-v`` and ``-m``."""

    release: str
    version: str
    machine: str


class HostFiles(Protocol):
    """The files of a host. Paths are absolute, as on that host."""

    @property
    def where(self) -> str:
        """``this host``, or the folder or archive."""

    def read(self, path: str) -> bytes:
        """All of a regular file. Raises UnreadableError, also for more than :data:`MOST_BYTES`."""

    def names(self, folder: str) -> tuple[str, ...]:
        """What is in a folder, sorted. Raises UnreadableError."""

    def exists(self, path: str) -> bool:
        """Whether there is something of that name. Raises UnreadableError where that cannot be told."""

    def uname(self) -> Uname:
        """What the kernel calls itself. Raises UnreadableError."""

    def xl(self, what: str) -> bytes:
        """What Xen's ``xl WHAT`` prints. Raises UnreadableError."""


class LiveFiles:
    """Those of this host."""

    where = "this host"

    def read(self, path: str) -> bytes:
        """See :class:`HostFiles`."""
        return _content(Path(path))

    def names(self, folder: str) -> tuple[str, ...]:
        """See :class:`HostFiles`."""
        return _names(Path(folder))

    def exists(self, path: str) -> bool:
        """See :class:`HostFiles`."""
        return _exists(Path(path))

    def uname(self) -> Uname:
        """See :class:`HostFiles`."""
        said = os.uname()
        return Uname(said.release, said.version, said.machine)

    def xl(self, what: str) -> bytes:
        """See :class:`HostFiles`. Xen answers root alone."""
        if os.geteuid() != 0:
            raise UnreadableError("it takes root")
        programs = [path for path in _XL if Path(path).is_file()]
        if not programs:
            raise UnreadableError("there is no xl")
        return _printed([programs[0], what])


class Copied(ABC):
    """Copies of a host's files, in a tree that knows of each file only what it was given.

    A copy may come with what ``l1dflush gather`` adds: :data:`UNREAD` has a line ``PATH: REASON`` for what could not be
    read on the host itself (:func:`unread_line`), and :data:`UNAME` three lines.
    """

    def __init__(self, where: str) -> None:
        self.where = where

    def read(self, path: str) -> bytes:
        """See :class:`HostFiles`."""
        self._refuse_unread(path)
        return self._content(path)

    def names(self, folder: str) -> tuple[str, ...]:
        """See :class:`HostFiles`."""
        self._refuse_unread(folder)
        below = f"{folder.rstrip('/')}/"
        # Somebody saw their names there.
        unread = {path[len(below) :].partition("/")[0] for path in self._unread if path.startswith(below)}
        return tuple(sorted({*self._names(folder), *unread} - {""}))

    def exists(self, path: str) -> bool:
        """See :class:`HostFiles`."""
        if self._unread.get(path) == NO_FILE:
            return False
        self._refuse_unread(path)
        return self._exists(path)

    def uname(self) -> Uname:
        """See :class:`HostFiles`."""
        try:
            said = decoded(self.read(UNAME))
        except UnreadableError as error:
            raise UnreadableError(NOT_GATHERED if error.why == NO_FILE else error.why) from None
        lines = [one_line(line) for line in said.split("\n")[: len(Uname._fields)]]
        if len(lines) < len(Uname._fields) or not all(lines):
            raise UnreadableError("it is not what gather writes")
        return Uname(*lines)

    def xl(self, what: str) -> bytes:
        """See :class:`HostFiles`. A copy has it in :func:`xl_path`, where anybody may put it."""
        try:
            return self.read(xl_path(what))
        except UnreadableError as error:
            raise UnreadableError(NOT_GATHERED if error.why == NO_FILE else error.why) from None

    def _refuse_unread(self, path: str) -> None:
        if (why := self._unread.get(path)) is not None:
            raise UnreadableError(why)

    @cached_property
    def _unread(self) -> dict[str, str]:
        try:
            text = self._content(UNREAD).decode(errors="replace")
        except UnreadableError:
            return {}
        lines = (line.partition(": ") for line in text.split("\n"))
        found = {unquote(path, errors="surrogateescape"): why for path, _, why in lines if why.strip()}
        return {path: why for path, why in found.items() if path.startswith("/")}

    @abstractmethod
    def _content(self, path: str) -> bytes: ...

    @abstractmethod
    def _names(self, folder: str) -> tuple[str, ...]: ...

    @abstractmethod
    def _exists(self, path: str) -> bool: ...


class Sysroot(Copied):
    """A folder that has them under their own paths: ``FOLDER/proc/cpuinfo``.

    Symbolic links are followed inside the folder only: an absolute one begins at it, and ``..`` ends there. Nobody is
    expected to change the folder meanwhile.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(str(folder))
        self._folder = folder

    def at(self, path: str) -> Path:
        """Where the copy is that a path on the host leads to. Raises UnreadableError for loops."""
        return self._folder.joinpath(*resolved(path, self._link))

    def _content(self, path: str) -> bytes:
        copy = self.at(path)
        return b"" if copy == self._folder.joinpath(*_NOWHERE) else _content(copy)

    def _names(self, folder: str) -> tuple[str, ...]:
        return _names(self.at(folder))

    def _exists(self, path: str) -> bool:
        return _exists(self.at(path))

    def _link(self, parts: tuple[str, ...]) -> str | None:
        try:
            return str(self._folder.joinpath(*parts).readlink())
        except (OSError, ValueError):
            return None  # it is not a link, or whoever reads it is told the reason


def xl_path(what: str) -> str:
    """Where a copy has what ``xl WHAT`` printed on the host."""
    return f"/l1dflush/xl-{what}.txt"


def decoded(content: bytes) -> str:
    """The text in a file of that content. Raises UnreadableError where there is none, or it is not in UTF-8."""
    if not content:
        raise UnreadableError(EMPTY)
    try:
        found = content.decode()
    except UnicodeDecodeError:
        raise UnreadableError("it is not text") from None
    if _JUNK.search(found):
        raise UnreadableError("it is not text")
    return found


def unread_line(path: str, why: str) -> str:
    """The line of :data:`UNREAD` for a path; what would end the path or the line there is percent-encoded."""
    return f"{quote(path, safe=_PLAIN, errors='surrogateescape')}: {one_line(why)}\n"


def resolved(path: str, link: Callable[[tuple[str, ...]], str | None]) -> tuple[str, ...]:
    """Where a path leads inside a tree whose root is ``/``: the names from there on, none of them a link or ``..``.

    ``link`` returns what a symbolic link says, and None for everything else. Raises UnreadableError for loops.
    """
    ahead = path.split("/")[::-1]
    done: tuple[str, ...] = ()
    followed = 0
    while ahead:
        part = ahead.pop()
        if part in ("", "."):
            continue
        if part == "..":
            done = done[:-1]
            continue
        target = link((*done, part))
        if target is None:
            done = (*done, part)
            continue
        followed += 1
        if followed > _MOST_LINKS:
            raise UnreadableError(_REASONS[errno.ELOOP])
        if len(target) > _LONGEST_PATH:
            raise UnreadableError("a symbolic link says too much")
        if target.startswith("/"):
            done = ()
        ahead.extend(target.split("/")[::-1])
    return done


def _content(path: Path) -> bytes:
    try:
        # Looked at first: to open a device may do something. Without blocking, lest a FIFO is there by now.
        if (why := _no_file(path.stat())) is not None:
            return _nothing(path, why)
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
        with open(descriptor, "rb", buffering=0) as file:  # noqa: PTH123 (a descriptor)
            if (why := _no_file(os.fstat(descriptor))) is not None:
                raise UnreadableError(why)
            content = _bounded(file)
    except (OSError, ValueError) as error:
        raise _unreadable(error) from None
    if len(content) > MOST_BYTES:
        raise UnreadableError(f"it has more than {MOST_BYTES >> 20} MiB")
    return content


def _printed(command: list[str]) -> bytes:
    """By a program of this host that only reads; no word of the command is from elsewhere."""
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=_SECONDS, check=True)
    except subprocess.TimeoutExpired:
        raise UnreadableError(f"{command[0]} did not answer in {_SECONDS} seconds") from None
    except subprocess.CalledProcessError as error:
        raise UnreadableError(f"{command[0]} ended with status {error.returncode}") from None
    except OSError as error:
        raise _unreadable(error) from None
    if len(done.stdout) > MOST_BYTES:
        raise UnreadableError(f"it has more than {MOST_BYTES >> 20} MiB")
    return done.stdout


def _bounded(file: io.FileIO) -> bytes:
    """In pieces: the kernel takes memory for all that is asked of a file in /proc/sys, and may refuse it."""
    content = bytearray()
    while len(content) <= MOST_BYTES and (piece := file.read(_PIECE)):
        content += piece
    return bytes(content)


def _no_file(said: os.stat_result) -> str | None:
    """What it is if it is not a regular file."""
    if stat.S_ISDIR(said.st_mode):
        return "it is a folder"
    return None if stat.S_ISREG(said.st_mode) else "it is not a regular file"


def _nothing(path: Path, why: str) -> bytes:
    """A link to /dev/null is how an administrator says that a file shall count as empty."""
    if path.resolve() == Path("/dev/null"):
        return b""
    raise UnreadableError(why)


def _names(folder: Path) -> tuple[str, ...]:
    try:
        return tuple(sorted(os.listdir(folder)))  # noqa: PTH208 (names alone)
    except (OSError, ValueError) as error:
        raise _unreadable(error) from None


def _exists(path: Path) -> bool:
    try:
        path.stat()
    except FileNotFoundError:
        return False
    except (OSError, ValueError) as error:
        if isinstance(error, NotADirectoryError):
            return False
        raise _unreadable(error) from None
    return True


def _unreadable(error: OSError | ValueError) -> UnreadableError:
    if not isinstance(error, OSError):
        return UnreadableError("it has an impossible name")
    return UnreadableError(_REASONS.get(error.errno or 0) or error.strerror or str(error))
