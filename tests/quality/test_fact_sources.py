# SPDX-License-Identifier: GPL-2.0-or-later
"""A fact has a source that was read: none is told as a recollection, in code, data, tests or documents."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = ("src", "core", "docs", "tests", "benchmarks")
FILES = ("README.md", "CHANGELOG.md")
SUFFIXES = {".py", ".toml", ".md", ".h", ".hpp", ".cpp", ".txt"}
OTHERS = ("tests/data", "tests/golden/inputs", "tests/golden/expected")
"""Texts of others, and what the tool printed: neither tells a fact of ours."""

# What a machine does with its memory, close before the words and in the same clause.
MACHINE = r"(?:loads?|loaded|loading|reads?|reading|fetch(?:es|ed|ing)?|come|comes|came|copied|evicted|written back)"
CLAUSE = r"(?:(?![.;:()]).){0,40}"
RECOLLECTION = re.compile(
    r"""
      \b (?P<memory> from\ (?:my\ |our\ |the\ )?memory ) \b
    | \b (?:only|merely|just|as|if|is|are|was|were) \ (?:still\ )? (?:remembered|recalled)
        (?=\ (?:to|that|version|number|says?|say\ so|not|wrong|right)|\s*[,;.)])
    | \b remembered \ (?:version|number|fact|value|rather|not)s? \b
    | \b not \ (?:been\ )? (?:held|checked|compared) \ against \ (?:a|the|any) \ (?:copy|source|original)
    | \b (?:not\ verified | unverified | recollection | AFAIR | AFAIK | IIRC) \b
    | \b I \ (?:think|believe|recall|remember|guess|suppose) \b
    | (?<![\w.\]]) \[(?-i:M)\]
    """,
    re.VERBOSE | re.IGNORECASE,
)
ORDINARY = re.compile(rf"\b{MACHINE}\b{CLAUSE}$", re.IGNORECASE)


def recollections(text: str) -> list[str]:
    """Each place that tells something as recalled, with what is around it. Lines, comments and texts in several pieces
    are read as one; ``loaded from memory`` is no such place."""
    joined = re.sub(r"[\"']\s*\n\s*f?[\"']", "", text)
    joined = re.sub(r"\s*\n[ \t]*(?:#+|//+|\*+|>)?[ \t]*", " ", joined)
    found = []
    for match in RECOLLECTION.finditer(joined):
        if match["memory"] and ORDINARY.search(joined, max(0, match.start() - 60), match.start()):
            continue
        found.append(joined[max(0, match.start() - 60) : match.end() + 20])
    return found


def own_texts() -> list[Path]:
    """The project's sources, data files, tests and documents; this file has the words in it."""
    listed = [ROOT / name for name in FILES]
    for folder in FOLDERS:
        listed += [path for path in (ROOT / folder).rglob("*") if path.suffix in SUFFIXES and path.is_file()]
    others = [ROOT / name for name in OTHERS]
    return sorted(
        path
        for path in listed
        if path != Path(__file__).resolve()
        and "__pycache__" not in path.parts
        and not any(path.is_relative_to(other) for other in others)
    )


@pytest.mark.parametrize(
    "text",
    [
        'source = "the vendor is known since 4.20 (from memory)"',
        "read as a mail (5.0, 4.20.6 and 4.19.19 from memory)",
        "read in the announcements of 4.9.208 and 5.4.8; 4.14.162 from memory.",
        "# read in a later source; the number is from\n# memory",
        '    "of September 2019 (5.4 from "\n    "memory)",',
        "The default, from memory, is the workaround.",
        "written down from memory of that file",
        "From memory: Linux 5.2.",
        "The shape was not held against a copy of it.",
        "A version that is only remembered says so.",
        "versions that are only\nremembered say so there",
        "6.16 [M]",
        "I think that came with 6.3",
        "// IIRC 5.19",
        "the number is not verified",
    ],
)
def test_a_recollection_is_found(text: str) -> None:
    assert len(recollections(f"Something before.\n{text}\nSomething after.\n")) == 1


@pytest.mark.parametrize(
    "text",
    [
        "Beyond this many sources, values loaded from memory are summed up.",
        "It reads the machine code that runs back from memory and judges it.",
        "machine code that this object runs, read back from\n    memory, for its cache",
        "of reading the addresses from memory.",
        "The line comes from memory, not from the L2.",
        "All from main memory: 56 lines, 100 cycles each.",
        "Files that are remembered as they are read, as far as they are kept.",
        "The tables are remembered because a large one takes seconds.",
        "Comparing with a layer remembered at every power of two finds a circle.",
        "Nothing of this is believed.",
        "// best_[m][i], path.moves[m].source: C++ indexes with m.",
    ],
)
def test_a_machine_may_load_from_memory(text: str) -> None:
    assert recollections(text) == []


def test_no_fact_is_told_as_a_recollection() -> None:
    texts = own_texts()
    # It looks where facts are: a wrong folder would find nothing wrong.
    names = {path.relative_to(ROOT).as_posix() for path in texts}
    expected = {"src/l1dflush/mitigation/rules.py", "src/l1dflush/data/l1tf-cpus.toml", "docs/mitigation.md"}
    assert expected | {"src/l1dflush/data/routines/freebsd.toml", "tests/support/kernel_observations.py"} <= names
    told = {
        path.relative_to(ROOT).as_posix(): found
        for path in texts
        if (found := recollections(path.read_text(encoding="utf-8")))
    }
    assert told == {}
