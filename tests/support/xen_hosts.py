# SPDX-License-Identifier: GPL-2.0-or-later
"""What Xen says of itself on made hosts: logs as its versions write them, with what is not about L1TF in between."""

from __future__ import annotations

from pathlib import Path

import sysroots
from sysroots import CopiedHost

from l1dflush.data.l1tf_cpus import lists
from l1dflush.ending import Verdict
from l1dflush.host.reading.host_facts import HostFacts
from l1dflush.host.status.flush_worth import FlushWorth
from l1dflush.host.status.model import StatusResult
from l1dflush.host.status.result import status_result

NOISE = ("Xen-e820 RAM map:", " [0000000000000000, 000000000009c3ff] (usable)", "Intel machine check reporting enabled")
SETTINGS = {
    "4.6": "Xen settings: BTI-Thunk RETPOLINE, SPEC_CTRL: IBRS- SSBD-, Other: IBPB{flush}",
    "4.11": "Xen settings: BTI-Thunk RETPOLINE, SPEC_CTRL: IBRS- SSBD-, Other: IBPB{flush} VERW",
    "4.19": "Xen settings: BTI-Thunk: RETPOLINE, SPEC_CTRL: IBRS- STIBP- SSBD-, Other: IBPB-ctxt{flush} VERW DIV",
}


def xen_log(
    *,
    version: str = "4.19",
    line: str = "placeholder dom0_mem=4096M",
    flush: bool = True,
    bug: bool = True,
    command: bool = True,
    rdcl_no: bool = False,
    skip: bool = False,
    shadowing: bool | None = True,
    hap: str | None = "detected",
    vmx: bool = True,
    smt: bool = False,
) -> list[str]:
    """The lines of a whole log. ``shadowing``: of DomU, None: a Xen from before XSA-273, which says nothing of L1TF."""
    hints = f"{' RDCL_NO' if rdcl_no else ''}{' SKIP_L1DFL' if skip else ''}"
    early = version in ("4.6", "4.11")
    flushes = " L1D_FLUSH" if command else ""
    features = f"Hardware features: {'IBRS/IBPB' if early else 'IBPB IBRS'} STIBP SSBD{flushes} MD_CLEAR"
    lines = [f"Xen version {version}.1 (abuild@) (gcc 7.5.0) debug=n", f"Command line: {line}", *NOISE]
    lines += ["Speculative mitigation facilities:"]
    lines += [f"  {features}{hints}"] if early else [f"  Hardware hints:{hints}", f"  {features}"]
    lines += ["  Compiled-in support: INDIRECT_THUNK SHADOW_PAGING"]
    lines += [f"  {SETTINGS[version].format(flush=' L1D_FLUSH' if flush else '')}"]
    if bug and shadowing is not None:
        lines += ["  L1TF: believed vulnerable, maxphysaddr L1D 46, CPUID 39, Safe address 8000000000"]
    lines += ["  Support for HVM VMs: MSR_SPEC_CTRL RSB VERW", "  Support for PV VMs: MSR_SPEC_CTRL RSB VERW"]
    lines += ["  XPTI (64-bit PV only): Dom0 enabled, DomU enabled (with PCID)"]
    if shadowing is not None:
        lines += [f"  PV L1TF shadowing: Dom0 disabled, DomU {'enabled' if shadowing else 'disabled'}"]
    if vmx:
        lines += ["VMX: Supported advanced features:", " - APIC MMIO access virtualisation"]
        lines += ["HVM: VMX enabled", *([f"HVM: Hardware Assisted Paging (HAP) {hap}"] if hap else [])]
    else:
        lines += ["CPU0: VMX disabled by BIOS."]
    lines += ["Brought up 4 CPUs"]
    if smt:
        lines += ["***************************************************"]
        lines += ["Booted on L1TF-vulnerable hardware with SMT/Hyperthreading", "enabled.  Please assess it."]
    return lines


def written(lines: list[str]) -> str:
    """As ``xl dmesg`` prints them."""
    return "".join(f"(XEN) {line}\n" for line in lines)


def threads(count: int) -> str:
    """What ``xl info`` prints, with what is nobody's business."""
    return f"host                   : vault7.example\nnr_cpus                : 8\nthreads_per_core       : {count}\n"


TYPE, UUID = "/sys/hypervisor/type", "/sys/hypervisor/uuid"
CAPABILITIES, FEATURES = "/proc/xen/capabilities", "/sys/hypervisor/properties/features"
ZERO, OTHER = "00000000-0000-0000-0000-000000000000", "6d2f4b1e-98a7-4c0c-8d6a-2f0d3f6f1b11"


def a_guest(folder: Path) -> CopiedHost:
    """A guest, from which a damaged one is made; nothing is known of its hypervisor but what a test adds."""
    made_host = sysroots.guest(folder)
    made_host.remove(sysroots.CPUID)
    made_host.write(TYPE, "xen")
    return made_host


def status(host: HostFacts) -> StatusResult:
    return status_result(host, FlushWorth(Verdict.PROVED, "linux-4.18", "Haswell"), lists())
