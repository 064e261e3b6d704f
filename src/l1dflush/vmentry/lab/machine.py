# SPDX-License-Identifier: GPL-2.0-or-later
"""The model machine: an L1D, memory with owners, a host that works between exits, VM entries with the flush before
them, a sibling thread, and a guest that reads through L1TF whatever the L1D holds when it gets in.

What is modelled: which lines the L1D of one core holds after every access, by the compiled simulator of its policy.
What a guest gets: every secret line that is there when it enters (a real one needs time for that, and gets at most as
much); with SMT also what the sibling brings in while it runs, even if it does not stay. A guest without page tables of
its own (EPT off) cannot aim at host memory, and on a CPU without the bug there is nothing to be had.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from l1dflush.cache.geometry import Geometry
from l1dflush.cache.simulate import Simulator
from l1dflush.errors import InputError
from l1dflush.vmentry.lab.memory import BUFFER, LINE, LINES_PER_PAGE, OWN, PAGE, SECRET, Block, Memory
from l1dflush.vmentry.lab.routine_accesses import RoutineAccesses
from l1dflush.vmentry.subsystem import Boot, CpuFacts, Event, Mechanism, Mode, PhysicalCpu, Subsystem, Vcpu

Addresses = NDArray[np.uint64]


@dataclass(frozen=True, slots=True)
class Hardware:
    """A core. ``facts`` are what the subsystem asks about; ``smt``: a sibling thread shares the L1D."""

    policy: str
    geometry: Geometry
    facts: CpuFacts = field(default_factory=CpuFacts)
    smt: bool = False
    seed: int = 1


@dataclass(frozen=True, slots=True)
class Below:
    """A hypervisor below this one. ``merges``: it merges equal pages (KSM); ``flushes``: before each entry to a guest's
    guest, it flushes by the CPU's command."""

    merges: bool = False
    flushes: bool = False


@dataclass(frozen=True, slots=True)
class Leak:
    """What an entry gave away: secret lines there when the guest got in, and those the sibling brought in later."""

    flushed: bool
    secret_lines: int
    by_sibling: int = 0

    @property
    def secret_bytes(self) -> int:
        """What the guest read."""
        return (self.secret_lines + self.by_sibling) * LINE


