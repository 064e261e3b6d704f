# SPDX-License-Identifier: GPL-2.0-or-later
"""Zstandard: Python's own from 3.14 on, and the same code for older versions."""

from __future__ import annotations

import sys

if sys.version_info >= (3, 14):
    from compression.zstd import DecompressionParameter, ZstdDecompressor, ZstdError
else:
    from backports.zstd import DecompressionParameter, ZstdDecompressor, ZstdError

__all__ = ["ZstdError", "decompressor"]

# What zstd --ultra -22 takes: 128 MiB. A stream may ask for as much as it likes.
_WINDOW_LOG = 27


def decompressor() -> ZstdDecompressor:
    """What unpacks one frame, in pieces of as many bytes as are asked for.

    It refuses frames whose window is more than 128 MiB, with ZstdError.
    """
    return ZstdDecompressor(options={DecompressionParameter.window_log_max: _WINDOW_LOG})
