# SPDX-License-Identifier: GPL-2.0-or-later
"""How much a question to the prover may take."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from l1dflush import _core
from l1dflush.arguments import DEFAULT_MEMORY

BYTES_PER_STATE = _core.BYTES_PER_STATE


@dataclass(frozen=True, slots=True)
class Limits:
    """``memory`` in bytes; ``seconds``, None: as long as it takes."""

    memory: int = DEFAULT_MEMORY
    seconds: float | None = None

    @property
    def states(self) -> int:
        """The states that the memory holds."""
        return max(self.memory // BYTES_PER_STATE, 1)

    def running(self) -> Callable[[], Limits]:
        """Time runs from now on: whenever it is called, what it returns says what is left."""
        if self.seconds is None:
            return lambda: self
        deadline = time.monotonic() + self.seconds
        return lambda: replace(self, seconds=max(deadline - time.monotonic(), 0.0))

    def part(self, share: float) -> Limits:
        """The same memory and this share of the time."""
        return self if self.seconds is None else replace(self, seconds=self.seconds * share)

    @property
    def memory_text(self) -> str:
        """The memory, for a person."""
        for shift, unit in ((20, "MiB"), (10, "KiB")):
            if self.memory >> shift:
                return f"{round(self.memory / (1 << shift), 1):.10g} {unit}"
        return f"{self.memory} bytes"


UNLIMITED = Limits()
"""As long as it takes, with the default memory."""
