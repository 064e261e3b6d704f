# SPDX-License-Identifier: GPL-2.0-or-later
"""CPUID and the MSRs of a host, read and never written."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Protocol

from l1dflush import _core
from l1dflush.errors import NoNativeCodeError
from l1dflush.host.reading.files import NO_FILE, NOT_GATHERED, HostFiles, UnreadableError
from l1dflush.host.reading.text import text

CPUID = "/l1dflush/cpuid.txt"
MSR = "/l1dflush/msr.txt"
LOCKDOWN = "/sys/kernel/security/lockdown"

ARCH_CAPABILITIES = 0x10A
FEATURE_CONTROL = 0x3A
PROCBASED_CTLS2 = 0x48B

_DEVICES = Path("/dev/cpu/0")

Leaf = tuple[int, int, int, int]
"""eax, ebx, ecx, edx."""


class Registers(Protocol):
    """What is not a file. Both raise UnreadableError."""

    def cpuid(self, leaf: int, subleaf: int) -> Leaf:
        """What CPUID says. Nobody looks here whether there is such a leaf."""

    def msr(self, number: int) -> int:
        """A model-specific register of the first CPU."""


class LiveRegisters:
    """Those of this host: through the kernel's devices for the first CPU, and CPUID by the instruction on the CPU that
    this happens to run on where there is no device, or it may not be opened."""

    def __init__(
        self,
        files: HostFiles,
        devices: Path = _DEVICES,
        instruction: Callable[[int, int], Leaf] = _core.cpuid,
    ) -> None:
        """``files`` say whether the kernel is locked down."""
        self._files = files
        self._devices = devices
        self._instruction = instruction

    def cpuid(self, leaf: int, subleaf: int) -> Leaf:
        """See :class:`Registers`."""
        try:
            said = _at(self._devices / "cpuid", 16, subleaf << 32 | leaf)
        except OSError:
            try:
                return self._instruction(leaf, subleaf)
            except NoNativeCodeError:
                raise UnreadableError("this CPU has no CPUID") from None
        eax, ebx, ecx, edx = (int.from_bytes(said[at : at + 4], "little") for at in range(0, 16, 4))
        return eax, ebx, ecx, edx

    def msr(self, number: int) -> int:
        """See :class:`Registers`."""
        device = self._devices / "msr"
        try:
            return int.from_bytes(_at(device, 8, number), "little")
        except OSError as error:
            raise UnreadableError(self._reason(device, error)) from None

    def _reason(self, device: Path, error: OSError) -> str:
        match error.errno:
            case errno.ENOENT | errno.ENOTDIR:
                return f"there is no {device} ('modprobe msr' makes it)"
            case errno.EACCES:
                return f"{device}: permission denied (it takes root)"
            case errno.EPERM:
                return f"{device}: not permitted ({self._locked_down() or 'it takes CAP_SYS_RAWIO'})"
            case errno.EIO:
                return "the CPU, or a hypervisor below, has no such register"
            case errno.ENXIO:
                return f"{device}: the CPU has no registers of this kind, or is not running"
            case _:
                return f"{device}: {error.strerror or error}"

    def _locked_down(self) -> str:
        try:
            state = chosen(text(self._files, LOCKDOWN))
        except UnreadableError:
            return ""
        return f"the kernel is locked down: {state}" if state in ("integrity", "confidentiality") else ""


class GatheredRegisters:
    """Those of a host elsewhere, as ``l1dflush gather`` wrote them down.

    A line of :data:`CPUID` is ``LEAF SUBLEAF: EAX EBX ECX EDX``, of :data:`MSR` ``NUMBER: VALUE``, all in hexadecimal.
    In place of the figures there may be ``unreadable: WHY``.
    """

    def __init__(self, files: HostFiles) -> None:
        self._files = files

    def cpuid(self, leaf: int, subleaf: int) -> Leaf:
        """See :class:`Registers`."""
        eax, ebx, ecx, edx = _figures(self._leaves, CPUID, f"{leaf:08x} {subleaf:08x}", 4, 8)
        return eax, ebx, ecx, edx

    def msr(self, number: int) -> int:
        """See :class:`Registers`."""
        return _figures(self._numbers, MSR, f"{number:08x}", 1, 16)[0]

    @cached_property
    def _leaves(self) -> dict[str, str] | UnreadableError:
        return _lines(self._files, CPUID)

    @cached_property
    def _numbers(self) -> dict[str, str] | UnreadableError:
        return _lines(self._files, MSR)


def chosen(said: str) -> str:
    """The word in brackets of a text such as ``none [integrity] confidentiality``; empty if there is none."""
    found = re.search(r"\[([a-z]+)\]", said)
    return found[1] if found else ""


def _at(device: Path, size: int, offset: int) -> bytes:
    descriptor = os.open(device, os.O_RDONLY | os.O_CLOEXEC)
    try:
        said = os.pread(descriptor, size, offset)
    finally:
        os.close(descriptor)
    if len(said) != size:
        raise OSError(errno.EIO, f"{len(said)} of {size} bytes")
    return said


def _lines(files: HostFiles, path: str) -> dict[str, str] | UnreadableError:
    try:
        said = text(files, path)
    except UnreadableError as error:
        return UnreadableError(NOT_GATHERED if error.why == NO_FILE else f"{path}: {error.why}")
    pairs = (line.partition(":") for line in said.split("\n"))
    return {key.strip(): value.strip() for key, _, value in pairs}


def _figures(lines: dict[str, str] | UnreadableError, path: str, key: str, count: int, digits: int) -> list[int]:
    if isinstance(lines, UnreadableError):
        raise UnreadableError(lines.why)
    said = lines.get(key)
    if said is None:
        raise UnreadableError(NOT_GATHERED)
    if said.startswith("unreadable:"):
        raise UnreadableError(said.removeprefix("unreadable:").strip() or "unreadable")
    figures = said.split()
    if len(figures) != count or not all(re.fullmatch(f"[0-9a-fA-F]{{{digits}}}", one) for one in figures):
        raise UnreadableError(f"{path}: the line of {key} is not what gather writes")
    return [int(one, 16) for one in figures]
