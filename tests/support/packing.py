# SPDX-License-Identifier: GPL-2.0-or-later
"""Zstandard as the tests pack with it."""

from __future__ import annotations

import sys

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

__all__ = ["zstd"]
