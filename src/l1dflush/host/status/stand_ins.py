# SPDX-License-Identifier: GPL-2.0-or-later
"""What stands for a CPU and a kernel of which nobody knows what they are: one of each kind that decides otherwise.

So the same decision is asked, and everything that was read can contradict what the kernel says of itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from l1dflush.errors import InputError
from l1dflush.host.l1d import Signature
from l1dflush.host.reading.fact import Fact
from l1dflush.host.reading.host_facts import HostFacts
from l1dflush.mitigation.facts import Kernel, Vendor
from l1dflush.mitigation.part import Version

CPUS = (
    (
        Signature(Vendor.INTEL, 6, 0x3C, 3, ""),
        "the CPU is of the list whose L1D uses 44 bits, as Haswell",
    ),
    (Signature(Vendor.INTEL, 6, 0x4F, 1, ""), "the CPU is outside the list whose L1D uses 44 bits, as Broadwell-EP"),
    (Signature(Vendor.INTEL, 6, 0x4D, 8, ""), "the CPU is of the list of those without L1TF, as Avoton"),
)

_OLD = "4.9.0-1"
"""Of a number that distributions kept: it may have any part of the mitigation, and any limit for RAM."""
_STABLE = ((4, 9, 120), (4, 14, 86), (4, 14, 92), (4, 14, 99), (4, 9, 176))
"""As old ones that took over fewer of the later changes (:meth:`.facts.Kernel.carries`): one for each set of these that
a stable version has. Which limit they have is not a question of their numbers, as they stand for others'."""
_EPT_LATE = (6, 1, 20)
"""The first that sets the mode up before it looks whether there is EPT (:data:`l1dflush.mitigation.rules.EPT_UNKNOWN`);
later ones no longer do."""


def check_named(host: HostFacts) -> None:
    """Raises InputError where kernel or CPU are unknown, so that only what stands for them can be asked about."""
    release, signature = host.kernel.release, host.cpu.signature
    if release.value is None:
        raise InputError(f"the kernel's release is unknown: {release.why}", where=release.origin)
    Kernel.parse(release.value)
    if signature.value is None:
        raise InputError(f"the CPU is unknown: {signature.why}", where=signature.origin)


def release_known(host: HostFacts) -> bool:
    """Whether it is one."""
    try:
        Kernel.parse(host.kernel.release.value or "")
    except InputError:
        return False
    return True


def kernels(host: HostFacts, later: Sequence[Version]) -> list[Kernel]:
    """What the kernel may be, where its release is unknown: an old one, or of one of the versions in which a rule
    changed. What the boot line says is what these rules are about: where that is unknown too, two are enough."""
    if host.kernel.command_line.value is None:
        later = [version for version in later if version == (5, 4, 0)]
    old = Kernel.parse(_OLD)
    stable = [replace(old, version=version, hidden=False) for version in _STABLE]
    return [old, *stable, *(Kernel.parse(".".join(map(str, version))) for version in (*later, _EPT_LATE))]


def x86_alone(host: HostFacts) -> Fact[Any] | None:
    """Something that was read and that only an x86 kernel says; None where there is no such thing."""
    says, cpu = host.mitigation, host.cpu
    if cpu.signature.value is not None and cpu.signature.value.vendor in tuple(Vendor):
        return cpu.signature
    shown: list[Fact[Any]] = [fact for fact in (says.parameter, says.has_parameter, says.ept) if fact.known]
    shown += [says.loaded] if says.loaded.value else []
    shown += [cpu.bugs] if "l1tf" in (cpu.bugs.value or ()) else []
    return next(iter(shown), None)
