# SPDX-License-Identifier: GPL-2.0-or-later
"""Zstandard as the tests pack with it, and archives as they are unpacked."""

from __future__ import annotations

import sys
import tarfile
from pathlib import Path

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

__all__ = ["extract", "zstd"]


def extract(archive: tarfile.TarFile, folder: Path) -> None:
    """All of an archive, by the safe rules where this Python has them (3.11.4 and later)."""
    if hasattr(tarfile, "data_filter"):
        archive.extractall(folder, filter="data")
    else:
        archive.extractall(folder)
