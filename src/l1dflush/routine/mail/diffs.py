# SPDX-License-Identifier: GPL-2.0-or-later
"""Unified diffs in a text that holds more: found by the counts in their hunk headers, and made whole.

Mail software strips the blank from empty context lines, signatures begin with "-- ", and a thread index may
follow without a gap. So a hunk ends where its header's counts say, not where lines stop looking like a diff.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

_HUNK = re.compile(r"@@ -(\d{1,9})(?:,(\d{1,9}))? \+(\d{1,9})(?:,(\d{1,9}))? @@(.*)\Z")
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


def new_files(text: str) -> tuple[list[NewFile], list[Damage]]:
    """The new versions of all files that the diffs in ``text`` change, and the hunks that are damaged."""
    lines = text.split("\n")
    found: list[_Diff] = []
    damage: list[Damage] = []
    now: _Diff | None = None
    place = 0
    while place < len(lines):
        line = lines[place]
        if line.startswith("--- ") and place + 1 < len(lines) and lines[place + 1].startswith("+++ "):
            now = _Diff(_path(_clean(line[4:])), _path(_clean(lines[place + 1][4:])))
            found.append(now)
            place += 2
        elif now is not None and (match := _HUNK.match(line)):
            body, after, problem = _hunk_body(lines, place + 1, match)
            if problem:
                damage.append(Damage(place + 1, problem))
            else:
                now.add(match, body)
            place = max(after, place + 1)
        else:
            place += 1
    return [diff.new_file() for diff in found if diff.hunks], damage


@dataclass(slots=True)
class _Diff:
    """What has been read of the diff of one file."""

    old: str
    new: str
    hunks: list[NewHunk] = field(default_factory=list)
    removed: set[str] = field(default_factory=set)

    def add(self, header: re.Match[str], body: list[tuple[str, str]]) -> None:
        """A whole hunk; ``body`` are its lines, each behind its mark."""
        self.removed.update(line.strip() for kind, line in body if kind == "-" and line.strip())
        kept = ((kind, line) for kind, line in body if kind != "-")
        first = int(header.group(3))
        lines = tuple(NewLine(first + n, line, kind == "+") for n, (kind, line) in enumerate(kept))
        self.hunks.append(NewHunk(lines, _clean(header.group(5)).strip()))

    def new_file(self) -> NewFile:
        """All of it."""
        if self.new == _NO_FILE:
            return NewFile(self.old.removeprefix("a/"), (), frozenset(self.removed))
        return NewFile(self.new, tuple(self.hunks), frozenset(self.removed))


def _path(name: str) -> str:
    name = name.partition("\t")[0].strip()
    if name.startswith('"') and name.endswith('"') and len(name) > 1:
        name = name[1:-1]
    return name.removeprefix("b/") if name != _NO_FILE else name


def _clean(line: str) -> str:
    """``line`` without characters that another reader takes for a line break."""
    return re.sub(r"[\x0b\x0c\x1c-\x1e\x85\u2028\u2029\r]", " ", line)


def _hunk_body(lines: list[str], start: int, header: re.Match[str]) -> tuple[list[tuple[str, str]], int, str]:
    """The lines of a hunk, each behind its mark, the line behind it, and what is wrong with it (empty: nothing)."""
    old = int(header.group(2) or "1")
    new = int(header.group(4) or "1")
    wanted = old + new
    body: list[tuple[str, str]] = []
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
        body.append((kind, _clean(rest)))
        place += 1
    if old > 0 or new > 0:
        missing = "the text ends" if place >= len(lines) else "the next line is none of it,"
        return (
            [],
            place,
            f"a hunk is cut short: its header counts {wanted} lines, but {missing} after {len(body)}",
        )
    return body, place, ""
