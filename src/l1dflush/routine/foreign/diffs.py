# SPDX-License-Identifier: GPL-2.0-or-later
"""What diff writes that is not a unified diff: of such a patch nobody can tell what the file is like in the end."""

from __future__ import annotations

from l1dflush.routine.foreign.signature import Foreign, Signature, marks, pattern

_UNIFIED = "a unified diff is understood: diff -u OLD NEW, or git diff"
_NOTHING = pattern(r"(?!)")

SIGNATURES = (
    Signature(
        Foreign("an ed script", _UNIFIED),
        _NOTHING,
        # Its first line is a command (or an option of diff -e before it), and the lines of text end with a dot.
        marks((1, r"\A\d+(?:,\d+)?[acdi]$"), (1, r"^\.$")),
    ),
    Signature(
        Foreign("a diff without context", _UNIFIED),
        _NOTHING,
        marks((1, r"\A(?:diff [^\n]*\n)?\d+(?:,\d+)?[acd]\d+(?:,\d+)?$"), (1, r"^[<>](?: |$)")),
    ),
    Signature(
        Foreign("a context diff", _UNIFIED),
        _NOTHING,
        marks((1, r"^\*\*\* \d+(?:,\d+)? \*\*\*\*$"), (1, r"^--- \d+(?:,\d+)? ----$")),
    ),
)
