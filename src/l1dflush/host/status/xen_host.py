# SPDX-License-Identifier: GPL-2.0-or-later
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
from l1dflush.host.status.grounds import Cause, Ground, L1tfVerdict
from l1dflush.mitigation.xen_log import XenSettings, read_log

_MITIGATED, _PARTIAL = L1tfVerdict.MITIGATED, L1tfVerdict.PARTIAL
_VULNERABLE, _UNKNOWN = L1tfVerdict.VULNERABLE, L1tfVerdict.UNKNOWN
_WHETHER_ANY = "whether there are guests with paging by the hardware is not in Xen's log"
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


def believes_bug(host: HostFacts) -> bool:
    """Whether Xen says of the CPU that it has L1TF, where this is its control domain."""
    return bool(host.xen.control.value) and settings_of(host).bug is True


def xen_grounds(host: HostFacts) -> Iterator[Ground]:
    """What Xen's guests rest on; none where this is not its control domain."""
    control, log = host.xen.control, host.xen.log
    if control.value is False:
        return
    if control.value is None:
        what = f"whether this runs Xen's guests (dom0) could not be read: {_why(control)}"
        # Where the CPU shows no hypervisor there is hardly Xen.
        yield Ground(Cause.OTHERS, _UNKNOWN, what, open=host.may_be_guest)
        return
    this = "this is the control domain of Xen (dom0), whose own settings decide"
    said = settings_of(host)
    if log.value is None:
        yield _open(f"{this}: {_why(log)}")
    elif not said.settings:
        yield _open(f"{this}, and its log has no line about them: they are overwritten, or were left out")
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
    if None in (said.flush, said.pv, said.hvm):
        yield "boot Xen with a larger conring_size=, or read its log right after it booted: lines of it are missing"
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
        yield _open(f"{guests}: Xen's log has different settings")
    elif said.skip:
        yield _open(f"{guests}: a hypervisor below Xen says that it flushes; nobody can check that here", Cause.BELOW)
    else:
        what = f"{guests}: nothing is flushed before they are entered"
        if said.hvm is None:
            yield _open(f"{what}, and whether there are any is not in Xen's log")
        elif said.skip is None:
            yield _open(f"{what}, and whether a hypervisor below Xen does it is not in Xen's log")
        else:
            yield Ground(Cause.XEN, _VULNERABLE, what)


def _open(what: str, cause: Cause = Cause.XEN) -> Ground:
    """It may be anything, vulnerable too."""
    return Ground(cause, _UNKNOWN, what, open=True)


def _smt(said: XenSettings) -> Ground:
    if said.smt is False:
        return Ground(Cause.XEN, _MITIGATED, "Xen runs one thread of each core")
    if said.hvm is None and (said.smt or said.smt_at_boot):
        # At worst it is partial, so this is not open.
        return Ground(Cause.SMT, _UNKNOWN, f"SMT is on, or was when Xen booted; {_WHETHER_ANY}")
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
        return _open(f"{guests}: whether they are kept from entries that L1TF can use is not in Xen's log")
    if said.pv:
        what = f"{guests}: one that writes an entry that L1TF can use gets shadow page tables"
        return Ground(Cause.XEN, _MITIGATED, what)
    return Ground(Cause.XEN, _VULNERABLE, f"{guests}: nothing keeps them from entries that L1TF can use")
