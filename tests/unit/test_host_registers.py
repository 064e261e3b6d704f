# SPDX-License-Identifier: GPL-2.0-or-later
"""CPUID and MSRs of this host, and the reasons where there is no way to them."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
import sysroots

from l1dflush import _core
from l1dflush.errors import NoNativeCodeError
from l1dflush.host.reading import registers
from l1dflush.host.reading.files import LiveFiles, Sysroot, UnreadableError
from l1dflush.host.reading.registers import Leaf, LiveRegisters

MACHINE = os.uname().machine


def live(folder: Path) -> LiveRegisters:
    return LiveRegisters(Sysroot(folder), folder)


@pytest.mark.skipif(MACHINE not in ("x86_64", "i686"), reason=f"{MACHINE} has no CPUID")
def test_the_instruction_knows_the_vendor_that_the_kernel_names() -> None:
    _, ebx, ecx, edx = _core.cpuid(0, 0)
    vendor = b"".join(part.to_bytes(4, "little") for part in (ebx, edx, ecx)).decode()
    assert f"vendor_id\t: {vendor}\n" in LiveFiles().read("/proc/cpuinfo").decode()
    for leaf in (-1, 1 << 32):
        with pytest.raises(TypeError):
            _core.cpuid(leaf, 0)


def test_the_device_is_asked_first(tmp_path: Path) -> None:
    """Its address is the subleaf and the leaf, and four bytes a register in the order eax, ebx, ecx, edx."""
    at = 3 << 32 | 7
    with (tmp_path / "cpuid").open("wb") as file:
        file.truncate(at)
        file.seek(at)
        file.write(b"".join(number.to_bytes(4, "little") for number in (1, 2, 3, 0xFFFFFFFF)))
    assert live(tmp_path).cpuid(7, 3) == (1, 2, 3, 0xFFFFFFFF)


def test_the_instruction_where_the_device_may_not_be_asked(tmp_path: Path) -> None:
    asked: list[tuple[int, int]] = []

    def instruction(leaf: int, subleaf: int) -> Leaf:
        asked.append((leaf, subleaf))
        return 1, 2, 3, 4

    assert LiveRegisters(Sysroot(tmp_path), tmp_path, instruction).cpuid(7, 1) == (1, 2, 3, 4)
    assert asked == [(7, 1)]

    def none(leaf: int, subleaf: int) -> Leaf:
        raise NoNativeCodeError(f"no leaf {leaf} {subleaf}")

    with pytest.raises(UnreadableError, match="no CPUID"):
        LiveRegisters(Sysroot(tmp_path), tmp_path, none).cpuid(7, 1)


def test_an_msr(tmp_path: Path) -> None:
    (tmp_path / "msr").write_bytes(bytes(0x10A) + (1 << 63 | 9).to_bytes(8, "little"))
    assert live(tmp_path).msr(0x10A) == 1 << 63 | 9


@pytest.mark.parametrize(
    ("code", "lockdown", "why"),
    [
        (errno.ENOENT, "", r"there is no .*/msr \('modprobe msr' makes it\)"),
        (errno.EACCES, "", r"permission denied \(it takes root\)"),
        (errno.EPERM, "", r"not permitted \(it takes CAP_SYS_RAWIO\)"),
        (errno.EPERM, "[none] integrity confidentiality", r"not permitted \(it takes CAP_SYS_RAWIO\)"),
        (errno.EPERM, "none [integrity] confidentiality", r"not permitted \(the kernel is locked down: integrity\)"),
        (errno.EPERM, "none integrity [confidentiality]", r"\(the kernel is locked down: confidentiality\)"),
        (errno.EIO, "", "has no such register"),
        (errno.ENXIO, "", "is not running"),
        (errno.EMFILE, "", os.strerror(errno.EMFILE)),
    ],
)
def test_why_an_msr_cannot_be_read(
    code: int, lockdown: str, why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if lockdown:
        sysroots.CopiedHost(tmp_path).write(registers.LOCKDOWN, lockdown)
    opened: list[int] = []

    def refuse(path: Path, flags: int) -> int:
        opened.append(flags)
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(registers, "os", type("Refusing", (), {"open": refuse, "O_RDONLY": 0, "O_CLOEXEC": 0}))
    with pytest.raises(UnreadableError, match=why):
        live(tmp_path).msr(0x10A)
    # Never to write.
    assert opened == [0]


def test_half_a_register_is_none(tmp_path: Path) -> None:
    (tmp_path / "msr").write_bytes(bytes(0x10A + 4))
    with pytest.raises(UnreadableError, match="no such register"):
        live(tmp_path).msr(0x10A)


def test_only_registers_that_cpuid_says_are_there_are_read(tmp_path: Path) -> None:
    """Not on AMD, and not where there is no VMX: hypervisors log such reads."""
    from l1dflush.host.reading.collect import collect  # noqa: PLC0415

    for kind, expected in (("amd", []), ("smt_on", [0x3A, 0x10A]), ("guest", [0x10A])):
        host = sysroots.KINDS[kind](tmp_path / kind)
        files = Sysroot(host.folder)
        asked: list[int] = []

        class Asked(registers.GatheredRegisters):
            def msr(self, number: int) -> int:
                asked.append(number)  # noqa: B023 (used at once)
                return super().msr(number)

        collect(files, Asked(files))
        assert sorted(asked) == expected
