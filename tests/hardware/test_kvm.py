# SPDX-License-Identifier: GPL-2.0-or-later
"""Guests that really run: what is counted, how they end, signals, threads, and that nothing is left."""

from __future__ import annotations

import errno
import fcntl
import os
import platform
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from l1dflush import _core
from l1dflush.errors import InputError, KvmUnavailableError, L1dflushError
from l1dflush.silicon.flush_plan import Request
from l1dflush.silicon.flusher import Flusher
from l1dflush.vmentry.kvm import abi as kvm_abi
from l1dflush.vmentry.kvm import loop as kvm_loop
from l1dflush.vmentry.kvm import session as kvm_session
from l1dflush.vmentry.kvm import vm as kvm
from l1dflush.vmentry.kvm.deadline import KICK, Deadline
from l1dflush.vmentry.kvm.guest_code import GuestCode, demo, from_assembly
from l1dflush.vmentry.kvm.loop import EntryLoop, SecretDevice
from l1dflush.vmentry.kvm.names import Ending, ExitReason, Flush
from l1dflush.vmentry.kvm.real_host import real_subsystem
from l1dflush.vmentry.kvm.session import Asked
from l1dflush.vmentry.kvm.vm import CODE, Kvm
from l1dflush.vmentry.subsystem import Mode, Subsystem


def why_not() -> str:
    """Why no guest can run here; empty if one can."""
    if not _core.NATIVE:
        return f"no native flush for {platform.system()} {platform.machine()}"
    try:
        with Kvm() as device, device.vm(1 << 16):
            return ""
    except KvmUnavailableError as error:
        return str(error)


WHY_NOT = why_not()
pytestmark = pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT or "-")
MEMORY = 1 << 20
ENDLESS = GuestCode("endless", ((CODE, b"\xeb\xfe"),), CODE, CODE + 2)
# out 0x11, al; jmp
CHATTY = GuestCode("chatty", ((CODE, b"\xe6\x11\xeb\xfc"),), CODE, CODE + 4)
TREE = Request(policy="tree-PLRU", geometry="32K,8,64")


def guest(*code: int, long_mode: bool = False) -> GuestCode:
    return GuestCode("bytes", ((CODE, bytes(code)),), CODE, CODE + len(code), long_mode)


def never() -> Subsystem[Flusher]:
    subsystem = real_subsystem(Flush.LINUX_2018)
    subsystem.load(Mode.NEVER)
    return subsystem


def played(code: GuestCode, seconds: float = 10.0) -> tuple[Ending, EntryLoop[Flusher]]:
    loop = EntryLoop(never())
    with Kvm() as device, device.vm(MEMORY) as vm, vm.vcpu() as vcpu, Deadline(seconds) as deadline:
        deadline.watch(vcpu)
        kvm_loop.loaded(vm, vcpu, code)
        return loop.play(vcpu, 100_000, deadline), loop


def held() -> tuple[int, int]:
    """Open files, and mappings that KVM has to do with."""
    mappings = [line for line in Path("/proc/self/maps").read_text(encoding="utf-8").splitlines() if "kvm" in line]
    return len(list(Path("/proc/self/fd").iterdir())), len(mappings)


def size() -> int:
    """KiB of address space."""
    (line,) = [s for s in Path("/proc/self/status").read_text(encoding="ascii").splitlines() if s.startswith("VmSize")]
    return int(line.split()[1])


# --- counting


def test_200_exits_and_a_halt_five_times() -> None:
    """What the modes promise, on a real VM. A signal makes one more entry; it is counted, so the sums are exact."""
    modes = (Mode.NEVER, Mode.COND, Mode.ALWAYS)
    flushes = (Flush.LINUX_2018, Flush.PLANNED, Flush.STEADY)
    result = kvm_session.run(Asked(demo(), modes, flushes, times=5, seconds=60, request=TREE))
    assert result.exit_status == 0
    assert [(row.mode, row.flush) for row in result.rows] == [
        (Mode.NEVER, None),
        *((mode, flush) for flush in flushes for mode in (Mode.COND, Mode.ALWAYS)),
    ]
    for row in result.rows:
        interrupted = row.exits.get(ExitReason.INTERRUPTED, 0)
        assert row.exits[ExitReason.PORT] == 1000 and row.exits[ExitReason.HALT] == 5
        assert row.ports == {"0x10": 20, "0x11": 980}
        assert row.entries == 1005 + interrupted
        assert row.sensitive == 5 + 20 + interrupted
        assert row.flushes == {Mode.NEVER: 0, Mode.COND: row.sensitive, Mode.ALWAYS: row.entries}[row.mode]
        assert row.nanoseconds is not None and 0 < row.nanoseconds.low <= row.nanoseconds.median <= row.nanoseconds.high


