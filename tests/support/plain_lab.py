# SPDX-License-Identifier: GPL-2.0-or-later
"""The model machine a second time, the plain way: lines by name in lists, owners in dicts, and no addresses at all.

Shares the parsed script with the real one, the accesses of the routine, and the drive of a worst start; the rest, what
sets a flag and what a mode means included, is written anew from the words in ``docs/lab.md`` and ``docs/vmentry.md``.
A line is a memory's name and a number. Where a set is chosen by address bits within a page, as with up to 64 sets,
the number alone decides it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain

import numpy as np

from l1dflush.cache.geometry import Geometry
from l1dflush.cache.policies import State, get_policy
from l1dflush.verdict.counterexample_result import LineInfo
from l1dflush.vmentry.lab.routine_accesses import RoutineAccesses
from l1dflush.vmentry.lab.scenario import Scenario
from l1dflush.vmentry.lab.script import Accesses, Step
from l1dflush.vmentry.lab.worst import Worst

Line = tuple[str, int]

# What sets which flag; everything else sets none.
OF_VCPU = {"run", "scheduled-in", "page-fault", "emulation", "guest-write", "nested-entry"}
OF_CPU = {"interrupt"}
AUTO = {"off": "never", "full": "always", "full,force": "always"}


class PlainL1d:
    """Sets as lists of lines, on the plain policies."""

    def __init__(self, policy: str, geometry: Geometry) -> None:
        self.policy = get_policy(policy, geometry.ways)
        self.states: list[State] = [self.policy.empty()] * geometry.sets
        self.sets: list[list[Line | None]] = [[None] * geometry.ways for _ in range(geometry.sets)]

    def access(self, line: Line) -> None:
        index = line[1] % len(self.sets)
        ways = self.sets[index]
        if line in ways:
            self.states[index] = self.policy.hit(self.states[index], ways.index(line))
            return
        invalid = [way for way, there in enumerate(ways) if there is None]
        state = self.states[index]
        choices = self.policy.fills(state, self.policy.invalid_way(invalid)) if invalid else self.policy.misses(state)
        (choice,) = choices
        ways[choice.way], self.states[index] = line, choice.state

    def invalidate(self, line: Line) -> None:
        ways = self.sets[line[1] % len(self.sets)]
        if line in ways:
            ways[ways.index(line)] = None

    def flush(self) -> None:
        self.sets = [[None] * len(ways) for ways in self.sets]

    def held(self) -> set[Line]:
        return {line for line in chain.from_iterable(self.sets) if line is not None}


@dataclass
class PlainLab:
    """``leaks``: per entry whether it was flushed, the secret lines that were there, and those of the sibling."""

    scenario: Scenario
    policy: str
    geometry: Geometry
    routine: RoutineAccesses
    mode: str
    smt: bool = False
    ept: bool = True
    command: bool = False
    worst: Worst | None = None
    leaks: list[tuple[bool, set[Line], set[Line]]] = field(default_factory=list)

    def run(self) -> list[tuple[bool, int, int]]:
        file = self.scenario.file
        self.l1d = PlainL1d(self.policy, self.geometry)
        self.random = np.random.default_rng(file.seed)
        self.secrets = [name for name, block in file.memory.items() if block.secret]
        self.flags: set[str] = set()
        self.buffer_pages = 0
        self.merged = False
        self.doing = "nothing"
        self.late: list[Line] = []
        self.beside: list[Line] = []
        self.set_mode(self.mode)
        self.play(self.scenario.steps)
        readable = file.machine.bug and self.ept
        return [(done, len(there), len(more)) if readable else (done, 0, 0) for done, there, more in self.leaks]

    def set_mode(self, wanted: str) -> None:
        file = self.scenario.file
        if not file.machine.bug or not self.ept or file.machine.flush_not_required:
            return
        if wanted == "auto":
            wanted = AUTO.get(file.flush.boot.value, "cond")
        elif file.flush.boot.value == "full,force":
            wanted = "always"
        if wanted != "never" and not self.command and not self.buffer_pages:
            self.buffer_pages = 1
            while self.buffer_pages < self.routine.buffer_pages:
                self.buffer_pages *= 2
            self.merged = file.machine.below_merges and not file.flush.initialised
            if file.flush.initialised:
                # Set-up writes every page, which brings its lines in.
                self.access(("buffer", line) for line in range(64 * self.buffer_pages))
        self.doing = wanted

    def access(self, lines: Iterable[Line]) -> None:
        for line in lines:
            self.l1d.access(self.where(line))

    def where(self, line: Line) -> Line:
        """The buffer's pages are one page if somebody below has merged them."""
        return ("buffer", line[1] % 64) if self.merged and line[0] == "buffer" else line

    def play(self, steps: Sequence[Step]) -> None:
        for step in steps:
            if step.verb == "repeat":
                for _ in range(step.times):
                    self.play(step.steps)
            elif step.verb == "enter":
                self.enter()
            elif step.verb == "event":
                self.flags |= {step.word} & (OF_VCPU | OF_CPU)
            elif step.verb == "write":
                self.set_mode(step.word)
            elif step.verb == "worst":
                self.drive()
            else:
                assert step.accesses is not None
                lines = list(self.lines(step.accesses, step.verb == "replay"))
                if step.verb in ("touch", "replay"):
                    self.access(lines)
                elif step.verb == "invalidate":
                    for line in lines:
                        self.l1d.invalidate(self.where(line))
                elif step.verb == "nmi":
                    self.late += map(self.where, lines)
                else:
                    assert step.verb == "sibling"
                    self.beside += map(self.where, lines)

    def lines(self, of: Accesses, replayed: bool) -> Iterator[Line]:
        name = of.memory
        if name == "buffer":
            there = 64 * self.buffer_pages
            if not there:
                return
        else:
            there = -(-self.scenario.sizes[name] // 64)
        if replayed:
            chosen = [int(offset) // 64 for offset in self.scenario.traces[name]]
        elif of.count is not None:
            chosen = self.random.integers(there, size=of.count).tolist()
        elif of.first is not None:
            assert of.last is not None
            chosen = [line for line in range(of.first, of.last + 1) if line < there]
        else:
            chosen = list(range(there))
        yield from ((name, line) for line in chosen)

    def enter(self) -> None:
        file = self.scenario.file
        in_list = file.machine.load_list and self.command and self.doing == "always"
        if in_list:
            self.access(self.late)
        flushed = self.doing == "always" or (self.doing == "cond" and bool(self.flags))
        if self.doing == "cond":
            self.flags = set()
        if flushed and self.command:
            self.l1d.flush()
        elif flushed:
            names = ["buffer", *self.routine.own]
            for place, line in zip(self.routine.place.tolist(), self.routine.line.tolist(), strict=True):
                self.access([(names[place + 1], line)])
        if file.machine.below_flushes:
            self.l1d.flush()
        if not in_list:
            self.access(self.late)
        there = {line for line in self.l1d.held() if line[0] in self.secrets}
        more: set[Line] = set()
        if self.smt:
            self.access(self.beside)
            more = {line for line in self.beside if line[0] in self.secrets} - there
        self.leaks.append((flushed, there, more))
        self.late, self.beside = [], []

    def drive(self) -> None:
        """The drive in all 64 sets at once, or random work."""
        if self.worst is None:
            for name, size in self.scenario.sizes.items():
                whole_pages = -(-size // 4096) * 64
                for line in self.random.integers(whole_pages, size=2000 // len(self.scenario.sizes)).tolist():
                    self.access([(name, line)])
            return
        secret = next(name for name in self.secrets if -(-self.scenario.sizes[name] // 4096) >= self.worst.drive.lines)
        for act in self.worst.drive.acts:
            for line in self.acted(secret, act.line, self.worst.mine.get(act.line)):
                if act.flush:
                    self.l1d.invalidate(line)
                else:
                    self.l1d.access(line)

    def acted(self, secret: str, number: int, mine: LineInfo | None) -> Iterator[Line]:
        assert self.worst is not None
        if mine is None:
            yield from ((secret, 64 * number + index) for index in range(64))
            return
        assert mine.offset is not None
        if str(mine.region) == "buffer":
            first = mine.offset // 64 - self.worst.set_index
            yield from (("buffer", line) for line in range(first, first + 64) if 0 <= line < 64 * self.buffer_pages)
            return
        name = str(mine.region)
        own = self.routine.own.index(name)
        yield name, (mine.offset - self.routine.own_lowest[own]) // 64
