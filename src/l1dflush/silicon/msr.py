# SPDX-License-Identifier: GPL-2.0-or-later
"""The CPU's own flush command, given through the kernel's MSR devices.

``IA32_FLUSH_CMD`` (MSR 10BH, bit 0) writes back and invalidates the L1D of the CPU it is written on; CPUID.7.0:EDX[28]
says that there is one (Intel SDM vol. 4, table 2-2), which Linux calls ``flush_l1d``.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from l1dflush import _core
from l1dflush.errors import MsrUnavailableError
from l1dflush.host.l1d import CPUINFO, has_flush_command

DEVICES = Path("/dev/cpu")
FLUSH_COMMAND = 0x10B
_FLUSH_L1D = (1).to_bytes(8, "little")


class MsrFlush:
    """Called, it has the CPU flush its L1D: that on which the calling thread runs, and the next one as well if the
    thread was moved meanwhile.

    The devices are closed when nobody refers to this object any more, so never while a thread writes to one.
    """

    def __init__(
        self,
        devices: Path = DEVICES,
        cpuinfo: Path = CPUINFO,
        current_cpu: Callable[[], int] = _core.current_cpu,
    ) -> None:
        """Flushes once, to see that it can. Raises MsrUnavailableError, which says why not."""
        self._devices = devices
        self._current_cpu = current_cpu
        self._open: dict[int, int] = {}
        if not has_flush_command(cpuinfo):
            raise MsrUnavailableError("this CPU has no flush command: flush_l1d is not among its flags")
        try:
            self()
        except MsrUnavailableError:
            # The error's traceback would keep this object, and with it the device.
            self._close()
            raise

    def __call__(self) -> None:
        cpu = self._current_cpu()
        while True:
            self._write(cpu)
            now = self._current_cpu()
            if now == cpu:
                return
            cpu = now

    def _write(self, cpu: int) -> None:
        device = self._devices / str(cpu) / "msr"
        try:
            descriptor = self._open.get(cpu)
            if descriptor is None:
                descriptor = self._add(cpu, os.open(device, os.O_WRONLY | os.O_CLOEXEC))
            written = os.pwrite(descriptor, _FLUSH_L1D, FLUSH_COMMAND)
        except OSError as error:
            raise _unavailable(device, error) from None
        if written != len(_FLUSH_L1D):
            raise MsrUnavailableError(f"{device} took {written} of {len(_FLUSH_L1D)} bytes")

    def _add(self, cpu: int, descriptor: int) -> int:
        """Another thread may have been quicker."""
        kept = self._open.setdefault(cpu, descriptor)
        if kept != descriptor:
            os.close(descriptor)
        return kept

    def _close(self) -> None:
        while self._open:
            with suppress(OSError):
                os.close(self._open.popitem()[1])

    def __del__(self) -> None:
        if hasattr(self, "_open"):
            self._close()


def _unavailable(device: Path, error: OSError) -> MsrUnavailableError:
    said = error.strerror or str(error)
    match error.errno:
        case errno.ENOENT:
            return MsrUnavailableError(f"there is no {device}", hint="modprobe msr makes the devices")
        case errno.EACCES:
            return MsrUnavailableError(f"{device} may not be written: {said}", hint="it takes root")
        case errno.EPERM:
            hint = "it takes CAP_SYS_RAWIO, and a kernel that is not locked down (msr.allow_writes, lockdown)"
            return MsrUnavailableError(f"{device} may not be written: {said}", hint=hint)
        case errno.EIO:
            return MsrUnavailableError(f"the CPU or a hypervisor refused the command through {device}: {said}")
        case _:
            return MsrUnavailableError(f"{device} cannot be written: {said}")
