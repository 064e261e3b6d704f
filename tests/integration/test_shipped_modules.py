# SPDX-License-Identifier: GPL-2.0-or-later
"""Kernel modules as distributions ship them: every path through the flush of each ``kvm-intel.ko`` in a folder.

``L1DFLUSH_MODULES`` names the folder (searched with its subfolders); nothing of it is part of this project.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections import Counter
from pathlib import Path

import pytest

from l1dflush.cli.main import main

VARIABLE = "L1DFLUSH_MODULES"
FOLDER = os.environ.get(VARIABLE, "")
MODULES = sorted(p for p in Path(FOLDER).rglob("*.ko*") if p.stat().st_size > 4096) if FOLDER else []
# 6.1 and before: the mode decides outside the flush whether it is called; then 7.x asks inside.
SEVEN_PATHS = Counter({"software-walk": 3, "msr-write": 3, "skipped": 1})

pytestmark = pytest.mark.skipif(not MODULES, reason=f"{VARIABLE} names no folder with kernel modules")


def judged(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, dict[str, object]]:
    status = main(["verify", *arguments, "--json"])
    return status, json.loads(capsys.readouterr().out)


def paths(result: dict[str, object]) -> list[dict[str, object]]:
    found = result["paths"]
    assert isinstance(found, list)
    return found


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_every_path(module: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, result = judged(capsys, str(module))
    assert (status, result["verdict"]) == (0, "PROVED")
    outcomes = Counter(path["outcome"] for path in paths(result))
    assert set(outcomes) == set(SEVEN_PATHS)
    if "/6.1." in str(module) or module.name.startswith("6.1."):
        assert outcomes == SEVEN_PATHS
    for path in paths(result):
        loads = 16 + 1024 if path["outcome"] == "software-walk" else 0
        assert path["loads"] == loads
        facts = [decision["fact"] for decision in path["decisions"]]  # type: ignore[attr-defined]
        assert any(fact["relation"] == "static-key" for fact in facts)
        asks = any(fact["relation"] == "feature" and fact["number"] == 18 * 32 + 28 for fact in facts)
        assert asks == (path["outcome"] != "skipped")
    assert judged(capsys, str(module), "--every-path")[0] == 2


@pytest.mark.skipif(shutil.which("objcopy") is None, reason="objcopy is not installed")
@pytest.mark.parametrize("change", [["--redefine-sym", "vmx_l1d_flush=renamed"], ["--discard-all"]], ids=" ".join)
def test_names_do_not_matter(change: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plain = [module for module in MODULES if module.suffix == ".ko"]
    if not plain:
        pytest.skip(f"{VARIABLE} has no uncompressed module")
    for module in plain[:3]:
        other = tmp_path / "other.ko"
        subprocess.run(["objcopy", *change, module, other], check=True)
        status, result = judged(capsys, str(other), "--cpu", "skylake")
        assert (status, result["verdict"]) == (0, "PROVED")
        assert set(Counter(path["outcome"] for path in paths(result))) == set(SEVEN_PATHS)
