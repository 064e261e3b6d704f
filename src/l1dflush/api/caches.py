# SPDX-License-Identifier: GPL-2.0-or-later
"""Questions about caches, their policies and CPUs, without a routine."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from l1dflush import arguments
from l1dflush.arguments import in_python
from l1dflush.errors import InputError
from l1dflush.requests import routine as requests
from l1dflush.requests.routine import Names, PathLike

if TYPE_CHECKING:
    from l1dflush.cache.cpus import Catalogue, Cpu
    from l1dflush.cache.geometry import Geometry
    from l1dflush.cache.policies import Policy
    from l1dflush.planning.find import Goal
    from l1dflush.planning.model import PlanResult
    from l1dflush.planning.planned import Planned
    from l1dflush.proof.conditions import Start
    from l1dflush.proof.limits import Limits
    from l1dflush.verdict.policies_result import PolicyEntry
    from l1dflush.verdict.size.cells import Asked


@in_python()
def policy(name: PathLike, *, ways: int | None = None) -> Policy:
    """A replacement policy by name, or the machine that a file describes (Graphviz dot, or a table), at ``ways`` ways;
    without them at 4 if it exists there, else at the fewest. Raises InputError.

    >>> policy("tree-PLRU", ways=8).name
    'tree-PLRU'
    """
    return _policy(name, ways)


@in_python()
def needs(
    policy: PathLike | Policy,
    *,
    ways: int | None = None,
    start: str | Start | None = None,
    touches: int = 0,
    max_seconds: float | None = None,
    memory: int | str | None = None,
) -> int | None:
    """The fewest pairwise different accesses that empty a set, whatever it holds at the start; ``None`` where no number
    is enough. At a steady start: the fewest lines that do, when they are accessed in one order again and again.

    ``ways`` may be left out for a :func:`policy`. ``start``, ``touches``, ``max_seconds`` and ``memory`` as for
    :func:`verify`. Raises InputError, and UndecidedError where it is not known.

    >>> needs("tree-PLRU", ways=8), needs("FIFO", ways=8, start="cold"), needs("random", ways=8)
    (13, 8, None)
    """
    from l1dflush.proof import prover
    from l1dflush.proof.steady import least_lines

    found = _policy_at(policy, ways)
    about = requests.conditions(start, touches, found)
    limits = _limits(memory, max_seconds)
    if about.start.steady:
        return least_lines(found, found.ways, about.start, touches=touches, limits=limits)
    return prover.needs(found, found.ways, about, limits=limits)


@in_python()
def survivors(
    policy: PathLike | Policy,
    *,
    ways: int | None = None,
    start: str | Start | None = None,
    touches: int = 0,
    max_seconds: float | None = None,
    memory: int | str | None = None,
) -> tuple[int, ...]:
    """The most old lines of a set that are left after 0, 1, 2, ... pairwise different accesses, to the first 0 or, if
    there is none, until it provably repeats itself. Arguments and errors as for :func:`needs`, but no steady start.

    >>> survivors("LRU", ways=4, start="any")
    (4, 3, 2, 1, 0)
    """
    from l1dflush.proof import prover

    found = _policy_at(policy, ways)
    about = requests.conditions(start, touches, found)
    if about.start.steady:
        raise arguments.START.refused("a steady start has no survivors to count", "needs() has its answer, one number")
    return prover.survivors(found, found.ways, about, limits=_limits(memory, max_seconds))


@in_python()
def plan(
    *,
    cpu: str | None = None,
    policy: PathLike | Policy | None = None,
    geometry: str | Geometry | None = None,
    host: bool = False,
    start: str | Start | None = None,
    touches: int = 0,
    goal: Goal | str = "loads",
    cpu_folder: Names = None,
    max_seconds: float | None = None,
    memory: int | str | None = None,
) -> Plan:
    """The cheapest flush that is provably enough, for a CPU, for this machine (``host``), or for a ``geometry`` with a
    ``policy``. ``goal`` says what is to be small: loads, word or buffer. The rest, and errors, as for :func:`verify`.

    >>> found = plan(cpu="skylake", touches=0)
    >>> found.loads, "l1d_flush" in found.code("c")
    (832, True)
    """
    from l1dflush.planning.find import Goal
    from l1dflush.planning.planned import planned
    from l1dflush.requests.caches import one_cache

    limits = _limits(memory, max_seconds)
    wanted = arguments.one_of(arguments.Argument("goal"), goal, Goal)
    asked = one_cache(
        cpu=cpu, cpu_folder=cpu_folder, policy=policy, geometry=geometry, host=host, start=start, touches=touches
    )
    return Plan(planned(asked, wanted, limits, limits.part(0.5)), asked, limits)


@dataclass(frozen=True)
class Plan:
    """A flush that is enough: what :func:`plan` found."""

    _made: Planned
    _asked: Asked
    _limits: Limits

    @property
    def result(self) -> PlanResult:
        """All that is known of it, as a document."""
        return self._made.result

    @property
    def loads(self) -> int:
        """How many loads it makes; 0 where no number is enough."""
        return self.result.loads

    @property
    def word(self) -> tuple[int, ...]:
        """The lines that are read in every set, in order; empty where no number is enough."""
        return self.result.word

    @property
    def buffer_bytes(self) -> int:
        """The size of its buffer."""
        return self.result.buffer_bytes

    @in_python()
    def code(self, form: str = "c") -> str:
        """Its code, which is proved before: ``c``, ``asm``, ``kernel`` or ``bytes``.

        Raises InputError for a form that there is not, or that the CPU cannot have, and where no number of accesses is
        enough; UndecidedError where the code could not be proved.
        """
        from l1dflush.planning.form import Form
        from l1dflush.sandbox.proved_plan import EMIT, with_code

        wanted = arguments.one_of(EMIT, form, Form)
        if self._made.walk is None:
            raise EMIT.refused("no number of accesses is enough, so there is no code")
        return with_code(self._made, self._made.walk, self._asked, wanted, self._limits).code or ""

    def to_dict(self) -> dict[str, Any]:
        """The result as ``l1dflush plan --json`` has it."""
        return self.result.to_dict()

    def to_json(self) -> str:
        """The same as text."""
        return self.result.to_json()

    def _repr_html_(self) -> str | None:
        return self.result._repr_html_()


class Cpus(Mapping[str, "Cpu"]):
    """The CPUs that are known, by name; titles and aliases lead there, too, in any case."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue

    def __getitem__(self, name: str) -> Cpu:
        """Raises KeyError, with the names that come near."""
        try:
            return self._catalogue.get(name)
        except InputError as error:
            raise KeyError(str(error)) from None

    def __iter__(self) -> Iterator[str]:
        return (cpu.name for cpu in self._catalogue)

    def __len__(self) -> int:
        return len(self._catalogue)


