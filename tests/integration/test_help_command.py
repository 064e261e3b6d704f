# SPDX-License-Identifier: GPL-2.0-or-later
"""``help``: the pages of the manual, and no message that names a file which only a checkout has."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from l1dflush.cli.main import main
from l1dflush.report.manual import manual_lines

Capture = pytest.CaptureFixture[str]
ROOT = Path(__file__).parents[2]
PAGES = {path.stem: path for path in (ROOT / "docs").glob("*.md")}


def shown(arguments: list[str], capsys: Capture, status: int = 0) -> str:
    assert main(["help", *arguments]) == status
    return "".join(capsys.readouterr())


def test_all_pages_are_listed(capsys: Capture) -> None:
    rows = shown([], capsys).splitlines()[1:]
    assert [row.split()[0] for row in rows] == sorted(PAGES)
    assert all(len(row.split()) > 1 for row in rows)


@pytest.mark.parametrize("topic", sorted(PAGES))
@pytest.mark.parametrize("width", [76, 120])
def test_every_page_is_whole_and_fits(topic: str, width: int, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    out = shown([topic], capsys)
    source = PAGES[topic].read_text(encoding="utf-8")
    # Code as it is, whatever the width.
    code = {
        line.rstrip()
        for block in re.findall(r"^```[^\n]*\n(.*?)^```", source, re.M | re.S)
        for line in block.splitlines()
    }
    lines = out.splitlines()
    told = {line.removeprefix("    ") for line in lines if line.startswith("    ")}
    assert code - {""} <= told
    assert all(len(line) <= width or line.removeprefix("    ") in code for line in lines)
    # All words of the prose are there, in their order; tables are in columns.
    prose = re.sub(r"^```.*?^```$|^\|.*$", "", source, flags=re.M | re.S)
    words = re.findall(r"[A-Za-z]{5,}", re.sub(r"\]\([^)]*\)", "]", prose))
    found = iter(re.findall(r"[A-Za-z]{5,}", out))
    assert all(word in found for word in words)
    assert "\n\n\n" not in out
    assert not out.endswith("\n\n")


def test_links_lead_to_pages() -> None:
    text = "see [verify.md](verify.md#a-part), [the words](lab.md), [here](#a-part) and [there](https://example.org/x)"
    (line,) = manual_lines(text, 100)[:1]
    assert "see l1dflush help verify, the words (l1dflush help lab), here and there" in line.plain


def test_a_page_that_is_not_there(capsys: Capture) -> None:
    meant = "did you mean verify or vmentry or theory? 'l1dflush help' lists them"
    assert shown(["verfy"], capsys, 1) == f"l1dflush: there is no page 'verfy' ({meant})\n"
    assert main(["help", "../README"]) == 1


@pytest.mark.parametrize("verb", ["explain", "help"])
def test_a_verb_without_a_page_of_its_own(verb: str, capsys: Capture) -> None:
    assert verb not in PAGES
    assert main([verb, "--help"]) == 0
    told = capsys.readouterr().out
    assert f"l1dflush {verb} [OPTIONS]" in told and shown([verb.upper()], capsys) == told


def texts(path: Path) -> list[str]:
    """The string constants of a module, without its docstrings."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    return [
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings
    ]


def test_messages_name_pages_that_are_there() -> None:
    named = set()
    for path in (ROOT / "src" / "l1dflush").rglob("*.py"):
        for text in texts(path):
            assert not re.search(r"\bdocs/[\w-]+\.md", text), f"{path}: {text}"
            named |= set(re.findall(r"l1dflush help ([a-z][a-z-]*)", text))
    assert {"cpus", "policies", "lab", "mitigation"} <= named <= set(PAGES)