def test_cond_without_sensitive_work_flushes_at_the_start_only() -> None:
    asked = Asked(demo(), (Mode.COND,), (Flush.LINUX_2018,), times=5, seconds=60, secret_port=0x99)
    row = kvm_session.run(asked).rows[-1]
    assert row.flushes == 5 + row.exits.get(ExitReason.INTERRUPTED, 0)


def test_20_000_entries_with_a_flush() -> None:
    result = kvm_session.run(Asked(demo(), (Mode.ALWAYS,), (Flush.LINUX_2018,), entries=20_000, seconds=120))
    assert [row.entries for row in result.rows] == [20_000, 20_000]
    assert result.rows[1].flushes == 20_000
    assert 0 < result.loop.timed <= result.loop.whole


# --- what guests do


def test_real_mode() -> None:
    # mov ax, 0x1234; mov [0x9000], ax; hlt
    with Kvm() as device, device.vm(MEMORY) as vm, vm.vcpu() as vcpu:
        kvm_loop.loaded(vm, vcpu, guest(0xB8, 0x34, 0x12, 0xA3, 0x00, 0x90, 0xF4))
        assert vcpu.run() == kvm_abi.EXIT_HALT
        assert vcpu.registers.rax & 0xFFFF == 0x1234 and vcpu.registers.rip == CODE + 7
        assert vm.read(0x9000, 2) == b"\x34\x12"
        # Started over, nothing of that is left.
        kvm_loop.loaded(vm, vcpu, guest(0xF4))
        assert vm.read(0x9000, 2) == b"\0\0"
        assert vcpu.run() == kvm_abi.EXIT_HALT and vcpu.registers.rip == CODE + 1


def test_long_mode() -> None:
    # mov rax, 0x123456789abcdef0; push rax; pop r9; hlt
    code = guest(0x48, 0xB8, *(0x123456789ABCDEF0).to_bytes(8, "little"), 0x50, 0x41, 0x59, 0xF4, long_mode=True)
    with Kvm() as device, device.vm(MEMORY) as vm, vm.vcpu() as vcpu:
        kvm_loop.loaded(vm, vcpu, code)
        assert vcpu.run() == kvm_abi.EXIT_HALT
        assert vcpu.registers.r9 == 0x123456789ABCDEF0
        assert vm.read(CODE - 8, 8) == (0x123456789ABCDEF0).to_bytes(8, "little")


def test_ports_and_memory_that_is_not_there() -> None:
    # in al, 0x60; out 0x61, al; mov rbx, [0x20000000]; mov [0x20000000], rbx; hlt
    code = guest(
        0xE4, 0x60, 0xE6, 0x61, 0x48, 0x8B, 0x1C, 0x25, 0, 0, 0, 0x20, 0x48, 0x89, 0x1C, 0x25, 0, 0, 0, 0x20, 0xF4,
        long_mode=True,
    )  # fmt: skip
    ending, loop = played(code)
    assert ending is Ending.HALTED
    assert loop.counts.ports == {0x60: 1, 0x61: 1} and loop.counts.exits[ExitReason.MEMORY] == 2


@pytest.mark.parametrize("long_mode", [False, True])
def test_a_triple_fault(long_mode: bool) -> None:
    ending, loop = played(guest(0x0F, 0x0B, long_mode=long_mode))
    assert ending is Ending.CRASHED and loop.counts.exits == {ExitReason.SHUTDOWN: 1}


@pytest.mark.parametrize(
    "code",
    [
        guest(0xEA, 0x00, 0x01, 0xFF, 0xFF),  # ljmp 0xffff:0x100, right above 1 MiB
        guest(0xB8, 0, 0, 0, 0x30, 0xFF, 0xE0, long_mode=True),  # mov eax, 0x30000000; jmp rax
        guest(0x48, 0xC7, 0xC0, 0, 0, 0, 0x80, 0xFF, 0xE0, long_mode=True),  # jmp to where nothing is mapped
    ],
)
def test_a_jump_out_of_memory(code: GuestCode) -> None:
    ending, loop = played(code, 2.0)
    assert ending in (Ending.KVM_ERROR, Ending.CRASHED)
    assert loop.said.isprintable()


