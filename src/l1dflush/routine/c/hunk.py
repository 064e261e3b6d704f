# SPDX-License-Identifier: GPL-2.0-or-later
"""A hunk of a C file: what of it is whole."""

from __future__ import annotations

from collections.abc import Collection

from l1dflush.routine.c.text import Cutter, ItemKind, blank_opaque, directive_name, first_ink, spaces

_WHOLE = frozenset({ItemKind.FUNCTION, ItemKind.DECLARATION})


def complete_items(piece: str, paired: Collection[int] = ()) -> str:
    """``piece``, a hunk of a file, with everything blanked that is not wholly inside it.

    Half functions at either end go, and conditionals whose other half is elsewhere, but for those that begin at
    ``paired``: another hunk has the other half. Line breaks stay.
    """
    code = blank_opaque(piece)
    # A hunk may begin inside a comment: then its end comes before any beginning.
    closing = piece.find("*/")
    if closing >= 0 and piece.find("/*", 0, closing) < 0:
        piece = spaces(piece[: closing + 2]) + piece[closing + 2 :]
        code = blank_opaque(piece)
    items, directives = Cutter(code).run()
    wanted = bytearray(len(piece))
    # Whatever comes before a "}" that closes nothing is the inside of a function that began elsewhere.
    inside = max((item.end for item in items if item.kind is ItemKind.TAIL), default=0)
    for item in items:
        first = first_ink(code, item.start)
        # for_each_thing(x) { ... } inside a function looks like one, but nobody indents a function.
        indented = first > 0 and code[first - 1] != "\n"
        if item.end > inside and item.kind in _WHOLE and not (indented and item.kind is ItemKind.FUNCTION):
            wanted[item.start : item.end] = b"\1" * (item.end - item.start)
    for start, end in directives:
        wanted[start:end] = b"\1" * (end - start)
    for start, end in _unpaired(piece, directives):
        if start in paired:
            continue
        wanted[start:end] = b"\0" * (end - start)
    return "".join(c if keep or c == "\n" else " " for c, keep in zip(piece, wanted, strict=True))


def unpaired_conditions(piece: str) -> list[tuple[int, str]]:
    """The conditionals whose partner is not in ``piece``, which :func:`complete_items` drops: where each begins, and
    what it is on one line."""
    code = blank_opaque(piece)
    spans = sorted(_unpaired(piece, Cutter(code).run()[1]))
    return [(start, " ".join(code[start:end].split())) for start, end in spans]


def _unpaired(text: str, directives: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """The conditionals whose partner is not in ``text``."""
    open_groups: list[list[tuple[int, int]]] = []
    unpaired: list[tuple[int, int]] = []
    for span in directives:
        name = directive_name(text[span[0] : span[1]])
        if name in ("if", "ifdef", "ifndef"):
            open_groups.append([span])
        elif name in ("else", "elif", "elifdef", "elifndef"):
            (open_groups[-1] if open_groups else unpaired).append(span)
        elif name == "endif":
            if open_groups:
                open_groups.pop()
            else:
                unpaired.append(span)
    return unpaired + [span for group in open_groups for span in group]
