# SPDX-License-Identifier: GPL-2.0-or-later
"""What is taken for granted about a set when a flush begins, and how often others may touch it meanwhile."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from l1dflush.errors import InputError

_INVALIDATIONS = "+invalidations"


class Base(StrEnum):
    """The state of a set at the start, without what invalidations by others add."""

    ANY = "any"
    """All ways valid; every policy state that a full set filled from empty can have; any content."""
    ANY_INVALID = "any+invalid"
    """The same, and any way may be invalid."""
    COLD = "cold"
    """As ``any``, but no buffer line is cached."""
    STEADY = "steady"
    """What the same protocol, again and again, leaves of ``cold``."""
    STEADY_FROM_ANY = "steady-from-any"
    """What the same protocol, again and again, leaves of any first state."""


_MEANING = {
    Base.ANY: "any state of a full set, any content",
    Base.ANY_INVALID: "any state of a full set, any content, any way may be invalid",
    Base.COLD: "no buffer line is cached",
    Base.STEADY: "the same flushes again and again; no buffer line is cached at the first, because set-up has just"
    " written the buffer",
    Base.STEADY_FROM_ANY: "the same flushes again and again, whatever the first state was",
}


@dataclass(frozen=True, slots=True)
class Start:
    """A start: its base, and whether lines may be invalidated by others.

    With ``invalidations`` the steady starts have them between flushes, at any time; the other starts have every
    state that hits, misses and invalidations lead to from the empty set.
    """

    base: Base = Base.ANY_INVALID
    invalidations: bool = False

    @classmethod
    def parse(cls, text: str) -> Start:
        """From ``any``, ``steady+invalidations`` and so on. Raises InputError."""
        name = text.strip().lower()
        invalidations = name.endswith(_INVALIDATIONS)
        base = name.removesuffix(_INVALIDATIONS)
        try:
            return cls(Base(base), invalidations)
        except ValueError:
            known = ", ".join(Base)
            raise InputError(f"unknown start '{text}'", hint=f"{known}, each also with {_INVALIDATIONS}") from None

    @property
    def steady(self) -> bool:
        """Whether it is about flushes again and again."""
        return self.base in (Base.STEADY, Base.STEADY_FROM_ANY)

    @property
    def cold(self) -> bool:
        """Whether it is certain that no buffer line is cached."""
        return self.base is Base.COLD

    @property
    def all_ways_valid(self) -> bool:
        """Whether the start excludes invalid ways."""
        return self.base is not Base.ANY_INVALID and not self.invalidations

    @property
    def core(self) -> str:
        """What the compiled prover calls it, of the starts that are not steady."""
        if self.invalidations:
            return "any+invalidations"
        return "any+invalid" if self.base is Base.ANY_INVALID else "any"

    @property
    def meaning(self) -> str:
        """In one line, for a person."""
        extra = "; others may invalidate lines at any time between flushes" if self.steady else ""
        extra = extra or "; others may have invalidated lines at any time before"
        return _MEANING[self.base] + (extra if self.invalidations else "")

    def __str__(self) -> str:
        return self.base.value + (_INVALIDATIONS if self.invalidations else "")


@dataclass(frozen=True, slots=True)
class Conditions:
    """A start, and ``touches``: how many accesses by others are allowed for during one flush, at any point."""

    start: Start = Start()
    touches: int = 0

    def with_all_ways_valid(self) -> Conditions:
        """The same with those starts only in which all ways are valid: what can be left then can be left anyhow, and
        there are far fewer of them."""
        base = Base.ANY if self.start.base is Base.ANY_INVALID else self.start.base
        return Conditions(Start(base), self.touches)


DEFAULT = Conditions()
ALL_WAYS_VALID = Conditions(Start(Base.ANY))
