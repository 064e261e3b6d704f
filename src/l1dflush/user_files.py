# SPDX-License-Identifier: GPL-2.0-or-later
"""Files that the user names, read so that nothing is waited for that may never come.

Devices and sockets are refused before they are opened. A named pipe is read if somebody writes to it, which is waited
for :data:`WRITER_SECONDS` only. What the program was given open is read as it comes: standard input (``-``,
``/dev/stdin``) and what a shell's ``<(command)`` becomes (``/dev/fd/63``). Pipes can be read once only; :func:`keep` is
for what is to be read again, or in a child process that does not have it.
"""

from __future__ import annotations

import io
import os
import re
import stat
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, cast

from l1dflush.errors import InputError

STANDARD_INPUT = "-"
# Long enough for a writer that was started together with us.
WRITER_SECONDS = 1.0

_GIVEN_OPEN = re.compile(r"(?:/dev|/proc/self|/proc/thread-self)/fd/(\d{1,9})\Z|/dev/std(in)\Z")
_KINDS = (
    (stat.S_ISDIR, "this is a directory"),
    (stat.S_ISSOCK, "this is a socket"),
    (stat.S_ISCHR, "this is a device"),
    (stat.S_ISBLK, "this is a device"),
)
_INSTEAD = "give a regular file"
_OR_STANDARD_INPUT = "give a regular file, or - and the content on standard input"
# The device /dev/null: an empty file.
_NULL = os.makedev(1, 3)

# What was read of what can be read once, by name: what it was read from, and its content.
_kept: dict[str, tuple[object, bytes]] = {}


class NoSuchFileError(InputError):
    """There is no file of that name."""


def read_file(source: str | Path, most: int, *, where: str = "", hint: str | None = None, stdin: bool = True) -> bytes:
    """The content of a file of at most ``most`` bytes; of standard input for ``-``, if ``stdin``.

    Messages call it ``where``, or by its name. Raises InputError (``hint`` says what to do instead) if it cannot be
    read, is larger or is not a file; NoSuchFileError if it is not there.
    """
    name = str(source)
    where = where or (name if name != STANDARD_INPUT or not stdin else "standard input")
    once = _once(name, stdin)
    data = _kept_content(name, once) if once is not None else None
    if data is None:
        data = _read(source, most + 1, where, hint, stdin)
    if len(data) > most:
        raise InputError(f"more than {_size(most)}", where=where)
    return data


@contextmanager
def opened(source: str | Path, *, where: str = "", hint: str | None = None, stdin: bool = True) -> Iterator[BinaryIO]:
    """A file to read from, for what is too large to be read whole; otherwise as :func:`read_file`."""
    name = str(source)
    where = where or name
    if name == STANDARD_INPUT and stdin:
        # Closed, or replaced by something for text.
        buffer = getattr(sys.stdin, "buffer", None)
        if buffer is None or buffer.closed:
            raise InputError("standard input is closed", where=STANDARD_INPUT)
        yield buffer
        return
    try:
        file = _open(name, where, hint or (_OR_STANDARD_INPUT if stdin else _INSTEAD))
    except (OSError, ValueError) as error:
        raise _unreadable(error, where, hint) from None
    with file:
        yield file


def keep(sources: Iterable[str], most: int) -> None:
    """Reads those of ``sources`` that can be read once only, so that every :func:`read_file` of this process and of its
    children has their content. What cannot be read is left for that to say."""
    for name in sources:
        once = _once(name, stdin=True)
        if once is not None and _kept_content(name, once) is None:
            try:
                _kept[name] = once, _read(name, most + 1, name, None, True)
            except InputError:
                continue


def _read(source: str | Path, size: int, where: str, hint: str | None, stdin: bool) -> bytes:
    """At most so many bytes of it."""
    with opened(source, where=where, hint=hint, stdin=stdin) as file:
        content = bytearray()
        try:
            while len(content) < size and (piece := file.read(size - len(content))):
                content += piece
        except (OSError, ValueError) as error:
            raise _unreadable(error, where, hint) from None
        return bytes(content)


