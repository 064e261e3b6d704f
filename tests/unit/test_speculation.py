# SPDX-License-Identifier: GPL-2.0-or-later
"""The kernel's flush for single tasks: what it is asked, and why it is not there."""

from __future__ import annotations

import errno
import os
from dataclasses import replace
from pathlib import Path

import pytest

from l1dflush.errors import NoTaskFlushError
from l1dflush.silicon.speculation import Machine, flush_when_switched_out, this_machine

ABLE = Machine("linux", "x86_64", "6.1.0", "root=/dev/sda1 l1d_flush=on quiet", True, False)


class Kernel:
    """Answers as Linux does: ``error`` to the request, or takes it and says ``state`` when asked."""

    def __init__(self, error: int = 0, state: int = 0b11) -> None:
        self.error = error
        self.state = state
        self.asked: list[tuple[int, int, int]] = []

    def __call__(self, option: int, which: int, control: int) -> int:
        self.asked.append((option, which, control))
        if self.error:
            raise OSError(self.error, os.strerror(self.error))
        return self.state if option == 52 else 0


def test_it_is_switched_on_and_looked_at() -> None:
    kernel = Kernel()
    flush_when_switched_out(ABLE, kernel)
    assert kernel.asked == [(53, 2, 2), (52, 2, 0)]


NO_COMMAND = "the CPU has no flush command (flush_l1d is not among its flags)"
SINCE = "Linux has the flush since 5.15"
NOT_BOOTED = "the kernel was booted without l1d_flush=on"


@pytest.mark.parametrize(
    ("error", "changes", "told"),
    [
        (
            errno.ENODEV,
            {"release": "5.10.0"},
            f"has no L1D flush for single tasks ({SINCE}; this is 5.10.0",
        ),
        (
            errno.EINVAL,
            {"release": "4.9.120"},
            f"has no speculation controls ({SINCE}; this is 4.9",
        ),
        (errno.ENOSYS, {}, "has no speculation controls"),
        (errno.ENODEV, {"architecture": "aarch64"}, "on x86 only, and this is aarch64"),
        (errno.EPERM, {"has_command": False}, f"off: {NO_COMMAND}"),
        (errno.EPERM, {"boot_line": "quiet"}, f"off: {NOT_BOOTED}"),
        (errno.EPERM, {"boot_line": "quiet -- l1d_flush=on"}, f"off: {NOT_BOOTED}"),
        (errno.EPERM, {"boot_line": "l1d_flush=off"}, f"off: {NOT_BOOTED}"),
        (errno.EPERM, {"boot_line": "", "has_command": False}, f"off: {NO_COMMAND}, and {NOT_BOOTED}"),
        (errno.EPERM, {}, "a seccomp filter"),
        (errno.ERANGE, {}, "the kernel refused: Numerical result out of range"),
    ],
)
def test_why_not(error: int, changes: dict[str, object], told: str) -> None:
    with pytest.raises(NoTaskFlushError) as caught:
        flush_when_switched_out(replace(ABLE, **changes), Kernel(error))  # type: ignore[arg-type]
    assert told in str(caught.value)


def test_other_systems_are_not_asked() -> None:
    kernel = Kernel()
    with pytest.raises(NoTaskFlushError, match=r"only Linux.*this is darwin"):
        flush_when_switched_out(replace(ABLE, system="darwin"), kernel)
    assert kernel.asked == []


def test_a_request_without_effect_is_none() -> None:
    with pytest.raises(NoTaskFlushError, match="has the flush as off"):
        flush_when_switched_out(ABLE, Kernel(state=0b101))


def test_what_is_read_of_a_machine(tmp_path: Path) -> None:
    (tmp_path / "cpuinfo").write_text("flags : a flush_l1d b\n")
    (tmp_path / "cmdline").write_text("quiet l1d_flush=on\n")
    (tmp_path / "active").write_text("1\n")
    there = this_machine(tmp_path / "cpuinfo", tmp_path / "cmdline", tmp_path / "active")
    assert there.has_command and there.siblings_run and "l1d_flush=on" in there.boot_line.split()
    nothing = this_machine(tmp_path / "1", tmp_path / "2", tmp_path / "3")
    assert (nothing.has_command, nothing.siblings_run, nothing.boot_line) == (False, False, "")
