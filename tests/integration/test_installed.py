# SPDX-License-Identifier: GPL-2.0-or-later
"""What was installed: the wheel has the compiled core, the data files and the types inside."""

from __future__ import annotations

import importlib.metadata
from pathlib import Path

import pytest


def installed() -> set[str]:
    try:
        files = importlib.metadata.files("l1dflush")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("l1dflush is not installed here, it runs from its sources")
    return {str(file) for file in files or ()}


def test_the_core_is_inside() -> None:
    assert any(name.startswith("l1dflush/_core.") and name.endswith(".so") for name in installed())


def test_data_and_types_are_inside() -> None:
    names = installed()
    assert {"l1dflush/py.typed", "l1dflush/_core.pyi"} <= names
    assert {"l1dflush/data/prelude.h", "l1dflush/data/prelude-errno.h"} <= names
    assert sum(name.startswith("l1dflush/data/cpus/") for name in names) >= 40
    assert "l1dflush/data/routines/linux-4.9.120.toml" in names


def test_the_manual_is_inside() -> None:
    pages = {path.name for path in (Path(__file__).parents[2] / "docs").glob("*.md")}
    assert "verify.md" in pages
    assert {f"l1dflush/docs/{name}" for name in pages} <= installed()
