# SPDX-License-Identifier: GPL-2.0-or-later
"""The life of the flush inside a hypervisor, as Linux has had it since 4.9.120 and 4.18.

Three things decide what happens before a VM entry: the *mode* (never, cond, always), which is chosen at boot and may
be written at any time; the *mechanism*, one MSR write where microcode offers the command and otherwise a buffer that is
read; and in the mode cond two *flags*, which say that something sensitive ran since the last flush. There is one buffer
for the whole host. It is allocated when a mode other than never is first wanted and the CPU has the bug but not the
command, and it stays until the hypervisor is unloaded.

The rules and their sources: ``docs/vmentry.md``. The order in which a mode is set up is the kernel's
(vmx_setup_l1d_flush), and :func:`set_up` is the one place that has it: no bug, no EPT, a CPU that needs no flush,
force, ``auto``. Then comes the memory, and only then the mode and the keys are published.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from threading import Lock
from typing import Generic, Protocol, TypeVar

from l1dflush.errors import L1dflushError, one_line

B = TypeVar("B")
"""The buffer, as the host that the subsystem runs on has it."""

LINUX_2018_ORDER = 4
"""The buffer of Linux's 2018 flush has 2**4 pages: 64 KiB."""


class Mode(StrEnum):
    """What is done before a VM entry. The last two can only be read."""

    AUTO = "auto"
    NEVER = "never"
    COND = "cond"
    ALWAYS = "always"
    EPT_DISABLED = "EPT disabled"
    NOT_REQUIRED = "not required"


WRITABLE = (Mode.AUTO, Mode.NEVER, Mode.COND, Mode.ALWAYS)


class Mechanism(StrEnum):
    """How the L1D is flushed."""

    COMMAND = "msr"
    READING = "software"


class Boot(StrEnum):
    """``l1tf=`` on the boot line, which is what ``auto`` means; ``full,force`` cannot be lowered."""

    OFF = "off"
    FLUSH_NOWARN = "flush,nowarn"
    FLUSH = "flush"
    FLUSH_NOSMT = "flush,nosmt"
    FULL = "full"
    FULL_FORCE = "full,force"

    @property
    def mode(self) -> Mode:
        """What ``auto`` becomes."""
        match self:
            case Boot.OFF:
                return Mode.NEVER
            case Boot.FULL | Boot.FULL_FORCE:
                return Mode.ALWAYS
            case _:
                return Mode.COND


class Event(StrEnum):
    """What may happen on the host between an exit and the next entry."""

    RUN = "run"
    SCHEDULED_IN = "scheduled-in"
    PAGE_FAULT = "page-fault"
    EMULATION = "emulation"
    GUEST_WRITE = "guest-write"
    NESTED_ENTRY = "nested-entry"
    INTERRUPT = "interrupt"
    HYPERCALL = "hypercall"
    MSR_ACCESS = "msr-access"
    HALT = "halt"
    NMI = "nmi"
    MACHINE_CHECK = "machine-check"


class Flag(StrEnum):
    """Where it is written down that something sensitive ran."""

    VCPU = "vcpu"
    CPU = "cpu"


FLAG_OF: dict[Event, Flag | None] = {
    Event.RUN: Flag.VCPU,
    Event.SCHEDULED_IN: Flag.VCPU,
    Event.PAGE_FAULT: Flag.VCPU,
    Event.EMULATION: Flag.VCPU,
    Event.GUEST_WRITE: Flag.VCPU,
    Event.NESTED_ENTRY: Flag.VCPU,
    Event.INTERRUPT: Flag.CPU,
    # Paths that set no flag: cond enters after them without a flush.
    Event.HYPERCALL: None,
    Event.MSR_ACCESS: None,
    Event.HALT: None,
    Event.NMI: None,
    Event.MACHINE_CHECK: None,
}
"""Which flag an event sets (4.9.120 to 6.18): the vCPU's, the physical CPU's, or none."""


