# SPDX-License-Identifier: GPL-2.0-or-later
"""Prefixes of x86 instructions, read by ourselves: which ones there are, and those that processors treat otherwise than
the decoders do.

Source: Intel 64 and IA-32 Architectures Software Developer's Manual, volume 2, sections 2.1.1, 2.2.1 and 2.3;
appendix A has the opcodes for which F2h and F3h choose another instruction.
"""

from __future__ import annotations

from typing import NamedTuple

SIZE, ADDRESS, LOCK, REPNE, REPE = 0x66, 0x67, 0xF0, 0xF2, 0xF3
_SEGMENTS = frozenset({0x26, 0x2E, 0x36, 0x3E, 0x64, 0x65})
LEGACY = _SEGMENTS | {SIZE, ADDRESS, LOCK, REPNE, REPE}
# In the first map: strings, pause, returns; in the second: where the prefix makes another instruction.
_TAKES_REPE = frozenset({0x6C, 0x6D, 0x6E, 0x6F, 0x90, *range(0xA4, 0xA8), *range(0xAA, 0xB0), 0xC2, 0xC3})
# With F2h jumps, calls and returns keep the bounds registers, which nobody has; cmps and scas go on until equal.
_TAKES_REPNE = frozenset({0xA6, 0xA7, 0xAE, 0xAF, 0xC2, 0xC3, 0xE8, 0xE9, 0xEB, *range(0x70, 0x80), 0xFF})
_SECOND_REPE = frozenset({
    0x01, 0x09, 0x10, 0x11, 0x12, 0x16, 0x1E, 0x2A, 0x2C, 0x2D, 0x51, 0x52, 0x53, *range(0x58, 0x60), 0x6F, 0x70, 0x7E,
    0x7F, 0xAE, 0xB8, 0xBC, 0xBD, 0xC2, 0xC7, 0xE6,
})  # fmt: skip
_SECOND_REPNE = frozenset({
    0x10, 0x11, 0x12, 0x2A, 0x2C, 0x2D, 0x51, *range(0x58, 0x60), 0x70, 0x7C, 0x7D, *range(0x80, 0x90), 0xC2, 0xD0,
    0xD6, 0xE6, 0xF0,
})  # fmt: skip
# Those of the second map with F3h whose operands 66h makes shorter.
_SHORTER = frozenset({0xB8, 0xBC, 0xBD})


class Prefixes(NamedTuple):
    """The legacy prefixes of an instruction in order, and the bytes behind them and behind a REX prefix, if it has one
    (``rex``)."""

    legacy: tuple[int, ...]
    rex: bool
    rest: bytes
    misplaced_rex: bool


def prefixes_of(code: bytes, bits: int) -> Prefixes:
    """The prefixes that ``code``, one instruction, begins with."""
    legacy: list[int] = []
    misplaced = False
    at = 0
    while at < len(code):
        if code[at] in LEGACY:
            legacy.append(code[at])
        elif bits == 64 and 0x40 <= code[at] < 0x50:
            behind = code[at + 1 : at + 2]
            if not behind or not (behind[0] in LEGACY or 0x40 <= behind[0] < 0x50):
                return Prefixes(tuple(legacy), True, code[at + 1 :], misplaced)
            misplaced = True
        else:
            break
        at += 1
    return Prefixes(tuple(legacy), False, code[at:], misplaced)


def why_refused(prefixes: Prefixes, bits: int) -> str:
    """Why nobody can tell what an instruction with these prefixes does; empty if they are all right."""
    legacy, rest = set(prefixes.legacy), prefixes.rest
    segments = [p for p in prefixes.legacy if p in _SEGMENTS]
    if prefixes.misplaced_rex:
        return "a REX prefix that is not the last one"
    if {REPNE, REPE} <= legacy:
        return "two prefixes of which each says what is repeated"
    if len(set(segments)) > 1 and (bits == 32 or {0x64, 0x65} & set(segments)):
        return "two segment prefixes"
    first = rest[0] if rest else 0
    long_form = first in (0xC4, 0xC5, 0x62) and (bits == 64 or (len(rest) > 1 and rest[1] >= 0xC0))
    if long_form and (legacy & {SIZE, LOCK, REPNE, REPE} or prefixes.rex):
        return "a prefix that faults before VEX and EVEX"
    for prefix, one, two in ((REPE, _TAKES_REPE, _SECOND_REPE), (REPNE, _TAKES_REPNE, _SECOND_REPNE)):
        if prefix not in legacy:
            continue
        taken = first in one
        if first == 0x0F and len(rest) > 1:
            taken = rest[1] in two
            if rest[1] == 0x38 and len(rest) > 2:
                taken = rest[2] in ((0xF6,) if prefix == REPE else (0xF0, 0xF1))
        if not taken:
            return f"the prefix {prefix:X}h, which it does not take"
        if SIZE in legacy and first == 0x0F and rest[1] not in _SHORTER and rest[1] != 0x38:
            return f"the prefixes 66h and {prefix:X}h together"
    return ""