def _once(name: str, stdin: bool) -> object | None:
    """What tells apart the things of that name that can be read once only; None for a file."""
    if name == STANDARD_INPUT and stdin:
        return sys.stdin
    number = _given_open(name)
    try:
        said = os.stat(name) if number is None else os.fstat(number)  # noqa: PTH116 (a path may not be one)
    except (OSError, ValueError):
        # Not here: a child is given nothing but standard input.
        return _kept[name][0] if number is not None and name in _kept else None
    read_again = not stat.S_ISFIFO(said.st_mode) if number is None else stat.S_ISREG(said.st_mode)
    return None if read_again else (said.st_dev, said.st_ino)


def _kept_content(name: str, once: object) -> bytes | None:
    found = _kept.get(name)
    return found[1] if found is not None and found[0] == once else None


def _given_open(name: str) -> int | None:
    found = _GIVEN_OPEN.match(name)
    return None if found is None else int(found[1] or 0)


def _open(name: str, where: str, hint: str) -> BinaryIO:
    """Raises InputError for what is not a file, OSError and ValueError."""
    number = _given_open(name)
    status = os.stat(name)  # noqa: PTH116 (a path may not be one: a zero byte in it)
    if number is not None and not stat.S_ISREG(status.st_mode) and not stat.S_ISDIR(status.st_mode):
        return open(os.dup(number), "rb", buffering=0)  # noqa: PTH123 (a descriptor)
    _refuse(status, where, hint)
    # Without blocking, and looked at again: what it is may have changed since.
    descriptor = os.open(name, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    file = open(descriptor, "rb", buffering=0)  # noqa: PTH123, SIM115 (as above)
    try:
        status = os.fstat(descriptor)
        _refuse(status, where, hint)
        return _written_by_somebody(file, where, hint) if stat.S_ISFIFO(status.st_mode) else file
    except BaseException:
        file.close()
        raise


class _Continued(io.RawIOBase):
    """What was read already, and then the rest of a file."""

    def __init__(self, begun: bytes, rest: io.FileIO) -> None:
        self._begun = begun
        self._rest = rest

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        if not self._begun:
            return self._rest.readinto(buffer)
        size = min(len(buffer), len(self._begun))
        buffer[:size] = self._begun[:size]
        self._begun = self._begun[size:]
        return size

    def close(self) -> None:
        self._rest.close()
        super().close()


def _written_by_somebody(pipe: io.FileIO, where: str, hint: str) -> BinaryIO:
    """A named pipe that was opened without blocking, once somebody has it open for writing. Raises InputError."""
    deadline = time.monotonic() + WRITER_SECONDS
    # None: there is a writer, and nothing written yet; empty: there is none.
    while (begun := pipe.read(1 << 16)) == b"":
        if time.monotonic() > deadline:
            raise InputError("nobody writes to this named pipe", where=where, hint=hint)
        time.sleep(0.02)
    os.set_blocking(pipe.fileno(), True)
    return cast(BinaryIO, _Continued(begun or b"", pipe))


def _refuse(status: os.stat_result, where: str, hint: str) -> None:
    what = next((what for is_kind, what in _KINDS if is_kind(status.st_mode)), None)
    empty = stat.S_ISCHR(status.st_mode) and status.st_rdev == _NULL
    if what is not None and not empty:
        raise InputError(what, where=where, hint=hint)


def _unreadable(error: OSError | ValueError, where: str, hint: str | None) -> InputError:
    # ValueError: a NUL character in the name.
    reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
    kind = NoSuchFileError if isinstance(error, FileNotFoundError) else InputError
    return kind(f"cannot be read: {reason}", where=where, hint=hint)


def _size(most: int) -> str:
    return f"{most >> 20} MiB" if most >= 1 << 20 else f"{most} bytes"
