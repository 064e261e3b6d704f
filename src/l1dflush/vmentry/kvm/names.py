# SPDX-License-Identifier: GPL-2.0-or-later
"""Names that results have: of flushes, of exits, of endings. It needs nothing that only some machines have."""

from __future__ import annotations

from enum import StrEnum


class Flush(StrEnum):
    """Which flush runs before the entry."""

    LINUX_2018 = "linux-2018"
    PLANNED = "planned"
    STEADY = "steady"
    MSR = "msr"
    """The CPU's own command."""


class ExitReason(StrEnum):
    """Why KVM_RUN returned."""

    PORT = "port"
    HALT = "halt"
    MEMORY = "memory"
    SHUTDOWN = "shutdown"
    ENTRY_FAILED = "entry-failed"
    INTERNAL_ERROR = "internal-error"
    INTERRUPTED = "interrupted"
    OTHER = "other"


class Ending(StrEnum):
    """How a run of a guest ended."""

    HALTED = "halted"
    ENOUGH = "enough-entries"
    TIME = "time-limit"
    CRASHED = "triple-fault"
    ENTRY_FAILED = "entry-failed"
    KVM_ERROR = "kvm-error"
    UNKNOWN_EXIT = "unknown-exit"


GOOD = (Ending.HALTED, Ending.ENOUGH)
"""How it is meant to end."""
