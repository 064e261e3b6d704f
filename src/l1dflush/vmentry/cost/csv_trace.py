# SPDX-License-Identifier: GPL-2.0-or-later
"""VM exits as CSV: ``time,reason[,vcpu][,cpu]``, or the columns that a first line names.

What a line says is defined by :meth:`CsvText.read_line`; blocks of lines with the same number of fields and without
blanks or quotes are read at once.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from l1dflush.errors import InputError
from l1dflush.vmentry.cost.columns import Block, Bytes, Numbers, Places, Truths, WordCodes, numbers
from l1dflush.vmentry.cost.exit_trace import LATEST, MOST_CPUS, NO_CPU, Event, Events, Kind, Lines, Reasons, joined

UNITS = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}
_COLUMNS = ("time", "reason", "vcpu", "cpu")
_NAMES = {
    "time": "time", "timestamp": "time", "seconds": "time", "reason": "reason", "exit_reason": "reason",
    "exit": "reason", "vcpu": "vcpu", "cpu": "cpu",
}  # fmt: skip
_TIME = re.compile(rb"(\d{1,18})(?:\.(\d{1,9}))?")
_INTEGER = re.compile(rb"\d{1,5}")
_COMMA_IS_BLANK = bytes.maketrans(b",", b" ")


def named_columns(line: bytes, where: str) -> tuple[str, ...] | None:
    """The columns that a first line names ("" for one that is not used); None if it names none.

    Raises InputError if time or reason is missing, or there twice.
    """
    words = [word.decode("utf-8", "replace").strip().strip('"').lower() for word in line.split(b",")]
    if _TIME.fullmatch(words[0].encode()):
        return None
    columns = tuple(_NAMES.get(word, "") for word in words)
    if "time" not in columns and "reason" not in columns:
        raise InputError("no trace of VM exits", where=where, hint="as CSV the columns are time,reason[,vcpu][,cpu]")
    for name in ("time", "reason"):
        if columns.count(name) != 1:
            what = f"the first line names {columns.count(name) or 'no'} columns '{name}'"
            raise InputError(what, where=where, hint="columns: time, reason and, if known, vcpu and cpu")
    return columns


class CsvText:
    """Reads blocks of such lines. ``lines`` and ``reasons`` are added to; ``unit`` is how many ns a unit of time is,
    ``columns`` None if no line names them, ``above`` how many lines stand above the first with content."""

    def __init__(self, lines: Lines, reasons: Reasons, columns: Sequence[str] | None, unit: int, above: int) -> None:
        self._lines = lines
        self._reasons = reasons
        self._skip = 0 if columns is None else above + 1
        self._columns = tuple(columns or _COLUMNS)
        self._unit = unit
        self._words = WordCodes(reasons.code)
        place = {name: index for index, name in enumerate(self._columns) if name}
        self._time, self._reason = place["time"], place["reason"]
        # Where it ran; who ran is the next best that tells the lines of one from another's.
        self._cpu = place.get("cpu", place.get("vcpu"))
        self._second = place.get("vcpu")

    def read_line(self, line: bytes) -> Event | None:
        """The exit in a line; None if it cannot be read."""
        fields = [part.strip().strip(b'"') for part in line.split(b",")]
        if len(fields) <= max(self._time, self._reason):
            return None
        found = _TIME.fullmatch(fields[self._time])
        if found is None or not fields[self._reason].strip(b",;\"'"):
            return None
        time = int(found[1]) * self._unit
        fraction = found[2] or b""
        time += int(fraction or b"0") * self._unit // 10 ** len(fraction)
        cpu = self._cpu_of(fields)
        if cpu is None or time >= LATEST * 10**9:
            return None
        return Event(Kind.EXIT, time, cpu, fields[self._reason])

    def _cpu_of(self, fields: Sequence[bytes]) -> int | None:
        for place in (self._cpu, self._second):
            if place is not None and place < len(fields) and fields[place]:
                cpu = int(fields[place]) if _INTEGER.fullmatch(fields[place]) else MOST_CPUS
                return None if cpu >= MOST_CPUS else cpu
        return NO_CPU

    def read(self, data: bytes) -> Events:
        """The exits of a block. Raises InputError when there are too many different reasons."""
        while self._skip and data:
            self._skip -= 1
            self._lines.total += 1
            self._lines.others += 1
            data = data.partition(b"\n")[2]
        end = data.rfind(b"\n") + 1
        text, unfinished = data[:end], data[end:]
        columns = 0 if any(mark in text for mark in (b" ", b'"', b"\t")) else text.count(b",", 0, text.find(b"\n") + 1)
        events = self._at_once(text, columns + 1) if columns else None
        if events is None:
            events = self._one_by_one(text.split(b"\n")[:-1])
        return self._last(events, unfinished) if unfinished else events

    def _at_once(self, data: bytes, columns: int) -> Events | None:
        """The exits, if every line has so many fields and can be read; else None."""
        lines = data.count(b"\n")
        if data.count(b",") != lines * (columns - 1) or columns <= max(self._time, self._reason):
            return None
        block = Block(data.translate(_COMMA_IS_BLANK))
        text = block.bytes
        commas = np.flatnonzero(text == 32).reshape(lines, columns - 1)
        ends = block.ends - (text[block.ends - 1] == 13)
        if (commas[:, 0] < block.starts).any() or (commas[:, -1] >= ends).any():
            return None
        starts = np.column_stack([block.starts, commas + 1])
        stops = np.column_stack([commas, ends])
        time, ok = self._times(text, starts[:, self._time], stops[:, self._time])
        cpu = np.full(lines, NO_CPU, np.int64)
        if self._cpu is not None and self._cpu < columns:
            cpu, known = numbers(text, starts[:, self._cpu], stops[:, self._cpu])
            ok &= known & (cpu < MOST_CPUS) & (stops[:, self._cpu] - starts[:, self._cpu] <= 5)
        elif self._second is not None and self._second < columns:
            cpu, known = numbers(text, starts[:, self._second], stops[:, self._second])
            ok &= known & (cpu < MOST_CPUS) & (stops[:, self._second] - starts[:, self._second] <= 5)
        if not ok.all():
            return None
        reason, length, word = self._words.codes(block.eights, starts[:, self._reason])
        if not (word & (reason >= 0) & (length == stops[:, self._reason] - starts[:, self._reason])).all():
            return None
        self._lines.total += lines
        return Events(np.zeros(lines, np.int8), time, cpu, reason)

    def _times(self, text: Bytes, starts: Places, stops: Places) -> tuple[Numbers, Truths]:
        point = stops.copy()
        for back in range(1, 11):
            at = stops - back
            point = np.where((at >= starts) & (text[at] == 46), at, point)
        whole, ok = numbers(text, starts, point)
        fraction, there = numbers(text, point + 1, np.maximum(stops, point + 1))
        with_point = point < stops
        ok &= (there & (stops - point <= 10)) | ~with_point
        # So large a number overflows; the line is read on its own then.
        ok &= whole < LATEST * 10**9 // self._unit
        scale = 10 ** np.maximum(stops - point - 1, 0)
        part = np.where(with_point, fraction, 0) * self._unit // scale
        return np.where(ok, whole, 0) * self._unit + part, ok

    def _one_by_one(self, lines: Sequence[bytes]) -> Events:
        found: list[tuple[Event, int]] = []
        for line in lines:
            self._lines.total += 1
            if not line.strip() or line.lstrip().startswith(b"#"):
                self._lines.others += 1
                continue
            event = self.read_line(line)
            if event is None:
                self._lines.broken += 1
                self._lines.first_broken = self._lines.first_broken or self._lines.total
                continue
            found.append((event, self._reasons.code(event.reason)))
        none = np.empty(0, np.int64)
        return joined(Events(none.astype(np.int8), none, none, none), found, np.arange(len(found)))

    def _last(self, events: Events, line: bytes) -> Events:
        """A last line without an end is used if it can be trusted: a reason may be half a reason."""
        event = self.read_line(line)
        if line.lstrip().startswith(b"#") or not line.strip() or (event and self._reasons.known(event.reason)):
            more = self._one_by_one([line])
            return _both(events, more)
        self._lines.total += 1
        self._lines.cut = True
        return events


def _both(first: Events, then: Events) -> Events:
    return Events(
        np.concatenate([first.kinds, then.kinds]),
        np.concatenate([first.times, then.times]),
        np.concatenate([first.cpus, then.cpus]),
        np.concatenate([first.reasons, then.reasons]),
    )
