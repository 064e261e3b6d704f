# SPDX-License-Identifier: GPL-2.0-or-later
"""Entries that are not present, the memory they protect, and swap."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from l1dflush.mitigation.boot_line import parse
from l1dflush.mitigation.decision import decide
from l1dflush.mitigation.facts import Cpu, Facts, Kernel
from l1dflush.mitigation.pte_inversion import (
    FRAME,
    PRESENT,
    entry_of,
    frame_of,
    is_inverted,
    memory_end,
    with_protection,
)

GIB = 1 << 30
KERNEL = Kernel.parse("6.1.192")
frames = st.integers(0, (1 << 40) - 1)
flags = st.integers(0, (1 << 64) - 1).map(lambda bits: bits & ~FRAME)


def test_one_entry() -> None:
    """By hand: frame 0x12345, PROT_NONE (bit 8): what is stored is the complement of the frame's bits."""
    assert entry_of(0x12345, 0x100) == 0x000F_FFFF_EDCB_A100
    assert entry_of(0x12345, 0x101) == 0x12345101
    assert not is_inverted(0)


@given(frames, flags)
def test_the_frame_is_read_back(frame: int, bits: int) -> None:
    if bits:
        assert frame_of(entry_of(frame, bits)) == frame


@given(frames, flags, flags)
def test_protection_does_not_change_the_frame(frame: int, before: int, after: int) -> None:
    if before and after:
        changed = with_protection(entry_of(frame, before), after)
        assert changed & ~FRAME == after
        assert frame_of(changed) == frame


@given(st.integers(0, (1 << 31) - 1), flags)
def test_what_is_not_present_points_above_half_the_addresses(frame: int, bits: int) -> None:
    """The point of it: for frames below the limit of 44 bits, the stored one lies above."""
    bits &= ~PRESENT
    if bits:
        stored = (entry_of(frame, bits) & FRAME) & ((1 << 44) - 1)
        assert stored >= 1 << 43


@pytest.mark.parametrize(
    ("line", "end"),
    [
        ("", 4 * GIB),
        ("mem=1G", GIB),
        ("mem=0x40000000", GIB),
        ("mem=64G", 4 * GIB),
        ("mem=nopentium", 4 * GIB),
        ("memmap=1G@64G", 65 * GIB),
        ("memmap=1G@64G mem=2G", 2 * GIB),
        ("mem=2G memmap=1G@64G", 65 * GIB),
        ("memmap=exactmap,512M@0,1G@1G", 2 * GIB),
        ("memmap=1G$64G", 4 * GIB),
        ("memmap=1G#64G", 4 * GIB),
        ("memmap=junk", 4 * GIB),
    ],
)
def test_memory(line: str, end: int) -> None:
    facts = Facts(KERNEL, line=line, memory_end=4 * GIB)
    assert memory_end(facts, parse(line, KERNEL)) == end


def test_too_much_memory() -> None:
    cpu = Cpu(cache_bits=36)
    half = Facts(KERNEL, cpu, memory_end=32 * GIB)
    more = replace(half, memory_end=32 * GIB + 4096)
    assert decide(half).memory_limit == 32 * GIB
    assert decide(half).inversion
    assert (decide(more).inversion, decide(more).sysfs) == (False, "Vulnerable")
    # With l1tf off nobody looks, and the text is the better one.
    assert decide(replace(more, line="l1tf=off")).sysfs == "Mitigation: PTE Inversion"
    assert decide(replace(more, line="mem=32G")).inversion
    two = replace(half, kernel=replace(KERNEL, levels=2))
    assert decide(replace(two, line="l1tf=off")).sysfs == "Vulnerable"


@pytest.mark.parametrize(
    ("version", "line", "pages"),
    [
        ("6.1.192", "", 1 << 34),
        ("6.1.192", "l1tf=off", None),
        ("6.1.192", "mitigations=off", None),
        ("4.20.1", "l1tf=off", None),
        ("4.20.0", "l1tf=off", 1 << 34),
        ("4.19.14", "l1tf=off", None),
        ("4.19.13", "l1tf=off", 1 << 34),
    ],
)
def test_swap(version: str, line: str, pages: int | None) -> None:
    """44 bits: 2**31 frames are safe, and swap offsets have three bits more."""
    assert decide(Facts(Kernel.parse(version), Cpu(cache_bits=44), line)).swap_limit == pages


def test_swap_without_a_limit_or_with_two_levels() -> None:
    assert decide(Facts(KERNEL, Cpu(bug=False))).swap_limit is None
    assert decide(Facts(replace(KERNEL, levels=2), Cpu(cache_bits=36))).swap_limit == 1 << 23
