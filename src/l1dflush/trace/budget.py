"""How long a routine may run: instructions per path, and seconds for all paths together."""

from __future__ import annotations

import time

from l1dflush.errors import UndecidedError

# Looking at the clock costs as much as a quarter of an instruction.
CLOCK_EVERY = 64
# Accesses of one path. A flush of 64 KiB byte by byte, with its counter in memory, makes 400,000.
MAX_ACCESSES = 500_000


class Budget:
    """Counts instructions. ``deadline`` is a time.monotonic() value, ``max_seconds`` is for the message."""

    def __init__(self, max_instructions: int, max_seconds: float, deadline: float) -> None:
        self.spent = 0
        self._max_instructions = max_instructions
        self._max_seconds = max_seconds
        self._deadline = deadline
        self._calls = 0

    @property
    def left(self) -> int:
        """Instructions that may still be run."""
        return self._max_instructions - self.spent

    def spend(self, instructions: int, pc: int) -> None:
        """Takes ``instructions`` off the budget. Raises UndecidedError when it is used up, or the time is."""
        self.spent += instructions
        if self.spent > self._max_instructions:
            raise _out_of_budget(f"{self._max_instructions} instructions", pc)
        self._calls += 1
        if self._calls % CLOCK_EVERY == 0:
            self.check_clock(pc)

    def check_accesses(self, count: int, pc: int) -> None:
        """Raises UndecidedError if a path makes more accesses than anybody wants to wait for."""
        if count > MAX_ACCESSES:
            raise UndecidedError("budget", f"the routine makes more than {MAX_ACCESSES} accesses", where=f"{pc:#x}")

    def check_clock(self, pc: int) -> None:
        """Raises UndecidedError if the time is up."""
        if time.monotonic() > self._deadline:
            raise _out_of_budget(f"{self._max_seconds:g} seconds", pc)


def _out_of_budget(what: str, pc: int) -> UndecidedError:
    return UndecidedError(
        "budget",
        f"the routine has not returned after {what}",
        where=f"{pc:#x}",
        hint="an endless loop, or raise the budget",
    )
