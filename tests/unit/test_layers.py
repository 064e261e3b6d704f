# SPDX-License-Identifier: GPL-2.0-or-later
"""Nothing imports upwards: every import of the package against the list of layers in the manual."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "l1dflush"
LISTED = re.findall(r"^\d+\. (`.*`)$", (ROOT / "docs" / "architecture.md").read_text(), re.M)
LAYER = {name: number for number, line in enumerate(LISTED) for name in re.findall(r"`([\w.]+)`", line)}


def room(module: str) -> str:
    """The longest name on the list that a module is in."""
    parts = module.split(".")
    return next((name for n in range(len(parts), 0, -1) if (name := ".".join(parts[:n])) in LAYER), module)


def imported(tree: ast.AST) -> Iterator[str]:
    """The modules of the package that a module imports, wherever in it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (one.name for one in node.names if one.name.startswith("l1dflush"))
        elif isinstance(node, ast.ImportFrom) and (node.level or (node.module or "").split(".")[0] == "l1dflush"):
            assert not node.level, "an import that is relative"
            for one in node.names:
                whole = f"{node.module}.{one.name}"
                path = SOURCE.parent / whole.replace(".", "/")
                yield whole if path.is_dir() or path.with_suffix(".py").is_file() else str(node.module)


MODULES = {
    ".".join(path.relative_to(SOURCE).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted(SOURCE.rglob("*.py"))
}


def test_the_list_names_what_there_is() -> None:
    assert len(LISTED) > 10 and len(LAYER) == sum(line.count("`") // 2 for line in LISTED)
    assert {room(module) for module in MODULES} - {"__init__"} == set(LAYER)


@pytest.mark.parametrize("module", [name for name in MODULES if name != "__init__"])
def test_a_module_imports_only_from_below(module: str) -> None:
    mine = room(module)
    for other in imported(ast.parse(MODULES[module].read_text())):
        theirs = room(other.removeprefix("l1dflush").lstrip(".") or "__init__")
        # The version, and the compiled core.
        if theirs in ("__init__", mine, "_core"):
            continue
        assert LAYER[theirs] < LAYER[mine], f"{module} imports {other}"


def test_what_is_wrong_is_found_out() -> None:
    for text in ("from l1dflush.cli import main", "def f():\n    from l1dflush import cli", "import l1dflush.cli.main"):
        (found,) = imported(ast.parse(text))
        assert LAYER[room(found.removeprefix("l1dflush."))] > LAYER["verdict"]
