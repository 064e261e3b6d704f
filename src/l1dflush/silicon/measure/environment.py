# SPDX-License-Identifier: GPL-2.0-or-later
"""What a measurement was made on, and what may make it unstable."""

from __future__ import annotations

import os
import re
import resource
from dataclasses import dataclass
from pathlib import Path

from l1dflush.host.l1d import CPUINFO, signature
from l1dflush.silicon.measure.clock import Clock

_SMT = Path("/sys/devices/system/cpu/smt/active")
_STAT = Path("/proc/stat")
_SMAPS = Path("/proc/self/smaps")
_BUSY = 0.5
_MOVED_SHARE = 0.01
_STOLEN_SHARE = 0.01
_COARSE_TICKS = 8
_SWITCHES_PER_SECOND = 20


@dataclass(frozen=True, slots=True)
class Environment:
    """This machine and kernel. Texts are empty where nobody says it."""

    cpu_name: str
    microcode: str
    kernel: str
    hypervisor: bool
    smt: str
    governor: str
    load: float
    on_cpu: int
    huge_page: bool
    clock: Clock


@dataclass(frozen=True, slots=True)
class Counters:
    """What the kernel counted so far: switches of this thread against its will, and seconds that a hypervisor gave to
    others while this CPU had work."""

    switches: int
    stolen_seconds: float

    @classmethod
    def now(cls, cpu: int) -> Counters:
        """As of now."""
        usage = resource.getrusage(resource.RUSAGE_THREAD)
        return cls(usage.ru_nivcsw, _stolen(cpu))


def environment(cpu: int, clock: Clock, address: int) -> Environment:
    """As of now; ``address`` is that of the region."""
    said = signature()
    text = _read(CPUINFO)
    flags = re.search(r"^flags\s*:(.*)$", text, re.MULTILINE)
    microcode = re.search(r"^microcode\s*:\s*(\S+)", text, re.MULTILINE)
    governor = _read(Path(f"/sys/devices/system/cpu/cpu{cpu}/cpufreq/scaling_governor"))
    return Environment(
        cpu_name=said.model_name if said else "",
        microcode=microcode[1] if microcode else "",
        kernel=os.uname().release,
        hypervisor=flags is not None and "hypervisor" in flags[1].split(),
        smt={"0": "off", "1": "on"}.get(_read(_SMT).strip(), ""),
        governor=governor.strip(),
        load=os.getloadavg()[0],
        on_cpu=cpu,
        huge_page=_is_huge(address),
        clock=clock,
    )


def doubts(there: Environment, before: Counters, after: Counters, seconds: float, trials: int, moved: int) -> list[str]:
    """When and why a measurement may be unstable: a line each; empty if nothing speaks against it."""
    found = []
    if there.hypervisor:
        found.append("a virtual machine: the hypervisor may stop it at any time, and others may use the same core")
    if there.smt == "on":
        found.append("SMT is on: the sibling thread uses the same L1D")
    if there.governor and there.governor != "performance":
        found.append(f"the governor is {there.governor}: the core's clock changes with the load")
    processors = os.cpu_count() or 1
    if there.load > _BUSY * processors:
        found.append(f"load {there.load:.1f} on {processors} CPUs: others want to run as well")
    if there.clock.step > _COARSE_TICKS:
        found.append(f"the counter moves in steps of {there.clock.step} ticks: single loads cannot be told apart")
    if not there.huge_page:
        found.append("no huge page: page walks bring lines in that are nobody's")
    if trials and moved > _MOVED_SHARE * trials:
        found.append(f"{moved} of {trials} trials were dropped: the thread was moved to another CPU")
    if after.stolen_seconds - before.stolen_seconds > _STOLEN_SHARE * seconds:
        found.append(f"the hypervisor gave {after.stolen_seconds - before.stolen_seconds:.2f} s of it to others")
    if after.switches - before.switches > _SWITCHES_PER_SECOND * max(seconds, 1.0):
        found.append(f"the thread was interrupted by others {after.switches - before.switches} times")
    return found


def _is_huge(address: int) -> bool:
    """Whether the mapping at ``address`` has huge pages, as the kernel counts it (/proc/self/smaps, proc(5))."""
    inside = False
    for line in _read(_SMAPS).splitlines():
        if border := re.match(r"([0-9a-f]+)-([0-9a-f]+) ", line):
            inside = int(border[1], 16) <= address < int(border[2], 16)
        elif inside and line.startswith("AnonHugePages:"):
            return int(line.split()[1]) > 0
    return False


def _stolen(cpu: int) -> float:
    """The eighth figure of the CPU's line in /proc/stat (proc(5)), in seconds."""
    for line in _read(_STAT).splitlines():
        name, *figures = line.split()
        if name == f"cpu{cpu}" and len(figures) > 7:
            return int(figures[7]) / os.sysconf("SC_CLK_TCK")
    return 0.0


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
