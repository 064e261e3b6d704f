# SPDX-License-Identifier: GPL-2.0-or-later
"""What happens after boot, in order: the module is loaded and unloaded, its parameter and SMT's control are written,
virtual machines are created. Each returns how it ended (``ok`` or the name of the error) and what was logged."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from l1dflush.mitigation import rules
from l1dflush.mitigation.boot_line import options
from l1dflush.mitigation.facts import Control, Facts, Kernel
from l1dflush.mitigation.part import Part
from l1dflush.mitigation.procedure import AtBoot, Chosen, at_boot, choose
from l1dflush.mitigation.rules import Rule
from l1dflush.mitigation.smt import active, warned_of
from l1dflush.mitigation.sysfs_text import text
from l1dflush.vmentry.subsystem import Boot, Mechanism, Mode, ModeError, parsed

PARAMETER = "vmentry_l1d_flush"
OK = "ok"
IGNORED = f"Kernel compiled without mitigations, ignoring {PARAMETER}"
SWITCHES = frozenset(
    {
        "emulate_invalid_guest_state",
        "enable_apicv",
        "enable_shadow_vmcs",
        "ept",
        "eptad",
        "fasteoi",
        "flexpriority",
        "nested",
        "pml",
        "preemption_timer",
        "unrestricted_guest",
        "vpid",
    }
)
"""Parameters that are yes or no in all of 4.9 to 6.8: read in ``arch/x86/kvm/vmx.c`` of a 4.9.y and of 4.19, in
``vmx/vmx.c`` of 5.11, 6.1.176 and 6.8 and ``vmx/nested.c`` of 6.1.176. Only ``ept`` matters here, but a value that is
neither fails the load. Later kernels were not read for this: one that has dropped a parameter ignores it, whatever its
value."""

_HW_VULN_DOCS = {(4, 9): 176, (4, 14): 119, (4, 19): 43, (5, 0): 16, (5, 1): 2}
"""The stable versions with 'Documentation: Move L1TF to separate directory' (5.2), which moved the page about L1TF into
the folder hw-vuln: read in the announcement of each."""


@dataclass(frozen=True, slots=True)
class Result:
    """How an action ended: ``ok`` or the name of an error, such as EINVAL; and the lines of the log it made."""

    result: str = OK
    log: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether it was done."""
        return self.result == OK


@dataclass(slots=True)
class Loaded:
    """kvm_intel. ``mode``: what the parameter reads; ``flushes``: what is done at VM entry; ``ept``: what is used."""

    ept: bool
    mode: Mode = Mode.AUTO
    flushes: Mode = Mode.NEVER
    rule: Rule = rules.NOT_LOADED
    said: set[str] = field(default_factory=set)


