# SPDX-License-Identifier: GPL-2.0-or-later
"""A scenario played on the model machine: entry by entry, and for every combination of what may be otherwise."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from l1dflush.vmentry.lab.machine import Addresses, Below, Hardware, Leak, Machine, pages_of
from l1dflush.vmentry.lab.memory import HOST, SECRET
from l1dflush.vmentry.lab.routine_accesses import RoutineAccesses
from l1dflush.vmentry.lab.scenario import Scenario, lines_of
from l1dflush.vmentry.lab.script import BUFFER_NAME, Accesses, Step
from l1dflush.vmentry.lab.worst import Worst
from l1dflush.vmentry.subsystem import CpuFacts, Event, Mode

# What random work does in the place of a counterexample: a few times as many lines as an L1D has.
_RANDOM_LINES = 2000


@dataclass(frozen=True, slots=True)
class Setting:
    """What is played: everything that the sum is made over."""

    mode: Mode
    routine: str
    cpu: str
    smt: bool
    ept: bool
    command: bool = False


@dataclass(slots=True)
class Played:
    """What came of it. ``leaks``: one per entry; ``accesses``: on the model in all."""

    setting: Setting
    leaks: list[Leak] = field(default_factory=list)
    accesses: int = 0
    mode_at_end: Mode = Mode.AUTO

    @property
    def entries(self) -> int:
        """How many VM entries there were."""
        return len(self.leaks)

    @property
    def flushes(self) -> int:
        """How many of them the subsystem flushed before."""
        return sum(leak.flushed for leak in self.leaks)

    @property
    def secret_bytes(self) -> int:
        """What the guest read in all, counted at every entry anew."""
        return sum(leak.secret_bytes for leak in self.leaks)


class Play:
    """One run of a scenario on one machine."""

    def __init__(self, scenario: Scenario, machine: Machine, setting: Setting, worst: Worst | None) -> None:
        self._machine = machine
        self._scenario = scenario
        self._worst = worst
        self._numbers = np.random.default_rng(scenario.file.seed)
        self._blocks = {
            name: machine.memory.allocate(name, pages_of(size), SECRET if scenario.file.memory[name].secret else HOST)
            for name, size in scenario.sizes.items()
        }
        self._late: list[Addresses] = []
        self._sibling: list[Addresses] = []
        self._played = Played(setting)
        machine.load(setting.mode, scenario.file.flush.boot)

    def run(self) -> Played:
        """All steps."""
        self._steps(self._scenario.steps)
        played, machine = self._played, self._machine
        played.accesses = machine.accesses
        played.mode_at_end = machine.subsystem.mode
        return played

    def _steps(self, steps: Sequence[Step]) -> None:
        for step in steps:
            match step.verb:
                case "repeat":
                    for _ in range(step.times):
                        self._steps(step.steps)
                case "enter":
                    leak = self._machine.enter(_together(self._late), _together(self._sibling))
                    self._played.leaks.append(leak)
                    self._late, self._sibling = [], []
                case "event":
                    self._machine.happened(Event(step.word))
                case "write":
                    self._machine.subsystem.write(step.word)
                case "worst":
                    self._from_worst()
                case "touch" | "replay" | "invalidate" | "nmi" | "sibling":
                    self._accesses(step)

    def _from_worst(self) -> None:
        """The accesses of the counterexample; without one, random work on all that there is in their place."""
        if self._worst is not None:
            self._worst.act(self._machine, self._blocks)
            return
        blocks = list(self._blocks.values())
        for block in blocks:
            chosen = self._numbers.integers(block.lines, size=_RANDOM_LINES // len(blocks))
            self._machine.touch(block.line_addresses(chosen))

    def _accesses(self, step: Step) -> None:
        assert step.accesses is not None
        addresses = self._addresses(step.accesses, step.verb == "replay")
        match step.verb:
            case "touch" | "replay":
                self._machine.touch(addresses)
            case "invalidate":
                self._machine.invalidate(addresses)
            case "nmi":
                self._late.append(addresses)
            case "sibling":
                self._sibling.append(addresses)

    def _addresses(self, of: Accesses, replayed: bool) -> Addresses:
        block = self._machine.subsystem.buffer if of.memory == BUFFER_NAME else self._blocks[of.memory]
        if block is None:
            # There is no buffer in this mode, so nothing can be done with it.
            return np.empty(0, dtype=np.uint64)
        if replayed:
            return block.addresses(self._scenario.traces[of.memory])
        size = self._scenario.sizes.get(of.memory)
        lines = block.lines if size is None else lines_of(size)
        chosen: NDArray[np.int64]
        if of.count is not None:
            chosen = self._numbers.integers(lines, size=of.count)
        elif of.first is not None and of.last is not None:
            chosen = np.arange(of.first, min(of.last + 1, lines))
        else:
            chosen = np.arange(lines)
        return block.line_addresses(chosen)


def _together(parts: list[Addresses]) -> Addresses | None:
    return np.concatenate(parts) if parts else None


def own_setting(scenario: Scenario, cpu: str) -> Setting:
    """The scenario as it is written, on the CPU of that name."""
    file, machine = scenario.file, scenario.file.machine
    return Setting(file.flush.mode, file.flush.routine, cpu, machine.smt, machine.ept, machine.command)


def settings(own: Setting, routines: Sequence[str], cpus: Sequence[str]) -> Iterator[Setting]:
    """Every combination, ``own`` first. Where the CPU has the command no routine is read, so there is only one."""
    yield own
    for cpu in dict.fromkeys(cpus):
        for routine in (own.routine,) if own.command else dict.fromkeys(routines):
            for ept in (True, False):
                for smt in (False, True):
                    for mode in (Mode.NEVER, Mode.COND, Mode.ALWAYS):
                        other = replace(own, mode=mode, routine=routine, cpu=cpu, smt=smt, ept=ept)
                        if other != own:
                            yield other


def play(
    scenario: Scenario, setting: Setting, hardware: Hardware, routine: RoutineAccesses, worst: Worst | None
) -> Played:
    """One run. Raises InputError if there is not enough memory, and as :meth:`Worst.act`."""
    file = scenario.file.machine
    facts = CpuFacts(file.bug, setting.command, setting.ept, file.flush_not_required)
    machine = Machine(
        replace(hardware, facts=facts, smt=setting.smt, seed=scenario.file.seed),
        routine,
        Below(file.below_merges, file.below_flushes),
        scenario.file.flush.initialised,
        file.load_list,
    )
    return Play(scenario, machine, setting, worst).run()
