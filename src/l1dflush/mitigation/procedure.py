# SPDX-License-Identifier: GPL-2.0-or-later
"""The procedure: what the kernel decides at boot, and what kvm_intel decides each time its mode is set up.

Both functions are read from top to bottom; the first rule that applies decides.
"""

from __future__ import annotations

from dataclasses import dataclass

from l1dflush.mitigation import rules
from l1dflush.mitigation.boot_line import BootLine, CrossThread, Global, parse
from l1dflush.mitigation.facts import Control, Facts, Limits
from l1dflush.mitigation.part import Part
from l1dflush.mitigation.pte_inversion import kernel_limit, memory_end, memory_limit, memory_matters, swap_limit
from l1dflush.mitigation.rules import Rule
from l1dflush.mitigation.smt import control_at_boot
from l1dflush.vmentry.subsystem import Boot, CpuFacts, Mode, Step, set_up


@dataclass(frozen=True, slots=True)
class AtBoot:
    """What holds until the next boot. ``l1tf``: what ``auto`` will mean. ``smt``: the control as boot leaves it.

    ``inversion``: entries that are not present are inverted. ``memory_limit`` in bytes, ``swap_limit`` in pages (None:
    L1TF sets none). ``rules``: for ``l1tf``, ``smt`` and ``inversion``, in this order.
    """

    line: BootLine
    l1tf: Boot
    smt: Control
    inversion: bool
    memory_limit: int
    swap_limit: int | None
    rules: tuple[Rule, Rule, Rule]


def at_boot(facts: Facts) -> AtBoot:
    """What the kernel decides before any module is loaded."""
    line = parse(facts.line, facts.kernel)
    l1tf, l1tf_rule = _l1tf(facts, line)
    smt, smt_rule = control_at_boot(facts, line, l1tf)
    inversion, inversion_rule = _inversion(facts, line, l1tf)
    return AtBoot(
        line=line,
        l1tf=l1tf,
        smt=smt,
        inversion=inversion,
        memory_limit=min(kernel_limit(facts.cpu), memory_limit(facts.cpu.cache_bits)),
        swap_limit=swap_limit(facts, l1tf),
        rules=(l1tf_rule, smt_rule, inversion_rule),
    )


@dataclass(frozen=True, slots=True)
class Chosen:
    """``mode``: what the parameter reads from now on. ``flushes``: what is done at VM entry, None: what was done before
    (the steps that end early leave the static keys alone). ``buffer``: the software flush needs its buffer."""

    mode: Mode
    rule: Rule
    flushes: Mode | None
    buffer: bool = False


def choose(facts: Facts, l1tf: Boot, wanted: Mode, *, ept: bool) -> Chosen:
    """What kvm_intel does when a mode is ``wanted``; ``ept`` as it knows it at this moment.

    The order is that of :func:`l1dflush.vmentry.subsystem.set_up`; what comes before it depends on the kernel.
    """
    kernel, cpu = facts.kernel, facts.cpu
    if kernel.part is not Part.ALL:
        return Chosen(Mode.NEVER, rules.NO_FLUSH, Mode.NEVER)
    if kernel.since(6, 19) and not kernel.mitigations:
        return Chosen(Mode.NEVER, rules.COMPILED_OUT, None)
    if not cpu.bug and not kernel.since(5, 4):
        return Chosen(Mode.AUTO, rules.NO_BUG_OLD, None)
    settled = set_up(CpuFacts(cpu.bug, cpu.command, ept, cpu.flush_not_required), l1tf, wanted)
    flushes = settled.mode if settled.publishes else None
    return Chosen(settled.mode, _RULES[settled.step], flushes, settled.reads_buffer)


_RULES = {
    Step.NO_BUG: rules.NO_BUG,
    Step.NO_EPT: rules.EPT_OFF,
    Step.NOT_REQUIRED: rules.SKIP,
    Step.FORCED: rules.FORCED,
    Step.AUTO: rules.AUTO,
    Step.WRITTEN: rules.WRITTEN,
}


def _l1tf(facts: Facts, line: BootLine) -> tuple[Boot, Rule]:
    kernel = facts.kernel
    if kernel.part is not Part.ALL:
        return Boot.OFF, rules.BOOT_NONE
    if not facts.cpu.bug:
        return Boot.OFF if kernel.since(6, 16) else Boot.FLUSH, rules.NO_BUG
    if line.mitigations is Global.OFF and not kernel.since(6, 17):
        return Boot.OFF, rules.BOOT_OFF
    if line.mitigations is Global.AUTO_NOSMT and not kernel.since(6, 16):
        return Boot.FLUSH_NOSMT, rules.BOOT_NOSMT
    if line.l1tf is not None:
        return line.l1tf, rules.BOOT_EXPLICIT
    if kernel.since(6, 16) and not kernel.l1tf:
        return Boot.OFF, rules.BOOT_CONFIG
    if kernel.since(6, 17) and not line.vectors & {"user_kernel", "guest_host"}:
        return Boot.OFF, rules.BOOT_VECTORS
    nosmt = line.cross_thread is CrossThread.ON if kernel.since(6, 17) else line.mitigations is Global.AUTO_NOSMT
    if nosmt:
        return Boot.FLUSH_NOSMT, rules.BOOT_NOSMT_NEW
    return Boot.FLUSH, rules.BOOT_DEFAULT


def _inversion(facts: Facts, line: BootLine, l1tf: Boot) -> tuple[bool, Rule]:
    if not facts.cpu.bug:
        return False, rules.NO_BUG
    if facts.kernel.part is Part.NOTHING:
        return False, rules.PTE_NOTHING
    if facts.kernel.levels <= 2:
        return False, rules.PTE_NO_LEVELS
    if not memory_matters(facts.kernel, l1tf):
        return True, rules.PTE_INVERTED
    if facts.cpu.limit_bits == 0 and facts.kernel.limits is Limits.UNDEFINED:
        return False, rules.PTE_UNDEFINED
    if memory_end(facts, line) > kernel_limit(facts.cpu):
        return False, rules.PTE_MEMORY
    return True, rules.PTE_INVERTED
