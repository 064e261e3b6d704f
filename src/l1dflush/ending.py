# SPDX-License-Identifier: GPL-2.0-or-later
"""How a run ends: with which verdict, and with which exit status."""

from __future__ import annotations

from enum import IntEnum, StrEnum


class ExitStatus(IntEnum):
    """Exit status of the command line, the same in every mode; precedence 130, 1, 2, 3, 0."""

    FINE = 0
    ERROR = 1
    REFUTED = 2
    UNDECIDED = 3
    INTERRUPTED = 130


class Verdict(StrEnum):
    """What a proof can come to."""

    PROVED = "PROVED"
    REFUTED = "REFUTED"
    UNDECIDED = "UNDECIDED"
    ERROR = "ERROR"
