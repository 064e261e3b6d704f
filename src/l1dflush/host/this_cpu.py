# SPDX-License-Identifier: GPL-2.0-or-later
"""This machine's L1D, and what the catalogue says about the CPU that it is in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from l1dflush.cache.cpus import Cpu
from l1dflush.cache.geometry import Geometry
from l1dflush.data.catalogue import load_catalogue
from l1dflush.host.l1d import CACHES, CPUINFO, l1d_geometry, signature


@dataclass(frozen=True, slots=True)
class ThisCpu:
    """The L1D of the first CPU, and the CPUs of the catalogue with its signature and this L1D: none if it is not
    known, several where a signature stands for more than one product."""

    geometry: Geometry
    title: str
    cpus: tuple[Cpu, ...] = ()

    @property
    def policy(self) -> str | None:
        """The replacement policy, if the catalogue knows one for certain CPUs that agree; else None."""
        known = {cpu.policy for cpu in self.cpus}
        return known.pop() if len(known) == 1 else None

    @property
    def certainty(self) -> str:
        """How the catalogue knows: ``measured``, ``inferred`` and so on; empty if it does not."""
        return ", ".join(dict.fromkeys(cpu.policy_certainty.value for cpu in self.cpus))


def this_cpu(folders: Sequence[Path] = (), caches: Path = CACHES, cpuinfo: Path = CPUINFO) -> ThisCpu:
    """What the kernel and the catalogue (with the CPU files in ``folders``) say.

    Raises InputError where the kernel does not describe the L1D, and for CPU files that cannot be used.
    """
    catalogue = load_catalogue(folders)
    shape, said = l1d_geometry(caches), signature(cpuinfo)
    if said is None:
        return ThisCpu(shape, "")
    found = catalogue.find(said.vendor, said.family, said.model, said.stepping)
    # Of hybrids the one with this cache; a virtual machine may say anything.
    found = [cpu for cpu in found if cpu.geometry == shape]
    title = " or ".join(cpu.title for cpu in found) or f"{said.vendor} family {said.family} model {said.model}"
    return ThisCpu(shape, title, tuple(found))
