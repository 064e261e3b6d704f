# SPDX-License-Identifier: GPL-2.0-or-later
"""What the user asks, besides the routine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from l1dflush.arguments import DEFAULT_MEMORY
from l1dflush.cache.geometry import Geometry
from l1dflush.cache.policies import Policy
from l1dflush.proof.conditions import DEFAULT, Conditions
from l1dflush.routine import built_in
from l1dflush.routine.options import LoadOptions, as_configured
from l1dflush.severity import Severity
from l1dflush.tracing.options import TraceOptions


@dataclass(frozen=True, slots=True)
class VerifyOptions:
    """Options of ``l1dflush verify``; ``trace`` uses those that concern the input.

    ``policy``, a name or a machine, goes with ``geometry`` and excludes ``cpus``; a geometry without a policy is a
    cache whose policy is unknown. Sizes are in bytes. ``memory`` is the
    prover's.
    """

    function: str | None = None
    defines: Mapping[str, str] = field(default_factory=dict)
    undefines: frozenset[str] = frozenset()
    optimize: str = "2"
    bind: Mapping[str, str] = field(default_factory=dict)
    static_keys: Mapping[str, bool] = field(default_factory=dict)
    buffer_size: int | None = None
    cpus: tuple[str, ...] = ()
    cpu_folders: tuple[Path, ...] = ()
    policy: str | Policy | None = None
    geometry: Geometry | None = None
    every_cpu: bool = False
    every_path: bool = False
    fail_on: Severity | None = None
    start: str | None = None
    until: tuple[str, ...] = ()
    # Functions that are run before the routine.
    run_first: tuple[str, ...] = ()
    max_paths: int = 64
    max_seconds: float = 10.0
    max_instructions: int = 100_000_000
    memory: int = DEFAULT_MEMORY
    conditions: Conditions = DEFAULT
    # Whether rows that do not decide have a counterexample, too: finding it may take longer than the proof.
    all_examples: bool = True
    # Sources of the routines that take their turn with the first one, for a steady start.
    then: tuple[str, ...] = ()

    def load_options(self) -> LoadOptions:
        """The part that concerns reading the input."""
        defines, undefines = as_configured(self.defines, self.undefines)
        return LoadOptions(self.function, defines, undefines, self.optimize, self.start, self.until, self.run_first)

    def trace_options(self) -> TraceOptions:
        """The part that concerns running it."""
        return TraceOptions(self.bind, self.static_keys, self.max_instructions, self.max_seconds, self.max_paths)

    def on_what_it_is_for(self, cpu: str | None) -> VerifyOptions:
        """The same question about ``cpu``, where nobody said about which and the routine is for that one."""
        asked = self.cpus or self.geometry is not None or self.every_cpu
        return self if asked or cpu is None else replace(self, cpus=(cpu,))

    def unoptimised(self) -> VerifyOptions:
        """The same question for C compiled at -O0."""
        return replace(self, optimize="0")

    def defining(self, defines: Mapping[str, str]) -> VerifyOptions:
        """The same question with more names defined."""
        return replace(self, defines={**self.defines, **defines})

    def for_other(self, sources: Sequence[str]) -> VerifyOptions:
        """The same question about another routine: a built-in one has no functions that one could be picked from."""
        return replace(self, function=None, run_first=()) if set(sources) <= set(built_in.names()) else self
