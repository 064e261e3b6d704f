# SPDX-License-Identifier: GPL-2.0-or-later
"""What one instruction writes to a model-specific register."""

from __future__ import annotations

from dataclasses import dataclass

FLUSH_COMMAND = 0x10B
"""IA32_FLUSH_CMD (Intel SDM volume 4, table 2-2)."""


@dataclass(frozen=True, slots=True)
class MsrWrite:
    """Which MSR is written, and the lower half of the value; None where it is not known. ``sources``: what the value
    comes from, if not.

    >>> str(MsrWrite(FLUSH_COMMAND, 1)), str(MsrWrite(None, None, ("rsi",)))
    ('MSR 0x10b = 0x1', 'an unknown MSR = an unknown value (rsi)')
    """

    number: int | None
    value: int | None
    sources: tuple[str, ...] = ()

    @property
    def flushes(self) -> bool:
        """Whether it is the flush command: bit 0 of IA32_FLUSH_CMD."""
        return self.number == FLUSH_COMMAND and self.value is not None and self.value & 1 == 1

    @property
    def may_flush(self) -> bool:
        """Whether it may be the flush command, as far as it is known."""
        return (self.number is None or self.number == FLUSH_COMMAND) and (self.value is None or self.value & 1 == 1)

    def __str__(self) -> str:
        shown = "an unknown MSR" if self.number is None else f"MSR {self.number:#x}"
        if self.value is not None:
            return f"{shown} = {self.value:#x}"
        return f"{shown} = an unknown value" + (f" ({' and '.join(self.sources)})" if self.sources else "")
