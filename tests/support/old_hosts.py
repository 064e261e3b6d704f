# SPDX-License-Identifier: GPL-2.0-or-later
"""Hosts with kernels of all kinds from 3.16 on, and the truth about them: written from section 1.6 of the facts that
the design names, without looking at the code that decides or judges."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from made_hosts import made

from l1dflush.host.l1d import Signature
from l1dflush.host.reading.host_facts import HostFacts
from l1dflush.host.status.grounds import L1tfVerdict

Has = Literal["nothing", "inversion", "all"]
Kvm = Literal["module", "built in", "gave up", "not loaded", "absent"]

P = "Mitigation: PTE Inversion"
EARLY = "Mitigation: Page Table Inversion"

NAMES: tuple[tuple[str, str, tuple[Has, ...]], ...] = (
    ("3.16.43", "#1 SMP", ("nothing",)),
    ("3.16.57", "#1 SMP", ("nothing",)),
    ("3.16.61", "#1 SMP", ("inversion",)),
    ("3.16.67", "#1 SMP", ("inversion",)),
    ("3.16.68", "#1 SMP", ("inversion",)),
    ("3.16.84", "#1 SMP", ("inversion",)),
    ("3.16.0-6-amd64", "#1 SMP Debian 3.16.56-1+deb8u1 (2018-05-08)", ("nothing",)),
    ("3.16.0-11-amd64", "#1 SMP Debian 3.16.84-1 (2020-06-09)", ("inversion",)),
    ("3.10.0-693.el7.x86_64", "#1 SMP Thu Jul 6 19:56:57 EDT 2017", ("nothing", "all")),
    ("3.10.0-862.9.1.el7.x86_64", "#1 SMP", ("nothing",)),
    ("3.10.0-862.14.4.el7.x86_64", "#1 SMP", ("all",)),
    ("3.10.0-1160.el7.x86_64", "#1 SMP", ("all",)),
    ("3.13.0-100-generic", "#147-Ubuntu SMP", ("nothing",)),
    ("4.4.0", "#1 SMP", ("nothing",)),
    ("4.4.147", "#1 SMP", ("nothing",)),
    ("4.4.148", "#1 SMP", ("inversion",)),
    ("4.4.179", "#1 SMP", ("inversion",)),
    ("4.4.180", "#1 SMP", ("inversion",)),
    ("4.4.302", "#1 SMP", ("inversion",)),
    ("4.4.302+", "#1 SMP", ("inversion", "all")),
    ("4.9.100+", "#1 SMP", ("nothing", "inversion", "all")),
    ("4.4.302-cip97", "#1 SMP", ("inversion",)),
    ("4.4.0-116-generic", "#140-Ubuntu SMP Mon Feb 12 21:23:04 UTC 2018", ("nothing",)),
    ("4.4.0-133-generic", "#159-Ubuntu SMP", ("all",)),
    ("4.4.0-210-generic", "#242-Ubuntu SMP", ("all",)),
    ("4.4.0-1028-aws", "#37-Ubuntu SMP", ("nothing", "all")),
    ("4.4.143-94.47-default", "#1 SMP", ("nothing", "all")),
    ("4.4.180-94.164-default", "#1 SMP", ("inversion", "all")),
    ("4.9.30", "#1 SMP", ("nothing",)),
    ("4.9.119", "#1 SMP", ("nothing",)),
    ("4.9.120", "#1 SMP", ("all",)),
    ("4.9.337", "#1 SMP", ("all",)),
    ("4.9.0-7-amd64", "#1 SMP Debian 4.9.110-3+deb9u2 (2018-08-13)", ("nothing",)),
    ("4.9.0-8-amd64", "#1 SMP Debian 4.9.110-3+deb9u6 (2018-10-08)", ("all",)),
    ("4.9.0-3-amd64", "#1 SMP Debian 4.9.30-2+deb9u5 (2017-09-19)", ("nothing",)),
    ("4.9.0-13-amd64", "#1 SMP Debian 4.9.228-1 (2020-07-05)", ("all",)),
    ("4.9.100-vendor", "#1 SMP", ("nothing", "inversion", "all")),
    ("4.12.14-122.37-default", "#1 SMP", ("all",)),
    ("4.14.2", "#1 SMP", ("nothing",)),
    ("4.14.62", "#1 SMP", ("nothing",)),
    ("4.14.63", "#1 SMP", ("all",)),
    ("4.14.35-2047.el7uek.x86_64", "#2 SMP", ("all",)),
    ("4.14.62-65.117.amzn1.x86_64", "#1 SMP", ("all",)),
    ("4.14.336", "#1 SMP", ("all",)),
    ("4.15.0-29-generic", "#31-Ubuntu SMP", ("nothing",)),
    ("4.15.0-213-generic", "#224-Ubuntu SMP", ("all",)),
    ("4.16.18", "#1 SMP", ("nothing",)),
    ("4.18.0-041800-generic", "#201808122131 SMP", ("nothing",)),
    ("4.18.4-041804-generic", "#201808221100 SMP", ("all",)),
    ("4.18.0-553.el8.x86_64", "#1 SMP", ("all",)),
)
"""``uname -r``, ``uname -v``, and what a kernel of that name may have in truth."""

CPUS = {
    "Haswell": (Signature("GenuineIntel", 6, 0x3C, 3, "Haswell"), True),
    "Broadwell-EP": (Signature("GenuineIntel", 6, 0x4F, 1, "Broadwell-EP"), True),
    "Avoton": (Signature("GenuineIntel", 6, 0x4D, 8, "Avoton"), False),
    "AMD": (Signature("AuthenticAMD", 0x15, 2, 0, "Opteron"), False),
}


@dataclass(frozen=True)
class Old:
    """What is true of a host. ``below``: a hypervisor is, and whether it says that it flushes. ``lock_seen``: where
    firmware locked VMX off, so that what is built in gave up, the MSR that says so could be read."""

    release: str
    version: str
    has: Has
    kvm: Kvm = "module"
    cpu: str = "Haswell"
    ept: bool = True
    mode: str = "cond"
    smt: bool = True
    below: Literal["", "KVM", "KVM, which flushes"] = ""
    lock_seen: bool = True

    @property
    def bug(self) -> bool:
        """L1TF."""
        return CPUS[self.cpu][1]

    @property
    def runs_guests(self) -> bool:
        """On Intel's CPUs."""
        return self.kvm in ("module", "built in")

    @property
    def truth(self) -> L1tfVerdict:
        """Whether it is protected."""
        if not self.bug:
            return L1tfVerdict.NOT_AFFECTED
        if self.has == "nothing":
            return L1tfVerdict.VULNERABLE
        if not self.runs_guests or not self.ept:
            return L1tfVerdict.MITIGATED
        if self.below == "KVM, which flushes":
            return L1tfVerdict.UNKNOWN
        if self.has == "inversion" or self.mode == "never":
            return L1tfVerdict.VULNERABLE
        if self.mode == "cond" or self.smt:
            return L1tfVerdict.PARTIAL
        return L1tfVerdict.UNKNOWN if self.below else L1tfVerdict.MITIGATED

    @property
    def parameter(self) -> str | None:
        """What ``vmentry_l1d_flush`` reads."""
        if self.has != "all" or self.kvm in ("not loaded", "absent"):
            return None
        if not self.bug or self.kvm == "gave up":
            return "auto"
        if not self.ept:
            return "EPT disabled"
        return "not required" if self.below == "KVM, which flushes" else self.mode

    @property
    def text(self) -> str | None:
        """``vulnerabilities/l1tf``."""
        if self.has == "nothing":
            return None
        if not self.bug:
            return "Not affected"
        if self.has == "inversion":
            early = self.release in ("3.16.61", "3.16.67", "4.4.148", "4.4.179")
            return EARLY if early else P
        smt = "SMT vulnerable" if self.smt else "SMT disabled"
        word = {
            None: "",
            "auto": "",
            "EPT disabled": "; VMX: EPT disabled",
            "not required": f"; VMX: flush not necessary, {smt}",
            "never": "; VMX: vulnerable" if self.smt else "; VMX: vulnerable, SMT disabled",
            "cond": f"; VMX: conditional cache flushes, {smt}",
            "always": f"; VMX: cache flushes, {smt}",
        }[self.parameter]
        return P + word

    def facts(self, **changes: Any) -> HostFacts:
        """What can be read of it, with ``changes``."""
        there = self.kvm not in ("not loaded", "absent")
        ept = None if not there else self.ept or self.kvm == "gave up"
        everything = {
            "release": self.release,
            "version": self.version,
            "command_line": "quiet",
            "config_mitigations": True,
            "config_kvm_intel": self.kvm != "absent",
            "config_hotplug_smt": self.has == "all",
            "memory_end": 8 << 30,
            "signature": CPUS[self.cpu][0],
            "flags": frozenset({"vmx", "ept"}),
            "bugs": frozenset({"l1tf"} if self.bug and self.has != "nothing" else ()),
            "hypervisor": self.below[:3],
            "flush_command": False,
            "arch_capabilities": 8 if self.below == "KVM, which flushes" else 0,
            "vmx": self.kvm != "gave up" or not self.lock_seen,
            "ept": self.kvm != "gave up" or not self.lock_seen,
            "address_bits": 46 if self.cpu == "Broadwell-EP" else 39,
            "threads": 2,
            "text": self.text,
            "has_text": self.has != "nothing",
            "smt_control": ("on" if self.smt else "off") if self.has == "all" else None,
            "smt_active": self.smt if self.has == "all" else None,
            "loaded": there,
            "built_in": self.kvm in ("built in", "gave up"),
            "device": self.runs_guests,
            "parameter": self.parameter,
            "has_parameter": self.has == "all" if there else None,
            "kvm_ept": ept,
            "options": () if self.ept or self.kvm != "module" else ("ept=0",),
        }
        return made(**everything | changes)
