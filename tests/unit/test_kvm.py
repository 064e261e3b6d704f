# SPDX-License-Identifier: GPL-2.0-or-later
"""The library over KVM with a kernel that is made up: every step refused in turn, every exit, and nothing left."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from itertools import repeat
from pathlib import Path

import pytest
from fake_kvm import HALT, FakeKernel, exit_of, port

from l1dflush.errors import InputError, KvmError, KvmUnavailableError, L1dflushError, UndecidedError
from l1dflush.vmentry.kvm import abi
from l1dflush.vmentry.kvm import loop as kvm_loop
from l1dflush.vmentry.kvm import session as kvm_session
from l1dflush.vmentry.kvm.guest_code import GuestCode, demo
from l1dflush.vmentry.kvm.loop import EntryLoop, SecretDevice
from l1dflush.vmentry.kvm.model import VmRow
from l1dflush.vmentry.kvm.names import Ending, ExitReason, Flush
from l1dflush.vmentry.kvm.session import Asked
from l1dflush.vmentry.kvm.vm import CODE, Kvm, Vm
from l1dflush.vmentry.subsystem import Mode, Subsystem

MEMORY = 1 << 20
CODE_BYTES = GuestCode("bytes", ((CODE, b"\xf4"),), CODE, CODE + 1)


def resources() -> tuple[int, int]:
    """Open files, and bytes of address space."""
    (size,) = [
        line for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines() if line.startswith("VmSize")
    ]
    return len(list(Path("/proc/self/fd").iterdir())), int(size.split()[1])


def plays(
    exits: list[bytes | BaseException], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> tuple[EntryLoop[object], Ending]:
    """A loop that has played these exits, in mode never."""
    device = FakeKernel(lambda: iter(exits)).install(monkeypatch, tmp_path)
    loop: EntryLoop[object] = EntryLoop(never(), {0x10: SecretDevice()})
    with Kvm(device) as kvm, kvm.vm(MEMORY) as vm, vm.vcpu() as vcpu:
        kvm_loop.loaded(vm, vcpu, CODE_BYTES)
        return loop, loop.play(vcpu, 1000)


class NoHost:
    """Mode never asks nothing of it."""


def never() -> Subsystem[object]:
    subsystem: Subsystem[object] = Subsystem(NoHost())  # type: ignore[arg-type]
    subsystem.load(Mode.NEVER)
    return subsystem


# --- there is none


def test_no_device(tmp_path: Path) -> None:
    with pytest.raises(KvmUnavailableError, match=r"^there is no .*kvm.*\(virtualisation may be off") as caught:
        Kvm(tmp_path / "kvm")
    assert isinstance(caught.value, UndecidedError) and caught.value.cause == "no-kvm"


@pytest.mark.parametrize(
    ("code", "told"),
    [
        (errno.EACCES, r"may not be opened \(it takes the group kvm, or root\)"),
        (errno.EPERM, "may not be opened"),
        (errno.ENODEV, "nothing is behind it: No such device"),
        (errno.ENXIO, "nothing is behind it"),
        (errno.EBUSY, "cannot be opened: Device or resource busy"),
    ],
)
def test_why_not(code: int, told: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def refuses(*_: object) -> int:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr("l1dflush.vmentry.kvm.vm.os.open", refuses)
    with pytest.raises(KvmUnavailableError, match=told):
        Kvm(tmp_path / "kvm")


def test_something_else_of_that_name(tmp_path: Path) -> None:
    (tmp_path / "kvm").touch()
    before = resources()[0]
    with pytest.raises(KvmUnavailableError, match=r"kvm is not KVM's$"):
        Kvm(tmp_path / "kvm")
    assert resources()[0] == before


def test_another_version(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    kernel = FakeKernel(lambda: iter(()))
    kernel.version = 13
    with pytest.raises(KvmUnavailableError, match="version 13 of KVM's interface, not 12"):
        Kvm(kernel.install(monkeypatch, tmp_path))


def test_a_kernel_that_makes_no_vm(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    kernel = FakeKernel(lambda: iter(()))
    kernel.fail_at = 2
    with (
        Kvm(kernel.install(monkeypatch, tmp_path)) as kvm,
        pytest.raises(KvmUnavailableError, match="refuses to make a VM: KVM_CREATE_VM: Input/output error"),
    ):
        kvm.vm(MEMORY)


# --- every step fails in turn


def whole(device: Path, times: int = 1) -> None:
    for _ in range(times):
        with Kvm(device) as kvm, kvm.vm(MEMORY) as vm, vm.vcpu() as vcpu:
            kvm_loop.loaded(vm, vcpu, demo())
            assert vcpu.run() == abi.EXIT_HALT
            vcpu.unblock_while_running(0)
            assert vcpu.registers.rip == 0


def test_nothing_is_left_whatever_ioctl_fails(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    kernel = FakeKernel(lambda: iter([HALT]))
    device = kernel.install(monkeypatch, tmp_path)
    whole(device)
    steps = list(kernel.asked)
    assert {"KVM_CREATE_VM", "KVM_SET_USER_MEMORY_REGION", "KVM_CREATE_VCPU", "KVM_SET_SREGS", "KVM_RUN"} <= set(steps)
    before = resources()
    for number, step in enumerate(steps, 1):
        for _ in range(10):
            kernel.asked.clear()
            kernel.fail_at = number
            with pytest.raises(L1dflushError) as caught:
                whole(device)
            assert "\n" not in str(caught.value)
            # The first says that it is no KVM at all.
            assert step in str(caught.value) or number == 1
    files, size = resources()
    assert files == before[0]
    # One guest's memory that was left each time would be 1 MiB.
    assert size - before[1] < 1024


@pytest.mark.parametrize("number", [1, 2])
def test_nothing_is_left_where_memory_is_refused(number: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import mmap  # noqa: PLC0415

    device = FakeKernel(lambda: iter([HALT])).install(monkeypatch, tmp_path)
    made = 0
    real = mmap.mmap

    def refuses(*arguments: int, **named: int) -> mmap.mmap:
        nonlocal made
        made += 1
        if made == number:
            raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))
        return real(*arguments, **named)

    monkeypatch.setattr("l1dflush.vmentry.kvm.vm.mmap.mmap", refuses)
    before = resources()[0]
    with pytest.raises(KvmError, match="Cannot allocate memory"):
        whole(device)
    assert resources()[0] == before


def test_a_signal_while_a_vm_is_made_is_no_failure(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    kernel = FakeKernel(lambda: iter([HALT]))
    real, interrupted = kernel.ioctl, False

    def signalled(fd: int, request: int, argument: object = 0) -> int:
        nonlocal interrupted
        if request == abi.CREATE_VM and not interrupted:
            interrupted = True
            raise InterruptedError
        return real(fd, request, argument)

    kernel.ioctl = signalled  # type: ignore[method-assign]
    whole(kernel.install(monkeypatch, tmp_path))
    assert interrupted


def test_closing_twice(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    device = FakeKernel(lambda: iter([HALT])).install(monkeypatch, tmp_path)
    before = resources()[0]
    kvm = Kvm(device)
    vm = kvm.vm(MEMORY)
    vcpu = vm.vcpu()
    for one in (vcpu, vm, kvm, vcpu, vm, kvm):
        one.close()
    assert resources()[0] == before


# --- memory


@pytest.mark.parametrize("size", [0, -4096, 4096, CODE, CODE + 4097, (1 << 30) + 4096])
def test_sizes_of_memory(size: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    device = FakeKernel(lambda: iter(())).install(monkeypatch, tmp_path)
    with Kvm(device) as kvm, pytest.raises(InputError, match=f"a guest cannot have {size} bytes"):
        kvm.vm(size)


def test_memory_has_an_end(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    device = FakeKernel(lambda: iter(())).install(monkeypatch, tmp_path)
    with Kvm(device) as kvm, kvm.vm(MEMORY) as vm:
        vm.write(MEMORY - 2, b"ab")
        assert vm.read(MEMORY - 2, 2) == b"ab"
        for address in (-1, MEMORY - 1, MEMORY):
            with pytest.raises(InputError, match="do not fit"):
                vm.write(address, b"ab")
            with pytest.raises(InputError, match="are not in"):
                vm.read(address, 2)
        vm.clear()
        assert vm.read(MEMORY - 2, 2) == b"\0\0"


def test_page_tables_map_everything_to_itself(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Walked as the processor does (Intel SDM vol. 3, 4.5: four levels, PS in the third is 2 MiB)."""
    device = FakeKernel(lambda: iter(())).install(monkeypatch, tmp_path)
    with Kvm(device) as kvm, kvm.vm(MEMORY) as vm:
        vm.map_identically()
        for address in (0, CODE, 0x1F_FFFF, 0x20_0000, 0x3FFF_FFFF):
            assert walked(vm, address) == address
        assert walked(vm, 1 << 30) is None and walked(vm, 1 << 39) is None


