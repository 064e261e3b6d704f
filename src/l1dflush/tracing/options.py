# SPDX-License-Identifier: GPL-2.0-or-later
"""What whoever runs a routine may choose. Importing this loads no machine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class TraceOptions:
    """``bind``: values for registers, parameters or symbols: a number, ``buffer``, or another input
    and a distance (``rdi+65536``). ``static_keys``: which are on,
    by name; both outcomes are followed for the others. The budgets end loops:
    ``max_instructions`` per path, ``max_seconds`` for all paths together, ``max_paths``."""

    bind: Mapping[str, str] = field(default_factory=dict)
    static_keys: Mapping[str, bool] = field(default_factory=dict)
    max_instructions: int = 100_000_000
    max_seconds: float = 10.0
    max_paths: int = 64
