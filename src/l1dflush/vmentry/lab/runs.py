# SPDX-License-Identifier: GPL-2.0-or-later
"""All runs of a scenario: as it is written, and for every combination of mode, routine, CPU, SMT and EPT."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TypeVar

from l1dflush import __version__
from l1dflush.arguments import DEFAULT_MEMORY
from l1dflush.cache.cpus import Cpu
from l1dflush.cache.policies import get_policy, is_defined, policy_unknown
from l1dflush.data.catalogue import load_catalogue
from l1dflush.ending import ExitStatus
from l1dflush.errors import InputError
from l1dflush.planning.emit import assembly
from l1dflush.planning.find import NeverError, find
from l1dflush.planning.walk import walk_of
from l1dflush.proof.conditions import DEFAULT
from l1dflush.proof.limits import Limits
from l1dflush.routine import built_in
from l1dflush.verdict.options import VerifyOptions
from l1dflush.verdict.verify_result import GeometryInfo
from l1dflush.vmentry.lab.machine import Hardware
from l1dflush.vmentry.lab.model import EntryInfo, LabResult, SettingInfo, SumInfo
from l1dflush.vmentry.lab.play import Played, Setting, own_setting, play, settings
from l1dflush.vmentry.lab.routine_accesses import NO_ACCESSES, RoutineAccesses, routine_accesses
from l1dflush.vmentry.lab.scenario import Scenario
from l1dflush.vmentry.lab.script import Step
from l1dflush.vmentry.lab.worst import Worst, worst_start

PLANNED = "planned"
COMMAND = "msr"
"""In the place of a routine: the plan for the CPU, and the CPU's own command."""
_SECONDS = 20.0

_Answer = TypeVar("_Answer")


@dataclass(frozen=True, slots=True)
class Over:
    """What the command line says instead of the file."""

    routines: tuple[str, ...] = ()
    cpus: tuple[str, ...] = ()
    folders: tuple[Path, ...] = ()
    matrix: bool = True


