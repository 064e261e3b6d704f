# SPDX-License-Identifier: GPL-2.0-or-later
"""Cuts a process and all that it starts off the network, without any privilege."""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from dataclasses import dataclass

_PR_SET_NO_NEW_PRIVS = 38
_PR_SET_SECCOMP = 22
_SECCOMP_MODE_FILTER = 2
_CLONE_NEWUSER_AND_NEWNET = 0x1000_0000 | 0x4000_0000

_AF_UNIX = 1
_ALLOW = 0x7FFF_0000
_REFUSE = 0x0005_0000 | errno.EACCES
# Offsets in struct seccomp_data; the machines below are little endian.
_NUMBER, _MACHINE, _FIRST_ARGUMENT = 0, 4, 16
_LOAD, _IF_EQUAL, _IF_AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06
# The calls of x32 are x86-64's with this bit; nobody uses them.
_X32 = 0x4000_0000


@dataclass(frozen=True, slots=True)
class _Abi:
    """Numbers of system calls. ``refused``: socketcall on i386, then what gets a socket by a detour: io_uring_setup,
    ptrace, process_vm_writev, pidfd_getfd."""

    machine: int
    socket: int
    refused: tuple[int, ...]
    first_unknown: int | None = None


# From the kernel's tables (syscall_64.tbl, syscall_32.tbl, asm-generic/unistd.h, arm's syscall.tbl); the machine is
# AUDIT_ARCH_*. A 64-bit kernel also runs 32-bit programs, a compiler for one.
_ABIS = {
    "x86_64": (
        _Abi(0xC000_003E, 41, (425, 101, 311, 438), first_unknown=_X32),
        _Abi(0x4000_0003, 359, (102, 425, 26, 348, 438)),
    ),
    "aarch64": (
        _Abi(0xC000_00B7, 198, (425, 117, 271, 438)),
        _Abi(0x4000_0028, 281, (425, 26, 377, 438)),
    ),
}


def cut_off() -> bool:
    """Whether this process, which must have a single thread, has no network from now on.

    On x86-64 and ARM64 a filter answers ``socket()`` with EACCES unless it is for a Unix socket; elsewhere, or where
    the kernel has no filters, the process moves to a network of its own with nothing in it.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    abis = _ABIS.get(os.uname().machine) if struct.calcsize("P") == 8 else None
    if abis is not None and _filter(libc, _program(abis)):
        return True
    return hasattr(libc, "unshare") and libc.unshare(_CLONE_NEWUSER_AND_NEWNET) == 0


def gain_no_privileges(libc: ctypes.CDLL) -> bool:
    """Whether nothing that this process starts has more privileges than it from now on: what the kernel asks of whoever
    wants to be limited without any (Documentation/userspace-api/no_new_privs.rst)."""
    zero = ctypes.c_ulong(0)
    return bool(libc.prctl(_PR_SET_NO_NEW_PRIVS, ctypes.c_ulong(1), zero, zero, zero) == 0)


def _filter(libc: ctypes.CDLL, program: bytes) -> bool:
    if not gain_no_privileges(libc):
        return False
    code = ctypes.create_string_buffer(program, len(program))
    # struct sock_fprog: the number of instructions and where they are.
    header = struct.pack("@HP", len(program) // 8, ctypes.addressof(code))
    zero = ctypes.c_ulong(0)
    mode = ctypes.c_ulong(_SECCOMP_MODE_FILTER)
    return bool(libc.prctl(_PR_SET_SECCOMP, mode, ctypes.c_char_p(header), zero, zero) == 0)


def _program(abis: tuple[_Abi, ...]) -> bytes:
    """The filter: a piece for each machine, and everything is refused to all others."""
    code = _step(_LOAD, _MACHINE)
    for abi in abis:
        piece = _piece(abi)
        code += _step(_IF_EQUAL, abi.machine, 0, len(piece) // 8) + piece
    return code + _step(_RETURN, _REFUSE)


def _piece(abi: _Abi) -> bytes:
    """The part for one machine. It begins with the machine's tests and ends in refuse, allow."""
    tests = [(_IF_EQUAL, number) for number in abi.refused]
    if abi.first_unknown is not None:
        tests.append((_IF_AT_LEAST, abi.first_unknown))
    code = _step(_LOAD, _NUMBER)
    # Behind the tests come four steps: is it socket(), which family, is that Unix, refuse. Jumps count from the next.
    for left, (test, number) in zip(range(len(tests), 0, -1), tests, strict=True):
        code += _step(test, number, left + 2, 0)
    code += _step(_IF_EQUAL, abi.socket, 0, 3)
    code += _step(_LOAD, _FIRST_ARGUMENT)
    code += _step(_IF_EQUAL, _AF_UNIX, 1, 0)
    return code + _step(_RETURN, _REFUSE) + _step(_RETURN, _ALLOW)


def _step(operation: int, operand: int, if_true: int = 0, if_false: int = 0) -> bytes:
    """struct sock_filter."""
    return struct.pack("=HBBI", operation, if_true, if_false, operand)
