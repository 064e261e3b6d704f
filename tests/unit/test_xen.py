"""Xen: who is its control domain, what its log says, and what follows for the host."""

from __future__ import annotations

import gzip
import stat
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sysroots
from made_hosts import made, without_module
from sysroots import CopiedHost
from xen_hosts import SETTINGS, threads, written, xen_log

from l1dflush.data.l1tf_cpus import lists
from l1dflush.ending import Verdict
from l1dflush.host.l1d import Signature
from l1dflush.host.reading import files as reading_files
from l1dflush.host.reading.collect import from_archive, from_sysroot
from l1dflush.host.reading.files import LiveFiles, Sysroot, UnreadableError
from l1dflush.host.reading.gather import gather
from l1dflush.host.reading.host_facts import HostFacts
from l1dflush.host.reading.registers import GatheredRegisters
from l1dflush.host.reading.xen import kept_info, kept_log, xen_lines
from l1dflush.host.status.flush_worth import FlushWorth
from l1dflush.host.status.grounds import Cause, L1tfVerdict
from l1dflush.host.status.model import StatusResult
from l1dflush.host.status.result import status_result
from l1dflush.mitigation.xen_log import XenSettings, read_log
from l1dflush.report.status import status_lines

UNKNOWN, PARTIAL, MITIGATED, VULNERABLE, NOT_AFFECTED = (
    L1tfVerdict.UNKNOWN,
    L1tfVerdict.PARTIAL,
    L1tfVerdict.MITIGATED,
    L1tfVerdict.VULNERABLE,
    L1tfVerdict.NOT_AFFECTED,
)
TYPE, UUID = "/sys/hypervisor/type", "/sys/hypervisor/uuid"
CAPABILITIES, FEATURES = "/proc/xen/capabilities", "/sys/hypervisor/properties/features"
ZERO, OTHER = "00000000-0000-0000-0000-000000000000", "6d2f4b1e-98a7-4c0c-8d6a-2f0d3f6f1b11"


@pytest.fixture
def host(tmp_path: Path) -> CopiedHost:
    """A guest, from which a damaged one is made; nothing is known of its hypervisor but what a test adds."""
    made_host = sysroots.guest(tmp_path)
    made_host.remove(sysroots.CPUID)
    made_host.write(TYPE, "xen")
    return made_host


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


# --- its log


@pytest.mark.parametrize("version", SETTINGS)
@pytest.mark.parametrize("flush", [True, False])
@pytest.mark.parametrize("shadowing", [True, False])
@pytest.mark.parametrize("rdcl_no", [True, False])
def test_a_whole_log(version: str, flush: bool, shadowing: bool, rdcl_no: bool) -> None:
    log = xen_log(version=version, flush=flush, shadowing=shadowing, rdcl_no=rdcl_no, bug=not rdcl_no)
    expected = XenSettings(
        bug=None if rdcl_no else True, immune=rdcl_no, settings=True, flush=flush, skip=False, command=True, hvm=True,
        pv=shadowing,
    )  # fmt: skip
    assert read_log(xen_lines(written(log)), "") == expected
    stamped = written(log).replace("(XEN) ", "(XEN) [2026-03-01 10:20:30.123] ")
    assert read_log(xen_lines(stamped), "") == expected
    # What gather keeps says the same, and names neither the host nor who built it.
    kept = kept_log(written(log).encode()).decode()
    assert read_log(xen_lines(kept), "") == expected
    assert "abuild" not in kept
    assert "dom0_mem" not in kept


@pytest.mark.parametrize(
    ("changes", "hvm"),
    [
        ({}, True), ({"hap": "not detected"}, False), ({"hap": "detected but disabled"}, False), ({"hap": None}, None),
        ({"vmx": False}, False),
    ],
)  # fmt: skip
def test_whether_there_are_guests_that_can_aim(changes: dict[str, Any], hvm: bool | None) -> None:
    assert read_log(xen_lines(written(xen_log(**changes))), "").hvm is hvm


