# SPDX-License-Identifier: GPL-2.0-or-later
"""How much of the mitigation a host's kernel has: what its files show, and only what they leave open by its name."""

from __future__ import annotations

from l1dflush.host.reading.host_facts import HostFacts, MitigationSays
from l1dflush.mitigation.facts import Kernel
from l1dflush.mitigation.part import Part, parts
from l1dflush.mitigation.sysfs_text import Kind, read

PARTS = {
    Part.ALL: "the kernel has the whole mitigation of August 2018, the flush too",
    Part.INVERSION: "the kernel has PTE inversion and its KVM no flush, as upstream's 3.16.y and 4.4.y",
    Part.NOTHING: "the kernel has nothing against L1TF, as those from before August 2018",
}
"""What is assumed where nothing shows it."""
_NOBODY_KNOWS = (Part.ALL, Part.INVERSION, Part.NOTHING)


def kernel_parts(host: HostFacts, kernel: Kernel) -> tuple[Part, ...]:
    """What it may have, the likeliest first; ``kernel`` is what its name says."""
    likely = parts(kernel.version, host.kernel.release.value or "", host.kernel.version.value or "")
    if likely == (Part.NOTHING,) and not _genuine(host, kernel):
        likely = (Part.NOTHING, Part.INVERSION, Part.ALL)  # what it says is still the likeliest
    shown = _shown(host.mitigation, newer=kernel.since(4, 19))
    return tuple(part for part in likely if part in shown) or tuple(part for part in _NOBODY_KNOWS if part in shown)


def _shown(says: MitigationSays, *, newer: bool) -> frozenset[Part]:
    """What its files leave possible. ``newer``: it had the file about L1TF from the start, so that one that is missing
    was not copied."""
    reading = None if says.text.value is None else read(says.text.value)
    if says.has_parameter.value or says.parameter.known or (reading is not None and reading.mode is not None):
        return frozenset({Part.ALL})
    if reading is not None and reading.early:
        return frozenset({Part.INVERSION})
    found = set(Part)
    if says.has_parameter.value is False:
        found -= {Part.ALL}
    if reading is not None and reading.kind not in (Kind.UNKNOWN, Kind.POWER):
        found -= {Part.NOTHING}
    elif says.has_text.value is False and not newer:
        found &= {Part.NOTHING}
    return frozenset(found)


def _genuine(host: HostFacts, kernel: Kernel) -> bool:
    """Whether it shows that it is the Linux that it says it is.

    What only imitates one often says that it is an old one: its build does not begin with a number, or it forgets the
    bugs, which /proc/cpuinfo has since 3.17 ('x86/cpufeature: Add bug flags to /proc/cpuinfo').
    """
    built = host.kernel.version.value
    return (built is None or built.startswith("#")) and (host.cpu.bugs.known or not kernel.since(3, 17))
