# SPDX-License-Identifier: GPL-2.0-or-later
"""Lets a process and all that it starts write in a few folders only, without any privilege: Landlock (Linux 5.13).

What the input makes a parser or a compiler do then spoils no file of the user's. Reading stays as it is: sources name
headers, compilers have their own files anywhere.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import struct
from collections.abc import Iterable
from pathlib import Path

from l1dflush.sandbox.network import gain_no_privileges

# On all machines but Alpha, where these are none (asm-generic/unistd.h).
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_TELL_VERSION, _PATH_BENEATH = 1, 1

# From the kernel's uapi/linux/landlock.h: LANDLOCK_ACCESS_FS_*, and the version of the interface that has them first.
_WRITE_FILE = 1 << 1
_REMOVE_DIR, _REMOVE_FILE = 1 << 4, 1 << 5
_MAKE = sum(1 << bit for bit in range(6, 13))
_REFER, _TRUNCATE = 1 << 13, 1 << 14
_SINCE = {1: _WRITE_FILE | _REMOVE_DIR | _REMOVE_FILE | _MAKE, 2: _REFER, 3: _TRUNCATE}
# Devices are there to be written to, and none is made.
_DEVICES = Path("/dev")


def write_only_in(folders: Iterable[Path]) -> bool:
    """Whether this process, which must have a single thread, can from now on write to files in ``folders`` and to
    devices only. Folders that are not there are left out. What is open already stays open."""
    libc = ctypes.CDLL(None, use_errno=True)
    version = libc.syscall(_CREATE_RULESET, None, 0, _TELL_VERSION)
    if version < 1:
        return False
    handled = sum(access for since, access in _SINCE.items() if since <= version)
    attribute = struct.pack("=Q", handled)
    rules = libc.syscall(_CREATE_RULESET, attribute, len(attribute), 0)
    if rules < 0:
        return False
    try:
        for folder, allowed in (*((one, handled) for one in folders), (_DEVICES, _WRITE_FILE)):
            with contextlib.suppress(OSError):
                _allow(libc, rules, folder, allowed)
        return gain_no_privileges(libc) and bool(libc.syscall(_RESTRICT_SELF, rules, 0) == 0)
    finally:
        os.close(rules)


def _allow(libc: ctypes.CDLL, rules: int, folder: Path, allowed: int) -> None:
    """Adds a rule. Raises OSError for what is not a folder that can be opened."""
    there = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        # struct landlock_path_beneath_attr, which is packed.
        libc.syscall(_ADD_RULE, rules, _PATH_BENEATH, struct.pack("=Qi", allowed, there), 0)
    finally:
        os.close(there)
