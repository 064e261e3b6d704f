# SPDX-License-Identifier: GPL-2.0-or-later
"""The facts that are read of hosts of many kinds, whole and damaged."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sysroots
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sysroots import CONTROL, CPU, CPUID, KINDS, L1TF, MSR, PARAMETERS, UNREAD, CopiedHost

from l1dflush.cache.geometry import Geometry
from l1dflush.errors import InputError
from l1dflush.host.l1d import Signature
from l1dflush.host.reading.collect import from_sysroot, this_host
from l1dflush.host.reading.fact import Fact
from l1dflush.host.reading.files import LiveFiles, Sysroot
from l1dflush.host.reading.host_facts import HostFacts
from l1dflush.host.reading.kernel import config_symbols
from l1dflush.host.reading.mitigation import module_file, module_options

CPUINFO = "/proc/cpuinfo"
OSRELEASE = "/proc/sys/kernel/osrelease"
CONFIG = f"/boot/config-{sysroots.DEBIAN}"


@pytest.fixture
def host(tmp_path: Path) -> CopiedHost:
    """A damaged one is made of this."""
    return sysroots.smt_on(tmp_path)


def facts(host: CopiedHost) -> HostFacts:
    return from_sysroot(host.folder)


def fact(host: CopiedHost, name: str) -> Fact[Any]:
    return dict(facts(host).each())[name]


# --- hosts of many kinds


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("with_microcode", {"cpu.flush_command": True, "cpu.arch_capabilities": 0, "cpu.threads": 1, "cpu.ept": True}),
        ("without_microcode", {"cpu.flush_command": False, "cpu.arch_capabilities": 0, "cpu.microcode": ("0x9e",)}),
        ("ept_off", {"cpu.ept": True, "mitigation.ept": False, "mitigation.options": ("ept=0",)}),
        ("smt_on", {"cpu.threads": 2, "mitigation.smt_active": True, "mitigation.smt_control": "on"}),
        ("not_loaded", {"mitigation.loaded": False, "mitigation.parameter": None, "cpu.vmx": True}),
        ("guest", {"cpu.hypervisor": "KVM", "cpu.vmx": False, "cpu.ept": False, "cpu.arch_capabilities": 8}),
        ("locked_down", {"cpu.arch_capabilities": None, "kernel.lockdown": "integrity", "cpu.flush_command": True}),
        ("amd", {"cpu.vmx": False, "mitigation.text": "Not affected", "cpu.threads": 2, "cpu.arch_capabilities": 0}),
        ("without_pae", {"kernel.levels": 2, "kernel.machine": "i686", "kernel.memory_end": 0xC0000000}),
        ("rhel7", {"kernel.levels": 4, "kernel.config_l1tf": True, "cpu.ept": True, "kernel.config_hotplug_smt": True}),
    ],
)
def test_what_differs(kind: str, expected: dict[str, object], tmp_path: Path) -> None:
    said = dict(facts(KINDS[kind](tmp_path)).each())
    assert {name: said[name].value for name in expected} == expected


def test_a_whole_host(host: CopiedHost) -> None:
    said = facts(host)
    assert said.where == str(host.folder)
    assert not [name for name, fact in said.each() if not fact.known]
    assert said.kernel.release == Fact(sysroots.DEBIAN, OSRELEASE)
    assert said.kernel.version.value == sysroots.DEBIAN_VERSION
    assert said.kernel.machine == Fact("x86_64", "uname")
    assert said.kernel.levels == Fact(4, f"CONFIG_PGTABLE_LEVELS in {CONFIG}")
    assert said.kernel.memory_end.value == 0x440000000
    assert said.kernel.config_l1tf == Fact(True, f"CONFIG_MITIGATION_L1TF, which {CONFIG} does not know")
    name = "Intel(R) Core(TM) i7-6700 CPU @ 3.40GHz"
    assert said.cpu.signature.value == Signature("GenuineIntel", 6, 94, 3, name)
    assert said.cpu.l1d.value == Geometry(32768, 8, 64)
    assert said.cpu.address_bits.value == 39
    assert said.cpu.bugs.value is not None and "l1tf" in said.cpu.bugs.value
    assert said.cpu.hypervisor.value == ""
    assert said.mitigation.parameter == Fact("cond", f"{PARAMETERS}/vmentry_l1d_flush")
    assert said.mitigation.flushes.value == 1234
    assert said.mitigation.built_in.value is False and said.mitigation.others.value == ()


def test_why_an_msr_is_unknown(tmp_path: Path) -> None:
    said = facts(sysroots.locked_down(tmp_path)).cpu.arch_capabilities
    assert said == Fact.unknown("MSR 10AH", "/dev/cpu/0/msr: not permitted (the kernel is locked down: integrity)")


def test_why_there_is_no_parameter(tmp_path: Path) -> None:
    said = facts(sysroots.not_loaded(tmp_path)).mitigation
    assert said.parameter.why == said.ept.why == "kvm_intel is not loaded"


# --- damage


DAMAGE: dict[str, tuple[Callable[[CopiedHost, str], None], str]] = {
    "removed": (CopiedHost.remove, "there is no such file"),
    "empty": (CopiedHost.empty, "it is empty"),
    "junk": (CopiedHost.junk, "it is not text"),
    "denied": (CopiedHost.deny, "permission denied"),
}
ONE_FILE_EACH = {
    "/proc/cmdline": "kernel.command_line", L1TF: "mitigation.text", f"{CPU}/smt/active": "mitigation.smt_active",
    "/sys/kernel/security/lockdown": "kernel.lockdown", f"{PARAMETERS}/vmentry_l1d_flush": "mitigation.parameter",
    f"{PARAMETERS}/ept": "mitigation.ept", "/sys/kernel/debug/kvm/l1d_flush": "mitigation.flushes",
    CPUINFO: "cpu.signature", "/proc/iomem": "kernel.memory_end",
}  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("path", ONE_FILE_EACH)
def test_a_damaged_file_makes_a_fact_unknown_for_its_own_reason(path: str, damage: str, host: CopiedHost) -> None:
    damaged, why = DAMAGE[damage]
    damaged(host, path)
    said = fact(host, ONE_FILE_EACH[path])
    assert said.value is None
    assert why in said.why
    assert path in said.origin


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("kind", KINDS)
def test_no_damage_stops_the_reading_or_invents_a_fact(kind: str, damage: str, tmp_path: Path) -> None:
    """Whatever is missing: what is still known is what it was, or the same from somewhere else."""
    host = KINDS[kind](tmp_path)
    whole = dict(facts(host).each())
    # That a file is not there, or has nothing in it, is an answer too; and a name may be all that is lost.
    told = {
        "removed": {"kernel.config_hotplug_smt", "mitigation.options", "mitigation.has_parameter"},
        "empty": {"mitigation.options"},
    }.get(damage, set()) | {"cpu.hypervisor"}  # fmt: skip
    contents = {path: host.at(path).read_bytes() for path in host.files()}
    for path, content in contents.items():
        DAMAGE[damage][0](host, path)
        found = list(facts(host).each())
        host.remove(UNREAD)
        host.write(path, content)
        for name, said in found:
            if said.known and name not in told:
                assert said.value == whole[name].value, (path, name)
            if not said.known:
                assert said.why and said.origin, (path, name)


def test_a_fifo_is_not_waited_for(host: CopiedHost) -> None:
    host.remove("/proc/cmdline")
    os.mkfifo(host.at("/proc/cmdline"))
    assert fact(host, "kernel.command_line").why == "it is not a regular file"


def test_a_folder_in_place_of_a_file(host: CopiedHost) -> None:
    host.remove(L1TF)
    host.at(L1TF).mkdir()
    assert fact(host, "mitigation.text").why == "it is a folder"


def test_links_stay_inside(host: CopiedHost) -> None:
    for path, target in (("/proc/cmdline", "/etc/line"), (L1TF, "../../../../../../../../../../../etc/line")):
        host.remove(path)
        host.at(path).symlink_to(target)
    host.write("/etc/line", "from inside")
    assert fact(host, "kernel.command_line").value == "from inside"
    assert fact(host, "mitigation.text").value == "from inside"


def test_a_link_to_a_file_outside_is_a_link_to_nowhere(
    host: CopiedHost, tmp_path_factory: pytest.TempPathFactory
) -> None:
    secret = tmp_path_factory.mktemp("outside") / "secret"
    secret.write_text("secret")
    host.remove("/proc/cmdline")
    host.at("/proc/cmdline").symlink_to(secret)
    assert fact(host, "kernel.command_line").why == "there is no such file"
    host.remove("/proc/sys")
    host.at("/proc/sys").symlink_to("/proc/sys")
    host.remove("/l1dflush/uname.txt")
    assert "too many symbolic links" in fact(host, "kernel.release").why


def test_what_is_masked_counts_as_empty(host: CopiedHost) -> None:
    """As systemd's own documentation says how to switch a file off; the sysroot need not have the device."""
    host.write("/usr/lib/modprobe.d/kvm.conf", "options kvm_intel ept=0")
    host.at("/etc/modprobe.d/kvm.conf").symlink_to("/dev/null")
    assert fact(host, "mitigation.options").value == ()