def walked(vm: Vm, address: int) -> int | None:
    table = 0x1000
    for shift in (39, 30, 21):
        entry = int.from_bytes(vm.read(table + 8 * (address >> shift & 511), 8), "little")
        if not entry & 1:
            return None
        table = entry & 0x000F_FFFF_FFFF_F000
        if shift == 21 and entry & 0x80:
            return (table & ~0x1F_FFFF) | (address & 0x1F_FFFF)
    return None


def test_a_guest_larger_than_its_memory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    device = FakeKernel(lambda: iter(())).install(monkeypatch, tmp_path)
    large = GuestCode("large.s", ((CODE, b"\xf4"),), CODE, MEMORY + 1)
    with (
        Kvm(device) as kvm,
        kvm.vm(MEMORY) as vm,
        vm.vcpu() as vcpu,
        pytest.raises(InputError, match=r"s: the guest ends at 0x100001, its memory at 0x100000 \(--memory 1028K"),
    ):
        kvm_loop.loaded(vm, vcpu, large)


# --- the loop


def test_exits_are_counted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    read = exit_of(abi.EXIT_MEMORY, abi.MEMORY_ACCESS.pack(0xB8000, bytes(8), 4, 0))
    write = exit_of(abi.EXIT_MEMORY, abi.MEMORY_ACCESS.pack(0xB8000, bytes(8), 4, 1))
    exits = [port(0x10), port(0x11), port(0x12, output=False), read, write, InterruptedError(), port(0x11), HALT]
    loop, ending = plays(exits, monkeypatch, tmp_path)
    assert ending is Ending.HALTED
    counts = loop.counts
    assert counts.exits == {ExitReason.PORT: 4, ExitReason.MEMORY: 2, ExitReason.INTERRUPTED: 1, ExitReason.HALT: 1}
    assert counts.ports == {0x10: 1, 0x11: 2, 0x12: 1}
    assert counts.state.entries == len(exits) == len(counts.nanoseconds)
    # The start, the emulation with the secret, the signal.
    assert counts.sensitive == 3


