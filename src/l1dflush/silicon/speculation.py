# SPDX-License-Identifier: GPL-2.0-or-later
"""The kernel's own flush for single tasks: of the L1D, when the task is switched out for another process.

Linux has it on x86 since 5.15, where the CPU has the flush command and the boot line says ``l1d_flush=on``
(Documentation/admin-guide/hw-vuln/l1d_flush.rst; commit e893bb1bb4d2 has the prctl). There is no reading of a buffer in
its place. A task with it that gets to run on a core whose siblings are in use is sent SIGBUS. What a task begins
inherits it, and execve does not end it.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from l1dflush.errors import NoTaskFlushError
from l1dflush.host.l1d import CPUINFO, has_flush_command

# <linux/prctl.h>
PR_GET_SPECULATION_CTRL = 52
PR_SET_SPECULATION_CTRL = 53
PR_SPEC_L1D_FLUSH = 2
PR_SPEC_ENABLE = 1 << 1

_SINCE = "Linux has the flush since 5.15"

Prctl = Callable[[int, int, int], int]
"""``prctl`` with three arguments: returns what it returns, or raises OSError."""


def prctl(option: int, which: int, control: int) -> int:
    """The C library's. Raises OSError, also where there is none."""
    try:
        function = ctypes.CDLL(None, use_errno=True).prctl
    except AttributeError:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS)) from None
    # All four behind the first are longs, and the kernel insists that unused ones are 0.
    result = int(function(option, *map(ctypes.c_ulong, (which, control, 0, 0))))
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result


@dataclass(frozen=True, slots=True)
class Machine:
    """What decides whether there is the flush, apart from the kernel's answer."""

    system: str
    architecture: str
    release: str
    boot_line: str
    has_command: bool
    siblings_run: bool
    """Whether simultaneous multithreading is on: siblings of a core share its L1D."""


def this_machine(
    cpuinfo: Path = CPUINFO,
    cmdline: Path = Path("/proc/cmdline"),
    siblings: Path = Path("/sys/devices/system/cpu/smt/active"),
) -> Machine:
    """This one. What cannot be read counts as not there."""
    return Machine(
        sys.platform,
        platform.machine(),
        platform.release(),
        _text(cmdline),
        has_flush_command(cpuinfo),
        _text(siblings).strip() == "1",
    )


def flush_when_switched_out(machine: Machine, call: Prctl = prctl) -> None:
    """Has the kernel flush the L1D whenever this thread, or what it begins from now on, is switched out for another
    process. Raises NoTaskFlushError, which says exactly why not."""
    if machine.system != "linux":
        raise NoTaskFlushError(f"only Linux flushes the L1D for single tasks, and this is {machine.system}")
    try:
        call(PR_SET_SPECULATION_CTRL, PR_SPEC_L1D_FLUSH, PR_SPEC_ENABLE)
        answer = call(PR_GET_SPECULATION_CTRL, PR_SPEC_L1D_FLUSH, 0)
    except OSError as error:
        raise _refused(machine, error) from None
    if not answer & PR_SPEC_ENABLE:
        raise NoTaskFlushError(f"the kernel took the request, but it has the flush as off (it answers {answer:#x})")


def _refused(machine: Machine, error: OSError) -> NoTaskFlushError:
    if machine.architecture not in ("x86_64", "i686", "i586", "i486", "i386"):
        here = machine.architecture
        return NoTaskFlushError(f"Linux flushes the L1D for single tasks on x86 only, and this is {here}")
    since = f"{_SINCE}; this is {machine.release}"
    match error.errno:
        case errno.ENODEV:
            return NoTaskFlushError(f"this kernel has no L1D flush for single tasks ({since})")
        case errno.EINVAL | errno.ENOSYS:
            return NoTaskFlushError(f"this kernel has no speculation controls ({since})")
        case errno.EPERM:
            return _switched_off(machine)
        case _:
            return NoTaskFlushError(f"the kernel refused: {error.strerror or error}")


def _switched_off(machine: Machine) -> NoTaskFlushError:
    """The kernel has the flush, and it is off: that is decided once, at boot."""
    # Behind "--" the words are for the first process.
    words = machine.boot_line.split()
    words = words[: words.index("--")] if "--" in words else words
    wanting = []
    if not machine.has_command:
        wanting.append("the CPU has no flush command (flush_l1d is not among its flags)")
    if "l1d_flush=on" not in words:
        wanting.append("the kernel was booted without l1d_flush=on")
    if not wanting:
        hint = "a seccomp filter or a kernel built without mitigations may be the reason"
        return NoTaskFlushError("the kernel refused, although it was booted with l1d_flush=on", hint=hint)
    return NoTaskFlushError(f"the kernel has the flush for single tasks off: {', and '.join(wanting)}")


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
