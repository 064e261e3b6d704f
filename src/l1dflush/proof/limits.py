"""How much a question to the prover may take."""

from __future__ import annotations

from dataclasses import dataclass

DEFAULT_MEMORY = 2 << 30
# One state takes about 100 bytes, and twice that while a table grows.
BYTES_PER_STATE = 200


@dataclass(frozen=True, slots=True)
class Limits:
    """``memory`` in bytes; ``seconds``, None: as long as it takes."""

    memory: int = DEFAULT_MEMORY
    seconds: float | None = None

    @property
    def states(self) -> int:
        """The states that the memory holds."""
        return max(self.memory // BYTES_PER_STATE, 1)
