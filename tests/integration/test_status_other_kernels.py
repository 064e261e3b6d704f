# SPDX-License-Identifier: GPL-2.0-or-later
"""``l1dflush status`` on copies of hosts with old kernels, on POWER and in sandboxes; each with others of its kind."""

from __future__ import annotations

import io
import json
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from packing import extract
from sysroots import CopiedHost

from l1dflush.cli.main import main

HOSTS = Path(__file__).parents[1] / "data" / "trials" / "hosts"
MISSING = HOSTS.parent / "inputs" / "37-host-without-the-l1tf-file.tar"
VULNERABILITIES = "/sys/devices/system/cpu/vulnerabilities"
PARAMETERS = "/sys/module/kvm_intel/parameters"

Capture = pytest.CaptureFixture[str]
Damage = Callable[[CopiedHost], None]


def judged(host: Path, capsys: Capture) -> tuple[str, str]:
    """The verdict, and the cause that decides."""
    source = "--sysroot" if host.is_dir() else "--from"
    status = main(["status", source, str(host), "--json"])
    out, err = capsys.readouterr()
    assert err == ""
    result = json.loads(out)
    expected = {"not-affected": 0, "mitigated": 0, "unknown": 3}.get(result["verdict"], 2)
    assert status == result["exit_status"] == expected
    return result["verdict"], result["grounds"][0]["cause"]


def told(host: Path, capsys: Capture) -> str:
    main(["status", "--sysroot" if host.is_dir() else "--from", str(host)])
    out, err = capsys.readouterr()
    assert err == ""
    return " ".join(out.split())


def changed(tmp_path: Path, name: str, *damages: Damage) -> Path:
    host = CopiedHost(tmp_path / "host")
    shutil.copytree(HOSTS / name, host.folder)
    for damage in damages:
        damage(host)
    return host.folder


def write(path: str, content: str) -> Damage:
    return lambda host: host.write(path, content)


def remove(path: str) -> Damage:
    return lambda host: host.remove(path)


def cpuinfo(*changes: tuple[str, str]) -> Damage:
    def damage(host: CopiedHost) -> None:
        text = host.at("/proc/cpuinfo").read_text()
        for old, new in changes:
            assert old in text
            text = text.replace(old, new)
        host.write("/proc/cpuinfo", text)

    return damage


def release(text: str, version: str = "#1 SMP") -> Damage:
    def damage(host: CopiedHost) -> None:
        host.write("/proc/sys/kernel/osrelease", text)
        host.write("/proc/sys/kernel/version", version)
        host.write("/l1dflush/uname.txt", f"{text}\n{version}\n{'ppc64le' if 'ppc' in text else 'x86_64'}")

    return damage


EARLY, BUILT_IN, POWER, GVISOR = (
    "10-v4.4-early-kvm",
    "47-v4.4-kvm-builtin",
    "43-power9-rfi-off-old",
    "46-gvisor-sandbox",
)
L1TF, MELTDOWN = f"{VULNERABILITIES}/l1tf", f"{VULNERABILITIES}/meltdown"
RFI = "/sys/kernel/debug/powerpc/rfi_flush"
LOADED = write("/sys/module/kvm_intel/initstate", "live")
AMD = cpuinfo(("GenuineIntel", "AuthenticAMD"), ("cpu family\t: 6", "cpu family\t: 23"))
LATER = release("5.10.0-30-amd64")
GIVEN = write(f"{PARAMETERS}/vmentry_l1d_flush", "cond")
RFI_FLUSH = write(L1TF, "Mitigation: RFI Flush")
NO_LINE = write("/proc/cmdline", "ro")
VMX_OFF = write("/l1dflush/msr.txt", "0000003a: 0000000000000001")


@pytest.mark.parametrize(
    ("name", "verdict", "cause"),
    [
        (EARLY, "vulnerable", "kvm-without-flush"),
        (BUILT_IN, "vulnerable", "kvm-without-flush"),
        (POWER, "vulnerable", "kernel-says"),
        (GVISOR, "unknown", "not-linux"),
        ("14-debian9-atom-switch", "not-affected", "no-bug"),
        ("24-v4.18.4-32gib-ivb", "vulnerable", "no-pte-inversion"),
        ("33-kvm-nested-skx-notneeded", "unknown", "hypervisor-below"),
    ],
)
def test_the_hosts(name: str, verdict: str, cause: str, capsys: Capture) -> None:
    assert judged(HOSTS / name, capsys) == (verdict, cause)