@pytest.mark.parametrize(
    ("last", "expected", "said"),
    [
        (exit_of(abi.EXIT_SHUTDOWN), Ending.CRASHED, ""),
        (exit_of(abi.EXIT_ENTRY_FAILED, abi.ENTRY_FAILURE.pack(0x80000021, 0)), Ending.ENTRY_FAILED, "0x80000021"),
        (exit_of(abi.EXIT_INTERNAL_ERROR, abi.INTERNAL_ERROR.pack(1)), Ending.KVM_ERROR, "cannot be emulated, at 0x0"),
        (exit_of(abi.EXIT_INTERNAL_ERROR, abi.INTERNAL_ERROR.pack(77)), Ending.KVM_ERROR, "kind 77"),
        (exit_of(24), Ending.UNKNOWN_EXIT, "exit reason 24"),
    ],
)
def test_endings(last: bytes, expected: Ending, said: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    loop, ending = plays([port(0x11), last], monkeypatch, tmp_path)
    assert ending is expected and said in loop.said


def test_enough_entries(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    loop, ending = plays([port(0x11)] * 1001, monkeypatch, tmp_path)
    assert ending is Ending.ENOUGH and loop.counts.state.entries == 1000


def test_kvm_run_that_fails_is_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(KvmError, match=r"^KVM_RUN: Bad address$"):
        plays([OSError(errno.EFAULT, os.strerror(errno.EFAULT))], monkeypatch, tmp_path)


def test_what_the_guest_reads_where_nothing_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    read = exit_of(abi.EXIT_MEMORY, abi.MEMORY_ACCESS.pack(0xB8000, bytes(8), 4, 0))
    device = FakeKernel(lambda: iter([read, port(0x60, output=False)])).install(monkeypatch, tmp_path)
    with Kvm(device) as kvm, kvm.vm(MEMORY) as vm, vm.vcpu() as vcpu:
        kvm_loop.loaded(vm, vcpu, CODE_BYTES)
        loop: EntryLoop[object] = EntryLoop(never())
        loop.play(vcpu, 1)
        assert vcpu.memory_access().data == b"\xff" * 4
        loop.play(vcpu, 1)
        assert vcpu.written(vcpu.port_access()) == b"\xff"


# --- the session


def fake_demo() -> Iterator[bytes]:
    for number in range(1, 201):
        yield port(0x11 if number % 50 else 0x10)
    yield HALT


def session(asked: Asked) -> dict[tuple[str, str], VmRow]:
    return {(row.mode, row.flush or ""): row for row in kvm_session.run(asked).rows}


@pytest.mark.usefixtures("native")
def test_modes_and_counts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    device = FakeKernel(fake_demo).install(monkeypatch, tmp_path)
    modes = (Mode.NEVER, Mode.COND, Mode.ALWAYS)
    rows = session(Asked(demo(), modes, (Flush.LINUX_2018,), times=5, seconds=60, device=device))
    counts = {mode: (row.runs, row.entries, row.flushes) for (mode, _), row in rows.items()}
    # cond: once after each start, and after every 50th of the 200 exits.
    assert counts == {"never": (5, 1005, 0), "cond": (5, 1005, 25), "always": (5, 1005, 1005)}
    assert {row.ending for row in rows.values()} == {Ending.HALTED}


@pytest.mark.usefixtures("native")
def test_auto_is_what_the_subsystem_makes_of_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    device = FakeKernel(fake_demo).install(monkeypatch, tmp_path)
    rows = session(Asked(demo(), (Mode.AUTO,), (Flush.LINUX_2018,), seconds=60, device=device))
    assert set(rows) == {("never", ""), ("cond", "linux-2018")}


@pytest.mark.usefixtures("native")
def test_so_many_entries(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    device = FakeKernel(fake_demo).install(monkeypatch, tmp_path)
    result = kvm_session.run(
        Asked(demo(), (Mode.ALWAYS,), (Flush.LINUX_2018,), entries=1000, seconds=60, device=device)
    )
    assert [(row.entries, row.runs, row.ending) for row in result.rows] == [(1000, 5, Ending.ENOUGH)] * 2
    assert result.exit_status == 0 and result.rows[1].flushes == 1000


@pytest.mark.usefixtures("native")
def test_a_bad_ending_ends_everything(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    device = FakeKernel(lambda: iter([exit_of(abi.EXIT_SHUTDOWN)])).install(monkeypatch, tmp_path)
    result = kvm_session.run(Asked(demo(), (Mode.ALWAYS,), (Flush.LINUX_2018,), times=5, device=device))
    assert [(row.entries, row.ending) for row in result.rows] == [(1, Ending.CRASHED)]
    assert result.exit_status == 1


@pytest.mark.usefixtures("native")
def test_the_time_limit_also_of_a_guest_that_always_exits(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A made-up kernel is interrupted by nobody; the guest halts after a while, again and again."""
    device = FakeKernel(lambda: iter([*repeat(port(0x11), 10), HALT])).install(monkeypatch, tmp_path)
    asked = Asked(demo(), (Mode.ALWAYS,), (Flush.LINUX_2018,), times=1 << 40, seconds=0.2, device=device)
    result = kvm_session.run(asked)
    assert Ending.TIME in [row.ending for row in result.rows] and result.exit_status == 1


@pytest.mark.usefixtures("native")
def test_affinity_is_as_before(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    device = FakeKernel(fake_demo).install(monkeypatch, tmp_path)
    before = os.sched_getaffinity(0)
    result = kvm_session.run(Asked(demo(), (Mode.ALWAYS,), (Flush.LINUX_2018,), device=device))
    assert result.host.on_cpu in before
    assert os.sched_getaffinity(0) == before
    with kvm_session.pinned() as cpu:
        assert os.sched_getaffinity(0) == {cpu}
    assert os.sched_getaffinity(0) == before


@pytest.fixture
def native() -> None:
    from l1dflush import _core  # noqa: PLC0415

    if not _core.NATIVE:
        pytest.skip("no native flush for this machine")
