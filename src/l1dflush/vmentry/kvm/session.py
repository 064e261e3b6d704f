# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest run under several modes and flushes in turn, and what came of it."""

from __future__ import annotations

import hashlib
import os
import platform
import sys
from array import array
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter_ns

from l1dflush import __version__, _core
from l1dflush.errors import AllocationError, FlusherError, InputError, NoPlanError
from l1dflush.host.l1d import signature
from l1dflush.silicon.flush_plan import Request
from l1dflush.silicon.flusher import Flusher
from l1dflush.vmentry.kvm.deadline import Deadline
from l1dflush.vmentry.kvm.guest_code import DOORBELL_PORT, SECRET_PORT, GuestCode
from l1dflush.vmentry.kvm.loop import EntryLoop, SecretDevice, StandIn, loaded
from l1dflush.vmentry.kvm.model import GuestInfo, HostInfo, LoopInfo, NanosecondsInfo, VmResult, VmRow
from l1dflush.vmentry.kvm.names import GOOD, Ending, Flush
from l1dflush.vmentry.kvm.real_host import FlusherHost, real_subsystem
from l1dflush.vmentry.kvm.vm import Kvm
from l1dflush.vmentry.subsystem import Mode, NoBufferError, Subsystem

_L1TF = Path("/sys/devices/system/cpu/vulnerabilities/l1tf")
_KERNEL_FLUSH = Path("/sys/module/kvm_intel/parameters/vmentry_l1d_flush")
_STAND_IN_ENTRIES = 5000


@dataclass(frozen=True, slots=True)
class Asked:
    """``modes`` are run with each of ``flushes``; never comes first, once. The guest is started ``times`` times, or as
    often as it takes for ``entries`` KVM_RUNs. ``memory`` in bytes, ``seconds`` for everything. ``every``: a flush that
    there is not here is an error, else a note."""

    code: GuestCode
    modes: tuple[Mode, ...]
    flushes: tuple[Flush, ...]
    every: bool = True
    times: int = 1
    entries: int | None = None
    memory: int = 1 << 20
    seconds: float = 10.0
    secret_port: int = SECRET_PORT
    request: Request = field(default_factory=Request)
    device: Path | None = None


@dataclass(slots=True)
class _Trial:
    """One mode with one flush, and its counts so far."""

    mode: Mode
    flush: Flush | None
    loop: EntryLoop[Flusher]
    runs: int = 0
    ending: Ending = Ending.ENOUGH


def run(asked: Asked, done: Callable[[], object] = lambda: None) -> VmResult:
    """Runs the guest as often and under as many modes and flushes as ``asked`` says, in turn; ``done`` is called after
    each turn. An ending that is not good ends it all.

    Raises KvmUnavailableError, KvmError, InputError, and FlusherError for a flush that there is not here.
    """
    with ExitStack() as undo:
        kvm = undo.enter_context(Kvm(asked.device))
        vm = undo.enter_context(kvm.vm(asked.memory))
        vcpu = undo.enter_context(vm.vcpu())
        # The first time for the checks, before flushes are planned.
        loaded(vm, vcpu, asked.code)
        trials, not_run = _trials(asked, undo)
        deadline = undo.enter_context(Deadline(asked.seconds))
        deadline.watch(vcpu)
        on_cpu = undo.enter_context(pinned())
        overhead = loop_alone()
        while True:
            for trial in trials:
                most = sys.maxsize if asked.entries is None else asked.entries - trial.loop.counts.state.entries
                if most <= 0:
                    continue
                if deadline.passed:
                    trial.ending = Ending.TIME
                    break
                loaded(vm, vcpu, asked.code)
                trial.runs += 1
                trial.ending = trial.loop.play(vcpu, most, deadline)
                if trial.ending not in GOOD:
                    break
            done()
            if any(trial.ending not in GOOD for trial in trials) or _enough(asked, trials):
                break
        rows = _rows(trials)
    return VmResult(
        tool_version=__version__,
        host=_host(on_cpu),
        guest=_guest(asked),
        secret_port=asked.secret_port,
        rows=rows,
        not_run=not_run,
        loop=overhead,
        exit_status=0 if all(row.ending in GOOD for row in rows) else 1,
    )


@contextmanager
def pinned() -> Iterator[int]:
    """The calling thread stays on the CPU that it is on, whose number this gives; -1 where that is not allowed."""
    try:
        before = os.sched_getaffinity(0)
        cpu = _core.current_cpu()
        os.sched_setaffinity(0, {cpu})
    except OSError:
        yield -1
        return
    try:
        yield cpu
    finally:
        os.sched_setaffinity(0, before)