def test_a_large_file_is_not_read_to_its_end(host: CopiedHost) -> None:
    with host.at("/proc/cmdline").open("r+b") as file:
        file.truncate(1 << 30)
    assert fact(host, "kernel.command_line").why == "it has more than 4 MiB"


def test_a_release_that_is_a_path_leads_nowhere(host: CopiedHost) -> None:
    host.write(OSRELEASE, "../../etc/passwd")
    host.write("/boot/config-../../etc/passwd", "CONFIG_KVM_INTEL=y")
    assert not fact(host, "kernel.config_kvm_intel").known
    assert "usual name" in module_file(Sysroot(host.folder), Fact("../../etc/passwd", OSRELEASE)).why


def test_folders_that_are_no_host(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no such folder"):
        from_sysroot(tmp_path / "none")
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="it is not a folder"):
        from_sysroot(tmp_path / "file")
    with pytest.raises(InputError, match="nothing of a host is in it"):
        from_sysroot(tmp_path)
    with pytest.raises(InputError):
        from_sysroot(Path("a\0b"))


# --- where one fact has several places


def test_uname_where_proc_has_none(host: CopiedHost) -> None:
    host.remove("/proc/sys")
    said = facts(host).kernel
    assert said.release == Fact(sysroots.DEBIAN, "uname") and said.version == Fact(sysroots.DEBIAN_VERSION, "uname")
    host.remove(sysroots.UNAME)
    host.write(
        "/proc/version", f"Linux version {sysroots.DEBIAN} (a@b) (gcc (A) 12.2.0, GNU ld) {sysroots.DEBIAN_VERSION}"
    )
    said = facts(host).kernel
    assert said.release == Fact(sysroots.DEBIAN, "/proc/version")
    assert said.version == Fact(sysroots.DEBIAN_VERSION, "/proc/version")
    assert said.machine.why == "/proc/sys/kernel/arch: there is no such file; uname: not gathered"


