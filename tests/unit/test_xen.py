# SPDX-License-Identifier: GPL-2.0-or-later
"""Xen: who is its control domain, and what its log and settings come to for the host."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sysroots
from made_hosts import made, without_module
from sysroots import CopiedHost
from xen_hosts import (
    CAPABILITIES,
    FEATURES,
    OTHER,
    SETTINGS,
    TYPE,
    UUID,
    ZERO,
    a_guest,
    status,
    threads,
    written,
    xen_log,
)

from l1dflush.host.l1d import Signature
from l1dflush.host.reading.collect import from_sysroot
from l1dflush.host.reading.host_facts import HostFacts
from l1dflush.host.status.grounds import Cause, L1tfVerdict
from l1dflush.report.terminal.status import status_lines

UNKNOWN, PARTIAL, MITIGATED, VULNERABLE, NOT_AFFECTED = (
    L1tfVerdict.UNKNOWN,
    L1tfVerdict.PARTIAL,
    L1tfVerdict.MITIGATED,
    L1tfVerdict.VULNERABLE,
    L1tfVerdict.NOT_AFFECTED,
)


@pytest.fixture
def host(tmp_path: Path) -> CopiedHost:
    return a_guest(tmp_path)


def control(host: CopiedHost) -> bool | None:
    return from_sysroot(host.folder).xen.control.value


# --- who is the control domain


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({CAPABILITIES: "control_d"}, True),
        ({CAPABILITIES: "control_d", UUID: OTHER}, True),
        ({UUID: ZERO}, True),
        ({UUID: OTHER}, False),
        ({UUID: "ec2e1916-9099-7caf-fd21-012345abcdef"}, False),
        ({UUID: "junk"}, None),
        ({FEATURES: "00002705"}, False),
        ({FEATURES: "00000905", UUID: OTHER}, True),
        ({FEATURES: "00002705", UUID: ZERO}, True),
        ({FEATURES: "000e0705", UUID: OTHER}, False),
        ({"/sys/hypervisor/guest_type": "HVM"}, False),
        ({"/sys/hypervisor/guest_type": "PVH"}, None),
        ({"/sys/hypervisor/guest_type": "PV"}, None),
        ({"/sys/class/dmi/id/product_name": "HVM domU"}, False),
        ({"/proc/cmdline": "root=/dev/xvda1 ro console=hvc0"}, False),
        ({"/proc/cmdline": "placeholder root=/dev/xvda1", UUID: OTHER}, None),
        ({"/proc/cmdline": "placeholder root=/dev/sda2"}, None),
        ({}, None),
    ],
)
def test_who_is_the_control_domain(host: CopiedHost, files: dict[str, str], expected: bool | None) -> None:
    for path, content in files.items():
        host.write(path, content)
    assert control(host) is expected


def test_empty_capabilities_are_a_guest_s_or_a_careless_copy_s(host: CopiedHost) -> None:
    host.empty(CAPABILITIES)
    assert control(host) is None
    host.write(UUID, ZERO)
    assert control(host) is True
    host.write(UUID, OTHER)
    assert control(host) is False


@pytest.mark.parametrize("path", [UUID, FEATURES, CAPABILITIES])
@pytest.mark.parametrize("damage", ["deny", "junk", "empty", "remove"])
def test_what_cannot_be_read_makes_no_guest_of_a_control_domain(host: CopiedHost, path: str, damage: str) -> None:
    for one, content in ((UUID, ZERO), (FEATURES, "00000905"), (CAPABILITIES, "control_d")):
        host.write(one, content)
    getattr(host, damage)(path)
    assert control(host) is True


def test_without_xen_nothing_is_asked(tmp_path: Path) -> None:
    host = sysroots.smt_on(tmp_path)
    facts = from_sysroot(host.folder).xen
    assert (facts.control.value, facts.log.value, facts.info.value) == (False, "", "")
    host.deny(TYPE)
    assert control(host) is None
    # One that says its name is no Xen.
    assert control(CopiedHost(sysroots.guest(tmp_path / "kvm").folder)) is False


def test_a_hypervisor_is_xen_also_where_its_type_is_missing(host: CopiedHost) -> None:
    host.remove(TYPE)
    assert control(host) is False
    host.at("/proc/xen").mkdir()
    assert control(host) is None
    host.write(CAPABILITIES, "control_d")
    assert control(host) is True


@pytest.mark.parametrize(
    ("vendor", "product", "name"),
    [
        ("QEMU", "Standard PC (Q35 + ICH9, 2009)", "QEMU"),
        ("Red Hat", "KVM", "KVM"),
        ("OpenStack Foundation", "OpenStack Nova", "KVM"),
        ("Microsoft Corporation", "Virtual Machine", "Hyper-V"),
        ("Microsoft Corporation", "Surface Pro", "an unknown hypervisor"),
        ("VMware, Inc.", "VMware Virtual Platform", "VMware"),
        ("innotek GmbH", "VirtualBox", "VirtualBox"),
        ("Amazon EC2", "t3.micro", "Amazon EC2"),
        ("Google", "Google Compute Engine", "Google Compute Engine"),
        ("Xen", "HVM domU", "Xen"),
        ("Dell Inc.", "PowerEdge R640", "an unknown hypervisor"),
        (None, None, "an unknown hypervisor"),
        (None, "VirtualBox", "VirtualBox"),
    ],
)
def test_firmware_names_a_guest_where_cpuid_cannot(
    host: CopiedHost, vendor: str | None, product: str | None, name: str
) -> None:
    host.remove(TYPE)
    for file, said in (("sys_vendor", vendor), ("product_name", product)):
        if said is not None:
            host.write(f"/sys/class/dmi/id/{file}", said)
    assert from_sysroot(host.folder).cpu.hypervisor.value == name


def test_firmware_is_not_asked_where_there_is_no_hypervisor(tmp_path: Path) -> None:
    host = sysroots.smt_on(tmp_path)
    host.write("/sys/class/dmi/id/product_name", "VirtualBox")
    assert from_sysroot(host.folder).cpu.hypervisor.value == ""


# --- what follows


def dom0(log: list[str] | None, info: str | None = None, *, plain: bool = False, **changes: Any) -> HostFacts:
    """``plain``: with the text of ``changes``."""
    hidden = {"xen_control": True, "xen_log": None if log is None else written(log), "xen_info": info}
    one_thread = {"threads": 1, "smt_control": "notsupported", "smt_active": False}
    host = made(hypervisor="Xen", vmx=False, ept=False, **one_thread | hidden | changes)
    bare = without_module(host)
    return replace(bare, mitigation=replace(bare.mitigation, text=host.mitigation.text)) if plain else bare


ONE, TWO = threads(1), threads(2)
CASES: dict[str, tuple[dict[str, Any] | None, str | None, L1tfVerdict, str]] = {
    "no log": (None, None, UNKNOWN, "xl dmesg"),
    "no log, and no threads": (None, ONE, UNKNOWN, "xl dmesg"),
    "flush, one thread a core": ({}, ONE, MITIGATED, ""),
    "flush, two threads a core": ({}, TWO, PARTIAL, "smt=0"),
    "flush, SMT not known": ({}, None, UNKNOWN, "xl info"),
    "flush, SMT on, HAP not known": ({"hap": None}, TWO, UNKNOWN, "conring_size"),
    "flush, SMT on at boot, HAP not known": ({"hap": None, "smt": True}, None, UNKNOWN, "xl info"),
    "flush, SMT off, HAP not known": ({"hap": None}, ONE, MITIGATED, ""),
    "flush, SMT on, HAP off": ({"hap": "not detected"}, TWO, MITIGATED, ""),
    "flush, SMT on, shadowing not known": ({"shadowing": None}, TWO, UNKNOWN, "conring_size"),
    "flush, SMT on, no shadowing, HAP not known": ({"shadowing": False, "hap": None}, TWO, VULNERABLE, "pv-l1tf"),
    "flush, SMT on at boot": ({"smt": True}, None, PARTIAL, "xl info"),
    "flush, SMT on at boot and off now": ({"smt": True}, ONE, MITIGATED, ""),
    "flush, SMT off at boot": ({"line": "smt=0"}, None, UNKNOWN, "xl info"),
    "flush, SMT off at boot and on now": ({"line": "smt=0"}, TWO, PARTIAL, ""),
    "no-l1d-flush": ({"flush": False, "line": "spec-ctrl=no-l1d-flush"}, ONE, VULNERABLE, "spec-ctrl="),
    "old microcode": ({"flush": False, "command": False}, ONE, VULNERABLE, "microcode"),
    "no flush, no guests that can aim": ({"flush": False, "vmx": False}, TWO, MITIGATED, ""),
    "no flush, HAP off": ({"flush": False, "hap": "detected but disabled"}, TWO, MITIGATED, ""),
    "no flush, HAP not known": ({"flush": False, "hap": None}, ONE, UNKNOWN, ""),
    "nested, and told that it need not": ({"flush": False, "skip": True}, ONE, UNKNOWN, "host below"),
    "nested, and flushes all the same": ({"skip": True}, ONE, MITIGATED, ""),
    "pv-l1tf=no": ({"shadowing": False, "line": "pv-l1tf=no"}, ONE, VULNERABLE, "pv-l1tf=domu"),
    "from before XSA-273": ({"shadowing": None, "flush": False, "version": "4.6"}, ONE, VULNERABLE, "later Xen"),
    "from before XSA-273, no HVM": ({"shadowing": None, "flush": False, "vmx": False}, ONE, UNKNOWN, ""),
    "RDCL_NO": ({"rdcl_no": True, "bug": False, "flush": False, "shadowing": False}, TWO, NOT_AFFECTED, ""),
    "RDCL_NO, and believed vulnerable": ({"rdcl_no": True, "bug": True, "flush": False}, ONE, VULNERABLE, ""),
    "no word about the bug": ({"bug": False, "flush": False}, ONE, VULNERABLE, ""),
}


@pytest.mark.parametrize("name", CASES)
def test_what_xen_s_settings_come_to(name: str) -> None:
    changes, info, verdict, advice = CASES[name]
    result = status(dom0(None if changes is None else xen_log(**changes), info))
    assert result.verdict is verdict
    assert result.exit_status == {NOT_AFFECTED: 0, MITIGATED: 0, UNKNOWN: 3}.get(verdict, 2)
    assert any(advice in one.what for one in result.advice) if advice else True
    assert not (verdict is MITIGATED and result.advice)


KNIGHTS, CASCADE = (Signature("GenuineIntel", 6, model, 5, "") for model in (0x57, 0x55))
AIRMONT = Signature("GenuineIntel", 6, 0x75, 0, "")
HAP, HINTS, SHADOWING = "HVM: Hardware Assisted Paging", ("Hardware hints", "Hardware features"), "PV L1TF shadowing"


def without(log: list[str], lost: str | tuple[str, ...]) -> list[str]:
    kept = [line for line in log if not line.strip().startswith(lost)]
    assert len(kept) < len(log)
    return kept


@pytest.mark.parametrize("version", SETTINGS)
@pytest.mark.parametrize(
    ("changes", "lost", "whole"),
    [
        # Paging by the hardware was not detected, so neither flush nor SMT matters.
        ({"hap": "not detected"}, HAP, MITIGATED),
        ({"hap": "detected but disabled", "flush": False}, HAP, MITIGATED),
        ({"skip": True, "flush": False}, HINTS, UNKNOWN),
        ({"shadowing": False}, SHADOWING, VULNERABLE),
        ({"flush": False}, "Xen settings", VULNERABLE),
    ],
)
def test_without_a_line_it_is_unknown(
    version: str, changes: dict[str, Any], lost: str | tuple[str, ...], whole: L1tfVerdict
) -> None:
    log = xen_log(version=version, **changes)
    assert status(dom0(log, TWO)).verdict is whole
    assert status(dom0(without(log, lost), TWO)).verdict is UNKNOWN


def test_the_line_of_hints_alone_is_lost() -> None:
    log = without(xen_log(flush=False, skip=True), "Hardware hints")
    assert status(dom0(log, ONE)).verdict is UNKNOWN
    # Where it is there and says nothing, nobody flushes.
    assert status(dom0(xen_log(flush=False), ONE)).verdict is VULNERABLE


@pytest.mark.parametrize("log", [None, without(xen_log(), SHADOWING), without(xen_log(), "Xen settings")])
def test_what_is_open_of_xen_s_guests_makes_a_partial_kvm_unknown(log: list[str] | None) -> None:
    dom0_s = {"hypervisor": "Xen", "xen_control": True, "xen_info": ONE}
    host = made(xen_log=None if log is None else written(log), **dom0_s)
    assert status(host).verdict is UNKNOWN
    assert status(made(xen_log=written(xen_log()), **dom0_s)).verdict is PARTIAL
    never = {"parameter": "never", "text": "Mitigation: PTE Inversion; VMX: vulnerable"}
    assert status(made(xen_log=None, **dom0_s | never)).verdict is VULNERABLE


@pytest.mark.parametrize(("hypervisor", "verdict"), [("Xen", UNKNOWN), (None, UNKNOWN), ("", PARTIAL)])
def test_beside_what_may_be_xen_partial_is_unknown(hypervisor: str | None, verdict: L1tfVerdict) -> None:
    hidden = {"xen_control": None, "xen_log": None, "xen_info": None}
    assert status(made(hypervisor=hypervisor, **hidden)).verdict is verdict


@pytest.mark.parametrize(
    ("changes", "log", "verdict"),
    [
        # It shows RDCL_NO to its control domain, and has not read it.
        ({"signature": CASCADE, "arch_capabilities": 1}, {}, UNKNOWN),
        ({"signature": CASCADE, "arch_capabilities": 1}, {"bug": False}, NOT_AFFECTED),
        ({"signature": CASCADE, "arch_capabilities": 1}, {"bug": False, "rdcl_no": True}, NOT_AFFECTED),
        ({"signature": CASCADE, "arch_capabilities": 1, "text": None, "has_text": None}, {}, UNKNOWN),
        # Only the kernel's word, and no CPU.
        ({"signature": None, "arch_capabilities": None}, {}, UNKNOWN),
        ({"signature": None, "arch_capabilities": None}, None, NOT_AFFECTED),
        # In the kernel's list: Xen supposes the bug in what it does not know.
        ({"signature": KNIGHTS}, {}, NOT_AFFECTED),
        ({"signature": AIRMONT, "arch_capabilities": None}, {}, NOT_AFFECTED),
        # Not of the control domain.
        ({"signature": CASCADE, "arch_capabilities": 1, "xen_control": False}, {}, NOT_AFFECTED),
    ],
)
def test_not_affected_is_held_against_what_xen_believes(
    changes: dict[str, Any], log: dict[str, Any] | None, verdict: L1tfVerdict
) -> None:
    kernel = {"text": "Not affected", "bugs": frozenset()} | changes
    result = status(dom0(None if log is None else xen_log(**log), ONE, plain=True, **kernel))
    assert result.verdict is verdict, result.grounds


@pytest.mark.parametrize("kept", [slice(0, 0), slice(0, 4), slice(17, None)])
def test_a_log_without_its_settings_is_no_answer(kept: slice) -> None:
    result = status(dom0(xen_log()[kept], ONE))
    assert (result.verdict, result.grounds[0].cause) == (UNKNOWN, Cause.XEN)
    assert any("conring_size" in one.what for one in result.advice)


def test_a_control_domain_is_called_one_and_no_guest() -> None:
    result = status(dom0(None))
    shown = "\n".join(line.plain for line in status_lines(result, 100))
    assert "the control domain (dom0) of Xen" in shown
    assert "a guest of" not in shown
    assert result.control_domain is True


def test_kvm_in_the_control_domain_is_judged_too() -> None:
    host = dom0(xen_log(), ONE)
    never = made(
        hypervisor="Xen", parameter="never", text="Mitigation: PTE Inversion; VMX: vulnerable",
        xen_control=True, xen_log=written(xen_log()), xen_info=ONE,
    )  # fmt: skip
    assert (status(host).verdict, status(never).verdict) == (MITIGATED, VULNERABLE)


def test_a_guest_of_xen_needs_nothing_of_xen_s() -> None:
    guest = without_module(made(hypervisor="Xen"))
    assert status(guest).verdict is MITIGATED
    assert "a guest of Xen" in status(guest).notes[0]


def test_whether_it_is_dom0_has_to_be_known() -> None:
    result = status(without_module(made(hypervisor="Xen", xen_control=None, xen_log=None, xen_info=None)))
    assert (result.verdict, result.grounds[0].cause) == (UNKNOWN, Cause.OTHERS)
    assert any("xenfs" in one.what for one in result.advice)


def test_a_kernel_that_is_not_affected_needs_no_log() -> None:
    host = made(
        hypervisor="Xen", bugs=frozenset(), arch_capabilities=1, text="Not affected", parameter="not required",
        xen_control=True, xen_log=None, xen_info=None,
    )  # fmt: skip
    assert status(host).verdict is NOT_AFFECTED