class ModeError(L1dflushError):
    """A text that is not a mode that can be written: the kernel's EINVAL."""


class NoBufferError(L1dflushError):
    """There was no memory for the buffer: the kernel's ENOMEM. Nothing has changed."""


@dataclass(frozen=True, slots=True)
class CpuFacts:
    """What a CPU and the hypervisor's set-up decide.

    ``command``: microcode offers the MSR write. ``ept``: guests have page tables of their own in hardware, without
    which they cannot aim at host memory. ``flush_not_required``: ARCH_CAPABILITIES says so, because a hypervisor below
    flushes.
    """

    bug: bool = True
    command: bool = False
    ept: bool = True
    flush_not_required: bool = False


class Step(StrEnum):
    """What settles the mode, in the kernel's order. The first three leave the keys as they were."""

    NO_BUG = "no bug"
    NO_EPT = "no EPT"
    NOT_REQUIRED = "not required"
    FORCED = "forced"
    AUTO = "auto"
    WRITTEN = "written"


@dataclass(frozen=True, slots=True)
class Settled:
    """``mode`` is what the parameter reads from then on. ``publishes``: the keys are switched to it too;
    ``reads_buffer``: the flush is by reading and needs the buffer."""

    mode: Mode
    step: Step
    publishes: bool = False
    reads_buffer: bool = False


def set_up(cpu: CpuFacts, boot: Boot, wanted: Mode) -> Settled:
    """What becomes of a mode that is ``wanted``: the kernel's order, the first step that applies ends it."""
    if not cpu.bug:
        return Settled(Mode.NOT_REQUIRED, Step.NO_BUG)
    if not cpu.ept:
        return Settled(Mode.EPT_DISABLED, Step.NO_EPT)
    if cpu.flush_not_required:
        return Settled(Mode.NOT_REQUIRED, Step.NOT_REQUIRED)
    if boot is Boot.FULL_FORCE:
        mode, step = Mode.ALWAYS, Step.FORCED
    elif wanted is Mode.AUTO:
        mode, step = boot.mode, Step.AUTO
    else:
        mode, step = wanted, Step.WRITTEN
    return Settled(mode, step, publishes=True, reads_buffer=mode is not Mode.NEVER and not cpu.command)


class Host(Protocol[B]):
    """What the subsystem needs of the machine under it."""

    def allocate(self, order: int) -> B | None:
        """2**order pages, or None if there is not so much memory."""

    def fill(self, buffer: B, page: int, content: int) -> None:
        """Writes ``content`` all over a page of the buffer."""

    def free(self, buffer: B) -> None:
        """Gives it back."""

    def read(self, buffer: B) -> None:
        """The software flush."""

    def command(self) -> None:
        """The MSR write."""


@dataclass(slots=True)
class Vcpu:
    """``sensitive``: its flag; ``entries`` and ``flushes`` are counted, as the kernel's statistics are."""

    sensitive: bool = False
    entries: int = 0
    flushes: int = 0


@dataclass(slots=True)
class PhysicalCpu:
    """``sensitive``: the flag that interrupt handlers set."""

    sensitive: bool = False


