"""What a branch decided, as a fact, and the one function that words it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Relation(StrEnum):
    """How a decision compares what it is about."""

    IS = "is"  # the subject is the number
    BIT = "bit"  # bit number so and so of the subject is set
    ANY = "any"  # one of the subjects is not zero
    BELOW = "below"  # the subject is less than the number, unsigned
    BELOW_SIGNED = "below, signed"
    CONDITION = "condition"  # the subject is a formula, and true
    STATIC_KEY = "static key"  # it is on
    FEATURE = "feature"  # the CPU has it
    SAID = "said"  # the subject is a sentence


@dataclass(frozen=True, slots=True)
class Fact:
    """``relation`` of ``subjects`` and ``number``, which ``holds`` or does not.

    Subjects are what values are called, in the words of :func:`named`, or the name of a static key or CPU feature.
    """

    relation: Relation
    subjects: tuple[str, ...]
    holds: bool
    number: int = 0


def named(name: str, bits: int = 0, low: int = 0) -> str:
    """A value, or ``bits`` bits of it from bit ``low`` on: `` `rdi` ``, ``the low 32 bits of `x` ``."""
    if not bits:
        return f"`{name}`"
    return (
        f"the {'second' if low else 'low'} {bits} bits of `{name}`"
        if low in (0, bits)
        else (f"the bits {low} to {low + bits - 1} of `{name}`")
    )


def said(fact: Fact | None) -> str:
    """The fact as a sentence; empty if there is none."""
    if fact is None:
        return ""
    subject = fact.subjects[0]
    are = "are" if subject.startswith("the ") else "is"
    negated = "" if fact.holds else "not "
    match fact.relation:
        case Relation.IS:
            return f"{subject} {are} {negated}{fact.number:#x}" if fact.number else f"{subject} {are} {negated}zero"
        case Relation.BIT:
            return f"bit {fact.number} of {subject} is {'set' if fact.holds else 'clear'}"
        case Relation.ANY if fact.holds:
            return f"{' or '.join(fact.subjects)} is not zero"
        case Relation.ANY:
            return f"{' and '.join(fact.subjects)} are zero"
        case Relation.BELOW:
            return f"{subject} {are} {negated}below {fact.number:#x}"
        case Relation.BELOW_SIGNED:
            return f"{subject} {are} {negated}below {fact.number:#x} as a signed number"
        case Relation.CONDITION:
            return f"{subject} {'holds' if fact.holds else 'does not hold'}"
        case Relation.STATIC_KEY:
            return f"static key {subject} is {'on' if fact.holds else 'off'}"
        case Relation.FEATURE:
            return f"{subject} is {'present' if fact.holds else 'absent'}"
        case Relation.SAID:
            return subject
