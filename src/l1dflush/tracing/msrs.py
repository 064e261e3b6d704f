# SPDX-License-Identifier: GPL-2.0-or-later
"""Model-specific registers: which of them are known to leave the cache and the memory behind addresses alone.

Source: Intel SDM volume 4 (table 2-2, the architectural MSRs, and the tables of models where another is named), and
for AMD's numbers the APM volume 2, appendix A. What is not listed may do anything: MTRRs and the PAT make memory
uncacheable, others move pages of devices or turn caches off.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from l1dflush.tracing.model import Event
from l1dflush.tracing.msr_write import FLUSH_COMMAND

FS_BASE, GS_BASE, KERNEL_GS_BASE = 0xC0000100, 0xC0000101, 0xC0000102
# IA32_TSX_CTRL hides RTM and HLE, and by IA32_XSS the size of what xsaves writes follows (SDM volume 2, cpuid, leaves 7
# and 13). What else cpuid shows is changed by MSRs and registers that leave nothing known.
SHOWN_BY_CPUID = (0x122, 0xDA0)


TSC_AUX = 0xC0000103
CONFIGURING = (
    (0x1B, 0x1B),  # IA32_APIC_BASE
    (0x3A, 0x3A),  # IA32_FEATURE_CONTROL
    (0x48, 0x48),  # IA32_SPEC_CTRL
    (0xCE, 0xCF),  # MSR_PLATFORM_INFO, IA32_CORE_CAPABILITIES
    (0xE1, 0xE1),  # IA32_UMWAIT_CONTROL
    (0xFE, 0xFE),  # IA32_MTRRCAP
    (0x10A, 0x10A),  # IA32_ARCH_CAPABILITIES
    (0x122, 0x123),  # IA32_TSX_CTRL, IA32_MCU_OPT_CTRL
    (0x174, 0x176),  # IA32_SYSENTER_CS, _ESP, _EIP
    (0x179, 0x179),  # IA32_MCG_CAP
    (0x186, 0x18D),  # IA32_PERFEVTSEL0-7
    (0x1A0, 0x1A0),  # IA32_MISC_ENABLE
    (0x1A4, 0x1A4),  # MSR_MISC_FEATURE_CONTROL
    (0x1B0, 0x1B0),  # IA32_ENERGY_PERF_BIAS
    (0x1C4, 0x1C4),  # IA32_XFD
    (0x1F2, 0x1F3),  # IA32_SMRR_PHYSBASE, _PHYSMASK
    (0x200, 0x213),  # IA32_MTRR_PHYSBASE0-9, _PHYSMASK0-9
    (0x250, 0x250), (0x258, 0x259), (0x268, 0x26F),  # IA32_MTRR_FIX*
    (0x277, 0x277),  # IA32_PAT
    (0x2FF, 0x2FF),  # IA32_MTRR_DEF_TYPE
    (0x345, 0x345),  # IA32_PERF_CAPABILITIES
    (0x38D, 0x38D),  # IA32_FIXED_CTR_CTRL
    (0x480, 0x493),  # IA32_VMX_*
    (0x600, 0x600),  # IA32_DS_AREA
    (0xDA0, 0xDA0),  # IA32_XSS
    (0xC0000080, 0xC0000084),  # IA32_EFER, _STAR, _LSTAR, _CSTAR, _FMASK
    (0xC0010015, 0xC0010015),  # AMD HWCR
    (0xC0010114, 0xC0010114), (0xC0010117, 0xC0010117),  # AMD VM_CR, VM_HSAVE_PA
    (0xC001011F, 0xC001011F),  # AMD VIRT_SPEC_CTL
    (0xC0011029, 0xC0011029),  # AMD DE_CFG
)  # fmt: skip
"""MSRs, from and to, that configure something or say what there is: they change when they are written, and not by
themselves. Not so IA32_DEBUGCTL and IA32_PERF_GLOBAL_CTRL, of which exceptions and interrupts clear bits, nor counters,
clocks and states (SDM volume 4; APM volume 2, appendix A)."""


@dataclass(frozen=True, slots=True)
class Harmless:
    """The MSRs from ``first`` to ``last``, what the manual calls them, and why writing one changes nothing here."""

    first: int
    last: int
    name: str
    why: str


_TIME = "what the clock shows, or when its interrupt comes"
_COUNTS = "counts what happens"
_SPECULATES = "what is predicted; a trace is what is not speculated"
_ENTRY = "where a system call goes and with what; the trace follows none"
_INTERRUPTS = "interrupts, which no proof has"
_STATES = "which states of registers are saved, or fault; the trace has no such instruction"

_LIST = (
    Harmless(0x10, 0x10, "IA32_TIME_STAMP_COUNTER", _TIME),
    Harmless(0x3B, 0x3B, "IA32_TSC_ADJUST", _TIME),
    Harmless(0x48, 0x48, "IA32_SPEC_CTRL", _SPECULATES),
    Harmless(0x49, 0x49, "IA32_PRED_CMD", _SPECULATES),
    Harmless(0x8B, 0x8B, "IA32_BIOS_SIGN_ID", "the number of the microcode, for cpuid to overwrite"),
    Harmless(0xC1, 0xC8, "IA32_PMC0-7", _COUNTS),
    Harmless(0xE1, 0xE1, "IA32_UMWAIT_CONTROL", "how deep umwait sleeps; the trace has none"),
    Harmless(0xE7, 0xE8, "IA32_MPERF, IA32_APERF", _COUNTS),
    Harmless(FLUSH_COMMAND, FLUSH_COMMAND, "IA32_FLUSH_CMD", "it empties the cache or does nothing, then walks count"),
    Harmless(0x122, 0x122, "IA32_TSX_CTRL", "whether transactions begin; the trace has none"),
    Harmless(0x123, 0x123, "IA32_MCU_OPT_CTRL", "how long rdrand takes, and whether verw empties buffers"),
    Harmless(0x174, 0x176, "IA32_SYSENTER_CS, _ESP, _EIP", _ENTRY),
    Harmless(0x186, 0x18D, "IA32_PERFEVTSEL0-7", _COUNTS),
    Harmless(0x309, 0x30C, "IA32_FIXED_CTR0-3", _COUNTS),
    Harmless(0x38D, 0x38D, "IA32_FIXED_CTR_CTRL", _COUNTS),
    Harmless(0x38F, 0x391, "IA32_PERF_GLOBAL_CTRL, _STATUS_RESET, _STATUS_SET", _COUNTS),
    Harmless(0x4C1, 0x4C8, "IA32_A_PMC0-7", _COUNTS),
    Harmless(0x6E0, 0x6E0, "IA32_TSC_DEADLINE", _TIME),
    Harmless(0x808, 0x808, "IA32_X2APIC_TPR", _INTERRUPTS),
    Harmless(0x80B, 0x80B, "IA32_X2APIC_EOI", _INTERRUPTS),
    Harmless(0x80F, 0x80F, "IA32_X2APIC_SIVR", _INTERRUPTS),
    Harmless(0x828, 0x828, "IA32_X2APIC_ESR", _INTERRUPTS),
    Harmless(0x82F, 0x838, "IA32_X2APIC_LVT_*, _ICR, _INIT_COUNT", _INTERRUPTS),
    Harmless(0x83E, 0x83F, "IA32_X2APIC_DIV_CONF, _SELF_IPI", _INTERRUPTS),
    Harmless(0xDA0, 0xDA0, "IA32_XSS", _STATES),
    Harmless(0x1C4, 0x1C5, "IA32_XFD, IA32_XFD_ERR", _STATES),
    Harmless(0xC0000081, 0xC0000084, "IA32_STAR, _LSTAR, _CSTAR, _FMASK", _ENTRY),
    Harmless(FS_BASE, GS_BASE, "IA32_FS_BASE, IA32_GS_BASE", "where fs: and gs: lead, which the trace follows"),
    Harmless(KERNEL_GS_BASE, KERNEL_GS_BASE, "IA32_KERNEL_GS_BASE", "what swapgs takes"),
    Harmless(TSC_AUX, TSC_AUX, "IA32_TSC_AUX", "what rdtscp and rdpid give, which the trace follows"),
    Harmless(0xC0010000, 0xC0010007, "AMD PERF_LEGACY_CTL0-3, PERF_LEGACY_CTR0-3", _COUNTS),
    Harmless(0xC001011F, 0xC001011F, "AMD VIRT_SPEC_CTL", _SPECULATES),
    Harmless(0xC0010200, 0xC001020B, "AMD PERF_CTL0-5, PERF_CTR0-5", _COUNTS),
)  # fmt: skip


def harmless() -> Iterator[Harmless]:
    """The list, in no particular order."""
    yield from _LIST


def is_harmless(number: int) -> bool:
    """Whether writing the MSR leaves it as it is what later accesses do to the cache."""
    return any(one.first <= number <= one.last for one in _LIST)


def flushes_by_msr(event: Event) -> bool:
    """Whether an event writes the flush command: bit 0 of IA32_FLUSH_CMD, MSR 0x10b (SDM volume 4)."""
    return event.msr is not None and event.msr.flushes


def may_flush_by_msr(event: Event) -> bool:
    """Whether an event may write the flush command: its MSR or its value is not known."""
    return event.msr is not None and event.msr.may_flush