class Lab:
    """One scenario, with what was found out about its CPUs and routines."""

    def __init__(self, scenario: Scenario, over: Over) -> None:
        self.scenario = scenario
        self._over = over
        self._catalogue = load_catalogue(over.folders)
        self._routines: dict[tuple[str, str], RoutineAccesses] = {}
        self._worst: dict[tuple[str, str], Worst | str] = {}
        self._accesses = 0

    def result(self, working: Callable[[str], AbstractContextManager[None]]) -> LabResult:
        """Plays all of it; ``working`` is entered with a line of text meanwhile."""
        file, scenario = self.scenario.file, self.scenario
        cpus = tuple(self._cpu(name).name for name in self._over.cpus or file.matrix.cpus or (file.machine.cpu,))
        routines = self._over.routines or file.matrix.routines or (file.flush.routine,)
        asked = list(settings(own_setting(scenario, self._cpu(file.machine.cpu).name), routines, cpus))
        own, *others = asked if self._over.matrix else asked[:1]
        with working(f"playing {scenario.name} ..."):
            first = self._played(own)
            sums = [self._sum(own, first), *(self._sum(one, self._played(one)) for one in others)]
        entries = tuple(
            EntryInfo(number=number, flushed=leak.flushed, secret_lines=leak.secret_lines, by_sibling=leak.by_sibling)
            for number, leak in enumerate(first.leaks, 1)
        )
        return LabResult(
            tool_version=__version__,
            scenario=scenario.name,
            title=file.title,
            text=" ".join(file.text.split()),
            played=sums[0],
            entries=entries,
            sums=tuple(sums),
            accesses=self._accesses,
            exit_status=ExitStatus.FINE,
        )

    @cached_property
    def _drives(self) -> bool:
        return _has(self.scenario.steps, "worst")

    def _sum(self, setting: Setting, played: Played) -> SumInfo:
        cpu = self._cpu(setting.cpu)
        worst, random_work = "", None
        if self._drives:
            found = self._worst_of(setting)
            worst = found if isinstance(found, str) else "counterexample"
            random_work = self._played(setting, at_random=True).secret_bytes
        shape = cpu.geometry
        return SumInfo(
            setting=SettingInfo(
                cpu=cpu.name,
                policy=cpu.policy or "",
                l1tf_affected=cpu.l1tf_affected,
                geometry=GeometryInfo(size=shape.size, ways=shape.ways, sets=shape.sets, line=shape.line),
                routine=COMMAND if _commanded(setting) else setting.routine,
                mode=setting.mode,
                smt=setting.smt,
                ept=setting.ept,
            ),
            mode_at_end=played.mode_at_end,
            entries=played.entries,
            flushes=played.flushes,
            secret_bytes=played.secret_bytes,
            worst=worst,
            random_work_bytes=random_work,
        )

    def _played(self, setting: Setting, *, at_random: bool = False) -> Played:
        worst = None
        if self._drives and not at_random:
            found = self._worst_of(setting)
            worst = None if isinstance(found, str) else found
        if _commanded(setting):
            setting = replace(setting, command=True)
        played = play(self.scenario, setting, self._hardware(setting), self._routine(setting), worst)
        self._accesses += played.accesses
        return played

    def _hardware(self, setting: Setting) -> Hardware:
        cpu = self._cpu(setting.cpu)
        if cpu.policy is None or not is_defined(cpu.policy, cpu.geometry.ways):
            raise InputError(policy_unknown(cpu.title, cpu.policy), hint="a model needs one; choose another CPU")
        return Hardware(cpu.policy, cpu.geometry)

    def _cpu(self, name: str) -> Cpu:
        return self._catalogue.get(name)

    def _routine(self, setting: Setting) -> RoutineAccesses:
        if _commanded(setting):
            return NO_ACCESSES
        key = setting.routine, setting.cpu if setting.routine == PLANNED else ""
        if key not in self._routines:
            self._routines[key] = self._with_source(setting, routine_accesses)
        return self._routines[key]

    def _worst_of(self, setting: Setting) -> Worst | str:
        if _commanded(setting):
            return "the command leaves nothing"
        key = setting.routine, setting.cpu
        if key not in self._worst:
            hardware = self._hardware(setting)
            self._worst[key] = self._with_source(setting, lambda source, asked: worst_start(source, asked, hardware))
        return self._worst[key]

    def _with_source(self, setting: Setting, ask: Callable[[str, VerifyOptions], _Answer]) -> _Answer:
        """Asks about the routine of a setting, wherever it comes from."""
        bind = dict(self.scenario.file.flush.bind)
        if setting.routine == PLANNED:
            with tempfile.TemporaryDirectory(prefix="l1dflush-") as folder:
                path = Path(folder) / "planned.s"
                path.write_text(self._planned(setting), encoding="ascii", errors="replace")
                return ask(str(path), VerifyOptions(bind={"rdi": "buffer"}))
        if setting.routine in built_in.names():
            return ask(setting.routine, VerifyOptions())
        file = self.scenario.file
        # What the command line names lies where that was typed, what the file names lies beside the file.
        of_file = setting.routine in (file.flush.routine, *file.matrix.routines)
        source = self.scenario.folder / setting.routine if of_file else Path(setting.routine)
        return ask(str(source), VerifyOptions(bind=bind))

    def _planned(self, setting: Setting) -> str:
        hardware = self._hardware(setting)
        policy = get_policy(hardware.policy, hardware.geometry.ways)
        try:
            found = find(policy, hardware.geometry, DEFAULT, limits=Limits(DEFAULT_MEMORY, _SECONDS))
        except NeverError as error:
            raise InputError(f"there is no plan: {error}", where=setting.cpu) from None
        return assembly(walk_of(found.word, hardware.geometry), "planned", [])


def _commanded(setting: Setting) -> bool:
    """Whether the CPU's own command flushes, so that no routine is read."""
    return setting.command or setting.routine == COMMAND


def _has(steps: Sequence[Step], verb: str) -> bool:
    return any(step.verb == verb or _has(step.steps, verb) for step in steps)
