# SPDX-License-Identifier: GPL-2.0-or-later
"""What a front end makes of an input on the way to routines: an object file, and what its source tells besides.

A single input needs none of this; several are taken together from here, see :mod:`l1dflush.routine.combine`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from l1dflush.errors import InputError
from l1dflush.routine.model import LeftOut, Origin, Parameter, SourceNote


class SourceFacts(Protocol):
    """What a C text tells about its functions. Functions that it does not have, have nothing."""

    def parameters(self, function: str) -> tuple[Parameter, ...]:
        """The parameters of ``function``."""

    def notes(self, function: str) -> tuple[SourceNote, ...]:
        """The notes about the asm statements of ``function`` and of what it calls in the same text."""

    def called(self, function: str) -> frozenset[str]:
        """The functions of the same text that ``function`` calls, directly or not."""

    def words(self, function: str) -> frozenset[str]:
        """The words of ``function`` and of what it needs of its text: all names that it uses are among them."""

    def buffer_notes(self, words: frozenset[str], functions: frozenset[str]) -> tuple[SourceNote, ...]:
        """The notes about what the text does with the buffer of a routine that has these words and functions."""


@dataclass(frozen=True, slots=True)
class Compiled:
    """An object file with what is known about it.

    ``where`` names it in messages. ``functions`` are those that may be a flush, ``None``: any. ``own`` are names
    that the source calls static, whatever the object says. ``pointers`` are variables that the source does not
    declare and that were taken for pointers. ``facts`` is there if there is C to look at; ``failure`` says why a
    function that is less likely the flush did not compile, ``left_out`` what of the source is not in the object.
    """

    data: bytes
    where: str
    origin: Origin
    functions: frozenset[str] | None = None
    own: frozenset[str] = frozenset()
    pointers: frozenset[str] = frozenset()
    facts: SourceFacts | None = None
    failure: InputError | None = None
    source_available: bool = False
    left_out: tuple[LeftOut, ...] = ()