def _trials(asked: Asked, undo: ExitStack) -> tuple[list[_Trial], dict[Flush, str]]:
    """One for never, then one for each other mode and flush. What they hold is given back by ``undo``."""
    devices = {asked.secret_port: SecretDevice()}
    never = Subsystem(real_subsystem(Flush.LINUX_2018).host)
    never.load(Mode.NEVER)
    trials = [_Trial(Mode.NEVER, None, EntryLoop(never, devices))]
    not_run: dict[Flush, str] = {}
    for flush in asked.flushes:
        for mode in asked.modes:
            if mode is Mode.NEVER:
                continue
            try:
                subsystem = real_subsystem(flush, asked.request)
                undo.callback(subsystem.unload)
                subsystem.load(mode)
            except (FlusherError, NoBufferError) as error:
                why = InputError(error.what, hint="--policy names one") if isinstance(error, NoPlanError) else error
                if isinstance(error, NoBufferError) and isinstance(subsystem.host, FlusherHost):
                    why = AllocationError(subsystem.host.why_none)
                if asked.every:
                    raise why from None
                not_run[flush] = str(why)
                break
            trials.append(_Trial(subsystem.mode, flush, EntryLoop(subsystem, devices)))
    if not asked.every and not_run and len(trials) == 1:
        raise InputError(f"there is no flush here: {'; '.join(not_run.values())}")
    return trials, not_run


def _enough(asked: Asked, trials: Sequence[_Trial]) -> bool:
    if asked.entries is None:
        return all(trial.runs >= asked.times for trial in trials)
    return all(trial.loop.counts.state.entries >= asked.entries for trial in trials)


def _rows(trials: Sequence[_Trial]) -> tuple[VmRow, ...]:
    without = _quartiles(trials[0].loop.counts.nanoseconds)
    rows = []
    for trial in trials:
        if not trial.runs and trial.ending in GOOD:
            continue
        subsystem, counts = trial.loop.subsystem, trial.loop.counts
        buffer = subsystem.buffer
        taken = _quartiles(counts.nanoseconds)
        reads = "" if buffer is None else buffer.scope
        rows.append(
            VmRow(
                mode=subsystem.mode,
                flush=trial.flush,
                mechanism=None if trial.flush is None else subsystem.mechanism,
                flush_bytes=None if buffer is None else buffer.size,
                scope=reads,
                runs=trial.runs,
                ending=trial.ending,
                said=trial.loop.said,
                entries=counts.state.entries,
                flushes=counts.state.flushes,
                sensitive=counts.sensitive,
                exits=dict(sorted(counts.exits.items())),
                ports={f"{port:#x}": times for port, times in sorted(counts.ports.items())},
                nanoseconds=taken,
                more=None if trial.flush is None or taken is None or without is None else taken.median - without.median,
            )
        )
    return tuple(rows)


def _quartiles(taken: array[int]) -> NanosecondsInfo | None:
    if not taken:
        return None
    ordered = sorted(taken)
    low, median, high = (ordered[(len(ordered) - 1) * quarter // 4] for quarter in (1, 2, 3))
    mean = sum(ordered) // len(ordered)
    return NanosecondsInfo(low=low, median=median, high=high, mean=mean)


def loop_alone() -> LoopInfo:
    """The loop without KVM and without a flush."""
    subsystem = Subsystem(real_subsystem(Flush.LINUX_2018).host)
    subsystem.load(Mode.NEVER)
    loop = EntryLoop(subsystem)
    stand_in = StandIn(DOORBELL_PORT)
    begin = perf_counter_ns()
    loop.play(stand_in, _STAND_IN_ENTRIES)
    whole = (perf_counter_ns() - begin) // _STAND_IN_ENTRIES
    timed = _quartiles(loop.counts.nanoseconds)
    return LoopInfo(timed=0 if timed is None else timed.median, whole=whole)


def _host(on_cpu: int) -> HostInfo:
    said = signature()
    return HostInfo(
        cpu=said.model_name if said else "",
        on_cpu=on_cpu,
        kernel=platform.release(),
        l1tf=_read(_L1TF),
        kernel_flush=_read(_KERNEL_FLUSH),
    )


def _guest(asked: Asked) -> GuestInfo:
    code = asked.code
    digest = hashlib.sha256(b"".join(data for _, data in code.pieces)).hexdigest()
    return GuestInfo(name=code.name, size=code.size, sha256=digest, long_mode=code.long_mode, memory=asked.memory)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return ""
