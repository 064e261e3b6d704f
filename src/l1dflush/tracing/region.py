# SPDX-License-Identifier: GPL-2.0-or-later
"""What a piece of memory is, seen from a routine: a fact, and the one way to write it down."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar

from l1dflush.place import STRICT

# How many names of what an address comes from are written down.
MOST_NAMES = 6


class RegionKind(StrEnum):
    """How a region is known."""

    BUFFER = "buffer"
    """the buffer that is walked"""
    STACK = "stack"
    SYMBOL = "symbol"
    """a variable, by its name"""
    SECTION = "section"
    """a piece of the code or its data in which nothing has a name"""
    POINTED = "pointed-to"
    """what the names point to, as they are"""
    COMPUTED = "computed"
    """what an address leads to that is computed from the names"""
    ELEMENT = "element"
    """an element of a variable, as a formula"""
    ABSOLUTE = "absolute"
    """an address that is a number; without a name any of them"""
    SEGMENT = "segment"
    """per-CPU or per-thread memory: relative to fs or gs, and perhaps a variable there"""
    CALLEE = "callee"
    """whatever an outside function touches"""


@dataclass(frozen=True, slots=True)
class Region:
    """A piece of memory. What the names are is said by the kind.

    >>> str(Region(RegionKind.POINTED, ("rdi",))), str(Region(RegionKind.SEGMENT, ("gs", "irq_stat")))
    ('what `rdi` points to', 'gs:irq_stat')
    """

    __pydantic_config__: ClassVar = STRICT

    kind: RegionKind
    names: tuple[str, ...] = ()
    """what it is called, or what its address comes from; may be empty"""

    def __str__(self) -> str:
        match self.kind:
            case RegionKind.BUFFER | RegionKind.STACK:
                return self.kind.value
            case RegionKind.SECTION:
                return f"section {self.names[0]}"
            case RegionKind.POINTED:
                return f"what {self._listed()} points to"
            case RegionKind.COMPUTED:
                return f"what {self._listed()} leads to"
            case RegionKind.ELEMENT:
                return f"`{self.names[0]}`"
            case RegionKind.ABSOLUTE:
                return self.names[0] if self.names else "absolute addresses"
            case RegionKind.CALLEE:
                return f"whatever {self.names[0]} touches"
        return ":".join(self.names)

    def _listed(self) -> str:
        more = ["more"] if len(self.names) > MOST_NAMES else []
        return " and ".join([*(f"`{name}`" for name in self.names[:MOST_NAMES]), *more])


BUFFER = Region(RegionKind.BUFFER)
STACK = Region(RegionKind.STACK)
