"""What the flush in software that a host's kernel would use is worth on that host's L1D: the proof."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from l1dflush.cache.cpus import Cpu
from l1dflush.data.catalogue import load_catalogue
from l1dflush.errors import UndecidedError
from l1dflush.host.reading.host_facts import HostFacts
from l1dflush.isolation.judged import verify
from l1dflush.verdict.model import RoutineInfo, Row, Verdict
from l1dflush.verdict.options import VerifyOptions

BUILT_IN = "linux-4.18"
"""The walk that Linux has had unchanged since August 2018."""

Waiting = Callable[[str], AbstractContextManager[None]]


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


def flush_worth(
    host: HostFacts, *, module: Path | None = None, folders: Sequence[Path] = (), waiting: Waiting | None = None
) -> FlushWorth:
    """``module``: a kvm-intel.ko whose flush is meant, else Linux's as the package describes it. ``folders``: more CPU
    files. ``waiting``: entered while it takes, with what it does. Raises InputError for a module or CPU files that
    cannot be used."""
    shape, said = host.cpu.l1d, host.cpu.signature.value
    cpus: list[Cpu] = []
    if said is not None:
        found = load_catalogue(folders).find(said.vendor, said.family, said.model, said.stepping)
        # A virtual machine may have any L1D; then nobody knows the policy.
        cpus = [cpu for cpu in found if shape.value is None or cpu.geometry == shape.value]
    if cpus:
        return worth_on(cpus, module=module, folders=folders, waiting=waiting)
    title = said.model_name if said else ""
    if shape.value is None:
        reason = f"the L1D is unknown: {shape.origin}: {shape.why}"
        return FlushWorth(Verdict.UNDECIDED, _source(module), title, reason=reason)
    return _proved(VerifyOptions(geometry=shape.value), title, module, waiting)


def worth_on(
    cpus: Sequence[Cpu], *, module: Path | None = None, folders: Sequence[Path] = (), waiting: Waiting | None = None
) -> FlushWorth:
    """The same for CPUs of the catalogue, one of which it is."""
    title = " or ".join(cpu.title for cpu in cpus)
    options = VerifyOptions(cpus=tuple(cpu.name for cpu in cpus), cpu_folders=tuple(folders))
    return _proved(options, title, module, waiting)


def _proved(options: VerifyOptions, title: str, module: Path | None, waiting: Waiting | None) -> FlushWorth:
    source = _source(module)
    try:
        while_it_takes = None if waiting is None else waiting(f"proving the flush of {source} ...")
        result = verify((source,), options, waiting=while_it_takes)
    except UndecidedError as error:
        return FlushWorth(Verdict.UNDECIDED, source, title, reason=str(error))
    return FlushWorth(result.verdict, source, title, result.routine, result.rows, result.reason)


def _source(module: Path | None) -> str:
    return BUILT_IN if module is None else str(module)