@pytest.mark.parametrize("name", [EARLY, BUILT_IN])
def test_a_kvm_without_a_flush_is_said_to_be_one(name: str, capsys: Capture) -> None:
    said = told(HOSTS / name, capsys)
    assert "this KVM has no flush" in said
    assert "this host does not use it" in said
    assert "a kernel whose KVM has the flush" in said
    assert "ept=0" in said
    assert "conditional" not in said


OTHERS: dict[str, tuple[str, tuple[Damage, ...], tuple[str, str]]] = {
    "3.16 before its text changed": (EARLY, (release("3.16.60"),), ("vulnerable", "kvm-without-flush")),
    "3.16 after": (
        EARLY, (release("3.16.84"), write(L1TF, "Mitigation: PTE Inversion")), ("vulnerable", "kvm-without-flush"),
    ),
    "Debian 8": (
        BUILT_IN, (release("3.16.0-11-amd64", "#1 SMP Debian 3.16.84-1 (2020-06-09)"),),
        ("vulnerable", "kvm-without-flush"),
    ),
    "a name that would have it": (BUILT_IN, (release("4.9.337"),), ("vulnerable", "kvm-without-flush")),
    "a distribution's name that would have it": (
        EARLY, (release("4.4.0-210-generic", "#242-Ubuntu SMP"),), ("vulnerable", "kvm-without-flush"),
    ),
    "the module is loaded, and its parameters cannot be read": (
        EARLY, (remove(PARAMETERS), LOADED, write(f"{PARAMETERS}/nested", "N")),
        ("unknown", "depends-on-unknown"),
    ),
    "the folder of parameters is missing": (
        EARLY, (remove(PARAMETERS), LOADED), ("unknown", "depends-on-unknown"),
    ),
    "without EPT": (EARLY, (write(f"{PARAMETERS}/ept", "N"),), ("mitigated", "ept-off")),
    "not loaded": (EARLY, (remove("/sys/module/kvm_intel"),), ("mitigated", "no-guests")),
    "kvm_amd only": (
        EARLY, (remove("/sys/module/kvm_intel"), write("/sys/module/kvm_amd/parameters/npt", "1")),
        ("mitigated", "no-guests"),
    ),
    "firmware locked VMX off, and it is built in": (
        BUILT_IN, (write("/l1dflush/cpuid.txt", "00000000 00000000: 00000014 756e6547 6c65746e 49656e69"), VMX_OFF),
        ("mitigated", "no-guests"),
    ),
    "it is built in, and there is no /dev/kvm": (
        BUILT_IN, (write("/sys/class/misc/rtc/dev", "10:135"),), ("mitigated", "no-guests"),
    ),
    "it is built in, and there is /dev/kvm": (
        BUILT_IN, (write("/sys/class/misc/kvm/dev", "10:232"),), ("vulnerable", "kvm-without-flush"),
    ),
    "Ubuntu 16.04, which took it": (
        EARLY, (release("4.4.0-210-generic", "#242-Ubuntu SMP"), GIVEN,
                write("/sys/devices/system/cpu/smt/control", "on"), write("/sys/devices/system/cpu/smt/active", "1"),
                write(L1TF, "Mitigation: PTE Inversion; VMX: conditional cache flushes, SMT vulnerable")),
        ("partially-mitigated", "conditional"),
    ),
    "a guest": (
        EARLY, (cpuinfo((" vmx ", " vmx hypervisor ")),),
        ("vulnerable", "kvm-without-flush"),
    ),
    "a CPU without L1TF": (
        EARLY, (write(L1TF, "Not affected"), cpuinfo(("model\t: 60", "model\t: 77"), (" l1tf", ""))),
        ("not-affected", "no-bug"),
    ),
    "POWER with its flush": (
        POWER, (write(L1TF, "Mitigation: RFI Flush, L1D private per thread"),), ("mitigated", "kernel-says"),
    ),
    "POWER, vulnerable": (POWER, (write(L1TF, "Vulnerable"),), ("vulnerable", "kernel-says")),
    "POWER, vulnerable since it says so": (
        POWER, (write(L1TF, "Vulnerable: L1D private per thread"),), ("vulnerable", "kernel-says"),
    ),
    "POWER whose text knows nothing of L1TF": (POWER, (write(L1TF, "Not affected"),), ("unknown", "kernel-says")),
    "POWER that says it beside": (
        POWER, (write(L1TF, "Not affected"), write(MELTDOWN, "Mitigation: L1D private per thread")),
        ("vulnerable", "kernel-says"),
    ),
    "POWER that flushes, and says it beside": (
        POWER, (write(L1TF, "Not affected"), write(MELTDOWN, "Mitigation: RFI Flush")), ("mitigated", "kernel-says"),
    ),
    "POWER without the file": (
        POWER, (remove(L1TF), write(MELTDOWN, "Mitigation: RFI Flush")), ("mitigated", "kernel-says"),
    ),
    "POWER without the file and without the flush": (
        POWER, (remove(L1TF), write(MELTDOWN, "Vulnerable")), ("vulnerable", "kernel-says"),
    ),
    "POWER of which two texts differ": (
        POWER, (RFI_FLUSH, write(MELTDOWN, "Vulnerable")), ("vulnerable", "kernel-says"),
    ),
    "POWER whose switch is off": (
        POWER, (RFI_FLUSH, write(RFI, "0")), ("unknown", "facts-and-kernel-disagree"),
    ),
    "POWER whose switch is on": (POWER, (RFI_FLUSH, write(RFI, "1")), ("mitigated", "kernel-says")),
    "POWER that is new, and has none": (
        POWER, (write(L1TF, "Not affected"), release("6.8.0-31-generic.ppc64le")), ("not-affected", "kernel-says"),
    ),
    "gVisor of today": (
        GVISOR, (release("4.19.0-gvisor", "#1 SMP Sun Jan 10 15:06:54 PST 2016"),), ("unknown", "not-linux"),
    ),
    "gVisor by its build alone": (GVISOR, (NO_LINE,), ("unknown", "not-linux")),
    "what is like gVisor": (
        GVISOR, (NO_LINE, release("4.4.0")), ("unknown", "kernel-does-not-say"),
    ),
    "WSL 1": (GVISOR, (write("/proc/cmdline", "BOOT_IMAGE=/kernel init=/init"),
                       release("4.4.0-19041-Microsoft", "#1237-Microsoft Sat Sep 11 14:32:00 PST 2021")),
              ("unknown", "not-linux")),
    "an LX zone": (GVISOR, (NO_LINE, release("3.16.0", "BrandZ virtual linux")), ("unknown", "not-linux")),
    "another emulation": (
        GVISOR, (NO_LINE, release("3.2.0", "FreeBSD 12.2-RELEASE r366954")), ("unknown", "not-linux"),
    ),
    "gVisor on AMD": (GVISOR, (AMD,), ("not-affected", "no-bug")),
    "a Linux 4.4.0 that is one": (EARLY, (release("4.4.0"), remove(VULNERABILITIES), remove("/sys/module/kvm_intel")),
                                  ("vulnerable", "kernel-without-mitigation")),
}  # fmt: skip

