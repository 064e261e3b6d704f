# SPDX-License-Identifier: GPL-2.0-or-later
"""The lists of CPUs without L1TF that come with this tool."""

from __future__ import annotations

import tomllib
from functools import cache
from pathlib import Path

from l1dflush.mitigation.affected import Lists

# Beside this module, as in catalogue.py.
FILE = Path(__file__).parent / "l1tf-cpus.toml"


@cache
def lists() -> Lists:
    """The kernel's lists, each entry with its source."""
    return Lists.parse(tomllib.loads(FILE.read_text(encoding="utf-8")))
