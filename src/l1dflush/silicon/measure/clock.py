# SPDX-License-Identifier: GPL-2.0-or-later
"""Whether loads can be timed here, and what a tick is worth.

The time-stamp counter runs at one rate whatever the core does (``constant_tsc`` and ``nonstop_tsc`` in
``/proc/cpuinfo``; Intel SDM volume 3, "Invariant TSC"), so it is not a count of core cycles: those come from a
chain of additions, each of which waits for the one before it and takes one cycle.
"""

from __future__ import annotations

import ctypes
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from l1dflush import _core
from l1dflush.errors import UndecidedError
from l1dflush.host.l1d import CPUINFO
from l1dflush.silicon.measure.calibrate import QUANTILE
from l1dflush.silicon.measure.region import Region

_PR_GET_TSC = 25
_PR_TSC_ENABLE = 1
_NEEDED = {
    "tsc": "has no time-stamp counter",
    "rdtscp": "has no rdtscp, which says on which CPU a time was taken",
    "constant_tsc": "does not say that its time-stamp counter runs at a constant rate (constant_tsc)",
    "nonstop_tsc": "does not say that its time-stamp counter never stops (nonstop_tsc)",
}
# Reading the counter twice takes 20 to 80 ticks; a hypervisor that traps it takes a thousand and more.
_TRAPPED_TICKS = 500
_SAMPLES = 400


@dataclass(frozen=True, slots=True)
class Clock:
    """``empty``: ticks between two readings with nothing in between. ``step``: the counter's values are this many ticks
    apart. ``ticks_per_cycle``: of the core, while it was measured; ``ticks_per_ns``: of real time."""

    empty: float
    step: int
    ticks_per_cycle: float
    ticks_per_ns: float


def require_clock(cpuinfo: Path = CPUINFO) -> None:
    """Raises UndecidedError, with what is missing, where loads cannot be timed."""
    if not _core.NATIVE:
        raise UndecidedError(
            "no-native-code", "loads are timed by native code for Linux on x86-64, and this is another"
        )
    try:
        text = cpuinfo.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        what = f"cannot read what the CPU has: {error.strerror}"
        raise UndecidedError("no-stable-counter", what, where=str(cpuinfo)) from None
    flags: set[str] = set()
    for line in text.split("\n\n")[0].splitlines():
        key, _, value = line.partition(":")
        if key.strip() == "flags":
            flags = set(value.split())
    for flag, lacks in _NEEDED.items():
        if flag not in flags:
            raise UndecidedError("no-stable-counter", f"the CPU {lacks}", where=str(cpuinfo))
    if _tsc_mode() != _PR_TSC_ENABLE:
        raise UndecidedError("counter-denied", "this process may not read the time-stamp counter (PR_SET_TSC)")


def measured_clock(region: Region) -> Clock:
    """What the counter does now. Raises UndecidedError where reading it takes so long that it must be trapped."""
    started, first = time.perf_counter_ns(), _core.time_stamp()
    empty, chain, _ = region.costs("none", 0, 4096, before="flushed", victims_from=0, victims=0, trials=_SAMPLES)
    typical = float(np.quantile(empty, QUANTILE))
    if typical > _TRAPPED_TICKS:
        raise UndecidedError(
            "counter-trapped",
            f"reading the time-stamp counter twice takes {typical:.0f} ticks: something traps it, such as a hypervisor",
        )
    # Long enough for the calls around it not to count.
    while time.perf_counter_ns() - started < 20_000_000:
        pass
    ticks, ns = _core.time_stamp() - first, time.perf_counter_ns() - started
    step = int(np.gcd.reduce(np.concatenate([empty, chain]).astype(np.int64)))
    per_cycle = (float(np.quantile(chain, QUANTILE)) - typical) / _core.CHAIN_CYCLES
    return Clock(typical, max(step, 1), per_cycle, ticks / ns)


def _tsc_mode() -> int:
    """PR_TSC_ENABLE or PR_TSC_SIGSEGV, from prctl(2)."""
    mode = ctypes.c_int(0)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_GET_TSC, ctypes.byref(mode), 0, 0, 0) != 0:
        # A kernel, or a filter, that does not answer: then it is as usual.
        return _PR_TSC_ENABLE
    return mode.value