UNREAD: dict[str, tuple[Damage, ...]] = {
    "no cpuinfo": (remove("/proc/cpuinfo"),),
    "a cpuinfo of which nothing is understood": (write("/proc/cpuinfo", "processor : 0\nvendor : none"),),
    "no release": (remove("/proc/sys/kernel/osrelease"), remove("/l1dflush/uname.txt")),
    "a release that is none": (release("Linux"),),
    "neither": (remove("/proc/cpuinfo"), release("custom")),
    "no machine": (remove("/l1dflush/uname.txt"),),
    "neither CPU nor machine": (remove("/proc/cpuinfo"), remove("/l1dflush/uname.txt")),
}  # fmt: skip
"""What could not be read, so that nothing follows from facts alone."""


@pytest.mark.parametrize("early", ["Mitigation: Page Table Inversion", "Mitigation: PTE Inversion"])
@pytest.mark.parametrize("name", UNREAD)
def test_a_kvm_without_a_flush_is_one_whoever_says_what_kernel_and_cpu_it_is(
    name: str, early: str, tmp_path: Path, capsys: Capture
) -> None:
    host = changed(tmp_path, EARLY, LOADED, write(L1TF, early), *UNREAD[name])
    assert judged(host, capsys) == ("vulnerable", "kvm-without-flush")
    assert "a kernel whose KVM has the flush" in told(host, capsys)


