# SPDX-License-Identifier: GPL-2.0-or-later
"""What cpuid answers: the same for the same question, and what it has to be where this code runs."""

from __future__ import annotations

from collections.abc import Mapping

from l1dflush.tracing.operands import Operands
from l1dflush.tracing.operations import Do, Number, Operand
from l1dflush.tracing.slots import Part
from l1dflush.tracing.system_rows import IDENTITY, within
from l1dflush.tracing.undefined import Origin

Addresses = Mapping[int, Operand]
# Leaves of cpuid that take nothing from ecx. One that a processor does not have is its highest one, which may (SDM
# volume 2, CPUID): so not those behind leaf 4, and of the extended ones those that show 64-bit mode.
_WITHOUT_PARTS = {32: ((0, 3),), 64: ((0, 3), (0x8000_0000, 0x8000_0001))}
# FPU, MSR, PAE, CX8, CMOV, MMX, FXSR, SSE and SSE2; and 64-bit mode.
_IN_EVERY = {1: sum(1 << bit for bit in (0, 5, 6, 8, 15, 23, 24, 25, 26)), 0x8000_0001: 1 << 29}


def identify(o: Operands, _: Addresses) -> None:
    """cpuid"""
    leaf, part = (o.register(name)._replace(size=4) for name in ("rax", "rcx"))
    asked = [leaf, o.made(Do.CHOOSE, 4, within(o, leaf, _WITHOUT_PARTS[o.bits]), Number(0, 4), part)]
    names = ("rax", "rbx", "rcx", "rdx")
    given = o.kept(IDENTITY)
    found = [o.result(f"cpuid {name}", 4, *asked, given, origin=Origin.NO_POINTER) for name in names]
    found[0] = _highest_leaf(o, asked[0], found[0])
    if o.bits == 64:
        found[3] = _features(o, asked[0], found[3])
    for name, value in zip(names, found, strict=True):
        o.set_register(name, value)


def _highest_leaf(o: Operands, asked: Operand, found: Part) -> Part:
    """What cpuid gives in eax: of leaf 0 the number of the highest one, which is from 1 to 7FFFFFFFh (SDM volume 2,
    CPUID; table "Highest CPUID Source Operand"); of leaf 80000000h that of the extended ones: 80000001h says that there
    is a 64-bit mode, and without 80000008h addresses would have 32 bits (SDM volume 3, section 4.1.4)."""
    leaf = o.made(Do.IF_KNOWN, 4, asked, Number(1, 4))
    number = o.made(Do.BIT_AND, 4, found, Number(0x3FFF_FFFF, 4))
    highest = o.made(Do.ADD, 4, number, Number(1, 4))
    found = o.made(Do.CHOOSE, 4, o.made(Do.EQUAL, 1, leaf, Number(0, 4)), highest, found)
    if o.bits == 32:
        return found
    extended = o.made(Do.ADD, 4, number, Number(0x8000_0008, 4))
    return o.made(Do.CHOOSE, 4, o.made(Do.EQUAL, 1, leaf, Number(0x8000_0000, 4)), extended, found)


def _features(o: Operands, asked: Operand, found: Part) -> Part:
    """What cpuid gives in edx of leaves 1 and 80000001h where 64-bit code runs (psABI, section 3.1.1, table
    "Micro-Architecture Levels", the baseline; SDM volume 3, section 4.1.1 and volume 2, CPUID, of the others)."""
    leaf = o.made(Do.IF_KNOWN, 4, asked, Number(0, 4))
    for number, there in _IN_EVERY.items():
        asks = o.made(Do.EQUAL, 1, leaf, Number(number, 4))
        bits = o.made(Do.CHOOSE, 4, asks, Number(there, 4), Number(0, 4))
        found = o.made(Do.BIT_OR, 4, found, bits)
    return found
