# SPDX-License-Identifier: GPL-2.0-or-later
"""How much a finding matters."""

from __future__ import annotations

from enum import StrEnum


class Severity(StrEnum):
    """How much a finding matters. Findings never change a verdict."""

    NOTE = "note"
    WARNING = "warning"
    ERROR = "error"

    @property
    def rank(self) -> int:
        """For comparing severities: a larger rank matters more."""
        return list(Severity).index(self)
