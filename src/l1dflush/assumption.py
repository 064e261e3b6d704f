# SPDX-License-Identifier: GPL-2.0-or-later
"""What a result takes for granted or leaves out: facts, and the one way to say them.

A module of its own, because runs, verdicts and reports all speak of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from l1dflush.errors import some_of


class Assumes(StrEnum):
    """Kinds of what is taken for granted, and of what is not modelled. Their names are stable."""

    # Of every proof.
    PROGRAM_ORDER = "program-order"
    PAGE_ALIGNED = "page-aligned-buffer"
    SET_INDEX = "set-index"
    INPUTS_APART = "inputs-apart"
    POINTERS_ALIGNED = "pointers-aligned"
    CACHED = "memory-cached"
    UNCHANGED = "memory-unchanged"
    FLAT_SEGMENTS = "flat-segments"
    CALLEES_KEEP = "callees-keep-convention"
    ENTRY_STATE = "entry-state"
    # Of a question.
    ALIGNED = "aligned-buffer"
    STORES_ALLOCATE = "stores-allocate"
    UNTOUCHED_BETWEEN = "untouched-between-flushes"
    SAME_BUFFER = "same-buffer"
    AS_COMPILED = "as-compiled"
    CPU_HAS = "cpu-has-instructions"
    CHOSEN_NOT_FOLLOWED = "others-not-followed"
    CHOSEN_NOT_RUN = "others-not-run"
    # Of a run.
    RUN_FIRST = "left-by-run-first"
    STILL_INITIAL = "still-initial"
    TWO_PLACES = "two-places"
    DIFFERENT_PLACES = "different-places"
    NOT_ACROSS_END = "not-across-address-space-end"
    OFF_ENDS = "off-address-space-ends"
    NOT_IN_FIRST_PAGE = "not-in-first-page"
    SAVED_KEPT = "saved-registers-kept"
    GUARD_STAYS = "guard-stays"
    KEYS_STAY = "static-keys-stay"
    CPUID_STAYS = "cpuid-stays"
    CR2_STAYS = "cr2-stays"
    DR6_STAYS = "dr6-stays"
    MSRS_STAY = "msrs-stay"
    TSC_AUX_STAYS = "tsc-aux-stays"
    SETS_INTERRUPTS = "interrupt-flag-set"
    NO_RETURN = "does-not-return"
    VM_ENTRY = "vm-entry-succeeds"
    VMX = "vmx-succeeds"
    DIVISIONS = "divisions-succeed"
    TASK_LOADED = "task-register-loaded"
    BOUNDS = "bounds-hold"
    FLOATING_POINT = "floating-point-masked"
    STATIC_CALL = "static-call-as-shipped"
    AS_SHIPPED = "code-as-shipped"
    # Not modelled.
    OTHERS = "accesses-by-others"
    OTHER_PLACES = "other-places"
    PAGES_DIFFER = "pages-differ-unchecked"
    UNOPTIMISED = "unoptimised-unchecked"


_WORDS = {
    Assumes.PROGRAM_ORDER: "accesses to one set take effect in program order",
    Assumes.PAGE_ALIGNED: "the buffer is page-aligned, and physically contiguous where the set index exceeds the page"
    " offset",
    Assumes.SET_INDEX: "the set index is (address / line size) mod sets",
    Assumes.INPUTS_APART: "different inputs point to different memory",
    Assumes.POINTERS_ALIGNED: "memory reached through an argument or a loaded pointer is aligned to 8 bytes",
    Assumes.CACHED: "all memory is cached, write-back, and ordinary accesses to it do not fault",
    Assumes.UNCHANGED: "memory that the routine did not write is not changed by others between two reads",
    Assumes.FLAT_SEGMENTS: "segments but fs and gs begin at 0 and have no end",
    Assumes.CALLEES_KEEP: "what is called and not here keeps to the calling convention, and leaves its arguments in the"
    " stack, memory types and page tables as they are",
    Assumes.ENTRY_STATE: "the direction flag is clear where the function is entered, and the stack pointer is aligned",
    Assumes.ALIGNED: "{0} is {1}-byte aligned, and physically contiguous where the set index exceeds the page offset",
    Assumes.STORES_ALLOCATE: "the cache allocates on writes: an ordinary store that misses brings its line in",
    Assumes.UNTOUCHED_BETWEEN: "between flushes nobody else accesses the buffer, and in each of them everything lies"
    " where it lay before",
    Assumes.SAME_BUFFER: "all routines read the same buffer, from its first byte on",
    Assumes.AS_COMPILED: "C becomes the machine code that this machine's compiler makes of it at -O{0}",
    Assumes.CPU_HAS: "the CPU has the instructions that are run: {all}",
    Assumes.CHOSEN_NOT_FOLLOWED: "{0} is the flush (could not be followed: {others})",
    Assumes.CHOSEN_NOT_RUN: "{0} is the flush (not run: {others})",
    Assumes.RUN_FIRST: "what {0} leaves in memory is there when {1} runs",
    Assumes.STILL_INITIAL: "{0} still holds its initial value",
    Assumes.TWO_PLACES: "{0} and {1} are two places",
    Assumes.DIFFERENT_PLACES: "{all} are different places",
    Assumes.NOT_ACROSS_END: "no object that is accessed goes on at the other end of the address space, or lies in its"
    " last page",
    Assumes.OFF_ENDS: "no object that is accessed lies in the first or the last page of the address space",
    Assumes.NOT_IN_FIRST_PAGE: "nothing that a linker places lies in the first page of the address space",
    Assumes.SAVED_KEPT: "registers saved on the stack, and return addresses, are not overwritten there through other"
    " variables",
    Assumes.GUARD_STAYS: "the stack protector's guard, {0}, does not change",
    Assumes.KEYS_STAY: "functions that are called and not here leave static keys as they are",
    Assumes.CPUID_STAYS: "cpuid answers the same each time",
    Assumes.CR2_STAYS: "nothing faults between two reads of cr2",
    Assumes.DR6_STAYS: "no debug exception comes between two reads of dr6",
    Assumes.MSRS_STAY: "MSRs that configure something keep their value until they are written",
    Assumes.TSC_AUX_STAYS: "IA32_TSC_AUX stays: the routine is not moved to another CPU",
    Assumes.SETS_INTERRUPTS: "cli, sti and popf change the interrupt flag, as they do in a kernel",
    Assumes.NO_RETURN: "{0} does not return: its caller ends behind the call",
    Assumes.VM_ENTRY: "vmlaunch and vmresume do not fail",
    Assumes.VMX: "VMX instructions (vmread, vmwrite and the like) do not fail",
    Assumes.DIVISIONS: "divisions neither divide by zero nor overflow",
    Assumes.TASK_LOADED: "the task register was loaded: its selector is not null",
    Assumes.BOUNDS: "indices are inside of the bounds that `bound` checks",
    Assumes.FLOATING_POINT: "exceptions of floating point are masked",
    Assumes.STATIC_CALL: "the static call {0} goes where it was shipped to go",
    Assumes.AS_SHIPPED: "code is as shipped, whatever a kernel patches into it for CPU features {all}",
    Assumes.OTHERS: "accesses by others during the flush: page walks, prefetchers, interrupts, sibling threads",
    Assumes.OTHER_PLACES: "fill buffers, store buffers and other levels of the cache",
    Assumes.PAGES_DIFFER: "whether the buffer's pages differ (not checked: no allocation seen)",
    Assumes.UNOPTIMISED: "whether it is the same at -O0 (not checked: no time was left)",
}
# Where others may access a set during the flush: so many times are part of the proof.
_BEYOND = (
    "accesses by others during the flush, beyond {0} to one set: page walks, prefetchers, interrupts, sibling threads"
)

_MOST_OTHERS = 12


@dataclass(frozen=True, slots=True)
class Assumption:
    """One of them. ``names`` are what it is about, as its words have them: variables, functions, features, numbers.

    >>> str(Assumption(Assumes.TWO_PLACES, ("`jiffies`", "ticks")))
    '`jiffies` and ticks are two places'
    """

    kind: Assumes
    names: tuple[str, ...] = ()

    def __str__(self) -> str:
        words = _BEYOND if self.kind is Assumes.OTHERS and self.names else _WORDS[self.kind]
        return words.format(*self.names, all=", ".join(self.names), others=some_of(self.names[1:], _MOST_OTHERS))
