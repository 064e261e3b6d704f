"""Condition codes: which flags each needs, when it holds, and what its outcome depends on."""

from __future__ import annotations

from collections.abc import Hashable

from l1dflush.trace.effects import CARRY, OPPOSITE, REST, SAME
from l1dflush.trace.state import FlagValue, State
from l1dflush.trace.values import identity

# The bits of EFLAGS that each part of the flags stands for.
FLAG_BITS = {CARRY: 0x1, REST: 0x8D4}


def flag_content(state: State, part: str) -> Hashable:
    """What a part of the flags holds: its bits if known, else which unknown flags they are."""
    value = state.flags[part]
    return state.machine.flags() & FLAG_BITS[part] if value is None else value.key


def unknown_flags(state: State, parts: frozenset[str]) -> FlagValue | None:
    """The unknown flags among ``parts`` as one value; None if all of them are known.

    The carry and the rest may come from different instructions, and one of them may be known: the outcome of
    a condition on both then depends on both.
    """
    ordered = sorted(parts)
    unknown = [value for part in ordered if (value := state.flags[part]) is not None]
    if not unknown:
        return None
    if len(unknown) == len(ordered) and len({value.key for value in unknown}) == 1:
        return unknown[0]
    key = identity(("flags of", *(flag_content(state, part) for part in ordered)))
    by = " and ".join(dict.fromkeys(value.by for value in unknown if value.by))
    return FlagValue(key, tuple(sorted({name for value in unknown for name in value.sources})), by=by)


def condition_holds(condition: str, flags: int) -> bool:
    """Whether a condition code holds for a known EFLAGS value (SDM volume 1, appendix B)."""
    carry, parity, zero, sign, overflow = (bool(flags & bit) for bit in (0x1, 0x4, 0x40, 0x80, 0x800))
    plain = SAME.get(condition, condition)
    positive = OPPOSITE.get(plain, plain)
    holds = {
        "e": zero, "b": carry, "be": carry or zero, "s": sign, "o": overflow, "p": parity,
        "l": sign != overflow, "le": zero or sign != overflow,
    }[positive]  # fmt: skip
    return holds != (plain in OPPOSITE)