@pytest.mark.parametrize(
    ("line", "hvm"), [("CPU0: VMX disabled by BIOS.", False), ("CPU1: VMX disabled by BIOS.", None),
                      ("VMX: failed to initialise.", False)],
)  # fmt: skip
def test_only_the_first_cpu_tells_whether_there_is_vmx(line: str, hvm: bool | None) -> None:
    assert read_log([line], "").hvm is hvm


@pytest.mark.parametrize(
    ("lines", "skip"),
    [
        (["Hardware hints: SKIP_L1DFL"], True),
        (["Hardware hints:"], False),
        (["Hardware hints:", "Hardware features: IBPB IBRS"], False),
        # The line of hints is lost, or there was none in that version.
        (["Hardware features: IBPB IBRS STIBP SSBD L1D_FLUSH"], None),
        (["Hardware features:"], None),
        (["Hardware features: IBRS/IBPB STIBP L1D_FLUSH SSBD MD_CLEAR"], False),
        (["Hardware features: IBRS/IBPB STIBP L1D_FLUSH SSBD MD_CLEAR SKIP_L1DFL"], True),
        (["Hardware features: RSBA"], False),
        ([], None),
    ],
)
def test_whether_a_hypervisor_below_flushes_is_known_from_a_line_that_would_say_so(
    lines: list[str], skip: bool | None
) -> None:
    assert read_log(lines, "").skip is skip


@pytest.mark.parametrize(
    ("line", "smt", "expected"),
    [
        ("placeholder", True, True), ("placeholder", False, None), ("smt=0", False, False), ("no-smt", False, False),
        ("smt=off", False, False), ("smt=0 smt=1", False, None), ("smt=1 smt=no", False, False), ("smt", False, None),
        ("smt=junk", False, None), ("nosmt", False, None), ("xsmt=0", False, None),
    ],
)  # fmt: skip
def test_smt_when_xen_booted(line: str, smt: bool, expected: bool | None) -> None:
    assert read_log(xen_lines(written(xen_log(line=line, smt=smt))), "").smt_at_boot is expected


@pytest.mark.parametrize(
    ("said", "smt"),
    [(threads(1), False), (threads(2), True), ("", None), ("threads_per_core", None), (threads(1) + threads(2), None)],
)
def test_smt_now(said: str, smt: bool | None) -> None:
    assert read_log([], said).smt is smt
    assert read_log([], kept_info(said.encode()).decode()).smt is smt
    assert b"vault7" not in kept_info(said.encode())


def test_a_guest_writes_no_line_of_xen() -> None:
    log = written(xen_log(flush=False, shadowing=False))
    forged = "(d7) (XEN) Xen settings: SPEC_CTRL: IBRS-, Other: L1D_FLUSH\n(d7) PV L1TF shadowing: Dom0 disabled, DomU "
    said = read_log(xen_lines(forged + "enabled\n" + log), "")
    assert (said.flush, said.pv) == (False, False)
    assert read_log(xen_lines(forged), "") == XenSettings()


def test_what_is_said_twice_and_not_alike_is_not_known() -> None:
    said = read_log([*xen_lines(written(xen_log())), *xen_lines(written(xen_log(flush=False, shadowing=False)))], "")
    assert (said.flush, said.pv, said.settings) == (None, None, True)


@pytest.mark.parametrize("cut", range(0, 24))
def test_a_log_that_has_lost_lines_says_less_and_nothing_else(cut: int) -> None:
    log = written(xen_log(flush=False, line="smt=0"))
    whole = read_log(xen_lines(log), "")
    lines = log.split("\n")
    for rest in (lines[cut:], lines[:-cut], lines[:cut] + lines[cut + 1 :], log[cut * 17 :].split("\n")):
        said = read_log(xen_lines("\n".join(rest)), "")
        for name in ("bug", "flush", "hvm", "pv", "smt_at_boot", "command", "skip"):
            assert getattr(said, name) in (None, getattr(whole, name))


# --- what follows


