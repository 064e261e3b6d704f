# SPDX-License-Identifier: GPL-2.0-or-later
"""Which names an assembly text asks the assembler for, and which of them are undefined there.

The assembler itself is asked: before each condition that is written in the text stands another one that prints the name
as it is after macros are expanded, and whether it is defined at that place. A listing has the conditions that come out
of a macro in another way (``\\op FAST``).
"""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import dataclass
from hashlib import sha256
from typing import Literal

from l1dflush.routine.toolchain import assembler_says

# One that begins before anything is defined.
_OPAQUE = re.compile(
    r"""^[^\S\n]*/(?!\*)[^\n]* | /\*.*?(?:\*/|\Z) | \#[^\n]* | "(?:\\.|[^"\\\n])*"? | '\\?[^\n]'?""",
    re.S | re.M | re.X,
)
_ASKS = re.compile(r"(?:^|[;:])[^\S\n]*(\.(ifn?def|ifnotdef)(?![\w.$])([^\n;]*))", re.M | re.I)
# A marker of C's preprocessor, or what the assembler takes for one.
_MARKER = re.compile(r'^#[^\S\n]*(?:line[^\S\n]+)?(\d+)[^\S\n]+"((?:[^"\\\n]|\\.)*)"[^\n]*$', re.M)
_NOT_THE_TEXTS = ("<built-in>", "<command-line>", "input.S")
_NAME = re.compile(r"[A-Za-z_.$][\w.$]*\Z")
# Line, and what was expanded; the more of ">", the deeper.
_EXPANDED = re.compile(r"^ *(\d+)[^\t\n]*\t>+ *([^\n]*)", re.M)
_NO_LISTING = re.compile(r"\.nolist\b", re.I)
# What no text without it asks for.
_MAY_ASK = re.compile(r"def\b|\.macro\b|\.irpc?\b", re.I)


def without_opaque(text: str) -> str:
    """``text`` with comments, strings and characters blanked; line breaks stay where they are."""
    return _OPAQUE.sub(lambda match: re.sub(r"[^\n]", " ", match.group()), text)


class Given:
    """A text as the assembler gets it, ``whole``: for 32 or 64 bit, with markers of lines in it. ``text`` has these
    blanked."""

    def __init__(self, whole: str, bits: Literal[32, 64]) -> None:
        self.whole, self.bits = whole, bits
        plain = whole.replace("\r\n", "\n")
        self.text = _MARKER.sub(lambda match: " " * len(match.group()), plain)
        self._starts = [0, *(match.end() for match in re.finditer("\n", plain))]
        self._lines: list[int] = []
        line = 0
        for piece in plain.split("\n"):
            marker = _MARKER.match(piece)
            self._lines.append(0 if marker else line)
            if marker:
                line = 0 if marker.group(2) in _NOT_THE_TEXTS else int(marker.group(1))
            elif line:
                line += 1

    def line(self, number: int) -> int:
        """The line of the file that line ``number`` of the text is, both from 1; 0 for what is not from the file."""
        return self._lines[number - 1] if 0 < number <= len(self._lines) else 0

    def line_at(self, offset: int) -> int:
        """The same of the line that ``offset`` is in."""
        return self.line(bisect_right(self._starts, offset))


@dataclass(frozen=True, slots=True)
class Asked:
    """``undefined`` has the names that were undefined where a condition asked for them, by where in the text it begins;
    ``hidden`` names that conditions ask for which are not written there, with the line where they come out of a macro;
    ``names`` all that were asked for."""

    undefined: dict[int, tuple[str, ...]]
    hidden: dict[str, int]
    names: frozenset[str]


def asked(given: Given, where: str) -> Asked:
    """What the assembler is asked for in ``given``, also where it does not assemble.

    Raises InputError where that cannot be found out.
    """
    if not _MAY_ASK.search(given.text):
        return Asked({}, {}, frozenset())
    # Nothing in the text can print that.
    mark = "l1dflush-" + sha256(given.text.encode("utf-8", "replace")).hexdigest()[:16]
    marked = _marked(given.text, mark).encode("utf-8", "replace")
    printed, listing = assembler_says(marked, where=where, bits=given.bits)
    expanded: dict[str, int] = {}
    inside: set[tuple[str, str]] = set()
    in_listing = re.compile(rf'\.print\s*"{mark} (\d+) [-+] ([^\s"]+)"')
    for number, line in _EXPANDED.findall(listing):
        for match in _ASKS.finditer(line):
            expanded.setdefault(match.group(3).strip().strip('"'), int(number))
        inside |= set(in_listing.findall(line))
    found: dict[int, dict[str, None]] = {}
    names: set[str] = set()
    for place, state, name in re.findall(rf"^{mark} (\d+) ([-+]) (\S+)$", printed, re.M):
        # In a string of a macro not everything is expanded that is outside.
        if (place, name) in inside and name not in expanded:
            continue
        names.add(name)
        if state == "-":
            found.setdefault(int(place), {})[name] = None
    hidden = {name: line for name, line in expanded.items() if name not in names and _NAME.match(name)}
    return Asked({at: tuple(of) for at, of in found.items()}, hidden, frozenset(names | hidden.keys()))


def _marked(text: str, mark: str) -> str:
    """``text`` with something before each condition that prints ``mark``, where the condition begins, whether the name
    is defined, and the name."""
    pieces: list[str] = []
    last = 0
    for match in _ASKS.finditer(without_opaque(text)):
        start, name = match.start(1), written(text, match)
        if name and '"' not in name:
            said = [f'.print "{mark} {start} {state} {name}"' for state in "+-"]
            pieces += [text[last:start], f".ifdef {name}; {said[0]}; .else; {said[1]}; .endif; "]
            last = start
    # The listing has to have everything.
    return _NO_LISTING.sub(" ", "".join([*pieces, text[last:]]))


def written(text: str, match: re.Match[str]) -> str:
    """The name that a condition has, as it is written in ``text``; ``match`` is of :data:`_ASKS` in the same without
    what is opaque."""
    raw = text[match.start(3) : match.end(3)].strip()
    # Strings one after the other are one.
    quoted = re.match(r'(?:"[^"\n;\s]*"\s*)+', raw)
    return "".join(re.findall(r'"([^"]*)"', quoted.group())) if quoted else match.group(3).strip()
