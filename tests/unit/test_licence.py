# SPDX-License-Identifier: GPL-2.0-or-later
"""Every source file says under which licence it is."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SAYS = "SPDX-License-Identifier: GPL-2.0-or-later"
FOLDERS = ("src", "core", "tests", "benchmarks")
KINDS = {".py", ".cpp", ".hpp", ".S"}


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_file_says_it(folder: str) -> None:
    files = [path for path in (ROOT / folder).rglob("*") if path.suffix in KINDS]
    files = [path for path in files if not {"data", "inputs"} & {*path.parts}]
    assert files
    silent = [path for path in files if path.stat().st_size and SAYS not in path.read_text()[:200]]
    assert not silent
