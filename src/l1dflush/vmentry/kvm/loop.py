# SPDX-License-Identifier: GPL-2.0-or-later
"""The loop of a hypervisor in user space: flush, enter, handle the exit, again; with counts and times.

What is sensitive here is what *this* program does between an exit and the next entry; what the kernel does it cannot
see. Before the guest is started the program did whatever it did (``Event.RUN``); an exit handled by a device that says
so is as sensitive (``Event.EMULATION``); a signal is an interrupt. An exit that is only counted sets no flag.
"""

from __future__ import annotations

import os
from array import array
from collections import Counter
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from time import perf_counter_ns
from typing import Generic, Protocol, TypeVar

from l1dflush.errors import InputError
from l1dflush.vmentry.kvm import abi
from l1dflush.vmentry.kvm.deadline import Deadline
from l1dflush.vmentry.kvm.guest_code import GuestCode
from l1dflush.vmentry.kvm.names import Ending, ExitReason
from l1dflush.vmentry.kvm.vm import GuestVcpu, PortAccess, Vm
from l1dflush.vmentry.subsystem import Event, PhysicalCpu, Subsystem, Vcpu

B = TypeVar("B")


_REASONS = {
    abi.EXIT_PORT: ExitReason.PORT,
    abi.EXIT_HALT: ExitReason.HALT,
    abi.EXIT_MEMORY: ExitReason.MEMORY,
    abi.EXIT_SHUTDOWN: ExitReason.SHUTDOWN,
    abi.EXIT_ENTRY_FAILED: ExitReason.ENTRY_FAILED,
    abi.EXIT_INTERRUPTED: ExitReason.INTERRUPTED,
    abi.EXIT_INTERNAL_ERROR: ExitReason.INTERNAL_ERROR,
}


class Device(Protocol):
    """What handles the exits of a port."""

    def __call__(self) -> Event | None:
        """Does its work, and says what that was for the flags."""


class SecretDevice:
    """An emulation that reads a secret: a page of random bytes of its own, all of it."""

    def __init__(self) -> None:
        self._secret = os.urandom(4096)

    def __call__(self) -> Event | None:
        # Any pass over it reads every line.
        self._secret.count(b"\0")
        return Event.EMULATION


@dataclass(slots=True)
class Counts:
    """Of one or several runs of a guest. ``nanoseconds``: of each KVM_RUN with what comes before it (the subsystem, a
    flush if there is one), up to its return."""

    exits: Counter[ExitReason] = field(default_factory=Counter)
    ports: Counter[int] = field(default_factory=Counter)
    sensitive: int = 0
    nanoseconds: array[int] = field(default_factory=lambda: array("Q"))
    state: Vcpu = field(default_factory=Vcpu)


@dataclass(slots=True)
class EntryLoop(Generic[B]):
    """A guest in a VM with a subsystem before its entries; ``devices`` by port. For one thread."""

    subsystem: Subsystem[B]
    devices: Mapping[int, Device] = field(default_factory=dict)
    cpu: PhysicalCpu = field(default_factory=PhysicalCpu)
    counts: Counts = field(default_factory=Counts)
    said: str = ""

    def play(self, vcpu: GuestVcpu, most: int, deadline: Deadline | None = None) -> Ending:
        """Runs the guest until it halts or fails, for at most ``most`` entries. :attr:`said` is KVM's own word on an
        ending, or empty. Raises KvmError, and whatever a flush raises."""
        counts = self.counts
        self.happened(Event.RUN)
        for _ in range(most):
            reason = self.enter(vcpu)
            if reason == abi.EXIT_PORT:
                self.port(vcpu)
            elif reason == abi.EXIT_MEMORY:
                counts.exits[ExitReason.MEMORY] += 1
                access = vcpu.memory_access()
                if not access.write:
                    # What a bus says on which nobody answers.
                    vcpu.answer_memory(b"\xff" * len(access.data))
            elif reason == abi.EXIT_INTERRUPTED:
                counts.exits[ExitReason.INTERRUPTED] += 1
                self.happened(Event.INTERRUPT)
                if deadline is not None:
                    deadline.drain()
                    if deadline.passed:
                        return Ending.TIME
            else:
                counts.exits[_REASONS.get(reason, ExitReason.OTHER)] += 1
                return self._ended(vcpu, reason)
        return Ending.ENOUGH

    def enter(self, vcpu: GuestVcpu) -> int:
        """One entry, timed, with what the subsystem does before it; returns the exit's reason."""
        counts = self.counts
        begin = perf_counter_ns()
        self.subsystem.enter(counts.state, self.cpu)
        reason = vcpu.run()
        counts.nanoseconds.append(perf_counter_ns() - begin)
        return reason

    def port(self, vcpu: GuestVcpu) -> None:
        """Handles an access to a port."""
        counts = self.counts
        counts.exits[ExitReason.PORT] += 1
        access = vcpu.port_access()
        counts.ports[access.port] += 1
        device = self.devices.get(access.port)
        if device is not None:
            event = device()
            if event is not None:
                self.happened(event)
        if not access.output:
            vcpu.answer(access, b"\xff" * (access.size * access.times))

    def happened(self, event: Event) -> None:
        """Tells the subsystem, and counts it."""
        self.counts.sensitive += 1
        self.subsystem.happened(event, self.counts.state, self.cpu)

    def _ended(self, vcpu: GuestVcpu, reason: int) -> Ending:
        match reason:
            case abi.EXIT_HALT:
                return Ending.HALTED
            case abi.EXIT_SHUTDOWN:
                return Ending.CRASHED
            case abi.EXIT_ENTRY_FAILED:
                self.said = vcpu.entry_failure()
                return Ending.ENTRY_FAILED
            case abi.EXIT_INTERNAL_ERROR:
                self.said = f"{vcpu.internal_error()}, at {vcpu.registers.rip:#x}"
                return Ending.KVM_ERROR
            case _:
                self.said = f"exit reason {reason}"
                return Ending.UNKNOWN_EXIT


class StandIn(GuestVcpu):
    """A vCPU without KVM: every entry is an exit of a port at once. What the loop takes with it is the loop's own."""

    def __init__(self, port: int) -> None:
        self._undo = ExitStack()
        self._access = abi.PORT_ACCESS.pack(abi.PORT_OUT, 1, port, 1, 0)
        self._reason = abi.EXIT_REASON.pack(abi.EXIT_PORT)

    def run(self) -> int:
        """As for a guest, with the shortest of system calls."""
        try:
            os.getpid()
        except OSError:
            return abi.EXIT_INTERRUPTED
        (reason,) = abi.EXIT_REASON.unpack_from(self._reason, 0)
        return int(reason)

    def port_access(self) -> PortAccess:
        """Always the same one."""
        direction, size, port, count, at = abi.PORT_ACCESS.unpack_from(self._access, 0)
        return PortAccess(direction == abi.PORT_OUT, size, port, count, at)


def loaded(vm: Vm, vcpu: GuestVcpu, code: GuestCode) -> None:
    """Puts the guest into memory that is zero otherwise, and the vCPU at its beginning.

    Raises InputError for one that is larger than its memory, and KvmError.
    """
    if code.end > vm.size:
        hint = f"--memory {-(-code.end // 4096) * 4}K is enough"
        raise InputError(f"the guest ends at {code.end:#x}, its memory at {vm.size:#x}", where=code.name, hint=hint)
    vm.clear()
    for address, data in code.pieces:
        vm.write(address, data)
    if code.long_mode:
        vm.map_identically()
        vcpu.start_long(code.entry)
    else:
        vcpu.start_real(code.entry)
