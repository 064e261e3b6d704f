# SPDX-License-Identifier: GPL-2.0-or-later
"""Files that a command writes besides its result: whole or not at all."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from l1dflush.errors import InputError

_STANDARD_STREAMS = (1, 2)


def check_writable(path: Path) -> None:
    """Raises InputError where a file of that name can surely not be written, before the work for it is done."""
    try:
        if path.exists() and not path.is_file():
            raise InputError("this is not a regular file", where=str(path), hint="name a file")
        if path.exists() and any(_is(path, number) for number in _STANDARD_STREAMS):
            raise InputError("the result is written there already", where=str(path), hint="name another file")
        if not path.resolve().parent.is_dir():
            raise InputError("there is no such folder", where=str(path.parent), hint="make it first")
    except (OSError, ValueError, RuntimeError) as error:
        raise _unwritten(path, error) from None


def _is(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except OSError:
        return False  # it is closed


def write_whole(path: Path, content: bytes) -> None:
    """Writes a file so that nobody ever sees a part of it. Raises InputError if it cannot be written; then an old
    file of that name is still what it was.
    """
    import secrets

    # What a link points to is replaced, not the link.
    target = path.resolve()
    unfinished = target.with_name(f".{target.name[:100]}.{secrets.token_hex(4)}")
    try:
        try:
            with unfinished.open("xb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            unfinished.replace(target)
        except BaseException:
            with contextlib.suppress(OSError):
                unfinished.unlink()
            raise
    except OSError as error:
        raise _unwritten(path, error) from None


def _unwritten(path: Path, error: Exception) -> InputError:
    return InputError(f"cannot be written: {getattr(error, 'strerror', None) or error}", where=str(path))
