# SPDX-License-Identifier: GPL-2.0-or-later
"""SMT: what of it boot leaves on, and whether two threads of one core run.

Read in ``kernel/cpu.c`` and ``arch/x86/kernel/cpu/bugs.c`` of 4.19, 5.x, 6.x and after 6.17, and in
``arch/x86/kernel/cpu/topology.c`` after 6.9.
"""

from __future__ import annotations

from l1dflush.mitigation import rules
from l1dflush.mitigation.boot_line import BootLine, CrossThread, Global
from l1dflush.mitigation.facts import RFDS_CLEAR, Control, Facts, Vendor
from l1dflush.mitigation.part import Part
from l1dflush.mitigation.rules import Rule
from l1dflush.vmentry.subsystem import Boot

_ACTUAL_STATE = {(4, 9): 176, (4, 14): 86, (4, 19): 7}
"""Stable versions with 'x86/l1tf: Show actual SMT state' (130d6f946f6f of November 2018, so 4.20): read in the
announcement of 4.9.176 and in the stable queue's lists for 4.14.86 and 4.19.7. That of 4.4.180 is without it."""
_NO_LATE_LOOK = {(4, 14): 99, (4, 19): 21, (4, 20): 8}
"""Stable versions with 'cpu/hotplug: Fix "SMT disabled by BIOS" detection for KVM' (b284909abad4 of January 2019, so
5.0): read in the stable queue's lists for 4.14.99 and 4.20.8 and, for 4.19.21, in Debian's changelog of 4.19.28-1.
4.9.y went without: neither the list for 4.9.156, of the same day, nor an announcement from 4.9.176 on has it."""


def control_at_boot(facts: Facts, line: BootLine, l1tf: Boot) -> tuple[Control, Rule]:
    """``smt/control`` as boot leaves it, and what decided."""
    kernel = facts.kernel
    if not kernel.hotplug_smt:
        return Control.NOT_IMPLEMENTED, rules.SMT_ABSENT
    if facts.cpu.threads < 2:
        return Control.NOT_SUPPORTED, rules.SMT_ABSENT
    if line.only_cpu and kernel.since(6, 9):
        return Control.NOT_SUPPORTED, rules.SMT_ONE_CPU
    if (line.one_cpu or not facts.siblings_online) and not kernel.carries((5, 0), _NO_LATE_LOOK):
        return Control.NOT_SUPPORTED, rules.SMT_NO_SIBLING
    # Each later step may only go further: forceoff is never left again.
    control, rule = Control.ON, rules.SMT_ON
    if line.nosmt:
        control, rule = Control(line.nosmt), rules.SMT_BOOT
    if facts.cpu.bug and control is not Control.FORCE_OFF:
        if l1tf is Boot.FULL_FORCE:
            return Control.FORCE_OFF, rules.SMT_L1TF
        if l1tf in (Boot.FULL, Boot.FLUSH_NOSMT) and control is Control.ON:
            return Control.OFF, rules.SMT_L1TF
    if control is Control.ON:
        if _buffers_turn_it_off(facts, line):
            return Control.OFF, rules.SMT_OTHER
        if _retbleed_turns_it_off(facts, line):
            return Control.OFF, rules.SMT_RETBLEED
    return control, rule


def active(facts: Facts, control: Control, *, siblings: bool) -> bool:
    """Whether two threads of one core run (``siblings``: they would if the control is on), as sysfs' text sees it."""
    if facts.kernel.part is Part.ALL and not facts.kernel.carries((4, 20), _ACTUAL_STATE):
        # It looked at the control alone.
        return _on(control)
    return _run(facts, control, siblings)


def warned_of(facts: Facts, control: Control, *, siblings: bool) -> bool:
    """Whether the creation of a virtual machine warns of SMT. The patch that made the text look at the threads left the
    warning at the control, as its own text says; the one that dropped the late look changed that too."""
    if not facts.kernel.carries((5, 0), _NO_LATE_LOOK):
        return _on(control)
    return _run(facts, control, siblings)


def _on(control: Control) -> bool:
    # Without CONFIG_HOTPLUG_SMT nothing switches SMT off: the control was the constant "enabled" in 4.x (read in the
    # header that the patch for 4.14.99 changes) and is "not implemented" since (read in 6.1.176).
    return control in (Control.ON, Control.NOT_IMPLEMENTED)


def _run(facts: Facts, control: Control, siblings: bool) -> bool:
    return _on(control) and siblings and facts.cpu.threads > 1


def _everywhere(facts: Facts, line: BootLine) -> bool:
    """Whether ``mitigations=`` lets every bug turn SMT off that would gain from it."""
    if facts.kernel.since(6, 17):
        return line.cross_thread is CrossThread.ON
    return line.mitigations is Global.AUTO_NOSMT


def _buffers_turn_it_off(facts: Facts, line: BootLine) -> bool:
    """MDS, TAA, MMIO stale data: one VERW clears the buffers for all of them, so that with one of them mitigated the
    others are too, even against their own ``off``."""
    cpu, new = facts.cpu, facts.kernel.since(6, 17)
    if not new and line.mitigations is Global.OFF:
        return False
    open_to_taa = "taa" in cpu.bugs and cpu.rtm

    def wanted(option: str) -> bool:
        value = line.others.get(option)
        return (bool(line.vectors) or not new) if value is None else value != "off"

    mds = "mds" in cpu.bugs and wanted("mds")
    taa = open_to_taa and wanted("tsx_async_abort")
    mmio = "mmio_stale_data" in cpu.bugs and wanted("mmio_stale_data")
    rfds = "rfds" in cpu.bugs and bool(cpu.arch_capabilities & RFDS_CLEAR) and wanted("reg_file_data_sampling")
    cleared = mds or taa or mmio or rfds
    turns = {
        "mds": "mds" in cpu.bugs and "msbds_only" not in cpu.bugs and cleared,
        "tsx_async_abort": open_to_taa and cleared,
        "mmio_stale_data": "mmio_stale_data" in cpu.bugs and cleared,
    }
    everywhere = _everywhere(facts, line)
    return any(on and (everywhere or option in line.others_nosmt) for option, on in turns.items())


def _retbleed_turns_it_off(facts: Facts, line: BootLine) -> bool:
    """Without STIBP, where the mitigation is one of those that do nothing against the other thread (AMD's)."""
    cpu, kernel = facts.cpu, facts.kernel
    value = line.others.get("retbleed", "auto")
    if "retbleed" not in cpu.bugs or cpu.stibp or value == "off":
        return False
    if not kernel.since(6, 17) and line.mitigations is Global.OFF:
        return False
    if cpu.vendor in (Vendor.AMD, Vendor.HYGON):
        # "stuff" is for Intel only, and is auto here.
        asked = value in ("unret", "ibpb")
        acts = asked or not kernel.since(6, 17) or bool(line.vectors & {"user_kernel", "guest_host"})
    else:
        acts = value == "unret" and not kernel.since(6, 16)
    return acts and (_everywhere(facts, line) or "retbleed" in line.others_nosmt)