def test_an_endless_guest_ends_at_the_limit() -> None:
    begin = time.monotonic()
    ending, loop = played(ENDLESS, 0.5)
    assert ending is Ending.TIME
    assert 0.5 <= time.monotonic() - begin < 5
    assert set(loop.counts.exits) == {ExitReason.INTERRUPTED}


def test_an_endless_guest_with_exits_ends_at_the_limit() -> None:
    ending, loop = played(CHATTY, 0.3)
    assert ending is Ending.TIME or loop.counts.state.entries == 100_000


@pytest.mark.parametrize("long_mode", [False, True])
def test_guests_of_random_bytes_end_one_way_or_another(long_mode: bool) -> None:
    before = held()
    for seed in range(40):
        code = guest(*random.Random(seed).randbytes(64), long_mode=long_mode)
        try:
            ending, loop = played(code, 0.05)
        except L1dflushError as error:
            assert "\n" not in str(error)
        else:
            assert isinstance(ending, Ending) and loop.said.isprintable()
            assert loop.counts.state.entries == sum(loop.counts.exits.values())
    assert held() == before


@pytest.mark.parametrize("entries", [1, 2, 999])
def test_it_stops_after_so_many_entries(entries: int) -> None:
    row = kvm_session.run(Asked(CHATTY, (Mode.ALWAYS,), (Flush.LINUX_2018,), entries=entries, seconds=60)).rows[-1]
    assert (row.entries, row.flushes, row.ending) == (entries, entries, Ending.ENOUGH)


def test_a_guest_larger_than_its_memory() -> None:
    large = GuestCode("large", ((CODE, b"\xf4"),), CODE, MEMORY + 1)
    before = held()
    with pytest.raises(InputError, match="the guest ends at 0x100001"):
        kvm_session.run(Asked(large, (Mode.ALWAYS,), (Flush.LINUX_2018,)))
    assert held() == before


# --- signals


def test_a_signal_in_kvm_run() -> None:
    """Its handler runs, the guest goes on afterwards, and cond flushes then."""
    heard: list[int] = []
    before = signal.signal(signal.SIGUSR1, lambda number, _: heard.append(number))
    main = threading.get_ident()
    try:
        with Kvm() as device, device.vm(MEMORY) as vm, vm.vcpu() as vcpu:
            kvm_loop.loaded(vm, vcpu, ENDLESS)
            sender = threading.Timer(0.2, signal.pthread_kill, (main, signal.SIGUSR1))
            sender.start()
            assert vcpu.run() == kvm_abi.EXIT_INTERRUPTED
            assert heard == [signal.SIGUSR1]
            sender.join()
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_control_c_in_kvm_run() -> None:
    main = threading.get_ident()
    before = held()
    sender = threading.Timer(0.2, signal.pthread_kill, (main, signal.SIGINT))
    with pytest.raises(KeyboardInterrupt):
        sender.start()
        played(ENDLESS)
    sender.join()
    assert held() == before and signal.pthread_sigmask(signal.SIG_BLOCK, []) == set()


def test_the_deadline_leaves_no_trace() -> None:
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, [])
    handler, alive = signal.getsignal(KICK), threading.active_count()
    played(ENDLESS, 0.3)
    with pytest.raises(ZeroDivisionError), Deadline(5):
        raise ZeroDivisionError
    assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == mask
    assert KICK not in signal.sigpending()
    assert signal.getsignal(KICK) == handler and threading.active_count() == alive


def test_a_limit_in_another_thread() -> None:
    endings: list[Ending] = []
    thread = threading.Thread(target=lambda: endings.append(played(ENDLESS, 0.3)[0]))
    thread.start()
    thread.join(10)
    assert endings == [Ending.TIME]


# --- two at a time


