# SPDX-License-Identifier: GPL-2.0-or-later
"""What is not a routine but is known: other assemblers, languages, instruction sets and object formats.

Such an input is told what it is, before a parser for something else blames its first word. Each kind is a row of a
table: of :mod:`binaries`, :mod:`assemblers`, :mod:`diffs`, :mod:`languages` or :mod:`processors`.
"""

from __future__ import annotations

import re

from l1dflush.routine.foreign.signature import Foreign

__all__ = ["Foreign", "foreign_binary", "foreign_text", "unlike_x86"]

# What a text is shows in its first pages.
_LOOKED_AT = 64 << 10
# The end of a function in C; no assembly has a bracket there.
_END_OF_FUNCTION = re.compile(r"^\}", re.M)


def foreign_binary(data: bytes) -> Foreign | None:
    """What the file ``data`` is, if it begins as a binary that is known and no ELF file."""
    from l1dflush.routine.foreign.binaries import recognise

    return recognise(data)


def foreign_assembly(template: str) -> Foreign | None:
    """What the ``template`` of an asm statement is for, which the assembler has refused, if that is known."""
    from l1dflush.routine.foreign import processors

    return processors.recognise_refused(template)


def foreign_text(text: str) -> Foreign | None:
    """What ``text`` is, if that is known and is neither C nor x86 assembly for GNU as."""
    from l1dflush.routine.foreign import assemblers, diffs, languages, processors
    from l1dflush.routine.foreign.signature import first_match

    text = text[:_LOOKED_AT].removeprefix("\ufeff").replace("\r\n", "\n")
    # A diff may have anything in it, and languages may have assembly.
    found = first_match(diffs.SIGNATURES, text) or first_match(languages.SIGNATURES, text)
    if found is not None or _END_OF_FUNCTION.search(text):
        return found
    # Processors before assemblers: what is assembled for macOS or Windows may be for another one.
    return first_match((*processors.SIGNATURES, *assemblers.SIGNATURES), text)


def unlike_x86(text: str) -> Foreign | None:
    """What ``text`` is, an assembly file that the assembler refuses, if nothing in it is x86's."""
    from l1dflush.routine.foreign import processors

    return processors.unlike_x86(text[:_LOOKED_AT])
