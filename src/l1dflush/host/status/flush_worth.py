# SPDX-License-Identifier: GPL-2.0-or-later
"""What the flush in software that a host's kernel would use is worth on that host's L1D: the proof."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from l1dflush.cache.cpus import Cpu
from l1dflush.data.catalogue import load_catalogue
from l1dflush.ending import Verdict
from l1dflush.errors import InputError, UndecidedError
from l1dflush.host.reading.host_facts import HostFacts
from l1dflush.sandbox.judged import Working, verify
from l1dflush.verdict.options import VerifyOptions
from l1dflush.verdict.verify_result import RoutineInfo, Row

BUILT_IN = "linux-4.18"
"""The walk that Linux has had unchanged since August 2018."""


@dataclass(frozen=True, slots=True)
class FlushWorth:
    """``routine``: what was proved; None where there was nothing to prove it on. ``source``: where it is from.
    ``cpu``: whose L1D. ``rows`` as in a result of ``l1dflush verify``. ``reason``: one line, may be empty."""

    verdict: Verdict
    source: str
    cpu: str
    routine: RoutineInfo | None = None
    rows: tuple[Row, ...] = ()
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Flush:
    """Whose flush is proved: of a module that somebody named; else of the one that is ``shipped`` with the kernel, if
    it can be followed; else Linux's as the package describes it. ``folders``: more CPU files. ``waiting``: entered
    while it takes, with what it does."""

    module: Path | None = None
    shipped: Path | None = None
    folders: Sequence[Path] = ()
    waiting: Working | None = None

    def worth(self, host: HostFacts) -> FlushWorth:
        """What it is worth on the L1D of ``host``. Raises InputError for a module that was named, or CPU files, that
        cannot be used."""
        shape, said = host.cpu.l1d, host.cpu.signature.value
        cpus: list[Cpu] = []
        if said is not None:
            found = load_catalogue(self.folders).find(said.vendor, said.family, said.model, said.stepping)
            # A virtual machine may have any L1D; then nobody knows the policy.
            cpus = [cpu for cpu in found if shape.value is None or cpu.geometry == shape.value]
        if cpus:
            return self.worth_on(cpus)
        title = said.model_name if said else ""
        if shape.value is None:
            reason = f"the L1D is unknown: {shape.origin}: {shape.why}"
            return FlushWorth(Verdict.UNDECIDED, str(self.module or BUILT_IN), title, reason=reason)
        return self._proved(VerifyOptions(geometry=shape.value), title)

    def worth_on(self, cpus: Sequence[Cpu]) -> FlushWorth:
        """The same for CPUs of the catalogue, one of which it is."""
        title = " or ".join(cpu.title for cpu in cpus)
        return self._proved(VerifyOptions(cpus=tuple(cpu.name for cpu in cpus), cpu_folders=tuple(self.folders)), title)

    def _proved(self, options: VerifyOptions, title: str) -> FlushWorth:
        if self.module is not None:
            return self._run(str(self.module), options, title)
        if self.shipped is None:
            return self._run(BUILT_IN, options, title)
        try:
            shipped = self._run(str(self.shipped), options, title)
        except InputError as error:
            shipped = FlushWorth(Verdict.UNDECIDED, str(self.shipped), title, reason=str(error))
        if shipped.routine is not None and shipped.rows:
            return shipped
        built_in = self._run(BUILT_IN, options, title)
        reason = f"{self.shipped} could not be followed ({shipped.reason}), so this is Linux's flush as built in"
        return replace(built_in, reason="; ".join(filter(None, (built_in.reason, reason))))

    def _run(self, source: str, options: VerifyOptions, title: str) -> FlushWorth:
        try:
            waiting = None if self.waiting is None else self.waiting(f"proving the flush of {source} ...")
            result = verify((source,), options, waiting=waiting)
        except UndecidedError as error:
            return FlushWorth(Verdict.UNDECIDED, source, title, reason=str(error))
        # Words are a result's own.
        rows = tuple(row.model_copy(update={"sets": ()}) for row in result.rows)
        return FlushWorth(result.verdict, source, title, result.routine, rows, result.reason)
