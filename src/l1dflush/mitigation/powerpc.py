# SPDX-License-Identifier: GPL-2.0-or-later
"""powerpc: no flush at VM entry to choose, but one on return from the kernel, with texts and switches of its own.

Observed in an unmodified 6.1.176 on POWER8 and POWER9; the names of what firmware says are those of
``arch/powerpc/include/asm/security_features.h``. ``l1tf=`` means nothing here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from l1dflush.mitigation.boot_line import Global, parse
from l1dflush.mitigation.facts import Kernel
from l1dflush.mitigation.sysfs_text import Kind, Reading, read

FILES = ("rfi_flush", "entry_flush", "uaccess_flush")
"""The switches, in ``/sys/kernel/debug/powerpc``. Only the first shows in sysfs."""

_PRIVATE_IS_VULNERABLE = {(4, 9): 208, (4, 14): 162, (4, 19): 93, (5, 4): 8}
"""Stable versions with 'powerpc/security: Fix wrong message when RFI Flush is disable' (4e706af3cd8e, taken by powerpc
in November 2019 for 5.5): read in the announcements of 4.9.208, 4.19.93 and 5.4.8 and in the review of 4.14.162."""
_TELLS_L1TF = _PRIVATE_IS_VULNERABLE
"""Stable versions with 'powerpc/security/book3s64: Report L1TF status in sysfs' (8e6b6da91ac9, in powerpc's pull
request for 5.5), which came together with it: read in the same announcements and review."""
_LONGEST_WRITE = 23
"""Characters of a write to debugfs that are looked at: one less than the buffer of simple_attr_write in ``fs/libfs.c``
has, read in 6.1.176."""
_NUMBER = re.compile(r"\+?(?:0[xX](?P<hex>[0-9a-fA-F]+)|(?P<octal>0[0-7]*)|(?P<decimal>[1-9][0-9]*))\n?")


def tells_l1tf(kernel: Kernel) -> bool:
    """Whether ``vulnerabilities/l1tf`` of this powerpc kernel says what ``meltdown`` says. Before, it said 'Not
    affected' on every CPU, which the patch calls a false negative. What a distribution took over is not known."""
    return kernel.since(5, 5) or (not kernel.hidden and kernel.carries((5, 5), _TELLS_L1TF))


@dataclass(frozen=True, slots=True)
class Firmware:
    """What firmware says. ``flush_needed``: the L1D must be flushed between privilege levels; ``private_l1d``: each
    thread has its own; ``entry_flush``, ``uaccess_flush``: those are needed too."""

    flush_needed: bool = True
    private_l1d: bool = False
    entry_flush: bool = True
    uaccess_flush: bool = True


@dataclass(frozen=True, slots=True)
class Power:
    """A powerpc host: its kernel, what its firmware says, and which flushes are on."""

    kernel: Kernel
    firmware: Firmware
    rfi_flush: bool
    entry_flush: bool
    uaccess_flush: bool

    @classmethod
    def at_boot(cls, firmware: Firmware, kernel: Kernel, line: str) -> Power:
        """The state after boot: ``no_rfi_flush``, ``nopti``, ``no_entry_flush``, ``no_uaccess_flush`` and
        ``mitigations=off`` turn flushes off (read in ``arch/powerpc/kernel/security.c`` and ``setup_64.c``; only the
        default was observed). What is off can be turned on in debugfs, needed or not."""
        options = parse(line, kernel)
        wanted = options.mitigations is not Global.OFF
        off = options.switches
        return cls(
            kernel,
            firmware,
            rfi_flush=wanted and firmware.flush_needed and not off & {"no_rfi_flush", "nopti"},
            entry_flush=wanted and firmware.entry_flush and "no_entry_flush" not in off,
            uaccess_flush=wanted and firmware.uaccess_flush and "no_uaccess_flush" not in off,
        )

    def sysfs_text(self) -> str:
        """What ``vulnerabilities/meltdown`` says, and ``l1tf`` of a kernel that :func:`tells_l1tf`; no line break."""
        private = "L1D private per thread" if self.firmware.private_l1d else ""
        if self.rfi_flush:
            return "Mitigation: RFI Flush" + (f", {private}" if private else "")
        if private:
            fixed = self.kernel.carries((5, 5), _PRIVATE_IS_VULNERABLE)
            return f"{'Vulnerable' if fixed else 'Mitigation'}: {private}"
        return "Vulnerable" if self.firmware.flush_needed else "Not affected"

    def debugfs_text(self, file: str) -> str:
        """What one of :data:`FILES` reads, without the line break."""
        return str(int(bool(getattr(self, _known(file)))))

    def write(self, file: str, value: str) -> tuple[Power, str]:
        """The state after a write, and ``ok`` or the name of the error, as from 5.10 on; earlier kernels take a text
        that is not a number for 0."""
        known, number = _known(file), _number(value)
        if number is not None and number >> 64:
            return self, "ERANGE"
        if number not in (0, 1):
            return self, "EINVAL"
        on = bool(number)
        match known:
            case "rfi_flush":
                return replace(self, rfi_flush=on), "ok"
            case "entry_flush":
                return replace(self, entry_flush=on), "ok"
            case _:
                return replace(self, uaccess_flush=on), "ok"


def read_power(l1tf: str | None, meltdown: str | None, *, tells: bool) -> Reading | None:
    """What the two texts say together: both are about the same flush. None where neither says anything.

    ``tells``: :func:`tells_l1tf`; without it the text about L1TF is not believed where it says Not affected.
    """
    own, other = (None if said is None else read(said) for said in (l1tf, meltdown))
    if other is not None and other.kind not in (Kind.POWER, Kind.VULNERABLE, Kind.NOT_AFFECTED):
        other = None
    if own is not None and own.kind is Kind.NOT_AFFECTED and (other is not None or not tells):
        own = other
    # Of two that differ the worse.
    either = [one for one in (own, other) if one is not None]
    return next((one for one in either if one.kind is Kind.VULNERABLE), either[0] if either else None)


def _known(file: str) -> str:
    if file not in FILES:
        raise ValueError(f"{file} is none of {', '.join(FILES)}")
    return file


def _number(value: str) -> int | None:
    """As kstrtoull reads it: decimal, 0x or octal with a leading 0, one line break tolerated, no sign but a plus."""
    found = _NUMBER.fullmatch(value[:_LONGEST_WRITE].split("\0", 1)[0])
    if found is None:
        return None
    if found["hex"]:
        return int(found["hex"], 16)
    return int(found["octal"], 8) if found["octal"] else int(found["decimal"])
