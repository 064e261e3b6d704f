# SPDX-License-Identifier: GPL-2.0-or-later
"""What programs may rely on: the names, their signatures and their types, held against a file.

``--refresh-golden`` rewrites it; every line that changes there changes somebody's program.
"""

from __future__ import annotations

import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import l1dflush as l1d

SIGNATURES = Path(__file__).parents[1] / "golden/public-names.txt"
TYPING = Path(__file__).parents[1] / "typing/api.py"


def described() -> str:
    """Every public name with its signature; of classes, their public methods."""
    lines = []
    for name in l1d.__all__:
        found = getattr(l1d, name)
        if not inspect.isclass(found):
            lines.append(f"{name}{inspect.signature(found)}" if callable(found) else name)
            continue
        lines.append(f"class {name}({', '.join(base.__name__ for base in found.__bases__)})")
        for member, value in sorted(vars(found).items()):
            if member.startswith("_"):
                continue
            kind = inspect.signature(value) if inspect.isfunction(value) else ""
            lines.append(f"    {member}{kind}")
    return "\n".join(lines) + "\n"


def test_nothing_public_changed_unnoticed(pytestconfig: pytest.Config) -> None:
    if pytestconfig.getoption("--refresh-golden"):
        SIGNATURES.write_text(described(), encoding="utf-8")
    assert described() == SIGNATURES.read_text(encoding="utf-8")


def test_types_are_what_programs_get() -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--no-incremental", str(TYPING)],
        capture_output=True, text=True, check=False, cwd=TYPING.parent, timeout=300,
    )  # fmt: skip
    wanted = [line.partition("# is ")[2] for line in TYPING.read_text().splitlines() if "# is " in line]
    said = [line for line in ended.stdout.splitlines() if "Revealed type" in line]
    assert len(said) == len(wanted), ended.stdout
    for line, type_ in zip(said, wanted, strict=True):
        assert line.replace("builtins.", "").endswith(f'Revealed type is "{type_}"'), line
    assert ended.returncode == 0, ended.stdout
