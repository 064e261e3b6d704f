# SPDX-License-Identifier: GPL-2.0-or-later
"""An input as it is looked at once: its content, what it is, and what the user knows it as."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from l1dflush.routine.detect import SAMPLE, Format, compression, detect, is_binary

MAX_BYTES = 64 << 20

_PACKED_SUFFIX = re.compile(r"\.(?:gz|xz|zst|zstd)\Z", re.I)


@dataclass(frozen=True, slots=True)
class Given:
    """An input: its content, unpacked if it was ``packed`` by the compressor of that name; the name for messages."""

    data: bytes
    name: str
    kind: Format
    packed: str = ""


# Who compiles a source at another level, or looks again for what is not there, has the same input.
@lru_cache(maxsize=4)
def given(data: bytes, name: str) -> Given:
    """What ``data`` is, which the user knows as ``name``. Raises InputError if it is packed and cannot be unpacked."""
    packed = compression(data)
    if packed is None or not is_binary(data[:SAMPLE]):
        return Given(data, name, detect(data, name))
    from l1dflush.routine.compressed import unpack

    content = unpack(data, where=name, most=MAX_BYTES)
    return Given(content, name, detect(content, _PACKED_SUFFIX.sub("", name)), packed)
