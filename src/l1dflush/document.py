"""What every result is made of: documents that are written as JSON, how a run ends, and where something is."""

from __future__ import annotations

from enum import IntEnum, StrEnum
from typing import Literal

from pydantic import BaseModel, ConfigDict

FORMAT_VERSION: Literal[2] = 2
"""Of all documents but certificates. It changes when a program that reads one might misunderstand it."""


class Document(BaseModel):
    """Frozen, with no keys that the schema does not have; built when it is first used, so that importing is quick."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)


class ExitStatus(IntEnum):
    """Exit status of the command line, the same in every mode; precedence 130, 1, 2, 3, 0."""

    FINE = 0
    ERROR = 1
    REFUTED = 2
    UNDECIDED = 3
    INTERRUPTED = 130


class Severity(StrEnum):
    """How much a finding matters. Findings never change a verdict."""

    NOTE = "note"
    WARNING = "warning"
    ERROR = "error"

    @property
    def rank(self) -> int:
        """For comparing severities: a larger rank matters more."""
        return list(Severity).index(self)