class RunningHost:
    """A host after boot, driven by facts alone."""

    def __init__(self, facts: Facts) -> None:
        self.facts = facts
        self.boot: AtBoot = at_boot(facts)
        self.smt: Control = self.boot.smt
        self.siblings: bool = facts.siblings_online and not self.boot.line.one_cpu
        self.kvm: Loaded | None = None

    @property
    def smt_active(self) -> bool:
        """Whether two threads of one core run."""
        return active(self.facts, self.smt, siblings=self.siblings)

    @property
    def has_flush(self) -> bool:
        """Whether this kernel's KVM has the flush, with its parameter."""
        return self.facts.kernel.part is Part.ALL

    @property
    def sysfs_text(self) -> str | None:
        """``vulnerabilities/l1tf``, without the line break; None: there is no such file."""
        if self.facts.kernel.part is Part.NOTHING:
            return None
        shown = self.kvm.mode if self.kvm and self.has_flush else None
        return text(
            bug=self.facts.cpu.bug,
            inversion=self.boot.inversion,
            mode=shown,
            smt_active=self.smt_active,
            old_layout=self.facts.kernel.old_layout,
            early=self.facts.kernel.early_text,
        )

    @property
    def parameter(self) -> str | None:
        """What the parameter reads, without the line break; None: there is no such file."""
        return self.kvm.mode.value if self.kvm and self.has_flush else None

    @property
    def ept(self) -> bool | None:
        """What the parameter ``ept`` reads; None: there is no such file."""
        return self.kvm.ept if self.kvm else None

    @property
    def mechanism(self) -> Mechanism | None:
        """How the L1D is flushed, None: it is not."""
        if self.kvm is None or self.kvm.flushes is Mode.NEVER:
            return None
        return Mechanism.COMMAND if self.facts.cpu.command else Mechanism.READING

    def load(self, parameters: str = "") -> Result:
        """Loads kvm_intel as ``insmod`` would: options of the boot line are modprobe's business, they are not added."""
        if not self.facts.kernel.kvm_intel:
            return Result("ENOENT")
        if self.kvm is not None:
            return Result("EEXIST")
        wanted, ept, refused, log = Mode.AUTO, True, False, list[str]()
        ignored = False
        # All are looked at, also behind one that is refused.
        for name, value in options(parameters):
            option = name.replace("-", "_")
            if option == PARAMETER and self._compiled_out and value is not None:
                if not ignored:
                    log.append(self._line(IGNORED))
                ignored = True
            elif option == PARAMETER and self.has_flush:
                try:
                    wanted = _written(value)
                except ModeError:
                    refused = True
                    log.append(_refused(value, name))
            elif option in SWITCHES:
                read = _switch(value, self.facts.kernel)
                if read is None:
                    refused = True
                    log.append(_refused(value, name))
                elif option == "ept":
                    ept = read
            elif PARAMETER in name:
                log.append(f"kvm_intel: unknown parameter '{name}' ignored")
        if refused:
            return Result("EINVAL", tuple(log))
        cpu = self.facts.cpu
        if not cpu.vmx:
            return Result("EOPNOTSUPP", tuple(log))
        kvm = Loaded(ept=ept and cpu.ept)
        if ignored:
            kvm.said.add("compiled out")
        early = _ept_is_looked_at_late(self.facts.kernel) and ept and not kvm.ept
        chosen = choose(self.facts, self.boot.l1tf, wanted, ept=ept if early else kvm.ept)
        if chosen.buffer and not self.facts.buffer_memory:
            return Result("ENOMEM", tuple(log))
        _publish(kvm, chosen)
        if early and chosen.flushes is not None:
            kvm.rule = rules.EPT_UNKNOWN
        self.kvm = kvm
        return Result(log=tuple(log))

    def unload(self) -> Result:
        """Unloads it: sysfs forgets about VM entry."""
        if self.kvm is None:
            return Result("ENOENT")
        self.kvm = None
        return Result()

    def write(self, value: str) -> Result:
        """A write to the parameter. One of no length never gets there."""
        if self.kvm is None or not self.has_flush:
            return Result("ENOENT")
        if not value:
            return Result()
        if self._compiled_out:
            return Result(log=self._once("compiled out", IGNORED))
        try:
            wanted = _written(value)
        except ModeError:
            return Result("EINVAL")
        if not self.facts.cpu.bug:
            return Result()
        chosen = choose(self.facts, self.boot.l1tf, wanted, ept=self.kvm.ept)
        if chosen.buffer and not self.facts.buffer_memory:
            return Result("ENOMEM")
        _publish(self.kvm, chosen)
        return Result()

    def write_smt(self, value: str) -> Result:
        """A write to ``smt/control``. Up to 6.5 the word is looked at before the state is, later after it; and since
        then numbers of threads count ('cpu/SMT: Allow enabling partial SMT states via sysfs', 7f48405c3c34; read in
        the pull request smp/core for 6.6-rc1).
        """
        if not value:
            return Result()
        numbers = self.facts.kernel.since(6, 6)
        target = _control(value, self.facts.cpu.threads, numbers=numbers)
        if self.smt is Control.NOT_IMPLEMENTED:
            return Result("ENODEV")
        if target is None and not numbers:
            return Result("EINVAL")
        if self.smt is Control.FORCE_OFF:
            return Result("EPERM")
        if self.smt is Control.NOT_SUPPORTED:
            return Result("ENODEV")
        if target is None:
            return Result("EINVAL")
        if target is Control.ON and self.smt is not Control.ON:
            # All threads are brought up, also those that boot left out; not those that it ruled out.
            self.siblings = not self.boot.line.only_cpu
        self.smt = target
        return Result()

    def create_vm(self) -> Result:
        """Creates a virtual machine; this is where the kernel warns, of each thing once after loading."""
        kvm = self.kvm
        if kvm is None:
            return Result("ENOENT")
        if not self.facts.cpu.bug or not kvm.ept or not self.has_flush:
            return Result()
        if self.boot.l1tf in (Boot.OFF, Boot.FLUSH_NOWARN, Boot.FULL_FORCE):
            return Result()
        log: tuple[str, ...] = ()
        if warned_of(self.facts, self.smt, siblings=self.siblings):
            log += self._once("smt", self._warning("SMT on"))
        if kvm.mode is Mode.NEVER:
            log += self._once("l1d", self._warning("virtualization mitigation disabled"))
        return Result(log=log)

    @property
    def _compiled_out(self) -> bool:
        return self.facts.kernel.since(6, 19) and not self.facts.kernel.mitigations

    def _warning(self, what: str) -> str:
        version = self.facts.kernel.version
        moved = version[:2] >= (5, 2) or version[2] >= _HW_VULN_DOCS.get(version[:2], 1 << 16)
        page = "admin-guide/hw-vuln/l1tf.html" if moved else "admin-guide/l1tf.html"
        return (
            f"L1TF CPU bug present and {what}, data leak possible. See CVE-2018-3646 and "
            f"https://www.kernel.org/doc/html/latest/{page} for details."
        )

    def _once(self, key: str, line: str) -> tuple[str, ...]:
        if self.kvm is None or key in self.kvm.said:
            return ()
        self.kvm.said.add(key)
        return (self._line(line),)

    def _line(self, line: str) -> str:
        """With the module's name in front since 'KVM: x86: Unify pr_fmt to use module name for all KVM modules'
        (8d20bd638167, read in a pull request of KVM for 6.3; seen: 6.1.192 has none, 6.12.117 has it)."""
        return f"kvm_intel: {line}" if self.facts.kernel.since(6, 3) else line


