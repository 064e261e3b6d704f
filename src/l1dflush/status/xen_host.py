"""What Xen's own settings come to where it runs guests beside this host: its control domain (dom0) decides nothing.

What its log does not settle is unknown. XSA-273 says what each guest takes: one whose paging is the hardware's (HAP)
the flush before each entry and no second thread; a paravirtual one that Xen keeps it from entries that L1TF can use,
which it does by shadowing its page tables; the page tables of the rest Xen writes itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from l1dflush.host.reading.fact import Fact
from l1dflush.host.reading.host_facts import HostFacts
from l1dflush.host.reading.xen import xen_lines
from l1dflush.mitigation.xen_log import XenSettings, read_log
from l1dflush.status.grounds import Cause, Ground, L1tfVerdict

_MITIGATED, _PARTIAL = L1tfVerdict.MITIGATED, L1tfVerdict.PARTIAL
_VULNERABLE, _UNKNOWN = L1tfVerdict.VULNERABLE, L1tfVerdict.UNKNOWN
_RUN = (
    "run 'xl dmesg' and 'xl info' there as root: what follows 'Xen settings', 'PV L1TF shadowing' and "
    "'threads_per_core' decides. 'l1dflush gather' as root takes them along; a copy has them in l1dflush/xl-dmesg.txt "
    "and l1dflush/xl-info.txt"
)


def settings_of(host: HostFacts) -> XenSettings:
    """What is known of Xen's settings."""
    return _settings(host.xen.log.value or "", host.xen.info.value or "")


@lru_cache(maxsize=4)
def _settings(log: str, info: str) -> XenSettings:
    """Of one host it is asked for each combination of what could not be read."""
    return read_log(xen_lines(log), info)


def without_bug(host: HostFacts) -> bool:
    """Whether Xen read in the CPU itself that it has no L1TF: its control domain may not be shown that."""
    if not host.xen.control.value:
        return False
    said = settings_of(host)
    return said.immune and said.bug is not True


def xen_grounds(host: HostFacts) -> Iterator[Ground]:
    """What Xen's guests rest on; none where this is not its control domain."""
    control, log = host.xen.control, host.xen.log
    if control.value is False:
        return
    if control.value is None:
        what = f"whether this runs Xen's guests (dom0) could not be read: {_why(control)}"
        yield Ground(Cause.OTHERS, _UNKNOWN, what)
        return
    this = "this is the control domain of Xen (dom0), whose own settings decide"
    said = settings_of(host)
    if log.value is None:
        yield Ground(Cause.XEN, _UNKNOWN, f"{this}: {_why(log)}")
    elif not said.settings:
        what = f"{this}, and its log has no line about them: they are overwritten, or were left out"
        yield Ground(Cause.XEN, _UNKNOWN, what)
    else:
        yield from _hvm(said)
        yield _pv(said)


def xen_advice(host: HostFacts) -> Iterator[str]:
    """What to do about it, or to find out."""
    control = host.xen.control
    if control.value is False:
        return
    if control.value is None:
        yield "mount xenfs on /proc/xen: its file capabilities says control_d in Xen's control domain (dom0)"
        return
    said = settings_of(host)
    if host.xen.log.value is None:
        yield _RUN
        return
    if not said.settings:
        yield "boot Xen with a larger conring_size=, or read its log right after it booted"
        return
    if said.flush is False and not said.skip and said.hvm is not False:
        if said.command:
            yield "take l1d-flush=no, xen=no or no out of spec-ctrl= on Xen's boot line, or boot a later Xen (XSA-273)"
        else:
            yield "microcode with the flush command, if there is such for this CPU: Xen has no flush in software"
    if said.pv is False:
        yield "pv-l1tf=domu on Xen's boot line"
    if said.flush and said.hvm is not False and said.smt is not False:
        if said.smt is None:
            yield "run 'xl info' there as root, or 'l1dflush gather': threads_per_core is 1 where SMT is off"
        if said.smt or said.smt_at_boot:
            yield "smt=0 on Xen's boot line"


def _why(fact: Fact[Any]) -> str:
    """Where several places were looked at, each reason names its own."""
    return fact.why if fact.why.startswith(fact.origin.split(", ", maxsplit=1)[0]) else f"{fact.origin}: {fact.why}"


def _hvm(said: XenSettings) -> Iterator[Ground]:
    guests = "Xen's guests with paging by the hardware"
    if said.hvm is False:
        yield Ground(Cause.XEN, _MITIGATED, f"{guests}: none can be run")
    elif said.flush:
        yield Ground(Cause.XEN, _MITIGATED, f"{guests}: the L1D is flushed by MSR before each entry")
        yield _smt(said)
    elif said.flush is None:
        yield Ground(Cause.XEN, _UNKNOWN, f"{guests}: Xen's log has different settings")
    elif said.skip:
        what = f"{guests}: a hypervisor below Xen says that it flushes; nobody can check that here"
        yield Ground(Cause.BELOW, _UNKNOWN, what)
    elif said.hvm:
        yield Ground(Cause.XEN, _VULNERABLE, f"{guests}: nothing is flushed before they are entered")
    else:
        what = f"{guests}: nothing is flushed before they are entered, and whether there are any the log does not say"
        yield Ground(Cause.XEN, _UNKNOWN, what)


def _smt(said: XenSettings) -> Ground:
    if said.smt is False:
        return Ground(Cause.XEN, _MITIGATED, "Xen runs one thread of each core")
    if said.smt:
        what = "SMT is on: a guest on one thread reads what the other thread leaves in the L1D that both use"
        return Ground(Cause.SMT, _PARTIAL, what)
    if said.smt_at_boot:
        return Ground(Cause.SMT, _PARTIAL, "SMT was on when Xen had booted; 'xl info' says whether it still is")
    was = "SMT was off when Xen booted; whether it still is" if said.smt_at_boot is False else "whether SMT is on"
    return Ground(Cause.SMT_BELOW, _UNKNOWN, f"{was} is not in Xen's log")


def _pv(said: XenSettings) -> Ground:
    guests = "Xen's paravirtual guests"
    if said.pv is None:
        what = f"{guests}: whether they are kept from entries that L1TF can use is not in Xen's log"
        return Ground(Cause.XEN, _UNKNOWN, what)
    if said.pv:
        what = f"{guests}: one that writes an entry that L1TF can use gets shadow page tables"
        return Ground(Cause.XEN, _MITIGATED, what)
    return Ground(Cause.XEN, _VULNERABLE, f"{guests}: nothing keeps them from entries that L1TF can use")
