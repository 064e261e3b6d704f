# SPDX-License-Identifier: GPL-2.0-or-later
"""PTE inversion: how an entry is written that is not present, how much memory that protects, how large swap may be.

Read in ``arch/x86/include/asm/pgtable-invert.h``, ``arch/x86/kernel/cpu/bugs.c`` and ``arch/x86/mm/init.c``.
"""

from __future__ import annotations

import re

from l1dflush.mitigation.boot_line import BootLine
from l1dflush.mitigation.facts import Cpu, Facts, Kernel
from l1dflush.mitigation.part import Part
from l1dflush.vmentry.subsystem import Boot

PAGE_SHIFT = 12
PRESENT = 1
ENTRY_BITS = 64
FRAME = ((1 << 52) - 1) & ~((1 << PAGE_SHIFT) - 1)
"""The frame number's place in an entry of a 64-bit kernel."""
SWAP_OFFSET_FIRST_BIT = 9
"""Swap offsets begin lower than frame numbers: what is allowed of them is eight times as much."""

_NO_LIMIT_WHEN_OFF = {(4, 9): 176, (4, 14): 92, (4, 19): 14, (4, 20): 1}
_UNITS = {"": 0, "k": 10, "m": 20, "g": 30, "t": 40, "p": 50, "e": 60}
_SIZE = re.compile(r"(0[xX][0-9a-fA-F]+|[0-9]+)([kKmMgGtTpPeE]?)")
_MOST_DIGITS = 64


def memory_limit(cache_bits: int) -> int:
    """In bytes: RAM must end here at the latest, half of what the L1D addresses."""
    return 1 << (cache_bits - 1)


def kernel_limit(cpu: Cpu) -> int:
    """What the kernel takes for it. From no bits it shifts by a negative number, of which x86 takes the last six bits
    (inferred from ``l1tf_pfn_limit``, read in stable patches): 2**51 page frames."""
    bits = cpu.cache_bits if cpu.limit_bits is None else cpu.limit_bits
    return memory_limit(bits or ENTRY_BITS)


def memory_end(facts: Facts, line: BootLine) -> int:
    """Where RAM ends after ``mem=`` and ``memmap=``, in bytes."""
    end = facts.memory_end
    for name, value in line.memory:
        for part in [value] if name == "mem" else value.split(","):
            if part == "exactmap":
                end = 0
                continue
            size = _SIZE.match(part)
            if size is None:
                continue
            start = _SIZE.fullmatch(part, size.end() + 1) if part[size.end() : size.end() + 1] == "@" else None
            if start is not None:
                end = max(end, _bytes(start) + _bytes(size))
            elif size.end() == len(part) and _bytes(size):
                end = min(end, _bytes(size))
    return end


def memory_matters(kernel: Kernel, l1tf: Boot) -> bool:
    """Whether L1TF limits memory and swap: with l1tf off no longer since Michal Hocko's 'x86/speculation/l1tf: Drop the
    swap storage limit restriction when l1tf=off' (5b5e4d623ec8 of December 2018, so 5.0): read in the stable queue's
    lists for 4.20.1 and 4.14.92, in Debian's changelog for 4.19.14 and in the announcement of 4.9.176."""
    if kernel.part is not Part.ALL:
        return kernel.part is Part.INVERSION
    return l1tf is not Boot.OFF or not kernel.carries((5, 0), _NO_LIMIT_WHEN_OFF)


def swap_limit(facts: Facts, l1tf: Boot) -> int | None:
    """The largest swap file in pages as far as L1TF limits it, or None if it does not."""
    if not facts.cpu.bug or not memory_matters(facts.kernel, l1tf):
        return None
    frames = kernel_limit(facts.cpu) >> PAGE_SHIFT
    return frames << (PAGE_SHIFT - SWAP_OFFSET_FIRST_BIT) if facts.kernel.levels > 2 else frames


def is_inverted(entry: int) -> bool:
    """Whether the frame number in this entry is stored inverted: it is not present, and not zero."""
    return entry != 0 and not entry & PRESENT


def frame_of(entry: int) -> int:
    """The frame number that an entry means."""
    return ((entry ^ FRAME if is_inverted(entry) else entry) & FRAME) >> PAGE_SHIFT


def entry_of(frame: int, flags: int) -> int:
    """The entry for a frame number, with ``flags`` as its other bits.

    What decides is whether the flags alone would make an entry that is not present: with none at all nothing is
    inverted.
    """
    place = frame << PAGE_SHIFT
    if is_inverted(flags):
        place ^= (1 << ENTRY_BITS) - 1
    return place & FRAME | flags


def with_protection(entry: int, flags: int) -> int:
    """The entry with other flags: the frame number is inverted if this takes it across the border of present."""
    changed = entry & FRAME | flags
    return changed ^ FRAME if is_inverted(entry) != is_inverted(changed) else changed


def _bytes(size: re.Match[str]) -> int:
    # More digits than any address has are a great many, whatever they are.
    digits = size[1][:_MOST_DIGITS]
    # As C reads it: a leading 0 is octal.
    base = 16 if digits[:2].lower() == "0x" else 8 if digits.startswith("0") and digits.strip("01234567") == "" else 10
    return int(digits, base) << _UNITS[size[2].lower()]
