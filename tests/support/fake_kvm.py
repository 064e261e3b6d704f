# SPDX-License-Identifier: GPL-2.0-or-later
"""A kernel that answers KVM's ioctls: guests are lists of exits. For tests where there is no KVM, and of failures."""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from l1dflush.vmentry.kvm import abi
from l1dflush.vmentry.kvm import vm as kvm

SIZE = 3 * 4096
DATA_AT = 4096


def port(number: int, *, output: bool = True) -> bytes:
    """An exit: one byte to or from a port."""
    details = abi.PORT_ACCESS.pack(abi.PORT_OUT if output else abi.PORT_IN, 1, number, 1, DATA_AT)
    return exit_of(abi.EXIT_PORT, details)


def exit_of(reason: int, details: bytes = b"") -> bytes:
    """Any exit, as it stands in ``kvm_run``."""
    return bytes(abi.EXIT_REASON_AT) + reason.to_bytes(4, "little") + bytes(20) + details


HALT = exit_of(abi.EXIT_HALT)


class FakeKernel:
    """``exits`` gives what each KVM_RUN ends in, from the beginning at each start of the guest; an exception is raised.
    ``fail_at``: this ioctl, counted from 1, fails."""

    def __init__(self, exits: Callable[[], Iterator[bytes | BaseException]]) -> None:
        self.exits = exits
        self.asked: list[str] = []
        self.fail_at = 0
        self.version = abi.API_VERSION
        self._left: Iterator[bytes | BaseException] = iter(())
        self._shared: dict[int, int] = {}

    def install(self, monkeypatch: pytest.MonkeyPatch, folder: Path) -> Path:
        """Takes the kernel's place; returns the device."""
        device = folder / "kvm"
        device.touch()
        monkeypatch.setattr(kvm.fcntl, "ioctl", self.ioctl)
        monkeypatch.setattr(kvm, "DEVICE", device)
        return device

    def ioctl(self, fd: int, request: int, argument: object = 0) -> int:
        """What ``fcntl.ioctl`` does."""
        self.asked.append(abi.NAMES[request])
        if len(self.asked) == self.fail_at:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        match request:
            case abi.GET_API_VERSION:
                return self.version
            case abi.CREATE_VM:
                return os.open(os.devnull, os.O_RDWR)
            case abi.CREATE_VCPU:
                made = os.memfd_create("vcpu")
                os.truncate(made, SIZE)
                return made
            case abi.GET_VCPU_MMAP_SIZE:
                return SIZE
            case abi.CHECK_EXTENSION:
                return 1
            case abi.SET_REGISTERS:
                self._left = self.exits()
            case abi.RUN:
                what = next(self._left)
                if isinstance(what, BaseException):
                    raise what
                os.pwrite(fd, what, 0)
            case abi.GET_REGISTERS:
                assert isinstance(argument, ctypes.Structure)
            case _:
                pass
        return 0
