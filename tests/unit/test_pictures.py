# SPDX-License-Identifier: GPL-2.0-or-later
"""Pictures in the documentation are what their scripts draw now."""

from __future__ import annotations

import runpy
from pathlib import Path

FOLDER = Path(__file__).parents[2] / "docs" / "pictures"


def test_survivors() -> None:
    draw = runpy.run_path(str(FOLDER / "survivors.py"))["draw"]
    assert draw() == (FOLDER / "survivors.svg").read_text(encoding="utf-8")
