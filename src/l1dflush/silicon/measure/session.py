# SPDX-License-Identifier: GPL-2.0-or-later
"""One measurement at a time on a CPU: pinned to it, locked against a second one, with a region to measure on."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from l1dflush import _core
from l1dflush.cache.geometry import Geometry
from l1dflush.errors import InputError, UndecidedError
from l1dflush.host.l1d import l1d_geometry
from l1dflush.silicon.measure.clock import measured_clock, require_clock
from l1dflush.silicon.measure.environment import Counters, Environment, doubts, environment
from l1dflush.silicon.measure.region import LINE, REGION_PAGES, SETS, Region

CONTROL_SET = SETS - _core.CONTROL_SETS
"""The last sets hold what the probe itself touches, unless a measurement says otherwise."""


@dataclass(frozen=True, slots=True)
class Silicon:
    """An L1D that can be measured on, and how it was found when the measurement began."""

    region: Region
    geometry: Geometry
    environment: Environment
    counters: Counters
    started: float

    def doubts(self, trials: int, moved: int) -> list[str]:
        """When and why what was measured may be unstable."""
        seconds = time.monotonic() - self.started
        now = Counters.now(self.environment.on_cpu)
        return doubts(self.environment, self.counters, now, seconds, trials, moved)


@contextmanager
def silicon(on_cpu: int | None = None) -> Iterator[Silicon]:
    """This machine's L1D, on the CPU ``on_cpu`` (None: where the thread is now), for as long as the context lasts.

    Raises UndecidedError where loads cannot be timed, where the L1D is of a kind that is not measured, and where
    another measurement is under way on that CPU; InputError for a CPU that this process may not run on.
    """
    require_clock()
    shape = l1d_geometry()
    if (shape.sets, shape.line) != (SETS, LINE):
        raise UndecidedError(
            "other-geometry", f"an L1D of {shape.sets} sets of {shape.line} bytes; measured are {SETS} sets of {LINE}"
        )
    allowed = os.sched_getaffinity(0)
    cpu = _core.current_cpu() if on_cpu is None else on_cpu
    if cpu not in allowed:
        known = ", ".join(map(str, sorted(allowed)[:20]))
        raise InputError(f"this process may not run on CPU {cpu}", where="--on-cpu", hint=f"it may run on {known}")
    with _locked(cpu):
        os.sched_setaffinity(0, {cpu})
        try:
            region = _region()
            clock = measured_clock(region)
            there = environment(cpu, clock, region.address)
            yield Silicon(region, shape, there, Counters.now(cpu), time.monotonic())
        finally:
            os.sched_setaffinity(0, allowed)


def _region() -> _core.Region:
    try:
        return _core.Region(REGION_PAGES)
    except MemoryError:
        raise InputError(f"there are no {REGION_PAGES * 4} KiB of memory for the measurement") from None


@contextmanager
def _locked(cpu: int) -> Iterator[None]:
    """Whoever has the name has the CPU. It goes with the process, however that ends, and needs no file (unix(7),
    abstract sockets); it is not seen from another network namespace."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as lock:
        try:
            lock.bind(f"\0l1dflush measures on CPU {cpu}")
        except OSError:
            raise UndecidedError(
                "busy", f"another measurement is under way on CPU {cpu}", hint="wait for it, or --on-cpu another"
            ) from None
        yield