@pytest.mark.parametrize("text", ["", "\n", " \n\n"])
def test_a_text_that_is_empty_is_no_text(text: str, tmp_path: Path, capsys: Capture) -> None:
    host = changed(tmp_path, EARLY, remove("/sys/module/kvm_intel"), lambda one: one.at(L1TF).write_text(text) and None)
    assert judged(host, capsys) == ("unknown", "kernel-does-not-say")
    said = told(host, capsys)
    assert f"copy {L1TF} anew: it is empty" in said and "readable" not in said and "says ''" not in said


VMX = "Mitigation: PTE Inversion; VMX: "
CONTRADICTED: dict[str, tuple[tuple[Damage, ...], str]] = {
    "not affected, and the parameter says cond": ((write(L1TF, "Not affected"), GIVEN), "unknown"),
    "not affected, and cpuinfo has the bug": ((write(L1TF, "Not affected"), remove(PARAMETERS)), "unknown"),
    "EPT disabled, and the parameter ept says Y": (
        (write(L1TF, VMX + "EPT disabled"), write(f"{PARAMETERS}/vmentry_l1d_flush", "EPT disabled")), "unknown",
    ),
    "always, and the parameter says cond": ((write(L1TF, VMX + "cache flushes, SMT disabled"), GIVEN), "unknown"),
    "SMT disabled, and the control says on": (
        (write(L1TF, VMX + "cache flushes, SMT disabled"), write(f"{PARAMETERS}/vmentry_l1d_flush", "always"),
         write("/sys/devices/system/cpu/smt/control", "on"), write("/sys/devices/system/cpu/smt/active", "1")),
        "unknown",
    ),
    "the flush is not necessary, whatever SMT does": (
        (write(L1TF, VMX + "flush not necessary, SMT vulnerable"),
         write(f"{PARAMETERS}/vmentry_l1d_flush", "not required")), "unknown",
    ),
}  # fmt: skip


@pytest.mark.parametrize("unread", ["no cpuinfo", "no release", "a release that is none", "neither"])
@pytest.mark.parametrize("name", CONTRADICTED)
def test_a_word_is_held_against_all_that_was_read(name: str, unread: str, tmp_path: Path, capsys: Capture) -> None:
    damages, expected = CONTRADICTED[name]
    if "cpuinfo has" in name and unread in ("no cpuinfo", "neither"):
        damages = (*damages, write(f"{PARAMETERS}/vmentry_l1d_flush", "always"))  # the bug shows there
    host = changed(tmp_path, EARLY, LOADED, *damages, *UNREAD[unread])
    assert judged(host, capsys)[0] == expected


@pytest.mark.parametrize("machine", ["aarch64", "riscv64", "s390x"])
@pytest.mark.parametrize(
    ("text", "more", "verdict"),
    [
        ("Mitigation: PTE Inversion", (), "unknown"),
        ("Mitigation: RFI Flush", (), "unknown"),
        ("Not affected", (), "not-affected"),
        ("Not affected", (GIVEN,), "unknown"),
        ("Not affected", (write("/proc/cpuinfo", "vendor_id : GenuineIntel\ncpu family : 6\nmodel : 60"),), "unknown"),
        ("Vulnerable", (), "vulnerable"),
    ],
)
def test_a_text_that_a_machine_cannot_have_is_not_believed(
    machine: str, text: str, more: tuple[Damage, ...], verdict: str, tmp_path: Path, capsys: Capture
) -> None:
    host = changed(
        tmp_path, EARLY, remove("/proc/cpuinfo"), remove("/sys/module/kvm_intel"), write(L1TF, text), *more,
        write("/l1dflush/uname.txt", f"6.1.100\n#1 SMP\n{machine}"),
    )  # fmt: skip
    assert judged(host, capsys)[0] == verdict


@pytest.mark.parametrize("name", OTHERS)
def test_others_of_their_kinds(name: str, tmp_path: Path, capsys: Capture) -> None:
    host, damages, expected = OTHERS[name]
    assert judged(changed(tmp_path, host, *damages), capsys) == expected


def without_the_file(tmp_path: Path, *damages: Damage) -> Path:
    host = CopiedHost(tmp_path / "host")
    with tarfile.open(MISSING) as archive:
        extract(archive, host.folder)
    for damage in damages:
        damage(host)
    return host.folder


def test_a_file_that_is_missing_beside_others_is_a_fact(capsys: Capture) -> None:
    assert judged(MISSING, capsys) == ("vulnerable", "kernel-without-mitigation")
    said = told(MISSING, capsys)
    assert "there is no l1tf beside what is in" in said
    assert "a kernel of August 2018 or later" in said
    assert "readable" not in said
    assert "nothing: this KVM has no flush" in said
    assert "conditional" not in said


