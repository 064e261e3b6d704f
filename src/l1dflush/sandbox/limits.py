# SPDX-License-Identifier: GPL-2.0-or-later
"""How much a child process may use."""

from __future__ import annotations

import math
import resource
from dataclasses import dataclass
from pathlib import Path

from l1dflush.arguments import DEFAULT_MEMORY

# What following and proving may take together, as a multiple of the time limit for each: C is judged twice, and
# once more per name that decides, and a file may have several candidates.
_PHASES = 8
# What compilers may take besides. One has 30 s; they are asked several times, but are quick.
_COMPILERS_SECONDS = 120.0
# A process that is told that its time is up has this long to die of it.
_CPU_GRACE_SECONDS = 5
_LONGEST_SECONDS = 1e9
# The machine may keep some ten million events and terms, and what is read of its paths takes 200 bytes an event.
_BESIDE_THE_PROVER = 2 << 30


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of one child. Those on time and files also hold for each compiler that it starts.

    ``memory_bytes`` counts addresses, beyond those in use at the start. ``answer_bytes`` is the longest answer that is
    read, as JSON text.
    """

    wall_seconds: float = _PHASES * 10.0 + _COMPILERS_SECONDS
    memory_bytes: int = _BESIDE_THE_PROVER + DEFAULT_MEMORY
    file_bytes: int = 128 << 20
    answer_bytes: int = 256 << 20

    @property
    def cpu_seconds(self) -> int:
        """Processor time. The child has one thread, so that it can hardly use more than passes."""
        return math.ceil(self.wall_seconds)

    def apply(self) -> None:
        """Limits this process, for good. A limit that is stricter already stays."""
        cpu = self.cpu_seconds
        _limit(resource.RLIMIT_CORE, 0, 0)
        _limit(resource.RLIMIT_FSIZE, self.file_bytes, self.file_bytes)
        # At the hard limit there is no telling signal, only the end.
        _limit(resource.RLIMIT_CPU, cpu, cpu + _CPU_GRACE_SECONDS)
        # Not RLIMIT_DATA: it does not see shared mappings. Not RLIMIT_RSS: Linux ignores it.
        memory = _addresses_in_use() + self.memory_bytes
        _limit(resource.RLIMIT_AS, memory, memory)


def limits_for(max_seconds: float, memory: int = DEFAULT_MEMORY) -> Limits:
    """The limits of a run whose ``--max-seconds`` and ``--memory`` are these."""
    return Limits(
        wall_seconds=min(_PHASES * max_seconds + _COMPILERS_SECONDS, _LONGEST_SECONDS),
        memory_bytes=_BESIDE_THE_PROVER + memory,
    )


def _limit(which: int, soft: int, hard: int) -> None:
    old_soft, old_hard = resource.getrlimit(which)
    resource.setrlimit(which, (_stricter(soft, old_soft), _stricter(hard, old_hard)))


def _stricter(wanted: int, now: int) -> int:
    return wanted if now == resource.RLIM_INFINITY else min(wanted, now)


def _addresses_in_use() -> int:
    """Bytes. Whoever imports this package may have mapped a lot already."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    except OSError:
        return 0
