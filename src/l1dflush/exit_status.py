"""How a run ends."""

from __future__ import annotations

from enum import IntEnum


class ExitStatus(IntEnum):
    """Exit status of the command line, the same in every mode; precedence 130, 1, 2, 3, 0."""

    FINE = 0
    ERROR = 1
    REFUTED = 2
    UNDECIDED = 3
    INTERRUPTED = 130
