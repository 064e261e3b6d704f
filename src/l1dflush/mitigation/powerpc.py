"""powerpc: no flush at VM entry to choose, but one on return from the kernel, with texts and switches of its own.

Observed in an unmodified 6.1.176 on POWER8 and POWER9; the names of what firmware says are those of
``arch/powerpc/include/asm/security_features.h``. ``l1tf=`` means nothing here.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from l1dflush.mitigation.boot_line import Global, parse
from l1dflush.mitigation.facts import Kernel

FILES = ("rfi_flush", "entry_flush", "uaccess_flush")
"""The switches, in ``/sys/kernel/debug/powerpc``. Only the first shows in sysfs."""


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
    """A powerpc host: what its firmware says, and which flushes are on."""

    firmware: Firmware
    rfi_flush: bool
    entry_flush: bool
    uaccess_flush: bool

    @classmethod
    def at_boot(cls, firmware: Firmware, kernel: Kernel, line: str) -> Power:
        """The state after boot: ``no_rfi_flush``, ``nopti``, ``no_entry_flush``, ``no_uaccess_flush`` and
        ``mitigations=off`` turn flushes off (from memory; only the default was observed)."""
        options = parse(line, kernel)
        wanted = options.mitigations is not Global.OFF
        off = options.switches
        return cls(
            firmware,
            rfi_flush=wanted and firmware.flush_needed and not off & {"no_rfi_flush", "nopti"},
            entry_flush=wanted and firmware.entry_flush and "no_entry_flush" not in off,
            uaccess_flush=wanted and firmware.uaccess_flush and "no_uaccess_flush" not in off,
        )

    def sysfs_text(self) -> str:
        """What ``vulnerabilities/l1tf`` and ``meltdown`` say, without the line break."""
        private = "L1D private per thread" if self.firmware.private_l1d else ""
        if self.rfi_flush:
            return "Mitigation: RFI Flush" + (f", {private}" if private else "")
        if private:
            return f"Vulnerable: {private}"
        return "Vulnerable" if self.firmware.flush_needed else "Not affected"

    def debugfs_text(self, file: str) -> str:
        """What one of :data:`FILES` reads, without the line break."""
        return str(int(bool(getattr(self, _known(file)))))

    def write(self, file: str, value: str) -> tuple[Power, str]:
        """The state after a write, and ``ok`` or the name of the error."""
        known, number = _known(file), _number(value)
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


def _known(file: str) -> str:
    if file not in FILES:
        raise ValueError(f"{file} is none of {', '.join(FILES)}")
    return file


def _number(value: str) -> int | None:
    """As the kernel reads it: decimal, 0x or octal with a leading 0, one line break tolerated."""
    text = value.removesuffix("\n").removeprefix("+")
    try:
        if text[:2].lower() == "0x":
            return int(text[2:], 16) if text[2:].isalnum() else None
        return int(text, 8 if text.startswith("0") else 10) if text.isascii() and text.isdigit() else None
    except ValueError:
        return None