def _ept_is_looked_at_late(kernel: Kernel) -> bool:
    """Whether :data:`.rules.EPT_UNKNOWN` holds. A third number of 0 is taken for a distribution's, which hides it."""
    first = {(6, 1): 20, (6, 2): 7}.get(kernel.version[:2])
    return first is not None and (kernel.version[2] == 0 or kernel.version[2] >= first)


def _publish(kvm: Loaded, chosen: Chosen) -> None:
    kvm.mode, kvm.rule = chosen.mode, chosen.rule
    if chosen.flushes is not None:
        kvm.flushes = chosen.flushes


def _written(value: str | None) -> Mode:
    """What the kernel reads; a text ends at a null byte. Raises ModeError."""
    if value is None:
        raise ModeError("no value")
    return parsed(value.split("\0", 1)[0])


def _refused(value: str | None, name: str) -> str:
    return f"kvm_intel: `{value or ''}' invalid for parameter `{name}'"


def _switch(value: str | None, kernel: Kernel) -> bool | None:
    """A yes or no as kstrtobool reads it: by the first letter, of ``on`` and ``off`` by two; none at all is yes.

    ``true`` and ``false`` count since 5.19 ('lib/kstrtox.c: add "false"/"true" support to kstrtobool()', 0d6ea3ac94ca,
    read in the pull request "MM updates for 5.19-rc1"), ``enabled`` and ``disabled`` since 6.16 ('kstrtox: add support
    for enabled and disabled in kstrtobool()', ae5b3500856f, read in "non-MM updates for 6.16-rc1").
    """
    if value is None:
        return True
    word = value.lower()
    yes, no = {"y", "1"}, {"n", "0"}
    if kernel.since(5, 19):
        yes, no = yes | {"t"}, no | {"f"}
    if kernel.since(6, 16):
        yes, no = yes | {"e"}, no | {"d"}
    if word[:1] in yes or word[:2] == "on":
        return True
    if word[:1] in no or word[:2] == "of":
        return False
    return None


def _control(value: str, threads: int, *, numbers: bool) -> Control | None:
    word = value.split("\0", 1)[0].removesuffix("\n")
    if word in (Control.ON, Control.OFF, Control.FORCE_OFF):
        return Control(word)
    if numbers and re.fullmatch(r"[+-]?0*[0-9]{1,9}", word):
        count = int(word)
        return Control.OFF if count == 1 else Control.ON if count == threads else None
    return None
