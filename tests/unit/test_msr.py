# SPDX-License-Identifier: GPL-2.0-or-later
"""The CPU's own command, given to files that stand for its devices."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from l1dflush import Flusher
from l1dflush.errors import FlusherClosedError, InputError, MsrUnavailableError, NoPlanError
from l1dflush.host.l1d import has_flush_command
from l1dflush.silicon.flusher import Mechanism
from l1dflush.silicon.msr import FLUSH_COMMAND, MsrFlush

COMMAND = b"\x01\0\0\0\0\0\0\0"


class Machine:
    """Devices of some CPUs, and a cpuinfo."""

    def __init__(self, folder: Path, cpus: int, flags: str) -> None:
        self.devices = folder / "cpu"
        for cpu in range(cpus):
            (self.devices / str(cpu)).mkdir(parents=True)
            self.device(cpu).touch()
        self.cpuinfo = folder / "cpuinfo"
        self.cpuinfo.write_text(f"processor : 0\nflags\t\t: {flags}\n\nprocessor : 1\nflags : flush_l1d\n")

    def device(self, cpu: int) -> Path:
        return self.devices / str(cpu) / "msr"

    def flushed(self, cpu: int) -> bool:
        return self.device(cpu).read_bytes() == b"\0" * FLUSH_COMMAND + COMMAND

    def flush(self, *seen: int) -> MsrFlush:
        answers: Iterator[int] = iter(seen)
        return MsrFlush(self.devices, self.cpuinfo, lambda: next(answers))

    def flusher(self, mechanism: str, **arguments: object) -> Flusher:
        return Flusher(mechanism=mechanism, devices=self.devices, cpuinfo=self.cpuinfo, **arguments)  # type: ignore[arg-type]


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path, os.cpu_count() or 1, "fpu flush_l1d sse")


def test_only_a_whole_flag_of_the_first_cpu_counts(tmp_path: Path) -> None:
    machine = Machine(tmp_path, 1, "fpu noflush_l1d flush_l1d_x")
    assert not has_flush_command(machine.cpuinfo)
    with pytest.raises(MsrUnavailableError, match="flush_l1d is not among its flags"):
        machine.flush(0, 0)
    assert not has_flush_command(tmp_path / "none")


def test_it_writes_to_the_device_of_its_cpu(tmp_path: Path) -> None:
    machine = Machine(tmp_path, 3, "flush_l1d")
    machine.flush(1, 1)
    assert [machine.flushed(cpu) for cpu in range(3)] == [False, True, False]


def test_a_thread_that_was_moved_flushes_again(tmp_path: Path) -> None:
    machine = Machine(tmp_path, 3, "flush_l1d")
    machine.flush(0, 2, 2)
    assert [machine.flushed(cpu) for cpu in range(3)] == [True, False, True]


@pytest.mark.parametrize(
    ("code", "told"),
    [
        (errno.EACCES, "may not be written: Permission denied (it takes root)"),
        (errno.EPERM, "it takes CAP_SYS_RAWIO"),
        (errno.EIO, "the CPU or a hypervisor refused"),
        (errno.ENXIO, "cannot be written: No such device"),
    ],
)
def test_what_the_kernel_refuses(code: int, told: str, machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> int:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "pwrite", refused)
    with pytest.raises(MsrUnavailableError) as caught:
        machine.flush(0, 0)
    assert told in str(caught.value) and str(machine.device(0)) in str(caught.value)


def test_no_device(tmp_path: Path) -> None:
    with pytest.raises(MsrUnavailableError, match=r"there is no .*msr \(modprobe msr"):
        Machine(tmp_path, 0, "flush_l1d").flush(0, 0)


def test_half_a_write_is_none(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "pwrite", lambda *_: 4)
    with pytest.raises(MsrUnavailableError, match="took 4 of 8 bytes"):
        machine.flush(0, 0)


def test_devices_are_opened_once_and_closed(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    def open_now() -> int:
        there = [file for file in Path("/proc/self/fd").iterdir() if file.is_symlink()]
        return sum(file.readlink().is_relative_to(machine.devices) for file in there)

    flush = MsrFlush(machine.devices, machine.cpuinfo)
    for _ in range(100):
        flush()
    assert 1 <= open_now() <= (os.cpu_count() or 1)
    del flush
    assert open_now() == 0
    monkeypatch.setattr(os, "pwrite", lambda *_: 4)
    with pytest.raises(MsrUnavailableError):
        MsrFlush(machine.devices, machine.cpuinfo)
    assert open_now() == 0


def test_a_flusher_by_command(machine: Machine) -> None:
    with machine.flusher("msr") as flusher:
        flusher()
        assert (flusher.mechanism, flusher.variant) == (Mechanism.MSR, None)
        assert "IA32_FLUSH_CMD" in flusher.scope and "msr" in repr(flusher)
        with pytest.raises(NoPlanError, match="no loop"):
            flusher.prove()
        for use in (lambda: flusher.address, lambda: flusher.repeat(1), flusher.content):
            with pytest.raises(ValueError, match="reads no buffer"):
                use()
        assert any(machine.flushed(cpu) for cpu in range(os.cpu_count() or 1))
    with pytest.raises(FlusherClosedError):
        flusher()


def test_auto_takes_the_command_where_it_can(machine: Machine, tmp_path: Path) -> None:
    with machine.flusher("auto") as flusher:
        assert flusher.mechanism is Mechanism.MSR
    without = tmp_path / "without"
    without.mkdir()
    with Machine(without, 1, "fpu").flusher("auto", policy="tree-PLRU", geometry="32K,8,64") as flusher:
        assert flusher.mechanism is Mechanism.SOFTWARE
        assert "flush_l1d is not among its flags" in flusher.scope


def test_software_is_the_default(machine: Machine) -> None:
    with Flusher("linux-2018", devices=machine.devices, cpuinfo=machine.cpuinfo) as flusher:
        assert flusher.mechanism is Mechanism.SOFTWARE
        assert not any(machine.flushed(cpu) for cpu in range(os.cpu_count() or 1))


def test_what_does_not_go_together(machine: Machine) -> None:
    with pytest.raises(InputError, match="about reading a buffer"):
        machine.flusher("msr", variant="linux-2018")
    with pytest.raises(InputError, match=r"no mechanism 'wish' \(software, msr, auto\)"):
        machine.flusher("wish")


def test_closing_while_others_write(machine: Machine) -> None:
    """A device is closed only when nobody writes to it, so a number that is used again is never written to."""
    flusher = machine.flusher("msr")
    ended: list[type[BaseException]] = []
    begun = threading.Barrier(5)

    def work() -> None:
        begun.wait()
        try:
            while True:
                flusher()
        except Exception as error:
            ended.append(type(error))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    begun.wait()
    flusher.close()
    for thread in threads:
        thread.join()
    assert ended == [FlusherClosedError] * 4
