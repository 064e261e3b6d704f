"""Unified diffs in a text that holds more: found by the counts in their hunk headers, and made whole.

Mail software strips the blank from empty context lines, signatures begin with "-- ", and a thread index may
follow without a gap. So a hunk ends where its header's counts say, not where lines stop looking like a diff.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from unidiff.errors import UnidiffParseError
from unidiff.patch import Hunk, PatchSet

from l1dflush.errors import InputError

_HUNK = re.compile(r"@@ -(\d{1,9})(?:,(\d{1,9}))? \+(\d{1,9})(?:,(\d{1,9}))? @@(.*)\Z")
_NEW_FILE = re.compile(r"\+\+\+ (.+)\Z")
_OLD_FILE = re.compile(r"--- (.+)\Z")
_NO_FILE = "/dev/null"


@dataclass(frozen=True, slots=True)
class NewLine:
    """A line of the new version: its number there, its text, and whether the patch adds it."""

    number: int
    text: str
    added: bool


@dataclass(frozen=True, slots=True)
class NewHunk:
    """The new version of a hunk, and the function that its header says it is in."""

    lines: tuple[NewLine, ...]
    section: str


@dataclass(frozen=True, slots=True)
class NewFile:
    """What a patch shows of the new version of a file; ``removed`` are the lines it takes away, unless blank.
    A file that is deleted has its old name and no hunks."""

    path: str
    hunks: tuple[NewHunk, ...]
    removed: frozenset[str]


@dataclass(frozen=True, slots=True)
class Damage:
    """A hunk that is not all there: the line of the text that it begins at, and what is wrong with it."""

    line: int
    what: str


def new_files(text: str, *, where: str) -> tuple[list[NewFile], list[Damage]]:
    """The new versions of all files that the diffs in ``text`` change, and the hunks that are damaged.

    Raises :class:`InputError` when the parser refuses a diff that looked whole.
    """
    damage: list[Damage] = []
    whole = "".join(_whole_diffs(text.split("\n"), damage))
    if not whole:
        return [], damage
    try:
        patch = PatchSet(whole)
    except (UnidiffParseError, ValueError, IndexError, TypeError) as error:
        raise InputError(f"damaged patch: {error}", where=where) from error
    files = []
    for file in patch:
        path = _path(file.target_file)
        removed = frozenset(text for hunk in file for line in hunk if line.is_removed and (text := line.value.strip()))
        if path == _NO_FILE:
            files.append(NewFile(_path(file.source_file).removeprefix("a/"), (), removed))
            continue
        hunks = tuple(NewHunk(tuple(_new_lines(hunk)), hunk.section_header.strip()) for hunk in file)
        files.append(NewFile(path, hunks, removed))
    return files, damage


def _new_lines(hunk: Hunk) -> Iterator[NewLine]:
    for line in hunk:
        if line.target_line_no is not None and not line.is_removed:
            yield NewLine(line.target_line_no, line.value.rstrip("\n"), line.is_added)


def _path(name: str) -> str:
    name = name.partition("\t")[0].strip()
    if name.startswith('"') and name.endswith('"') and len(name) > 1:
        name = name[1:-1]
    return name.removeprefix("b/") if name != _NO_FILE else name


def _whole_diffs(lines: list[str], damage: list[Damage]) -> Iterator[str]:
    """The diffs in ``lines``, every hunk with as many lines as its header says."""
    place = 0
    names: tuple[str, str] | None = None
    named = False
    while place < len(lines):
        line = lines[place]
        if line.startswith("--- ") and place + 1 < len(lines) and lines[place + 1].startswith("+++ "):
            names = (line, lines[place + 1])
            named = False
            place += 2
        elif names is not None and (match := _HUNK.match(line)):
            body, after, problem = _hunk_body(lines, place + 1, match)
            if problem:
                damage.append(Damage(place + 1, problem))
            else:
                if not named:
                    yield f"{_clean(names[0])}\n{_clean(names[1])}\n"
                    named = True
                yield _clean(line) + "\n"
                yield from body
            place = max(after, place + 1)
        else:
            place += 1


def _clean(line: str) -> str:
    """``line`` without characters that another reader takes for a line break."""
    return re.sub(r"[\x0b\x0c\x1c-\x1e\x85\u2028\u2029\r]", " ", line)


def _hunk_body(lines: list[str], start: int, header: re.Match[str]) -> tuple[list[str], int, str]:
    """The lines of a hunk, the line behind it, and what is wrong with it (empty if nothing is)."""
    old = int(header.group(2) or "1")
    new = int(header.group(4) or "1")
    wanted = old + new
    body: list[str] = []
    place = start
    while (old > 0 or new > 0) and place < len(lines):
        line = lines[place]
        kind = line[:1]
        if kind == "\\":
            place += 1
            continue
        if kind in ("", " ") or line.isspace():
            # An empty line is a context line whose blank was stripped on the way.
            kind, rest = " ", line[1:] if kind == " " else line
        else:
            rest = line[1:]
        if kind not in " +-" or (kind != "+" and old == 0) or (kind != "-" and new == 0):
            break
        old -= kind != "+"
        new -= kind != "-"
        body.append(_clean(kind + rest) + "\n")
        place += 1
    if old > 0 or new > 0:
        missing = "the text ends" if place >= len(lines) else "the next line is none of it,"
        return (
            [],
            place,
            f"a hunk is cut short: its header counts {wanted} lines, but {missing} after {len(body)}",
        )
    return body, place, ""
