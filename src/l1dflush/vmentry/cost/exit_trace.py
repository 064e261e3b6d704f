# SPDX-License-Identifier: GPL-2.0-or-later
"""VM exits and entries in the text of ``perf script``, ``trace-cmd report`` and the kernel's own ``trace`` file.

A line is ``COMMAND PID [CPU] FLAGS SECONDS.FRACTION: EVENT: ARGUMENTS``, where CPU and FLAGS may be missing and EVENT
may begin with ``kvm:``. What a line says is defined by :func:`read_line`; :class:`TraceText` says the same of a block
of lines at once and leaves to it whatever looks unusual.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from l1dflush.errors import InputError
from l1dflush.vmentry.cost.columns import (
    Block,
    Bytes,
    Numbers,
    Places,
    Truths,
    WordCodes,
    back_over_digits,
    over_blanks,
)
from l1dflush.vmentry.cost.reasons import bundled_rules, reason_key

MOST_CPUS = 8192
"""As many as Linux can be built for; a CPU with a higher number is a mistake."""
NO_CPU = -1
LATEST = 9_000_000_000
"""Seconds: later times do not fit into 63 bits of nanoseconds."""
_MOST_REASONS = 1000
_SEEN_AT_MOST = 60


class Kind(IntEnum):
    """What a line is about. A request is an event in which the kernel asks for a flush on its CPU; interrupts are
    requests as well."""

    EXIT = 0
    ENTRY = 1
    REQUEST = 2
    INTERRUPT = 3
    OTHER = 4


# kvm_emulate_insn is in x86_emulate_instruction behind the place that sets the flag; kvm_userspace_exit means that the
# next entry is of a new KVM_RUN; interrupt entries set the flag of the CPU.
_KINDS = {
    b"kvm_exit": Kind.EXIT,
    b"kvm_entry": Kind.ENTRY,
    b"kvm_userspace_exit": Kind.REQUEST,
    b"kvm_emulate_insn": Kind.REQUEST,
    b"irq_handler_entry": Kind.INTERRUPT,
    b"local_timer_entry": Kind.INTERRUPT,
    b"reschedule_entry": Kind.INTERRUPT,
    b"call_function_entry": Kind.INTERRUPT,
    b"call_function_single_entry": Kind.INTERRUPT,
}
_LINE = re.compile(
    rb"(?:(?<![^ \t])\[(\d{1,5})\][ \t]+(?:[^\x00-\x20\[][^\x00-\x20]*[ \t]+)?)?(?<![^ \t])"
    rb"(\d{1,10})\.(\d{9}|\d{6}):[ \t]+([^\x00-\x20]+)(.*)"
)
_REASON = re.compile(rb"(?:^|[ \t,])reason(?:=|[ \t]+)([^\x00-\x20]+)")
_NAMES_KVM = re.compile(rb"\bkvm_(?:exit|entry)\b")
_LOST = re.compile(
    rb"^CPU:\s{0,4}\d+ \[LOST (\d{1,12}) EVENTS\]|^CPU:\s{0,4}\d+ \[(\d{1,12}) EVENTS DROPPED\]"
    rb"|PERF_RECORD_LOST(?:_SAMPLES)?\s+lost\s+(\d{1,12})|\bLOST (\d{1,12}) events",
    re.IGNORECASE,
)
_REASON_WORD = int.from_bytes(b"reason \0", "little")
_REASON_MASK = np.uint64((1 << 56) - 1)
_VCPU_WORD = int.from_bytes(b"vcpu \0\0\0", "little")
_VCPU_MASK = np.uint64((1 << 40) - 1)


@dataclass(frozen=True, slots=True)
class Events:
    """Exits, entries and requests in the order of their lines. Times in ns; ``reasons`` are codes, of exits only."""

    kinds: NDArray[np.int8]
    times: Numbers
    cpus: Numbers
    reasons: Numbers


@dataclass(slots=True)
class Lines:
    """How many lines there were, and what became of those that are not events."""

    total: int = 0
    others: int = 0
    broken: int = 0
    lost: int = 0
    first_broken: int = 0
    cut: bool = False


@dataclass(slots=True)
class Reasons:
    """The exit reasons that were met, by their codes."""

    names: list[str] = field(default_factory=list)
    _codes: dict[bytes, int] = field(default_factory=dict)

    def code(self, word: bytes) -> int:
        """The code of a reason, -1 if there is none. Raises InputError when there are too many different ones."""
        name = word.strip(b",;\"'")[:_SEEN_AT_MOST]
        if not name:
            return -1
        code = self._codes.get(name)
        if code is None:
            if len(self.names) >= _MOST_REASONS:
                hint = f"at most {_MOST_REASONS}; is it the right column?"
                raise InputError(f"more than {_MOST_REASONS} different exit reasons", hint=hint)
            code = self._codes[name] = len(self.names)
            self.names.append(name.decode("utf-8", "replace"))
        return code

    def known(self, word: bytes) -> bool:
        """Whether this reason was met before, or is one of KVM's."""
        name = word.strip(b",;\"'")[:_SEEN_AT_MOST]
        return name in self._codes or reason_key(name.decode("utf-8", "replace")) in bundled_rules()


