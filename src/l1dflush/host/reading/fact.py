# SPDX-License-Identifier: GPL-2.0-or-later
"""A fact about a host: what was read and where, or why it could not be."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")
S = TypeVar("S")


@dataclass(frozen=True, slots=True)
class Fact(Generic[T]):
    """``value`` is None where it is unknown, and then ``why`` says why. ``origin``: a file, a CPUID leaf, an MSR."""

    value: T | None
    origin: str
    why: str = ""

    @classmethod
    def unknown(cls, origin: str, why: str) -> Fact[T]:
        """A fact that could not be read."""
        return cls(None, origin, why)

    @property
    def known(self) -> bool:
        """Whether there is a value."""
        return self.value is not None

    def map(self, function: Callable[[T], S]) -> Fact[S]:
        """What follows from it, with the same origin; unknown stays unknown."""
        return Fact(None if self.value is None else function(self.value), self.origin, self.why)
