# SPDX-License-Identifier: GPL-2.0-or-later
"""C text before it is parsed: comments and strings blanked, cut into its file-scope items.

Everything here keeps every character at its place (what is taken out becomes blanks, line breaks stay), so an
offset or a line number found in one form of the text is right in all of them. The cutting is a scan of our
own and not the parser's: a fragment out of a patch begins and ends inside functions, and one item that no
grammar accepts must not spoil the items around it. Every scan is linear in the length of the text.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

from l1dflush.errors import InputError
from l1dflush.routine.c.kernel_attributes import ATTRIBUTE, BEFORE_VALUE, PARSER_BLIND


def word_set(text: str) -> frozenset[str]:
    """The words of ``text``: how a long list of names is written down here."""
    return frozenset(text.split())


MAX_TEXT = 4 << 20  # characters; the largest C file of Linux that is written by hand has a tenth of it

_INLINE = re.compile(
    r"\b(?:inline|__inline|__inline__|__always_inline|__forceinline|nokprobe_inline)\b|"
    r"__attribute__\s*\(\(\s*_*always_inline_*\s*\)\)"
)
_STATIC = re.compile(r"\bstatic\b")

_OPAQUE = re.compile(
    r"/\*[\s\S]*?(?:\*/|\Z)|//(?:[^\n\\]|\\[\s\S])*|"
    r'"(?:[^"\\\n]|\\[\s\S])*"?|'
    r"'(?:[^'\\\n]|\\[\s\S])*'?"
)
_DIRECTIVE = r"^[ \t]*(?:\#|%:)(?:[^\n\\]|\\[\s\S])*"
_STRUCTURE = re.compile(_DIRECTIVE + r"|[{}();]", re.MULTILINE)
_DIRECTIVE_NAME = re.compile(r"[ \t]*(?:#|%:)(?:[ \t]|\\\n)*(\w*)")
_PASTED = re.compile(r"(\w+)\s*##|##\s*(\w+)")
_DEFINE = re.compile(r"[ \t]*(?:#|%:)[ \t]*define[ \t]+([A-Za-z_]\w*)(\([^()\n]*\))?")
# The whole header of an item like module_param(x, int, 0): a macro call that needs no semicolon.
_MACRO_CALL = re.compile(r"\s*(?!__)[A-Za-z_]\w*[ \t]*\(")
_NEXT_AT_COLUMN_0 = re.compile(r"[ \t]*\n\s*^[A-Za-z_]", re.MULTILINE)
_BLANK = re.compile(r"\s*")
_EXTERN_C = re.compile(r'\s*extern\s+"\s*"\s*')
_MOST_BLOCKS = 8
_LONGEST_HEADER = 65536
_HEADER_TOKEN = re.compile(r"[A-Za-z_]\w*|[()]|\S")
_NOT_FUNCTIONS = word_set(
    """
    if while for switch do else return sizeof typeof __typeof__ __attribute__ __attribute asm __asm__
    __aligned __section __declspec _Alignas struct union enum case default goto
    """
)
WORD = re.compile(r"[A-Za-z_]\w*")


class ItemKind(Enum):
    """What an item is, as far as cutting can tell."""

    FUNCTION = "function"
    DECLARATION = "declaration"
    EXTERN_C = "extern C"  # the opening line of an extern "C" block
    TAIL = "tail"  # ends something that began before the text did
    DEBRIS = "debris"  # begins something that ends after the text does


@dataclass(frozen=True, slots=True)
class Item:
    """A piece of file scope: characters ``start`` to ``end``; a function's ``name`` and its ``{`` at
    ``body``."""

    kind: ItemKind
    start: int
    end: int
    name: str = ""
    body: int = 0


@dataclass(frozen=True, slots=True)
class Macro:
    """A ``#define`` of the text: its name and the words of its body, and whether it takes arguments. ``pastes``
    says whether it puts words together or into a string, and ``pasted`` are those that it puts another one behind
    (``set_##x``: ``set_``) or before."""

    name: str
    words: frozenset[str]
    callable: bool
    start: int
    end: int
    pastes: bool = False
    pasted: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class CText:
    """A C text, cut up.

    ``code`` is ``text`` with comments, the insides of strings and the kernel's attribute names blanked;
    ``parsable`` has only the attributes blanked, those with arguments too, and no character beyond ASCII: one
    character of it is one byte of what the parser sees.
    """

    text: str
    code: str
    parsable: str
    items: tuple[Item, ...]
    macros: tuple[Macro, ...]
    conditions: frozenset[str]
    directives: tuple[tuple[int, int], ...]
    line_starts: tuple[int, ...]

    def line(self, offset: int) -> int:
        """The number, from 1, of the line that the character at ``offset`` is in."""
        return bisect_right(self.line_starts, offset)

    @property
    def functions(self) -> Iterator[Item]:
        """The items that are function definitions, in order."""
        return (item for item in self.items if item.kind is ItemKind.FUNCTION)


def spaces(piece: str) -> str:
    """``piece`` with every character but the line breaks turned into a blank."""
    return re.sub(r"[^\n]", " ", piece)


def blank_opaque(text: str) -> str:
    """``text`` with comments blanked and strings emptied; quotes and line breaks stay where they are."""

    def blanked(match: re.Match[str]) -> str:
        piece = match.group()
        if piece.startswith("/"):
            return spaces(piece)
        closed = len(piece) > 1 and piece.endswith(piece[0])
        return piece[0] + spaces(piece[1:-1] if closed else piece[1:]) + (piece[-1] if closed else "")

    return _OPAQUE.sub(blanked, text)


def blank_matches(pattern: re.Pattern[str], text: str, code: str) -> str:
    """``text`` with blanks wherever ``pattern`` matches in ``code`` (so never inside a string)."""
    pieces: list[str] = []
    last = 0
    for match in pattern.finditer(code):
        pieces += [text[last : match.start()], spaces(match.group())]
        last = match.end()
    return "".join(pieces) + text[last:]


def blank_linkage(text: str, *, inline: bool) -> str:
    """``text`` (the head of one item) without ``static``, and without ``inline`` if that is asked for."""
    code = blank_opaque(text)
    text = blank_matches(_STATIC, text, code)
    return blank_matches(_INLINE, text, code) if inline else text


def cut(text: str, *, where: str) -> CText:
    """Cut ``text`` into its items.

    Raises :class:`InputError` for a text that is too long or holds NUL characters: neither is C.
    """
    if len(text) > MAX_TEXT:
        raise InputError(f"C text of more than {MAX_TEXT >> 20} MiB", where=where)
    if "\0" in text:
        raise InputError("this is not C text: it has NUL characters", where=where)
    code = blank_opaque(text)
    # A parser takes the attribute for the type in "__maybe_unused f(void)".
    parsable = blank_matches(BEFORE_VALUE, blank_matches(PARSER_BLIND, text, code), code)
    parsable = parsable.encode("ascii", "replace").decode("ascii")
    code = ATTRIBUTE.sub(lambda match: spaces(match.group()), code)
    items, directives = Cutter(code).run()
    macros, conditions = _macros(code, directives)
    line_starts = (0, *(match.end() for match in re.finditer("\n", text)))
    return CText(text, code, parsable, tuple(items), macros, conditions, tuple(directives), line_starts)


def directive_name(piece: str) -> str:
    """``include`` for an ``#include`` line; empty for a line marker such as ``# 1 "file"``."""
    match = _DIRECTIVE_NAME.match(piece)
    name = match.group(1) if match else ""
    return "" if name.isdigit() else name


def _macros(code: str, directives: list[tuple[int, int]]) -> tuple[tuple[Macro, ...], frozenset[str]]:
    macros: list[Macro] = []
    conditions: set[str] = set()
    for start, end in directives:
        piece = code[start:end]
        name = directive_name(piece)
        if name == "define" and (match := _DEFINE.match(piece)):
            words = set(WORD.findall(piece, match.end()))
            words -= set(WORD.findall(match.group(2) or ""))
            pasted = frozenset(word for pair in _PASTED.findall(piece) for word in pair if word in words)
            macros.append(
                Macro(
                    match.group(1),
                    frozenset(words),
                    match.group(2) is not None,
                    start,
                    end,
                    "#" in piece[match.end() :],
                    pasted,
                )
            )
        elif name in ("if", "elif"):
            conditions.update(WORD.findall(piece, piece.find(name) + len(name)))
        elif name in ("ifdef", "ifndef", "elifdef", "elifndef"):
            # Of these the prelude has those of every kernel for this processor; others are not asked for by use.
            conditions.update(w for w in WORD.findall(piece, piece.find(name) + len(name)) if w.startswith("CONFIG_"))
    return tuple(macros), frozenset(conditions - {"defined"})


class Cutter:
    """The scan for items: brackets, semicolons and directives are all it looks at."""

    def __init__(self, code: str) -> None:
        self.code = code
        self.items: list[Item] = []
        self.directives: list[tuple[int, int]] = []
        self.start = self.braces = self.parens = self.body = 0
        # Round and curly groups at depth 0 of this item so far: they bound how often its head is looked at.
        self.groups = self.blocks = 0
        self.name: str | None = None
        # Both branches of an #if may open the same brace: an #else begins at the depth of its #if.
        self.branches: list[tuple[int, int]] = []

    def run(self) -> tuple[list[Item], list[tuple[int, int]]]:
        for match in _STRUCTURE.finditer(self.code):
            token = match.group()
            position = match.start()
            if token == "{":
                self._open(position)
            elif token == "}":
                self._close(match.end())
            elif token == "(":
                self.parens += 1
            elif token == ")":
                self.parens = max(0, self.parens - 1)
                self._maybe_macro_call(match.end())
            elif token == ";":
                if self.braces == 0 and self.parens == 0:
                    self._end(match.end(), ItemKind.DECLARATION)
            else:
                self._directive(match)
        if self.code[self.start :].strip():
            self._end(len(self.code), ItemKind.DEBRIS)
        return self.items, self.directives

    def _end(self, end: int, kind: ItemKind) -> None:
        if end > self.start:
            self.items.append(Item(kind, self.start, end, self.name or "", self.body))
        self.start = end
        self.braces = self.parens = self.body = self.groups = self.blocks = 0
        self.name = None

    def _open(self, position: int) -> None:
        if self.braces == 0:
            self.parens = 0
            self.blocks += 1
            if self.blocks <= _MOST_BLOCKS and position - self.start <= _LONGEST_HEADER:
                header = self.code[self.start : position]
                if _EXTERN_C.fullmatch(header):
                    self._end(position + 1, ItemKind.EXTERN_C)
                    return
                self.name = function_name(header)
                self.body = position
        self.braces += 1

    def _close(self, end: int) -> None:
        if self.braces == 0:
            self._end(end, ItemKind.TAIL)
            return
        self.braces -= 1
        if self.braces == 0:
            self.parens = 0
            if self.name is not None:
                self._end(end, ItemKind.FUNCTION)

    def _maybe_macro_call(self, end: int) -> None:
        if self.braces or self.parens:
            return
        self.groups += 1
        if (
            self.groups == 1
            and _NEXT_AT_COLUMN_0.match(self.code, end)
            and _MACRO_CALL.match(self.code, self.start, end)
        ):
            self._end(end, ItemKind.DECLARATION)

    def _directive(self, match: re.Match[str]) -> None:
        self.directives.append(match.span())
        name = directive_name(match.group())
        if name in ("if", "ifdef", "ifndef"):
            self.branches.append((self.braces, self.parens))
        elif name in ("else", "elif", "elifdef", "elifndef"):
            if self.branches and self.braces:
                self.braces, self.parens = max(1, self.branches[-1][0]), self.branches[-1][1]
        elif name == "endif" and self.branches:
            self.branches.pop()
        if self.braces == 0 and first_ink(self.code, self.start) >= match.start():
            self.start = match.end()


def first_ink(code: str, start: int) -> int:
    """Where the first character that is no blank is, from ``start`` on."""
    match = _BLANK.match(code, start)
    return match.end() if match else start


def function_name(header: str) -> str | None:
    """The name of the function that ``header`` (what stands before a ``{``) heads, or ``None``.

    ``header`` has its directives still in it; they are skipped.
    """
    header = re.sub(_DIRECTIVE, lambda match: spaces(match.group()), header, flags=re.MULTILINE)
    names: list[str] = []
    depth = 0
    word = ""
    behind = False  # a word that is not an attribute stands between the parameters and the body
    for match in _HEADER_TOKEN.finditer(header):
        token = match.group()
        if token == "(":
            if depth == 0 and word and word not in _NOT_FUNCTIONS:
                names.append(word)
            elif depth == 0 and word in ("if", "while", "for", "switch"):
                return None
            depth += 1
        elif token == ")":
            depth -= 1
            behind = False
            if depth < 0:
                return None
        elif depth == 0:
            if not (token in ("*", '"') or token[0].isalpha() or token[0] == "_"):
                return None
            behind = behind or not token.startswith("_")
        elif token in "%@$;":
            return None
        word = token if token[0].isalpha() or token[0] == "_" else ""
    if depth or behind or not names:
        return None
    plain = [name for name in names if not name.startswith("__")]
    return plain[-1] if plain else names[-1]