def test_a_configuration_in_each_place(host: CopiedHost) -> None:
    text = "CONFIG_PGTABLE_LEVELS=3\n# CONFIG_CPU_MITIGATIONS is not set\n# CONFIG_MITIGATION_L1TF is not set"
    for place in (f"/usr/lib/modules/{sysroots.DEBIAN}/config", f"/lib/modules/{sysroots.DEBIAN}/config"):
        host.remove(CONFIG)
        host.write(place, text)
        said = facts(host).kernel
        assert said.levels == Fact(3, f"CONFIG_PGTABLE_LEVELS in {place}")
    sysroots.compressed_config(host, f"{text}\nCONFIG_KVM_INTEL=y")
    said = facts(host).kernel
    assert said.config_mitigations == Fact(False, "CONFIG_CPU_MITIGATIONS in /proc/config.gz")
    assert said.config_l1tf.value is False and said.config_kvm_intel.value is True
    assert facts(host).mitigation.built_in.value is True
    host.write("/proc/config.gz", b"\x1f\x8b\x08\0junk")
    assert facts(host).kernel.levels.origin.endswith(f"/lib/modules/{sysroots.DEBIAN}/config")


def test_levels_without_a_configuration(host: CopiedHost) -> None:
    host.remove(CONFIG)
    assert fact(host, "kernel.levels").value == 4
    for release, levels in (("6.1.0-31-686", 2), ("6.1.0-31-686-pae", 3), ("6.1.0", None)):
        host.write(OSRELEASE, release)
        host.write(sysroots.UNAME, f"{release}\nv\ni686")
        assert fact(host, "kernel.levels").value == levels


def test_whether_kvm_intel_is_built_in_without_a_configuration(host: CopiedHost) -> None:
    host.remove(CONFIG)
    assert not fact(host, "mitigation.built_in").known
    path = f"/lib/modules/{sysroots.DEBIAN}/modules.builtin"
    host.write(path, "kernel/a.ko\nkernel/arch/x86/kvm/kvm-intel.ko")
    assert fact(host, "mitigation.built_in") == Fact(True, path)
    host.write(path, "kernel/arch/x86/kvm/kvm.ko")
    assert fact(host, "mitigation.built_in").value is False