@dataclass(slots=True)
class Subsystem(Generic[B]):
    """One per host. ``order`` is the buffer's; Linux's is 4, a plan may ask for more.

    :meth:`load` and :meth:`unload` are its life, :meth:`write` changes the mode, :meth:`happened` sets flags, and
    :meth:`enter` comes last before every VM entry, with interrupts off.
    """

    host: Host[B]
    cpu: CpuFacts = field(default_factory=CpuFacts)
    boot: Boot = Boot.FLUSH
    order: int = LINUX_2018_ORDER
    mode: Mode = Mode.AUTO
    should_flush: bool = False
    conditional: bool = False
    buffer: B | None = None
    loaded: bool = False
    parameter: Mode = Mode.AUTO
    _lock: Lock = field(default_factory=Lock)

    @property
    def mechanism(self) -> Mechanism:
        """By which a flush is done."""
        return Mechanism.COMMAND if self.cpu.command else Mechanism.READING

    def load(self, parameter: Mode | None = None) -> None:
        """What the hypervisor does when it is loaded, ``parameter`` being what it was loaded with; None: what was
        written before, or ``auto``.

        Raises NoBufferError, with nothing left behind: then it is not loaded.
        """
        with self._lock:
            self._set_up(self.parameter if parameter is None else parameter)
            self.loaded = True

    def unload(self) -> None:
        """Frees the buffer; also when something fails that comes after :meth:`load`. May be called again."""
        with self._lock:
            buffer, self.buffer = self.buffer, None
            self.mode, self.should_flush, self.conditional = Mode.AUTO, False, False
            self.loaded, self.parameter = False, Mode.AUTO
            if buffer is not None:
                self.host.free(buffer)

    def write(self, text: str) -> None:
        """A write to the parameter; before :meth:`load` it is only stored.

        Raises ModeError before anything else, and NoBufferError; then all is as before.
        """
        wanted = parsed(text)
        with self._lock:
            if not self.loaded:
                self.parameter = wanted
            elif self.cpu.bug:
                self._set_up(wanted)

    def happened(self, event: Event, vcpu: Vcpu, cpu: PhysicalCpu) -> None:
        """Sets the flag that belongs to ``event``, whatever the mode is."""
        match FLAG_OF[event]:
            case Flag.VCPU:
                vcpu.sensitive = True
            case Flag.CPU:
                cpu.sensitive = True
            case None:
                pass

    def enter(self, vcpu: Vcpu, cpu: PhysicalCpu) -> bool:
        """Right before VM entry: flushes if the mode, and in cond the flags, say so. Returns whether it did.

        This is the one place that clears the flags, both of them, and only in cond. A host whose flush can fail gets
        its error back with nothing counted, and the next entry flushes.
        """
        vcpu.entries += 1
        # Set-up publishes these two in turn; what is seen in between is the old mode, the new one, or always.
        if not self.should_flush:
            return False
        if self.conditional:
            wanted = vcpu.sensitive or cpu.sensitive
            vcpu.sensitive = cpu.sensitive = False
            if not wanted:
                return False
        try:
            if self.mechanism is Mechanism.COMMAND:
                self.host.command()
            elif self.buffer is not None:
                self.host.read(self.buffer)
        except BaseException:
            vcpu.sensitive = True
            vcpu.entries -= 1
            raise
        vcpu.flushes += 1
        return True

    def _set_up(self, wanted: Mode) -> None:
        """Publishes what :func:`set_up` says, the buffer first: without memory for it nothing has changed."""
        settled = set_up(self.cpu, self.boot, wanted)
        if not settled.publishes:
            self.mode = settled.mode
            return
        if settled.reads_buffer and self.buffer is None:
            self.buffer = self._filled_buffer()
        self.mode = settled.mode
        self.should_flush = settled.mode is not Mode.NEVER
        self.conditional = settled.mode is Mode.COND

    def _filled_buffer(self) -> B:
        """Pages of which no two are alike: a hypervisor below may merge those that are (KSM), and a walk over merged
        pages reads the lines of one only."""
        buffer = self.host.allocate(self.order)
        if buffer is None:
            raise NoBufferError(f"there is no memory for a buffer of {1 << self.order} pages; nothing has changed")
        try:
            for page in range(1 << self.order):
                self.host.fill(buffer, page, page + 1)
        except BaseException:
            self.host.free(buffer)
            raise
        return buffer


def parsed(text: str) -> Mode:
    """A mode as it is written to the parameter: exactly one of :data:`WRITABLE`, a line break behind it is tolerated.

    Raises ModeError.
    """
    word = text.removesuffix("\n")
    if word not in WRITABLE:
        raise ModeError(f"'{one_line(word)[:40]}' is not a mode: auto, never, cond, always")
    return Mode(word)