@dataclass(slots=True)
class Machine:
    """Made for one run. It is the host of the subsystem: :meth:`allocate` and the methods behind it are what that asks
    for. ``fails``: how many allocations succeed before one fails; None: all do."""

    hardware: Hardware
    routine: RoutineAccesses
    below: Below = field(default_factory=Below)
    initialised: bool = True
    in_load_list: bool = False
    fails: int | None = None
    memory: Memory = field(init=False)
    l1d: Simulator = field(init=False)
    subsystem: Subsystem[Block] = field(init=False)
    vcpu: Vcpu = field(default_factory=Vcpu)
    cpu: PhysicalCpu = field(default_factory=PhysicalCpu)
    accesses: int = 0
    _flush: Addresses | None = None
    _own: list[Block] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.hardware.geometry.line != LINE:
            raise InputError(f"lines of {self.hardware.geometry.line} bytes", hint=f"modelled are {LINE}")
        self.memory = Memory(self.hardware.seed)
        self.l1d = Simulator(self.hardware.policy, self.hardware.geometry, seed=self.hardware.seed)
        order = max(self.routine.buffer_pages - 1, 0).bit_length()
        self.subsystem = Subsystem(self, self.hardware.facts, order=order)
        # What the routine touches besides its buffer is the host's, and no secret.
        self._own = [
            self.memory.allocate(name, pages, OWN)
            for name, pages in zip(self.routine.own, self.routine.own_pages, strict=True)
        ]

    # What the subsystem asks of its host.

    def allocate(self, order: int) -> Block | None:
        """2**order pages, if the memory is not to fail now."""
        if self.fails is not None:
            if self.fails == 0:
                return None
            self.fails -= 1
        return self.memory.allocate("buffer", 1 << order, BUFFER)

    def fill(self, buffer: Block, page: int, content: int) -> None:
        """Writes a page, which brings its lines into the L1D; not at all where set-up leaves the buffer as it was.

        After the last one the hypervisor below has its turn, and merges what is equal.
        """
        buffer.content[page] = content if self.initialised else 0
        if self.initialised:
            self.touch(buffer.line_addresses(page * LINES_PER_PAGE + np.arange(LINES_PER_PAGE)))
        if self.below.merges and None not in buffer.content:
            self.memory.merge(buffer)

    def free(self, buffer: Block) -> None:
        """Gives it back."""
        self._flush = None
        self.memory.free(buffer)

    def read(self, buffer: Block) -> None:
        """The software flush: the routine's accesses, where its memory is now."""
        if self._flush is None:
            self._flush = self._placed(buffer)
        self.touch(self._flush)

    def command(self) -> None:
        """The MSR write: nothing is left."""
        self.l1d.flush_all()

    # What happens on it.

    def load(self, mode: Mode, boot: Boot = Boot.FLUSH) -> None:
        """Loads the hypervisor. Raises NoBufferError."""
        self.subsystem.boot = boot
        self.subsystem.load(mode)

    def touch(self, addresses: Addresses) -> None:
        """The host, or anybody on this core, accesses these bytes in this order."""
        self.accesses += len(addresses)
        self.l1d.access(addresses)

    def own_addresses(self, name: str, at: int) -> Addresses:
        """The line of the routine's own memory that begins ``at`` so many bytes of what the prover calls ``name``;
        nothing if there is no such."""
        for block, lowest in zip(self._own, self.routine.own_lowest, strict=True):
            if block.name == name and 0 <= at - lowest < block.pages * PAGE:
                return block.addresses(np.array([at - lowest]))
        return np.empty(0, dtype=np.uint64)

    def invalidate(self, addresses: Addresses) -> None:
        """Others take these lines away: a write on another core, or an outer cache that includes this one."""
        for address in addresses.tolist():
            self.l1d.flush_line(address)

    def happened(self, event: Event) -> None:
        """Sets the flag of an event."""
        self.subsystem.happened(event, self.vcpu, self.cpu)

    def enter(self, late: Addresses | None = None, sibling: Addresses | None = None) -> Leak:
        """A VM entry, and what the guest reads.

        ``late``: what an NMI touches between the flush and the entry; with the flush in the entry's MSR load list,
        which only the command in the mode always can be, nothing comes between. ``sibling``: what the other thread
        touches while the guest runs.
        """
        # The list is the same at every entry, so a flush that depends on flags cannot be in it.
        in_list = (
            self.in_load_list
            and self.subsystem.mechanism is Mechanism.COMMAND
            and self.subsystem.should_flush
            and not self.subsystem.conditional
        )
        if in_list and late is not None:
            self.touch(late)
        flushed = self.subsystem.enter(self.vcpu, self.cpu)
        if self.below.flushes:
            self.command()
        if not in_list and late is not None:
            self.touch(late)
        before, brought = self._secret(self.l1d.contents.ravel()), 0
        if self.hardware.smt and sibling is not None:
            self.touch(sibling)
            # Sets are quicker than NumPy for so few.
            brought = len(set(self._secret((sibling // LINE).astype(np.int64)).tolist()).difference(before.tolist()))
        return Leak(flushed, len(before), brought) if self.exposed else Leak(flushed, 0)

    @property
    def exposed(self) -> bool:
        """Whether a guest can read through L1TF at all."""
        return self.hardware.facts.bug and self.hardware.facts.ept

    def _secret(self, lines: NDArray[np.int64]) -> NDArray[np.int64]:
        """Those of the lines that are secret."""
        found: NDArray[np.int64] = lines[self.memory.owners(lines) == SECRET]
        return found

    def _placed(self, buffer: Block) -> Addresses:
        found = np.empty(len(self.routine.line), dtype=np.uint64)
        for number, block in enumerate([*self._own, buffer]):
            mine = self.routine.place == (number if number < len(self._own) else -1)
            found[mine] = block.line_addresses(self.routine.line[mine])
        return found


def pages_of(size: int) -> int:
    """How many pages hold so many bytes."""
    return -(-size // PAGE)
