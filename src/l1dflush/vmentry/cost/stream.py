# SPDX-License-Identifier: GPL-2.0-or-later
"""The bytes of a trace, block by block: from a file or standard input, compressed or not."""

from __future__ import annotations

import lzma
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO

from l1dflush.errors import InputError
from l1dflush.routine.detect import compression
from l1dflush.user_files import STANDARD_INPUT
from l1dflush.user_files import opened as opened_file
from l1dflush.zstd import ZstdError, decompressor

BLOCK = 512 << 10
# No line of a trace is longer; what is, is not a line.
LONGEST_LINE = 64 << 10
# As routine/compressed.py has it: what xz -9 needs.
_MEMORY = 129 << 20


@dataclass(slots=True)
class TraceBytes:
    """An open trace. ``size`` in bytes, as stored; None where that is not known before the end. ``taken``: bytes read
    until now, as stored. ``cut``: compressed data ended before its end. ``overlong``: lines that were left out."""

    where: str
    size: int | None
    file: BinaryIO
    taken: int = 0
    cut: bool = False
    overlong: int = 0

    def _take(self, most: int) -> bytes:
        try:
            piece = self.file.read(most) or b""
        except OSError as error:
            raise InputError(f"cannot be read: {error.strerror or error}", where=self.where) from None
        self.taken += len(piece)
        return piece

    def blocks(self) -> Iterator[bytes]:
        """Whole lines, about half a MiB of them at once; only the last may lack the end of its line.

        Raises InputError if the trace cannot be read or unpacked.
        """
        rest = b""
        skipping = False
        for piece in self._pieces():
            data = rest + piece
            end = data.rfind(b"\n") + 1
            if not end and len(data) > LONGEST_LINE:
                self.overlong += not skipping
                rest, skipping = b"", True
                continue
            if not end:
                rest = data
                continue
            whole, rest = data[:end], data[end:]
            if skipping:
                whole, skipping = whole[whole.find(b"\n") + 1 :], False
            if whole:
                yield whole
        if rest and not skipping:
            yield rest

    def _pieces(self) -> Iterator[bytes]:
        first = self._take(BLOCK)
        name = compression(first)
        if name is None:
            while first:
                yield first
                first = self._take(BLOCK)
            return
        if name not in _STREAMS:
            raise InputError(f"it is compressed with {name}, which is not read", where=self.where, hint="unpack it")
        try:
            yield from self._streams(first, _STREAMS[name])
        except (zlib.error, lzma.LZMAError, ZstdError) as error:
            raise InputError(f"damaged {name} data: {error}", where=self.where) from None

    def _streams(self, head: bytes, stream: Callable[[], _Gzip | _Fed]) -> Iterator[bytes]:
        data, now = head, stream()
        begun = True
        while True:
            out = now.unpack(data)
            data = b""
            if out:
                yield out
            if now.over:
                # Streams may follow each other, with zeros between them.
                data = now.rest.lstrip(b"\0") or self._take(BLOCK).lstrip(b"\0")
                if not data:
                    return
                now, begun = stream(), True
            elif not now.more:
                data = self._take(BLOCK)
                if not data:
                    self.cut = begun
                    return


class _Gzip:
    """One stream, unpacked a block at a time however much a few bytes stand for."""

    def __init__(self) -> None:
        self._stream = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)

    def unpack(self, data: bytes) -> bytes:
        return self._stream.decompress(self._stream.unconsumed_tail + data, BLOCK)

    @property
    def over(self) -> bool:
        return self._stream.eof

    @property
    def more(self) -> bool:
        return bool(self._stream.unconsumed_tail)

    @property
    def rest(self) -> bytes:
        return self._stream.unused_data


class _Fed:
    """The same for what keeps by itself what it did not use."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def unpack(self, data: bytes) -> bytes:
        unpacked: bytes = self._stream.decompress(data, BLOCK)
        return unpacked

    @property
    def over(self) -> bool:
        return bool(self._stream.eof)

    @property
    def more(self) -> bool:
        return not self._stream.needs_input

    @property
    def rest(self) -> bytes:
        return bytes(self._stream.unused_data)


_STREAMS: dict[str, Callable[[], _Gzip | _Fed]] = {
    "gzip": _Gzip,
    "xz": lambda: _Fed(lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_MEMORY)),
    "zstd": lambda: _Fed(decompressor()),
}


@contextmanager
def opened(source: str) -> Iterator[TraceBytes]:
    """The trace in a file, or on standard input for ``-``. Raises InputError if it cannot be opened."""
    with opened_file(source) as file:
        if source == STANDARD_INPUT:
            yield TraceBytes("standard input", None, file)
            return
        size = file.seek(0, 2) if file.seekable() else 0
        if size:
            file.seek(0)
        yield TraceBytes(source, size or None, file)
