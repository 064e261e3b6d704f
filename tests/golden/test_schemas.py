# SPDX-License-Identifier: GPL-2.0-or-later
"""The schemas in docs/schemas are those that the command writes; ``--refresh-golden`` rewrites them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from l1dflush.report.schemas import SCHEMAS, schema, schema_text

FOLDER = Path(__file__).parents[2] / "docs" / "schemas"
IDENTIFIER = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
# Values of enumerations that are somebody else's words, or are written in one way wherever they stand.
WORDS_AS_THEY_ARE = {
    "what people and scripts see at the head of every report": {"PROVED", "REFUTED", "UNDECIDED", "ERROR"},
    "what Linux's vmentry_l1d_flush reads": {"EPT disabled", "not required"},
    "what is written behind l1tf= on Linux's command line": {"flush,nowarn", "flush,nosmt", "full,force"},
}


@pytest.mark.parametrize("which", [None, *SCHEMAS])
def test_a_schema_is_the_one_that_is_published(which: str | None, pytestconfig: pytest.Config) -> None:
    file = FOLDER / f"{which or 'any'}.json"
    if pytestconfig.getoption("--refresh-golden"):
        file.parent.mkdir(exist_ok=True)
        file.write_text(schema_text(which), encoding="utf-8")
    assert file.read_text(encoding="utf-8") == schema_text(which)


def test_none_is_published_that_there_is_not() -> None:
    assert {file.name for file in FOLDER.iterdir()} == {f"{name}.json" for name in ("any", *SCHEMAS)}


@pytest.mark.parametrize("which", [None, *SCHEMAS])
def test_it_has_a_name_of_its_own_with_the_version(which: str | None) -> None:
    described = schema(which)
    version = 1 if which == "certificate" else 2
    assert described["$id"] == f"urn:l1dflush:schema:{which or 'any'}:{version}"
    # Whatever in it leads somewhere is found from there.
    assert not jsonschema.Draft202012Validator(described).is_valid({})
    assert {one.get("const", one.get("maximum")) for one in _versions(described)} == {version}


def _versions(part: Any) -> Iterator[dict[str, Any]]:
    """What is said of `format_version`, wherever it is."""
    if isinstance(part, dict):
        found = part.get("properties", {}).get("format_version")
        yield from [found] if found is not None else []
    inner = part.values() if isinstance(part, dict) else part if isinstance(part, list) else ()
    for one in inner:
        yield from _versions(one)


def test_enumerations_are_of_identifiers() -> None:
    values = {value for which in SCHEMAS for value in _enumerated(schema(which)) if isinstance(value, str)}
    assert {"msr-write", "not-cached", "partially-mitigated"} < values
    others = {value for value in values if not IDENTIFIER.fullmatch(value)}
    assert others == set().union(*WORDS_AS_THEY_ARE.values())


def _enumerated(part: Any) -> Iterator[Any]:
    """All values that a schema lists, and those that are the only one."""
    if isinstance(part, dict):
        yield from part["enum"] if isinstance(part.get("enum"), list) else ()
        yield from [part["const"]] if "const" in part else ()
    inner = part.values() if isinstance(part, dict) else part if isinstance(part, list) else ()
    for one in inner:
        yield from _enumerated(one)