MISSING_OTHERS: dict[str, tuple[tuple[Damage, ...], tuple[str, str]]] = {
    "under a name that would have it": ((release("4.14.200"),), ("vulnerable", "kernel-without-mitigation")),
    "Red Hat's of July 2018": (
        (release("3.10.0-862.9.1.el7.x86_64"), write(f"{VULNERABILITIES}/spec_store_bypass", "Vulnerable")),
        ("vulnerable", "kernel-without-mitigation"),
    ),
    "without guests": ((remove("/sys/module/kvm_intel"),), ("vulnerable", "kernel-without-mitigation")),
    "beside one that came later": (
        (write(f"{VULNERABILITIES}/mds", "Vulnerable"), GIVEN),
        ("unknown", "kernel-does-not-say"),
    ),
    "on a kernel that always had it": ((LATER,), ("vulnerable", "kvm-without-flush")),
    "on a kernel that always had it, with its parameter": (
        (LATER, GIVEN), ("unknown", "kernel-does-not-say"),
    ),
    "on AMD": (
        (AMD, remove("/sys/module/kvm_intel")),
        ("not-affected", "no-bug"),
    ),
    "on a CPU without L1TF": (
        (cpuinfo(("model\t\t: 63", "model\t\t: 77")),
         remove("/sys/module/kvm_intel")), ("not-affected", "no-bug"),
    ),
    "with the whole folder": ((remove(VULNERABILITIES), remove("/sys/module/kvm_intel"), release("4.9.0-8-amd64")),
                              ("unknown", "kernel-does-not-say")),
    "with the whole folder, of a version of its own": (
        (remove(VULNERABILITIES), remove("/sys/module/kvm_intel"),
         release("4.9.0-3-amd64", "#1 SMP Debian 4.9.30-2+deb9u5 (2017-09-19)")),
        ("vulnerable", "kernel-without-mitigation"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", MISSING_OTHERS)
def test_other_hosts_without_the_file(name: str, tmp_path: Path, capsys: Capture) -> None:
    damages, expected = MISSING_OTHERS[name]
    assert judged(without_the_file(tmp_path, *damages), capsys) == expected


@pytest.mark.parametrize("name", [EARLY, BUILT_IN, POWER, GVISOR])
def test_what_gather_packs_of_them_comes_to_the_same(name: str, tmp_path: Path, capsys: Capture) -> None:
    packed = tmp_path / "facts.tar.gz"
    assert main(["gather", "--sysroot", str(HOSTS / name), "--output", str(packed)]) == 0
    capsys.readouterr()
    assert judged(packed, capsys) == judged(HOSTS / name, capsys)


def test_what_gather_packs_without_the_file_comes_to_the_same(tmp_path: Path, capsys: Capture) -> None:
    packed = tmp_path / "facts.tar.gz"
    assert main(["gather", "--sysroot", str(without_the_file(tmp_path)), "--output", str(packed)]) == 0
    capsys.readouterr()
    assert judged(packed, capsys) == ("vulnerable", "kernel-without-mitigation")
    with tarfile.open(fileobj=io.BytesIO(packed.read_bytes())) as archive:
        names = archive.getnames()
    assert "sys/devices/system/cpu/vulnerabilities/meltdown" in names


def test_a_sandbox_is_told_from_linux(capsys: Capture) -> None:
    said = told(HOSTS / GVISOR, capsys)
    assert "this is gVisor, and only says that it is Linux 4.4.0" in said
    assert "run this on what it runs on" in said
    assert "readable" not in said
    assert "kvm_intel is not loaded" not in said


def test_power_is_not_asked_about_x86(capsys: Capture) -> None:
    said = told(HOSTS / POWER, capsys)
    assert "the kernel says 'Mitigation: L1D private per thread'" in said
    for word in ("microcode:", "MSR", "EPT", "CONFIG_KVM_INTEL"):
        assert word not in said
    assert "vulnerabilities/meltdown" in said


def test_what_is_not_there_is_not_to_be_made_readable(tmp_path: Path, capsys: Capture) -> None:
    said = told(
        without_the_file(tmp_path, remove(VULNERABILITIES), remove("/sys/module"), release("4.9.150-x")), capsys
    )
    assert f"copy {L1TF} too, if it is there" in said
    assert "readable" not in said
