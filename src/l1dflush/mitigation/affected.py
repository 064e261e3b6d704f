# SPDX-License-Identifier: GPL-2.0-or-later
"""Who has the bug, and how wide its L1D's addresses are: what the kernel works out from CPUID before anything else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from l1dflush.mitigation.facts import RDCL_NO, Cpu, Kernel, Limits, Vendor

WIDE_BITS = 44
"""What the L1D of the CPUs in ``wide_cache`` uses at least."""
_WIDE_LIMIT = {(4, 9): 125, (4, 14): 68, (4, 18): 6}
"""Stable versions with 'x86/speculation/l1tf: Increase l1tf memory limit for Nehalem+' (cc51e5428ea5 of 24 August 2018,
so 4.19): read in the stable queue's lists of releases. When 4.4.y took it was not found;
:mod:`l1dflush.host.status.worlds` tries both."""
_LIMIT_SET = {(4, 9): 231, (4, 14): 189}
"""Stable versions with 'x86/cpu: Move x86_cache_bits settings' (July 2020, by mail, and in the stable queue's lists of
releases): the two branches had put the line that sets the bits where only CPUs without CPUID come by."""


@dataclass(frozen=True, slots=True)
class Entry:
    """CPUs of one vendor, family and some models; None: any."""

    source: str
    vendor: Vendor | None = None
    family: int | None = None
    models: frozenset[int] | None = None
    since: tuple[int, int] = (0, 0)

    def has(self, cpu: Cpu, kernel: Kernel) -> bool:
        """Whether this kernel counts this CPU to it."""
        return (
            kernel.since(*self.since)
            and self.vendor in (None, cpu.vendor)
            and self.family in (None, cpu.family)
            and (self.models is None or cpu.model in self.models)
        )


@dataclass(frozen=True, slots=True)
class Lists:
    """The kernel's lists; :func:`l1dflush.data.l1tf_cpus.lists` has them."""

    no_speculation: tuple[Entry, ...]
    no_l1tf: tuple[Entry, ...]
    wide_cache: tuple[Entry, ...]

    @classmethod
    def parse(cls, tables: Mapping[str, Sequence[Mapping[str, Any]]]) -> Lists:
        """From the tables of the data file; whatever is not in its form raises KeyError, TypeError or ValueError."""
        return cls(**{name: tuple(_entry(table) for table in tables[name]) for name in cls.__slots__})


@dataclass(frozen=True, slots=True)
class Affected:
    """``bug``: the kernel gives the flag; ``why`` and ``source`` say what decided."""

    bug: bool
    why: str
    source: str


def affected(cpu: Cpu, kernel: Kernel, lists: Lists) -> Affected:
    """Whether ``kernel`` gives ``cpu`` the flag; ``cpu.bug`` is not looked at."""
    for entry in lists.no_speculation:
        if entry.has(cpu, kernel):
            return Affected(False, "does not speculate", entry.source)
    for entry in lists.no_l1tf:
        if entry.has(cpu, kernel) and entry.family is None:
            return Affected(False, "of a vendor without Meltdown", entry.source)
    if cpu.arch_capabilities & RDCL_NO:
        return Affected(False, "ARCH_CAPABILITIES has RDCL_NO", "observed in 6.1.192")
    for entry in lists.no_l1tf:
        if entry.has(cpu, kernel):
            return Affected(False, "in the kernel's list of CPUs without it", entry.source)
    return Affected(True, "in no list of CPUs without it", "common.c: unknown models have the bug")


def identified(cpu: Cpu, kernel: Kernel, lists: Lists) -> Cpu:
    """``cpu`` with ``bug`` and ``limit_bits`` as ``kernel`` works them out, and its ``cache_bits``."""
    wide = any(entry.has(cpu, kernel) for entry in lists.wide_cache)
    bits = max(cpu.address_bits, WIDE_BITS) if wide else cpu.address_bits
    taken = {Limits.ADDRESS_BITS: cpu.address_bits, Limits.CACHE_BITS: bits}.get(limits(kernel), bits if wide else 0)
    return replace(
        cpu,
        bug=affected(cpu, kernel, lists).bug,
        cache_bits=bits,
        limit_bits=None if taken == bits else taken,
    )


def limits(kernel: Kernel) -> Limits:
    """How ``kernel`` works out the limit, decided by its version where nothing else says so."""
    if kernel.limits is not Limits.BY_VERSION:
        return kernel.limits
    if not kernel.carries((4, 19), _WIDE_LIMIT):
        return Limits.ADDRESS_BITS
    set_since = _LIMIT_SET.get(kernel.version[:2], 0)
    return Limits.UNSET if kernel.version[2] < set_since and not kernel.hidden else Limits.CACHE_BITS


def _entry(table: Mapping[str, Any]) -> Entry:
    models = table.get("models")
    since = table.get("since", (0, 0))
    return Entry(
        source=table["source"],
        vendor=Vendor(table["vendor"]) if "vendor" in table else None,
        family=table.get("family"),
        models=None if models is None else frozenset(models),
        since=(int(since[0]), int(since[1])),
    )
