# SPDX-License-Identifier: GPL-2.0-or-later
"""What decides a path: a fact, and the one way to say it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar

from l1dflush.place import STRICT

# Feature words of Linux that are a CPUID register as it is (cpuid_leafs in its cpufeature.h), by number.
_CPUID_WORDS = {0: "(1).EDX", 4: "(1).ECX", 9: "(7,0).EBX", 16: "(7,0).ECX", 18: "(7,0).EDX"}
_FLUSH_L1D = 18 * 32 + 28


class Relation(StrEnum):
    """How a decision compares what it is about."""

    IS = "is"
    """the subject is the number"""
    BIT = "bit"
    """the bit of the subject with that number is set"""
    ANY = "any"
    """one of the subjects is not zero"""
    BELOW = "below"
    """the subject is less than the number, unsigned"""
    BELOW_SIGNED = "below-signed"
    FORMULA = "formula"
    """the subject is a formula, and true"""
    CONDITION = "condition"
    """some condition on the subjects is true, which is too long to be written down"""
    STATIC_KEY = "static-key"
    """the subject is a static key, and on"""
    FEATURE = "feature"
    """the CPU has the feature of that name, or with that number: Linux's, word * 32 + bit"""
    BRANCH = "branch"
    """the instruction goes its other way; what it depends on are the subjects"""


@dataclass(frozen=True, slots=True)
class Field:
    """A place in memory by its distance from another one."""

    __pydantic_config__: ClassVar = STRICT

    base: str
    """what the name begins with"""
    offset: int
    """in bytes"""
    end: str = ""
    """what it ends with"""

    @property
    def name(self) -> str:
        """``[rdi+0x1c]``."""
        return f"{self.base}{self.offset:+#x}{self.end}" if self.offset else f"{self.base}{self.end}"


@dataclass(frozen=True, slots=True)
class Subject:
    """A value, or some bits of it.

    >>> str(Subject("rdi")), str(Subject("x", bits=32))
    ('`rdi`', 'the low 32 bits of `x`')
    """

    __pydantic_config__: ClassVar = STRICT

    name: str
    """what the value is called: a register or variable as it was at first, what is in memory, a result"""
    bits: int = 0
    """how many bits of it; 0 for all"""
    low: int = 0
    """the first of these bits"""
    field: Field | None = None
    """of what is in memory: the name in its parts"""

    def __str__(self) -> str:
        if not self.bits:
            return f"`{self.name}`"
        if self.low in (0, self.bits):
            return f"the {'second' if self.low else 'low'} {self.bits} bits of `{self.name}`"
        return f"the bits {self.low} to {self.low + self.bits - 1} of `{self.name}`"


@dataclass(frozen=True, slots=True)
class Fact:
    """``relation`` of ``subjects`` and ``number``, which ``holds`` or does not.

    >>> str(Fact(Relation.IS, (Subject("edi"),), holds=False))
    '`edi` is not zero'
    """

    __pydantic_config__: ClassVar = STRICT

    relation: Relation
    subjects: tuple[Subject, ...]
    holds: bool
    number: int = 0
    instruction: str = ""
    """of a branch: it, behind what made the flags that it asks for"""
    feature: int | None = None
    """the number of the CPU feature that the decision is about, where it is not known how"""

    def __str__(self) -> str:
        about = f"{feature_name(self.feature)}: " if self.feature is not None else ""
        return about + self._said()

    def _said(self) -> str:
        negated = "" if self.holds else "not "
        subject = " and ".join(map(str, self.subjects))
        are = "are" if subject.startswith("the ") else "is"
        match self.relation:
            case Relation.IS:
                return f"{subject} {are} {negated}{self.number:#x}" if self.number else f"{subject} {are} {negated}zero"
            case Relation.BIT:
                return f"bit {self.number} of {subject} is {'set' if self.holds else 'clear'}"
            case Relation.ANY if self.holds:
                return f"{' or '.join(map(str, self.subjects))} is not zero"
            case Relation.ANY:
                return f"{subject} are zero"
            case Relation.BELOW:
                return f"{subject} {are} {negated}below {self.number:#x}"
            case Relation.BELOW_SIGNED:
                return f"{subject} {are} {negated}below {self.number:#x} as a signed number"
            case Relation.FORMULA:
                return f"{subject} {'holds' if self.holds else 'does not hold'}"
            case Relation.CONDITION:
                return f"a condition on {subject} {'holds' if self.holds else 'does not hold'}"
            case Relation.STATIC_KEY:
                return f"static key {subject} is {'on' if self.holds else 'off'}"
            case Relation.FEATURE:
                return f"{subject or feature_name(self.number)} is {'present' if self.holds else 'absent'}"
        way = f"`{self.instruction}` {'taken' if self.holds else 'not taken'}"
        # What depends on a feature has said so.
        return way if self.feature is not None else f"{subject}: {way}"


def feature_name(feature: int) -> str:
    """``CPU feature 18*32+28 (flush_l1d, CPUID(7,0).EDX bit 28)``, of Linux's number."""
    word, bit = divmod(feature, 32)
    known = [f"CPUID{_CPUID_WORDS[word]} bit {bit}"] if word in _CPUID_WORDS else []
    if feature == _FLUSH_L1D:
        known.insert(0, "flush_l1d")
    return f"CPU feature {word}*32+{bit}" + (f" ({', '.join(known)})" if known else "")