@dataclass(frozen=True, slots=True)
class Event:
    """One line's. ``reason`` is the word in the line, of exits only."""

    kind: Kind
    time: int
    cpu: int
    reason: bytes = b""


def event_kind(word: bytes) -> Kind:
    """What an event's name, with the colon behind it, is about."""
    if not word.endswith(b":"):
        return Kind.OTHER
    return _KINDS.get(word[:-1].rpartition(b":")[2], Kind.OTHER)


def read_line(line: bytes) -> Event | Kind | None:
    """The event in a line; OTHER if it is about something else; None if it is about an exit or entry and unreadable."""
    found = _LINE.search(line)
    if found is None:
        return None if _NAMES_KVM.search(line) and not line.startswith(b"#") else Kind.OTHER
    cpu_text, seconds, fraction, word, rest = found.groups()
    kind = event_kind(word)
    if kind is Kind.OTHER:
        return Kind.OTHER
    cpu = NO_CPU if cpu_text is None else int(cpu_text)
    if cpu >= MOST_CPUS or int(seconds) >= LATEST:
        return None
    time = int(seconds) * 10**9 + int(fraction) * 10 ** (9 - len(fraction))
    if kind is not Kind.EXIT:
        return Event(kind, time, cpu)
    reason = _REASON.search(rest)
    return None if reason is None else Event(kind, time, cpu, reason[1])


class TraceText:
    """Reads blocks of such lines. ``lines`` and ``reasons`` are added to."""

    def __init__(self, lines: Lines, reasons: Reasons) -> None:
        self._lines = lines
        self._reasons = reasons
        self._event_words = WordCodes(_event_code)
        self._reason_words = WordCodes(reasons.code)

    def read(self, data: bytes) -> Events:
        """The events of a block. Raises InputError when there are too many different reasons."""
        end = data.rfind(b"\n") + 1
        whole, unfinished = data[:end], data[end:]
        block = Block(whole)
        fast, slow = self._at_once(block)
        events = self._one_by_one(block, fast, slow) if len(slow) else fast[0]
        self._lines.total += len(block.starts)
        return self._last(events, unfinished) if unfinished else events

    def _at_once(self, block: Block) -> tuple[tuple[Events, Places], Places]:
        """Events with the lines they are in, and the lines that are to be read one by one."""
        text = block.bytes
        dots = np.flatnonzero((text[:-11] == 46) & ((text[7:-4] == 58) | (text[10:-1] == 58)))
        line = np.searchsorted(block.ends, dots)
        once = np.bincount(line, minlength=len(block.ends) + 1)[: len(block.ends)] == 1
        left = ~once
        dots, line = dots[once[line]], line[once[line]]
        time, before, ok = _times(text, dots)
        cpu, known = _cpus(text, before)
        ok &= known
        short = text[dots + 7] == 58
        place = over_blanks(text, np.where(short, dots + 8, dots + 11), 1)
        ok &= text[place - 1] != 58
        kind, length, word = self._event_words.codes(block.eights, place)
        ok &= word & (kind >= 0)
        reason = np.full(len(dots), -1, np.int64)
        exits = np.flatnonzero(ok & (kind == Kind.EXIT))
        reason[exits], ok[exits] = self._exit_reasons(block, place[exits] + length[exits])
        left[line[~ok]] = True
        self._lines.others += int(np.count_nonzero(ok & (kind == Kind.OTHER)))
        used = np.flatnonzero(ok & (kind != Kind.OTHER))
        events = Events(kind[used].astype(np.int8), time[used], cpu[used], reason[used])
        return (events, line[used]), np.flatnonzero(left)

    def _exit_reasons(self, block: Block, places: Places) -> tuple[Numbers, Truths]:
        """Codes of the reasons, ``places`` being behind the events' names; and where that worked."""
        text = block.bytes
        place = over_blanks(text, places, 1)
        eight = block.eights[place]
        ok = (eight & _REASON_MASK) == _REASON_WORD
        newer = np.flatnonzero((eight & _VCPU_MASK) == _VCPU_WORD)
        if len(newer):
            at = place[newer] + 5
            for _ in range(6):
                at += (text[at] - np.uint8(48)) <= 9
            at += text[at] == 44
            blank = text[at] == 32
            at += blank
            place[newer] = at
            ok[newer] = blank & ((block.eights[at] & _REASON_MASK) == _REASON_WORD)
        code, _, word = self._reason_words.codes(block.eights, np.where(ok, place + 7, 0))
        return code, ok & word & (code >= 0)

    def _one_by_one(self, block: Block, fast: tuple[Events, Places], slow: Places) -> Events:
        events, lines = fast
        found: list[tuple[int, Event]] = []
        for index in slow.tolist():
            event = self._line(block.line(index), index)
            if event is not None:
                found.append((index, event))
        if not found:
            return events
        order = np.argsort(np.concatenate([lines, [index for index, _ in found]]), kind="stable")
        return joined(events, [(one, self._reasons.code(one.reason)) for _, one in found], order)

    def _line(self, line: bytes, index: int) -> Event | None:
        event = read_line(line)
        if isinstance(event, Event) and event.kind is Kind.EXIT and self._reasons.code(event.reason) < 0:
            event = None
        if event is None:
            self._lines.broken += 1
            self._lines.first_broken = self._lines.first_broken or self._lines.total + index + 1
            return None
        if isinstance(event, Event):
            return event
        lost = _LOST.search(line)
        if lost:
            self._lines.lost += int(next(number for number in lost.groups() if number))
        self._lines.others += 1
        return None

    def _last(self, events: Events, line: bytes) -> Events:
        """A last line without an end is used if it can be trusted: a reason may be half a reason."""
        self._lines.total += 1
        event = read_line(line)
        if isinstance(event, Kind):
            self._lines.others += 1
            return events
        if event is None or (event.kind is Kind.EXIT and not self._reasons.known(event.reason)):
            self._lines.cut = True
            return events
        return joined(events, [(event, self._reasons.code(event.reason))], np.arange(len(events.kinds) + 1))


