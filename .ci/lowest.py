# SPDX-License-Identifier: GPL-2.0-or-later
"""Prints what to install for a run with the lowest versions that pyproject.toml allows: each dependency at its lower
bound, and what the tests need besides as it is there."""

from __future__ import annotations

import tomllib
from pathlib import Path

# Of no use to the tests themselves.
_TOOLS = {"mypy", "ruff"}


def main() -> None:
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
    for text in project["dependencies"]:
        bounds, semicolon, marker = text.partition(";")
        name, at_least, rest = bounds.partition(">=")
        if not at_least:
            raise SystemExit(f"pyproject.toml: '{text}' has no lower bound")
        print(f"{name}=={rest.partition(',')[0].strip()}{semicolon}{marker}")
    for text in project["optional-dependencies"]["dev"]:
        if text.partition(">=")[0] not in _TOOLS:
            print(text)


if __name__ == "__main__":
    main()