def test_where_memory_ends_for_who_is_not_root(host: CopiedHost) -> None:
    host.write("/proc/iomem", "00000000-00000000 : Reserved\n00000000-00000000 : System RAM")
    assert "root only" in fact(host, "kernel.memory_end").why
    zone = (
        "Node {}, zone {:>8}\n  pages free     10\n        spanned  {}\n        present  5\n  start_pfn:           {}\n"
    )
    zones = [(0, "DMA", 4095, 1), (0, "DMA32", 1044480, 4096), (1, "Normal", 65536, 1048576), (1, "Movable", 0, 0)]
    host.write("/proc/zoneinfo", "".join(zone.format(*one) for one in [*zones, (1, "Device", 999, 9999999)]))
    assert fact(host, "kernel.memory_end") == Fact((1048576 + 65536) * 4096, "/proc/zoneinfo")


def test_the_kernels_flag_decides_about_the_flush_command(host: CopiedHost) -> None:
    text = host.at(CPUINFO).read_text()
    host.write(CPUINFO, text.replace("flush_l1d", ""))
    said = fact(host, "cpu.flush_command")
    assert said.value is False and "though CPUID.7.0:EDX[28] is 1" in said.origin
    host.remove(CPUINFO)
    assert fact(host, "cpu.flush_command") == Fact(True, "CPUID.7.0:EDX[28]")
    host.remove(CPUID)
    assert not fact(host, "cpu.flush_command").known


def test_leaves_beyond_the_last_are_not_asked(host: CopiedHost) -> None:
    host.remove(CPUINFO)
    host.write(CPUID, f"00000000 00000000: 00000004{' 00000000' * 3}")
    assert fact(host, "cpu.flush_command").value is False


def test_vmx_that_firmware_locked_off(host: CopiedHost) -> None:
    host.write(MSR, "0000003a: 0000000000000001\n0000010a: 0000000000000000")
    said = facts(host).cpu
    assert said.vmx.value is False and "firmware" in said.vmx.origin and said.ept.value is False


def test_ept_from_the_msr(host: CopiedHost) -> None:
    host.remove(CPUINFO)
    for value, ept in ((1 << 33, True), (0xFFFFFFFF, False)):
        host.write(MSR, f"0000048b: {value:016x}")
        assert fact(host, "cpu.ept") == Fact(ept, "MSR 48BH[33]")


def test_a_cpu_without_ept(host: CopiedHost) -> None:
    text = host.at(CPUINFO).read_text()
    host.write(CPUINFO, text.replace("ept vpid", ""))
    assert fact(host, "cpu.ept").value is False


@pytest.mark.parametrize(
    ("control", "siblings", "cores", "threads"),
    [
        ("notsupported", "0", "4", 1), ("off", "0", "4", 2), ("forceoff", "0", "4", 2), ("on", "0,4", "4", 2),
        ("on", "0-1", "4", 2), ("on", "0-7", "4", 8), ("on", "0", "4", 2), ("on", "x", "4", 2), ("on", "x", "0", 2),
        ("on", "7-0", "3", 2), (None, "0,4", "4", 2), (None, "x", "0", None),
    ],
)  # fmt: skip
def test_threads(control: str | None, siblings: str, cores: str, threads: int | None, host: CopiedHost) -> None:
    host.write(f"{CPU}/cpu0/topology/thread_siblings_list", siblings)
    host.write(CPUINFO, host.at(CPUINFO).read_text().replace("cpu cores\t: 4", f"cpu cores\t: {cores}"))
    if control is None:
        host.remove(CONTROL)
    else:
        host.write(CONTROL, control)
    assert fact(host, "cpu.threads").value == threads


def test_a_hypervisor_without_a_name(tmp_path: Path) -> None:
    host = sysroots.guest(tmp_path)
    host.remove(CPUID)
    assert fact(host, "cpu.hypervisor") == Fact("an unknown hypervisor", f"hypervisor in {CPUINFO}")
    host.write("/sys/hypervisor/type", "xen")
    assert fact(host, "cpu.hypervisor") == Fact("Xen", "/sys/hypervisor/type")


def test_what_else_runs_guests(host: CopiedHost) -> None:
    host.at("/sys/module/vboxdrv").mkdir()
    host.write("/sys/hypervisor/type", "xen")
    host.write("/proc/xen/capabilities", "control_d")
    assert fact(host, "mitigation.others").value == ("vboxdrv",)
    host.remove("/sys/module")
    said = facts(host).mitigation
    assert said.others.why == said.loaded.why == "there is no /sys/module"


def test_two_revisions_of_microcode(host: CopiedHost) -> None:
    host.write(CPUINFO, host.at(CPUINFO).read_text() + "\nprocessor\t: 9\nmicrocode\t: 0xf4\n")
    assert fact(host, "cpu.microcode").value == ("0xf0", "0xf4")


# --- modprobe