def _event_code(word: bytes) -> int:
    """The kind of an event by its name; -1 where the line says how many events were lost, so that it is looked at."""
    return -1 if b"LOST" in word.upper() else int(event_kind(word))


def joined(events: Events, more: list[tuple[Event, int]], order: Places) -> Events:
    """Events with ``more``, each with the code of its reason, put into ``order``."""
    return Events(
        np.concatenate([events.kinds, [one.kind for one, _ in more]])[order].astype(np.int8),
        np.concatenate([events.times, [one.time for one, _ in more]])[order].astype(np.int64),
        np.concatenate([events.cpus, [one.cpu for one, _ in more]])[order].astype(np.int64),
        np.concatenate([events.reasons, [code for _, code in more]])[order].astype(np.int64),
    )


def _times(text: Bytes, dots: Places) -> tuple[Numbers, Places, Truths]:
    """Nanoseconds, the place before the first digit, and where that is a time: blank in front, blank behind."""
    seconds, before = back_over_digits(text, dots - 1, 10)
    ok = (before < dots - 1) & np.isin(text[before], (32, 9, 10)) & (seconds < LATEST)
    short = text[dots + 7] == 58
    digits, start = back_over_digits(text, np.where(short, dots + 6, dots + 9), 9)
    ok &= start == dots
    fraction = np.where(short, digits * 1000, digits)
    ok &= np.isin(text[np.where(short, dots + 8, dots + 11)], (32, 9))
    return np.where(ok, seconds, 0) * 10**9 + fraction, before, ok


def _cpus(text: Bytes, before: Places) -> tuple[Numbers, Truths]:
    """The number in brackets in front of the time and its flags; and where it was clear whether there is one."""
    place = over_blanks(text, before, -1)
    flags = np.flatnonzero((text[place] != 93) & (text[place] > 32))
    ok = np.ones(len(place), np.bool_)
    if len(flags):
        at = place[flags]
        for _ in range(16):
            at -= text[at] > 32
        clear = np.isin(text[at], (32, 9, 10)) & (text[at + 1] != 91)
        at = over_blanks(text, at, -1)
        place[flags], ok[flags] = at, clear
    number, left = back_over_digits(text, place - 1, 5)
    bracket = text[place] == 93
    good = (left < place - 1) & (text[left] == 91) & (number < MOST_CPUS) & np.isin(text[left - 1], (32, 9, 10))
    ok &= (good | ~bracket) & ((text[place] > 32) | (text[place] == 10) | bracket)
    return np.where(bracket & good, number, NO_CPU), ok