@in_python()
def cpus(cpu_folder: Names = None) -> Cpus:
    """The CPUs that are known, with those of CPU files in ``cpu_folder``. Raises InputError.

    >>> cpus()["Ice Lake"].geometry.ways
    12
    """
    from l1dflush.data.catalogue import load_catalogue

    return Cpus(load_catalogue(arguments.folders(arguments.CPU_FOLDER, cpu_folder)))


@in_python()
def policies() -> Mapping[str, PolicyEntry]:
    """The replacement policies that have a name, with the numbers of ways at which they exist and their rule.

    >>> policies()["FIFO"].ways[:3]
    (1, 2, 3)
    """
    from l1dflush.verdict.policies_result import policy_list

    return {entry.name: entry for entry in policy_list().policies}


def _policy(name: PathLike | Policy, ways: int | None) -> Policy:
    from l1dflush.data.policy_files import policy_named

    if ways is not None:
        arguments.whole(arguments.WAYS, ways, 1, 16)
    if isinstance(name, str | os.PathLike) or not hasattr(name, "rule"):
        with arguments.about(arguments.POLICY):
            return policy_named(arguments.text(arguments.POLICY, name), ways)
    if ways is not None and ways != name.ways:
        raise arguments.WAYS.refused(f"{name.name} has {name.ways} ways here, not {ways}")
    return name


def _policy_at(policy: PathLike | Policy, ways: int | None) -> Policy:
    from l1dflush.cache.policy.machine import MachinePolicy

    found = _policy(policy, ways)
    named = isinstance(policy, str | os.PathLike)
    if ways is None and named and not isinstance(found, MachinePolicy):
        raise arguments.WAYS.refused("missing: of how many?", "1 to 16")
    return found


def _limits(memory: int | str | None, max_seconds: float | None) -> Limits:
    from l1dflush.proof.limits import Limits

    return Limits(arguments.memory(memory), arguments.seconds(max_seconds))
