"""The procedure: what the kernel decides at boot, and what kvm_intel decides each time its mode is set up.

Both functions are read from top to bottom; the first rule that applies decides.
"""

from __future__ import annotations

from dataclasses import dataclass

from l1dflush.mitigation import rules
from l1dflush.mitigation.boot_line import BootLine, CrossThread, Global, parse
from l1dflush.mitigation.facts import Control, Cpu, Facts
from l1dflush.mitigation.pte_inversion import memory_end, memory_limit, swap_limit
from l1dflush.mitigation.rules import Rule
from l1dflush.vmentry.subsystem import Boot, Mode


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
    smt, smt_rule = _smt(facts, line, l1tf)
    inversion, inversion_rule = _inversion(facts, line, l1tf)
    return AtBoot(
        line=line,
        l1tf=l1tf,
        smt=smt,
        inversion=inversion,
        memory_limit=memory_limit(facts.cpu.cache_bits),
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
    """What kvm_intel does when a mode is ``wanted``; ``ept`` as it knows it at this moment."""
    kernel, cpu = facts.kernel, facts.cpu
    if kernel.since(6, 19) and not kernel.mitigations:
        return Chosen(Mode.NEVER, rules.COMPILED_OUT, None)
    if not cpu.bug and not kernel.since(5, 4):
        return Chosen(Mode.AUTO, rules.NO_BUG_OLD, None)
    if not cpu.bug:
        return Chosen(Mode.NOT_REQUIRED, rules.NO_BUG, None)
    if not ept:
        return Chosen(Mode.EPT_DISABLED, rules.EPT_OFF, None)
    if cpu.flush_not_required:
        return Chosen(Mode.NOT_REQUIRED, rules.SKIP, None)
    if l1tf is Boot.FULL_FORCE:
        mode, rule = Mode.ALWAYS, rules.FORCED
    elif wanted is Mode.AUTO:
        mode, rule = l1tf.mode, rules.AUTO
    else:
        mode, rule = wanted, rules.WRITTEN
    return Chosen(mode, rule, mode, buffer=mode is not Mode.NEVER and not cpu.command)


def smt_active(facts: Facts, control: Control, *, siblings: bool) -> bool:
    """Whether two threads of one core run (``siblings``: they would if the control is on), as the sysfs text and the
    warnings see it."""
    if facts.kernel.version <= (4, 19, 0):
        # Before 'x86/l1tf: Show actual SMT state' they looked at the control alone.
        return control is Control.ON
    return control is Control.ON and siblings and facts.cpu.threads > 1


def _l1tf(facts: Facts, line: BootLine) -> tuple[Boot, Rule]:
    kernel = facts.kernel
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


def _smt(facts: Facts, line: BootLine, l1tf: Boot) -> tuple[Control, Rule]:
    if not facts.kernel.hotplug_smt:
        return Control.NOT_IMPLEMENTED, rules.SMT_ABSENT
    if facts.cpu.threads < 2:
        return Control.NOT_SUPPORTED, rules.SMT_ABSENT
    # Each later step may only go further: forceoff is never left again.
    control, rule = Control.ON, rules.SMT_ON
    if line.nosmt:
        control, rule = Control(line.nosmt), rules.SMT_BOOT
    if facts.cpu.bug and control is not Control.FORCE_OFF:
        if l1tf is Boot.FULL_FORCE:
            return Control.FORCE_OFF, rules.SMT_L1TF
        if l1tf in (Boot.FULL, Boot.FLUSH_NOSMT) and control is Control.ON:
            return Control.OFF, rules.SMT_L1TF
    if control is Control.ON and any(
        _turns_smt_off(facts, line, bug, option)
        for bug, option in (("mds", "mds"), ("taa", "tsx_async_abort"), ("mmio_stale_data", "mmio_stale_data"))
    ):
        return Control.OFF, rules.SMT_OTHER
    return control, rule


def _turns_smt_off(facts: Facts, line: BootLine, bug: str, option: str) -> bool:
    """Whether the mitigation of another bug does so."""
    cpu: Cpu = facts.cpu
    if bug not in cpu.bugs or (bug == "mds" and "msbds_only" in cpu.bugs):
        return False
    value = line.others.get(option)
    if facts.kernel.since(6, 17):
        wanted = bool(line.vectors) if value is None else value != "off"
        everywhere = line.cross_thread is CrossThread.ON
    else:
        wanted = value != "off" and line.mitigations is not Global.OFF
        everywhere = line.mitigations is Global.AUTO_NOSMT
    return wanted and (everywhere or option in line.others_nosmt)


def _inversion(facts: Facts, line: BootLine, l1tf: Boot) -> tuple[bool, Rule]:
    if not facts.cpu.bug:
        return False, rules.NO_BUG
    if facts.kernel.levels <= 2:
        return False, rules.PTE_NO_LEVELS
    if l1tf is not Boot.OFF and memory_end(facts, line) > memory_limit(facts.cpu.cache_bits):
        return False, rules.PTE_MEMORY
    return True, rules.PTE_INVERTED
