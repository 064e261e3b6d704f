# SPDX-License-Identifier: GPL-2.0-or-later
"""The subsystem on this machine: its buffer is a real one, and refusals are those of the kernel."""

from __future__ import annotations

import platform

import pytest

from l1dflush import _core
from l1dflush.errors import AllocationError, FlusherClosedError, LockedMemoryError, MsrUnavailableError, NoPlanError
from l1dflush.silicon.flush_plan import Request
from l1dflush.silicon.flusher import Flusher
from l1dflush.vmentry.kvm import real_host
from l1dflush.vmentry.kvm.names import Flush
from l1dflush.vmentry.kvm.real_host import FlusherHost, real_subsystem
from l1dflush.vmentry.subsystem import CpuFacts, Event, Mechanism, Mode, NoBufferError, PhysicalCpu, Subsystem, Vcpu

pytestmark = pytest.mark.skipif(
    not _core.NATIVE, reason=f"no native flush for {platform.system()} {platform.machine()}"
)
TREE = Request(policy="tree-PLRU", geometry="32K,8,64")
GROUPS = Request(policy="LRU3PLRU4", geometry="48K,12,64")


@pytest.mark.parametrize(
    ("flush", "request_", "size", "order"),
    [
        (Flush.LINUX_2018, None, 64 << 10, 4),
        (Flush.PLANNED, TREE, 52 << 10, 4),
        (Flush.PLANNED, GROUPS, 84 << 10, 5),
        (Flush.STEADY, TREE, 32 << 10, 3),
    ],
)
def test_the_buffer_is_what_the_plan_reads(flush: Flush, request_: Request | None, size: int, order: int) -> None:
    subsystem = real_subsystem(flush, request_)
    assert subsystem.order == order
    subsystem.load(Mode.ALWAYS)
    buffer = subsystem.buffer
    assert buffer is not None and buffer.size == size
    vcpu, cpu = Vcpu(), PhysicalCpu()
    assert all(subsystem.enter(vcpu, cpu) for _ in range(100))
    subsystem.unload()
    assert buffer.closed and vcpu.flushes == 100


def test_cond_on_the_real_buffer() -> None:
    subsystem = real_subsystem(Flush.LINUX_2018)
    subsystem.load(Mode.COND)
    vcpu, cpu = Vcpu(), PhysicalCpu()
    assert not subsystem.enter(vcpu, cpu)
    subsystem.happened(Event.EMULATION, vcpu, cpu)
    assert subsystem.enter(vcpu, cpu) and not subsystem.enter(vcpu, cpu)
    subsystem.unload()


def test_a_flush_of_a_closed_buffer_is_refused_and_not_counted() -> None:
    host = FlusherHost()
    subsystem = Subsystem(host)
    subsystem.load(Mode.ALWAYS)
    assert subsystem.buffer is not None
    subsystem.buffer.close()
    vcpu = Vcpu()
    with pytest.raises(FlusherClosedError, match="closed"):
        subsystem.enter(vcpu, PhysicalCpu())
    assert vcpu.flushes == vcpu.entries == 0


@pytest.mark.parametrize("error", [AllocationError("mmap: Cannot allocate memory"), LockedMemoryError("mlock: no")])
def test_no_memory_is_the_subsystems_error(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuses(*_: object, **__: object) -> Flusher:
        raise error

    monkeypatch.setattr(real_host, "Flusher", refuses)
    host = FlusherHost()
    subsystem = Subsystem(host)
    with pytest.raises(NoBufferError):
        subsystem.load(Mode.COND)
    assert host.why_none == str(error) and subsystem.buffer is None and not subsystem.should_flush


def test_pages_that_are_alike_are_found() -> None:
    class Merged(Flusher):
        def content(self) -> bytes:
            return bytes(self.size)

    host = FlusherHost()
    with Merged("linux-2018") as buffer, pytest.raises(AllocationError, match="two pages of the buffer are alike"):
        host.fill(buffer, 0, 1)
    with Flusher("linux-2018") as buffer:
        for page in range(16):
            host.fill(buffer, page, page + 1)


def test_no_plan_says_so() -> None:
    with pytest.raises(NoPlanError):
        real_subsystem(Flush.PLANNED, Request(policy="LIP", geometry="32K,8,64"))


def test_the_command() -> None:
    try:
        subsystem = real_subsystem(Flush.MSR)
    except MsrUnavailableError as error:
        assert str(error)
    else:
        assert subsystem.mechanism is Mechanism.COMMAND
        subsystem.load(Mode.ALWAYS)
        assert subsystem.enter(Vcpu(), PhysicalCpu())


def test_a_command_that_nobody_asked_for() -> None:
    subsystem = Subsystem(FlusherHost(), CpuFacts(command=True))
    subsystem.load(Mode.ALWAYS)
    vcpu = Vcpu()
    with pytest.raises(MsrUnavailableError, match="was not asked for"):
        subsystem.enter(vcpu, PhysicalCpu())
    assert vcpu.flushes == 0
