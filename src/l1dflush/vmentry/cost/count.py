# SPDX-License-Identifier: GPL-2.0-or-later
"""Counts what is in a trace of VM exits, block by block: exits by reason, requests behind them, time in the guest."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from l1dflush.errors import InputError
from l1dflush.vmentry.cost.csv_trace import UNITS, CsvText, named_columns
from l1dflush.vmentry.cost.exit_trace import MOST_CPUS, Events, Kind, Lines, Reasons, TraceText
from l1dflush.vmentry.cost.stream import TraceBytes, opened

# More lines than this share that name an exit or entry and cannot be read: the trace is broken.
MOST_BROKEN = 0.05
# More events than this share that come before the one above them: the trace is not sorted.
MOST_BACKWARDS = 0.1

_HOW = "record kvm:kvm_exit and kvm:kvm_entry, then perf script or trace-cmd report; or CSV: time,reason"
_EVENT_LINE = re.compile(rb"(?:^|[ \t])\d{1,10}\.(?:\d{9}|\d{6}):[ \t]+[\w:.-]+:(?:[ \t]|$)", re.M)
_BINARY = {
    b"PERFILE2": "perf script -i FILE writes it as text",
    b"\x17\x08\x44tracing": "trace-cmd report FILE writes it as text",
}
_SAMPLE = 64 << 10
_NOTHING = -1


@dataclass(slots=True)
class Counted:
    """A trace in figures. ``exits`` and ``requested`` by the code of the reason: how many, and after how many of them
    the trace shows that the kernel asked for a flush. Times in ns."""

    form: str
    lines: Lines = field(default_factory=Lines)
    reasons: Reasons = field(default_factory=Reasons)
    exits: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    requested: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    entries: int = 0
    requests: int = 0
    interrupts: int = 0
    backwards: int = 0
    guest: int = 0
    first: int | None = None
    last: int | None = None
    without_cpu: int = 0
    cpus: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(MOST_CPUS, np.bool_))

    @property
    def events(self) -> int:
        """Exits, entries and requests together."""
        return int(self.exits.sum()) + self.entries + self.requests


class Counter:
    """Adds blocks of events to a count. What is before and after a block's edge is kept by CPU."""

    def __init__(self, counted: Counted) -> None:
        self._to = counted
        # Index 0 is "no CPU": events without one are counted, but nothing is said about what follows what.
        self._time = np.zeros(MOST_CPUS + 1, np.int64)
        self._kind = np.full(MOST_CPUS + 1, _NOTHING, np.int8)
        self._reason = np.zeros(MOST_CPUS + 1, np.int64)
        self._requested = np.zeros(MOST_CPUS + 1, np.bool_)

    def add(self, events: Events) -> None:
        """Counts one block."""
        if not len(events.kinds):
            return
        to = self._to
        reasons = len(to.reasons.names)
        is_exit = events.kinds == Kind.EXIT
        to.exits = _longer(to.exits, reasons) + np.bincount(events.reasons[is_exit], minlength=reasons)
        to.requested = _longer(to.requested, reasons)
        to.entries += int(np.count_nonzero(events.kinds == Kind.ENTRY))
        to.requests += int(np.count_nonzero(events.kinds >= Kind.REQUEST))
        to.interrupts += int(np.count_nonzero(events.kinds == Kind.INTERRUPT))
        low, high = int(events.times.min()), int(events.times.max())
        to.first = low if to.first is None else min(to.first, low)
        to.last = high if to.last is None else max(to.last, high)
        to.without_cpu += int(np.count_nonzero(events.cpus < 0))
        to.cpus[np.unique(events.cpus[events.cpus >= 0])] = True
        # Sixteen bits are sorted in one pass.
        order = np.argsort((events.cpus + 1).astype(np.uint16), kind="stable")
        self._in_turn(events.cpus[order] + 1, events.kinds[order], events.times[order], events.reasons[order])

    def _in_turn(
        self, cpus: NDArray[np.int64], kinds: NDArray[np.int8], times: NDArray[np.int64], reasons: NDArray[np.int64]
    ) -> None:
        """The events of each CPU, one CPU after the other."""
        to = self._to
        requested = np.zeros(len(cpus), np.bool_)
        request = kinds >= Kind.REQUEST
        if request.any():
            requested = self._behind(cpus, request)
            plain = ~request
            cpus, kinds, times, reasons, requested = (
                cpus[plain], kinds[plain], times[plain], reasons[plain], requested[plain]
            )  # fmt: skip
            if not len(cpus):
                return
        requested &= kinds == Kind.EXIT
        to.requested += np.bincount(reasons[requested], minlength=len(to.requested))
        begins = _begins(cpus)
        before_time = np.concatenate([[0], times[:-1]])
        before_time[begins] = self._time[cpus[begins]]
        before_kind = np.concatenate([[_NOTHING], kinds[:-1]])
        before_kind[begins] = self._kind[cpus[begins]]
        step = times - before_time
        to.backwards += int(np.count_nonzero((step < 0) & (before_kind != _NOTHING)))
        inside = (kinds == Kind.EXIT) & (before_kind == Kind.ENTRY) & (step > 0) & (cpus > 0)
        to.guest += int(step[inside].sum())
        ends = np.concatenate([begins[1:], [len(cpus)]]) - 1
        there = cpus[ends]
        self._time[there], self._kind[there] = times[ends], kinds[ends]
        self._reason[there], self._requested[there] = reasons[ends], requested[ends]

    def _behind(self, cpus: NDArray[np.int64], request: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Which events a request is the next behind, on the same CPU. Those of the block before are counted here."""
        places = np.arange(len(cpus))
        plain = np.maximum.accumulate(np.where(request, -1, places))
        begins = _begins(cpus)
        first = np.repeat(begins, np.diff(np.concatenate([begins, [len(cpus)]])))
        asked = np.flatnonzero(request & (cpus > 0))
        inside = plain[asked] >= first[asked]
        behind = np.zeros(len(cpus), np.bool_)
        behind[plain[asked[inside]]] = True
        carried = np.unique(cpus[asked[~inside]])
        carried = carried[(self._kind[carried] == Kind.EXIT) & ~self._requested[carried]]
        self._to.requested += np.bincount(self._reason[carried], minlength=len(self._to.requested))
        self._requested[carried] = True
        return behind


def _begins(cpus: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.flatnonzero(np.concatenate([[True], cpus[1:] != cpus[:-1]]))


def _longer(counts: NDArray[np.int64], length: int) -> NDArray[np.int64]:
    return np.concatenate([counts, np.zeros(length - len(counts), np.int64)])


def count(source: str, unit: str = "s", done: Callable[[int], None] = lambda _: None) -> Counted:
    """Counts the trace in the file ``source`` (``-``: standard input). ``unit`` is that of CSV times, a key of
    :data:`UNITS`; ``done`` hears how many bytes of the file have been read.

    Raises InputError where it cannot be read, is not a trace, has nothing that can be used, and where it is broken or
    out of order beyond doubt.
    """
    with opened(source) as trace:
        return counted(trace, unit, done)


def counted(trace: TraceBytes, unit: str = "s", done: Callable[[int], None] = lambda _: None) -> Counted:
    """:func:`count` for a trace that is open."""
    result: Counted | None = None
    try:
        for block in trace.blocks():
            if result is None:
                result, reader = _begun(block, trace.where, unit)
                counter = Counter(result)
            counter.add(reader.read(block))
            done(trace.taken)
    except InputError as error:
        raise InputError(error.what, where=error.where or trace.where, hint=error.hint) from None
    if result is None:
        raise InputError("it is empty" if not trace.overlong else "it is not text", where=trace.where, hint=_HOW)
    result.lines.total += trace.overlong
    result.lines.broken += trace.overlong
    result.lines.cut |= trace.cut
    _refuse(result, trace.where)
    return result


def _begun(block: bytes, where: str, unit: str) -> tuple[Counted, TraceText | CsvText]:
    """What kind of trace it is, by its first lines. Raises InputError if it is none."""
    for magic, hint in _BINARY.items():
        if block.startswith(magic):
            raise InputError("this is a recording, not its text", where=where, hint=hint)
    sample = block[:_SAMPLE]
    if b"\0" in sample:
        raise InputError("this is not text", where=where, hint=_HOW)
    if _EVENT_LINE.search(sample):
        result = Counted("trace")
        return result, TraceText(result.lines, result.reasons)
    first = next((line for line in sample.splitlines() if line.strip() and not line.lstrip().startswith(b"#")), b"")
    if b"," not in first:
        raise InputError("no trace of VM exits", where=where, hint=_HOW)
    result = Counted("csv")
    # Comments may stand above the line that names the columns.
    above = sample[: sample.find(first)].count(b"\n")
    return result, CsvText(result.lines, result.reasons, named_columns(first, where), UNITS[unit], above)


def _refuse(result: Counted, where: str) -> None:
    lines, exits = result.lines, int(result.exits.sum())
    if lines.broken and lines.broken > MOST_BROKEN * (lines.broken + result.events):
        what = f"{lines.broken} of {lines.broken + result.events} lines about exits and entries cannot be read"
        at = f", the first is line {lines.first_broken}" if lines.first_broken else ""
        raise InputError(f"a broken trace: {what}{at}", where=where, hint=_HOW)
    if not exits:
        what = "there is no VM exit in it"
        if result.entries:
            what += f", only {result.entries} entries"
        if lines.cut:
            what += "; it breaks off in the first"
        raise InputError(what, where=where, hint=_HOW)
    if result.backwards > MOST_BACKWARDS * result.events:
        what = f"not sorted by time: {result.backwards} of {result.events} events come before the one above them"
        raise InputError(what, where=where, hint="sort it: CSV with sort -n, recordings with perf script")
