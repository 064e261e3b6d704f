# SPDX-License-Identifier: GPL-2.0-or-later
"""Copies of a host's files in a tar archive, which is read into memory and never unpacked to a disk."""

from __future__ import annotations

import io
import tarfile
from dataclasses import dataclass
from pathlib import Path

from l1dflush.errors import InputError
from l1dflush.host.reading.files import MOST_BYTES, NO_FILE, Copied, UnreadableError, resolved
from l1dflush.routine.compressed import unpack
from l1dflush.routine.detect import compression
from l1dflush.user_files import read_file

MOST_UNPACKED = 64 << 20
MOST_MEMBERS = 20_000
_BLOCK = 512
_LONGEST_NAME = 4096
_DEEPEST = 24
_HINT = "'l1dflush gather' writes one"
# Of a hostile archive the standard library may trip over a number, a name, or headers that follow each other.
_DAMAGE = (tarfile.TarError, ValueError, ArithmeticError, LookupError, EOFError, RecursionError)

_Path = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Link:
    target: str


class Archive(Copied):
    """A tar archive, as it is or compressed with gzip, xz or zstd, with a host's files under their own paths.

    Links are followed inside the archive only. Members that are devices or FIFOs, and those whose names have ``..`` or
    more than 24 parts, count as not there.
    """

    def __init__(self, path: Path) -> None:
        """Reads all of it. Raises InputError for what is no such archive, is damaged, or larger than 64 MiB unpacked
        or 20,000 members."""
        super().__init__(str(path))
        self._tree = _tree(_data(path), str(path))

    def _content(self, path: str) -> bytes:
        parts = resolved(path, self._link)
        if parts == ("dev", "null"):
            return b""
        found = self._tree.get(parts, NO_FILE)
        if found is None:
            raise UnreadableError("it is a folder")
        if not isinstance(found, bytes):
            raise UnreadableError(NO_FILE)
        if len(found) > MOST_BYTES:
            raise UnreadableError(f"it has more than {MOST_BYTES >> 20} MiB")
        return found

    def _names(self, folder: str) -> tuple[str, ...]:
        parts = resolved(folder, self._link)
        if self._tree.get(parts, NO_FILE) is not None:
            raise UnreadableError(NO_FILE)
        depth = len(parts)
        return tuple(sorted({one[depth] for one in self._tree if len(one) == depth + 1 and one[:depth] == parts}))

    def _exists(self, path: str) -> bool:
        return resolved(path, self._link) in self._tree

    def _link(self, parts: _Path) -> str | None:
        found = self._tree.get(parts)
        return found.target if isinstance(found, _Link) else None


def _data(path: Path) -> bytes:
    """The archive as it is when it is not compressed."""
    where = str(path)
    data = read_file(path, MOST_UNPACKED, hint=f"{_HINT}; --sysroot reads a folder", stdin=False)
    return unpack(data, where=where, most=MOST_UNPACKED) if compression(data) else data


def _tree(data: bytes, where: str) -> dict[_Path, bytes | _Link | None]:
    """Files, links, and None for folders."""
    tree: dict[_Path, bytes | _Link | None] = {(): None}
    try:
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:", encoding="utf-8") as archive:
            for number, member in enumerate(archive, 1):
                if number > MOST_MEMBERS:
                    raise InputError(f"it has more than {MOST_MEMBERS} members", where=where, hint=_HINT)
                _add(tree, archive, member, where)
            end = data[archive.offset : archive.offset + _BLOCK]
    except _DAMAGE as error:
        if isinstance(error, tarfile.ReadError) and len(tree) == 1:
            raise InputError("it is not a tar archive", where=where, hint=_HINT) from None
        raise InputError(f"damaged tar archive: {error}", where=where) from None
    if end != bytes(_BLOCK):
        # The standard library takes the end of the file for the end of the archive.
        raise InputError("the tar archive ends too early", where=where, hint="is it all of the file?")
    return tree


def _add(
    tree: dict[_Path, bytes | _Link | None], archive: tarfile.TarFile, member: tarfile.TarInfo, where: str
) -> None:
    if len(member.name) > _LONGEST_NAME:
        return
    parts = tuple(part for part in member.name.split("/") if part not in ("", "."))
    if ".." in parts or not 0 < len(parts) <= _DEEPEST:
        return
    content: bytes | _Link | None
    if member.isreg() and not member.issparse():
        file = archive.extractfile(member)
        content = file.read(MOST_BYTES + 1) if file is not None else b""
        if len(content) < min(member.size, MOST_BYTES + 1):
            raise InputError("the tar archive ends too early", where=where, hint="is it all of the file?")
    elif member.isdir():
        content = None
    elif member.issym():
        content = _Link(member.linkname)
    elif member.islnk():
        content = _Link(f"/{member.linkname}")
    else:
        return
    for depth in range(1, len(parts)):
        tree.setdefault(parts[:depth], None)
    # Another folder of the same name is the same folder.
    if content is not None or parts not in tree:
        tree[parts] = content