def test_two_vms_at_once_with_one_subsystem_whose_mode_two_threads_write() -> None:
    subsystem = real_subsystem(Flush.LINUX_2018)
    subsystem.load(Mode.ALWAYS)
    loops = [EntryLoop(subsystem, {0x10: SecretDevice()}) for _ in range(2)]
    endings: list[Ending] = []
    failures: list[BaseException] = []
    stop = threading.Event()

    def guarded(work: Callable[[], object]) -> threading.Thread:
        def call() -> None:
            try:
                work()
            except BaseException as error:
                failures.append(error)

        return threading.Thread(target=call)

    def runs(loop: EntryLoop[Flusher]) -> None:
        with Kvm() as device, device.vm(MEMORY) as vm, vm.vcpu() as vcpu, Deadline(60) as deadline:
            deadline.watch(vcpu)
            for _ in range(20):
                kvm_loop.loaded(vm, vcpu, demo())
                endings.append(loop.play(vcpu, 100_000, deadline))

    def writes(*modes: str) -> None:
        while not stop.is_set():
            for mode in modes:
                subsystem.write(mode)

    guests = [guarded(lambda loop=loop: runs(loop)) for loop in loops]  # type: ignore[misc]
    writers = [guarded(lambda: writes("always", "never")), guarded(lambda: writes("cond", "always"))]
    for thread in guests + writers:
        thread.start()
    for thread in guests:
        thread.join()
    stop.set()
    for thread in writers:
        thread.join()
    subsystem.unload()
    assert not failures and endings == [Ending.HALTED] * 40
    for loop in loops:
        counts = loop.counts
        assert counts.exits[ExitReason.PORT] == 4000 and counts.exits[ExitReason.HALT] == 20
        assert counts.state.entries == sum(counts.exits.values())
        assert 0 < counts.state.flushes <= counts.state.entries


# --- nothing is left


def make_all(code: GuestCode) -> None:
    with Kvm() as device, device.vm(MEMORY) as vm, vm.vcpu() as vcpu:
        kvm_loop.loaded(vm, vcpu, code)
        assert vcpu.run() == kvm_abi.EXIT_HALT


def test_every_step_refused_in_turn_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    fail_at = 0

    def ioctl(fd: int, request: int, argument: object = 0) -> int:
        asked.append(request)
        if len(asked) == fail_at:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return fcntl_ioctl(fd, request, argument)  # type: ignore[call-overload,no-any-return]

    fcntl_ioctl = fcntl.ioctl
    monkeypatch.setattr(kvm.fcntl, "ioctl", ioctl)
    code = guest(0xF4, long_mode=True)
    make_all(code)
    steps = len(asked)
    assert steps >= 10
    before, room = held(), size()
    for number in range(1, steps + 1):
        fail_at = number
        for _ in range(5):
            asked.clear()
            with pytest.raises(L1dflushError) as caught:
                make_all(code)
            assert "\n" not in str(caught.value)
        assert held() == before
    assert size() - room < 1024


def test_a_hundred_guests_leave_nothing() -> None:
    make_all(guest(0xF4))
    before, room = held(), size()
    for _ in range(100):
        make_all(guest(0xF4))
    assert held() == before and size() - room < 1024


def test_a_second_vcpu_is_refused() -> None:
    with Kvm() as device, device.vm(MEMORY) as vm, vm.vcpu():
        before = held()
        with pytest.raises(L1dflushError, match="KVM_CREATE_VCPU: File exists"):
            vm.vcpu()
        assert held() == before


# --- from assembly


SOURCE = """
        mov $200, %cx
        xor %bx, %bx
next:   inc %bx
        cmp $50, %bx
        je secret
        out %al, $0x11
        jmp done
secret: out %al, $0x10
        xor %bx, %bx
done:   loop next
        hlt
"""


@pytest.mark.skipif(not Path("/usr/bin/as").exists(), reason="no assembler")
def test_the_demonstration_is_what_it_says() -> None:
    assert from_assembly("demo.s", SOURCE, long_mode=False).pieces == demo().pieces


def test_the_command_line_is_interrupted(tmp_path: Path) -> None:
    path = tmp_path / "endless.s"
    path.write_text("1: jmp 1b\n", encoding="ascii")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    command = [sys.executable, "-m", "l1dflush", "vm", str(path), "--max-seconds", "60"]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        # It is in KVM_RUN when its vCPU's page is mapped.
        end = time.monotonic() + 30
        while "kvm-vcpu" not in Path(f"/proc/{process.pid}/maps").read_text(encoding="utf-8"):
            assert time.monotonic() < end and process.poll() is None
            time.sleep(0.05)
        time.sleep(0.3)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
    finally:
        process.kill()
        process.wait()
    assert (process.returncode, out, err) == (130, "", "l1dflush: interrupted\n")
