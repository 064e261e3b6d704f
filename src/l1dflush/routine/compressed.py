# SPDX-License-Identifier: GPL-2.0-or-later
"""Unpacks gzip, xz and zstd, as distributions ship kernel modules, without believing any size that a file claims."""

from __future__ import annotations

import lzma
import re
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from l1dflush.errors import InputError
from l1dflush.routine.detect import compression
from l1dflush.zstd import ZstdError, decompressor

# What unpacking may need besides its result: xz -9 takes 65 MiB.
_MEMORY = 129 << 20
# A file of many tiny streams would be copied for each of them.
_MOST_STREAMS = 4096

_ZEROS = re.compile(rb"\0*")


@dataclass(frozen=True, slots=True)
class _Format:
    """``stream`` makes what unpacks one stream; ``padded``: whether zeros may follow a stream."""

    stream: Callable[[], Any]
    padded: bool


# Bytes that are given to one at a time.
_PIECE = 1 << 16
_FORMATS = {
    "gzip": _Format(lambda: zlib.decompressobj(wbits=16 + zlib.MAX_WBITS), padded=True),
    "xz": _Format(lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_MEMORY), padded=True),
    "zstd": _Format(decompressor, padded=False),
}


def unpack(data: bytes, *, where: str, most: int) -> bytes:
    """What is compressed in ``data``: all streams, one after the other.

    Raises InputError unless ``data`` is whole gzip, xz or zstd streams and nothing else, with 1 to ``most`` bytes in
    them that are not compressed again.
    """
    name = compression(data)
    if name not in _FORMATS:
        raise InputError(f"it is compressed with {name}, which is not read", where=where, hint="unpack it first")
    try:
        content = _unpack(data, name, where, most)
    except (zlib.error, lzma.LZMAError, ZstdError) as error:
        raise InputError(f"damaged {name} data: {error}", where=where) from error
    if not content:
        raise InputError(f"nothing is in it but the marks of {name}", where=where)
    inner = compression(content)
    if inner is not None:
        what = f"it is compressed twice, with {inner} and then with {name}"
        raise InputError(what, where=where, hint="unpack it once")
    return content


def _unpack(data: bytes, name: str, where: str, most: int) -> bytes:
    form = _FORMATS[name]
    content = bytearray()
    position = 0
    for _ in range(_MOST_STREAMS):
        stream = form.stream()
        while not stream.eof:
            piece = data[position : position + _PIECE]
            if not piece:
                raise InputError(f"the {name} data ends too early", where=where, hint="is it all of the file?")
            position += len(piece)
            # One more than there is room for, and never 0, which would mean without bound.
            content += stream.decompress(piece, most + 1 - len(content))
            if len(content) > most:
                raise InputError(f"unpacked it is more than {most >> 20} MiB", where=where)
        position -= len(stream.unused_data)
        if form.padded:
            position = _ZEROS.match(data, position).end()  # type: ignore[union-attr]  # it always matches
        rest = data[position : position + 8]
        if not rest:
            return bytes(content)
        if compression(rest) != name:
            raise InputError(f"something else follows the {name} data", where=where)
    raise InputError(f"more than {_MOST_STREAMS} {name} streams, one after the other", where=where)