def dom0(log: list[str] | None, info: str | None = None, *, plain: bool = False, **changes: Any) -> HostFacts:
    """``plain``: with the text of ``changes``."""
    hidden = {"xen_control": True, "xen_log": None if log is None else written(log), "xen_info": info}
    one_thread = {"threads": 1, "smt_control": "notsupported", "smt_active": False}
    host = made(hypervisor="Xen", vmx=False, ept=False, **one_thread | hidden | changes)
    bare = without_module(host)
    return replace(bare, mitigation=replace(bare.mitigation, text=host.mitigation.text)) if plain else bare


def status(host: HostFacts) -> StatusResult:
    return status_result(host, FlushWorth(Verdict.PROVED, "linux-4.18", "Haswell"), lists())


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


# --- gathered, and read on the spot


def test_an_archive_has_what_xl_said_and_is_judged_the_same(host: CopiedHost, tmp_path: Path) -> None:
    host.write(CAPABILITIES, "control_d")
    host.write("/l1dflush/xl-dmesg.txt", written(xen_log(flush=False)))
    host.write("/l1dflush/xl-info.txt", threads(2))
    files = Sysroot(host.folder)
    here, content = gather(files, GatheredRegisters(files))
    archive = tmp_path / "facts.tar.gz"
    archive.write_bytes(content)
    there = from_archive(archive)
    assert (there.xen.log.value, there.xen.info.value) == (here.xen.log.value, here.xen.info.value)
    assert "L1D_FLUSH" in (there.xen.log.value or "")
    assert status(there).verdict is status(here).verdict is VULNERABLE


@pytest.mark.parametrize(("uuid", "control"), [(ZERO, True), (OTHER, False), ("junk", None)])
def test_an_archive_names_no_guest(host: CopiedHost, tmp_path: Path, uuid: str, control: bool | None) -> None:
    host.write(UUID, uuid)
    files = Sysroot(host.folder)
    here, content = gather(files, GatheredRegisters(files))
    archive = tmp_path / "facts.tar.gz"
    archive.write_bytes(content)
    assert here.xen.control.value is from_archive(archive).xen.control.value is control
    assert OTHER.encode() not in gzip.decompress(content)


def test_what_root_alone_may_read_says_so_elsewhere_too(host: CopiedHost, tmp_path: Path) -> None:
    host.write(CAPABILITIES, "control_d")
    host.deny("/l1dflush/xl-dmesg.txt", "it takes root")
    files = Sysroot(host.folder)
    here, content = gather(files, GatheredRegisters(files))
    archive = tmp_path / "facts.tar.gz"
    archive.write_bytes(content)
    assert here.xen.log.why == from_archive(archive).xen.log.why == "it takes root"
    assert from_archive(archive).xen.info.why == "not gathered"


def _xl(folder: Path, script: str) -> str:
    program = folder / "xl"
    program.write_text(f"#!/bin/sh\n{script}\n", encoding="ascii")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return str(program)


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ('echo "$1 $#"', b"dmesg 1\n"),
        ("exit 3", "ended with status 3"),
        ("sleep 20", "did not answer in 1 seconds"),
        ("head -c 5000000 /dev/zero", "more than 4 MiB"),
    ],
)
def test_xl_is_run_by_root_alone_and_never_for_long(
    script: str, expected: bytes | str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading_files, "_XL", (str(tmp_path / "none"), _xl(tmp_path, script)))
    monkeypatch.setattr(reading_files, "_SECONDS", 1)
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    with pytest.raises(UnreadableError, match="it takes root"):
        LiveFiles().xl("dmesg")
    monkeypatch.setattr("os.geteuid", lambda: 0)
    if isinstance(expected, bytes):
        assert LiveFiles().xl("dmesg") == expected
    else:
        with pytest.raises(UnreadableError, match=expected):
            LiveFiles().xl("dmesg")


def test_without_xl_that_is_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading_files, "_XL", ("/nowhere/xl",))
    monkeypatch.setattr("os.geteuid", lambda: 0)
    with pytest.raises(UnreadableError, match="there is no xl"):
        LiveFiles().xl("dmesg")