def test_options_in_the_order_of_modprobe(host: CopiedHost) -> None:
    host.write("/usr/lib/modprobe.d/b.conf", "options kvm_intel ept=1 \\\n  nested=1\n#options kvm_intel x=1")
    host.write("/etc/modprobe.d/c.conf", "options kvm-intel vmentry_l1d_flush=always\noptions kvm ignore_msrs=1")
    host.write("/usr/lib/modprobe.d/a.conf", "options kvm_intel hidden=1")
    host.write("/etc/modprobe.d/a.conf", "options kvm_intel first=1")
    host.write("/etc/modprobe.d/no.txt", "options kvm_intel no=1")
    said = fact(host, "mitigation.options")
    assert said.value == ("first=1", "ept=1", "nested=1", "vmentry_l1d_flush=always")
    assert said.origin == "/etc/modprobe.d/a.conf, /usr/lib/modprobe.d/b.conf, /etc/modprobe.d/c.conf"
    host.deny("/etc/modprobe.d/c.conf")
    assert fact(host, "mitigation.options") == Fact.unknown("/etc/modprobe.d/c.conf", "permission denied")
    host.remove("/etc/modprobe.d")
    host.remove("/usr/lib/modprobe.d")
    host.remove(sysroots.UNREAD)
    assert "is there" in fact(host, "mitigation.options").why


@pytest.mark.parametrize("name", ["kvm-intel.ko", "kvm-intel.ko.xz", "kvm-intel.ko.zst", "kvm-intel.ko.gz"])
def test_the_file_of_the_module(name: str, host: CopiedHost) -> None:
    files, release = Sysroot(host.folder), Fact(sysroots.DEBIAN, OSRELEASE)
    assert module_file(files, release).why == "no kvm-intel.ko is there"
    shipped = f"/lib/modules/{sysroots.DEBIAN}/kernel/arch/x86/kvm"
    host.write(f"{shipped}/kvm.ko", b"")
    host.write(f"{shipped}/{name}", b"")
    assert module_file(files, release) == Fact(f"{shipped}/{name}", shipped)
    updated = f"/lib/modules/{sysroots.DEBIAN}/updates"
    host.write(f"{updated}/{name}", b"")
    assert module_file(files, release) == Fact(f"{updated}/{name}", updated)


# --- nothing makes it fall


LINES = st.lists(
    st.one_of(
        st.text(max_size=30),
        st.sampled_from(
            ["flags\t: vmx ept", "vmx flags\t:", "siblings\t: 0", "cpu cores\t: 0", "address sizes\t: 99 bits physical",
             "cpu family\t: 99999999", "model\t: -1", "vendor_id\t:", "bugs\t: l1tf", "", ":", "microcode : \\"]
        ),
    ),
    max_size=12,
)  # fmt: skip
CONTENT = st.one_of(st.binary(max_size=60), LINES.map(lambda lines: "\n".join(lines).encode(errors="replace")))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(path=st.integers(0, 10_000), content=CONTENT)
def test_any_content_of_any_file(path: int, content: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    host = sysroots.smt_on(tmp_path_factory.mktemp("host"))
    paths = host.files()
    host.write(paths[path % len(paths)], content)
    for name, said in facts(host).each():
        assert said.known or said.why, name


@given(st.binary(max_size=200))
def test_any_configuration(content: bytes) -> None:
    try:
        assert config_symbols(content)
    except Exception as error:
        assert type(error).__name__ == "UnreadableError"


@given(st.lists(st.sampled_from(["options", "kvm_intel", "kvm-intel", "a=b", "\\", "\n", "\\\n", " ", "#", "\t"])))
def test_any_file_of_modprobe(parts: list[str]) -> None:
    for option in module_options("".join(parts).encode(), "kvm_intel"):
        assert option and not set(option) & {" ", "\n", "\t"}


# --- this host


def test_this_host_agrees_with_its_kernel() -> None:
    said = this_host()
    assert said.where == "this host"
    assert said.kernel.release.value == os.uname().release
    assert said.kernel.version.value == os.uname().version
    files = LiveFiles()
    assert said.mitigation.text.value == files.read(L1TF).decode().strip() if files.exists(L1TF) else True


def test_a_copy_of_this_host_says_the_same_of_its_cpu(tmp_path: Path) -> None:
    copy, live = CopiedHost(tmp_path), LiveFiles()
    copy.write(CPUINFO, live.read(CPUINFO))
    here = this_host().cpu
    there = facts(copy).cpu
    assert there.signature == here.signature and there.flags == here.flags
    assert replace(there.l1d, value=None).why == "there is no such file"
