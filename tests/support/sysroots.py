# SPDX-License-Identifier: GPL-2.0-or-later
"""Folders with what hosts of many kinds say about themselves, and ways to damage them."""

from __future__ import annotations

import gzip
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from l1dflush.host.reading.files import unread_line

CPU = "/sys/devices/system/cpu"
CACHE = f"{CPU}/cpu0/cache"
CONTROL = f"{CPU}/smt/control"
L1TF = f"{CPU}/vulnerabilities/l1tf"
PARAMETERS = "/sys/module/kvm_intel/parameters"
CPUID, MSR, UNREAD, UNAME = (f"/l1dflush/{name}.txt" for name in ("cpuid", "msr", "unread", "uname"))

DEBIAN = "6.1.0-31-amd64"
DEBIAN_VERSION = "#1 SMP PREEMPT_DYNAMIC Debian 6.1.128-1 (2025-02-07)"

_PLAIN = (
    "fpu vme de pse tsc msr pae mce cx8 apic sep mtrr pge mca cmov pat pse36 clflush mmx fxsr sse sse2 ht syscall nx"
)
_BUGS = "cpu_meltdown spectre_v1 spectre_v2 spec_store_bypass l1tf mds swapgs"
_BUILT = "CONFIG_SPECULATION_MITIGATIONS=y\nCONFIG_HOTPLUG_SMT=y\nCONFIG_KVM_INTEL=m"
_INVERSION = "Mitigation: PTE Inversion"


class CopiedHost:
    """A folder with copies of a host's files, by their paths on that host."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def at(self, path: str) -> Path:
        """Where the copy is."""
        return self.folder / path.lstrip("/")

    def write(self, path: str, content: str | bytes) -> None:
        """Text gets the line break that the kernel would write."""
        self.remove(path)
        file = self.at(path)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content if isinstance(content, bytes) else f"{content}\n".encode())

    def remove(self, path: str) -> None:
        """A file or a folder."""
        file = self.at(path)
        if file.is_dir():
            shutil.rmtree(file)
        else:
            file.unlink(missing_ok=True)

    def empty(self, path: str) -> None:
        """Of no bytes."""
        self.write(path, b"")

    def junk(self, path: str) -> None:
        """No text."""
        self.write(path, bytes(range(256)) * 4)

    def deny(self, path: str, why: str = "permission denied") -> None:
        """Could not be read on that host."""
        self.remove(path)
        unread = self.at(UNREAD)
        before = unread.read_bytes() if unread.is_file() else b""
        self.write(UNREAD, before + unread_line(path, why).encode())

    def files(self) -> list[str]:
        """All paths, sorted."""
        return sorted(f"/{file.relative_to(self.folder)}" for file in self.folder.rglob("*") if file.is_file())


@dataclass(frozen=True)
class Intel:
    """What differs between the hosts of Intel."""

    model: int = 94
    stepping: int = 3
    name: str = "Intel(R) Core(TM) i5-6500 CPU @ 3.20GHz"
    command: bool = True
    hypervisor: str = ""
    ept: bool = True
    smt: str = "notsupported"
    state: str = "conditional cache flushes, SMT disabled"
    parameter: str = "cond"
    loaded: bool = True
    release: str = DEBIAN
    version: str = DEBIAN_VERSION
    machine: str = "x86_64"
    config: str = f"CONFIG_X86_64=y\nCONFIG_PGTABLE_LEVELS=5\n{_BUILT}"
    line: str = "BOOT_IMAGE=/boot/vmlinuz ro quiet"
    vmx_flags: bool = True
    msrs: str = ""


def _intel(host: CopiedHost, said: Intel) -> CopiedHost:
    own_line = said.vmx_flags and not said.hypervisor
    online = 2 if said.smt == "on" else 1
    flags = [*_PLAIN.split(), "lm", "avx2"]
    flags += ["hypervisor"] if said.hypervisor else ["vmx", *([] if said.vmx_flags or not said.ept else ["ept"])]
    flags += ["flush_l1d", "arch_capabilities"] if said.command else []
    blocks = []
    for number in range(4 * online):
        block = {
            "processor": number, "vendor_id": "GenuineIntel", "cpu family": 6, "model": said.model,
            "model name": said.name, "stepping": said.stepping, "microcode": "0xf0" if said.command else "0x9e",
            "cpu MHz": 3200.0, "siblings": 4 * online, "cpu cores": 4, "flags": " ".join(flags),
            **({"vmx flags": f"vnmi {'ept vpid' if said.ept else ''}"} if own_line else {}),
            "bugs": _BUGS, "bogomips": 6400.0, "address sizes": "39 bits physical, 48 bits virtual",
            "power management": "",
        }  # fmt: skip
        blocks.append("".join(f"{key}\t: {value}\n" for key, value in block.items()))
    host.write("/proc/cpuinfo", "\n".join(blocks))
    _kernel(host, said)
    host.write(L1TF, f"{_INVERSION}; VMX: {said.state}" if said.state else _INVERSION)
    host.write(CONTROL, said.smt)
    host.write(f"{CPU}/smt/active", "1" if said.smt == "on" else "0")
    host.write(f"{CPU}/cpu0/topology/thread_siblings_list", "0,4" if online == 2 else "0")
    _cache(host, "32K", 8)
    host.at("/sys/module/kvm").mkdir(parents=True)
    host.at("/sys/class/misc/kvm" if said.loaded else "/sys/class/misc").mkdir(parents=True)
    if said.loaded:
        host.write(f"{PARAMETERS}/ept", "Y" if said.ept else "N")
        host.write(f"{PARAMETERS}/vmentry_l1d_flush", said.parameter)
        host.write("/sys/kernel/debug/kvm/l1d_flush", "1234")
    _registers(host, said)
    return host


def _kernel(host: CopiedHost, said: Intel) -> None:
    host.write("/proc/sys/kernel/osrelease", said.release)
    host.write("/proc/sys/kernel/version", said.version)
    host.write(UNAME, f"{said.release}\n{said.version}\n{said.machine}")
    host.write("/proc/cmdline", said.line)
    host.write(f"/boot/config-{said.release}", f"# made for this kernel\n{said.config}")
    ram = "00001000-bfffffff : System RAM\n  01000000-01ffffff : Kernel code\n100000000-43fffffff : System RAM"
    host.write("/proc/iomem", f"00000000-00000fff : Reserved\n{ram}")
    host.write("/sys/kernel/security/lockdown", "[none] integrity confidentiality")
    host.write("/etc/modprobe.d/local.conf", "# nothing about KVM\nblacklist pcspkr")


def _cache(host: CopiedHost, size: str, ways: int) -> None:
    for number, kind in enumerate(("Data", "Instruction")):
        shape = {"size": size, "ways_of_associativity": ways, "coherency_line_size": 64, "number_of_sets": 64}
        said = {"level": 1, "type": kind, **shape}
        for name, value in said.items():
            host.write(f"{CACHE}/index{number}/{name}", str(value))


def _registers(host: CopiedHost, said: Intel) -> None:
    def four(text: str) -> str:
        return " ".join(f"{int.from_bytes(text[at : at + 4].encode(), 'little'):08x}" for at in (0, 4, 8))

    vendor = four("GenuineIntel").split()
    features = (1 << 28 | 1 << 29) if said.command else 0
    ecx = 1 << 31 if said.hypervisor else 1 << 5
    lines = [
        f"00000000 00000000: 00000016 {vendor[0]} {vendor[2]} {vendor[1]}",
        f"00000001 00000000: 000506e3 00100800 {ecx:08x} bfebfbff",
        f"00000007 00000000: 00000000 029c6fbf 00000000 {features:08x}",
    ]
    if said.hypervisor:
        lines.append(f"40000000 00000000: 40000001 {four(said.hypervisor.ljust(12, chr(0)))}")
    host.write(CPUID, "\n".join(lines))
    if said.msrs:
        host.write(MSR, said.msrs)


_VMX_ON = "0000003a: 0000000000000005"
_SKIP = "0000010a: 0000000000000008"
_NONE = "0000010a: 0000000000000000"
_OLD_CPU = Intel(command=False, model=58, stepping=9, name="Intel(R) Core(TM) i5-3470 CPU @ 3.20GHz", msrs=_VMX_ON)


def with_microcode(folder: Path) -> CopiedHost:
    """L1TF, and the microcode that has the flush command."""
    return _intel(CopiedHost(folder), Intel(msrs=f"{_VMX_ON}\n{_NONE}"))


def without_microcode(folder: Path) -> CopiedHost:
    """L1TF, and the flush is made by reading."""
    return _intel(CopiedHost(folder), _OLD_CPU)


def ept_off(folder: Path) -> CopiedHost:
    """kvm_intel was loaded with ept=0."""
    host = _intel(
        CopiedHost(folder),
        Intel(ept=True, state="EPT disabled", parameter="EPT disabled", msrs=f"{_VMX_ON}\n{_NONE}"),
    )
    host.write(f"{PARAMETERS}/ept", "N")
    host.write("/etc/modprobe.d/kvm.conf", "options kvm-intel ept=0")
    return host


def smt_on(folder: Path) -> CopiedHost:
    """Two threads a core."""
    said = Intel(
        name="Intel(R) Core(TM) i7-6700 CPU @ 3.40GHz",
        smt="on",
        state="conditional cache flushes, SMT vulnerable",
        msrs=f"{_VMX_ON}\n{_NONE}",
    )
    return _intel(CopiedHost(folder), said)


def not_loaded(folder: Path) -> CopiedHost:
    """kvm_intel is a module that nobody loaded."""
    return _intel(CopiedHost(folder), Intel(loaded=False, state="", msrs=f"{_VMX_ON}\n{_NONE}"))


def guest(folder: Path) -> CopiedHost:
    """A virtual machine without VMX, under KVM that says it flushes."""
    said = Intel(hypervisor="KVMKVMKVM", loaded=False, state="", ept=False, msrs=_SKIP)
    return _intel(CopiedHost(folder), said)


def locked_down(folder: Path) -> CopiedHost:
    """Secure boot: no MSR may be read."""
    why = "unreadable: /dev/cpu/0/msr: not permitted (the kernel is locked down: integrity)"
    host = _intel(CopiedHost(folder), Intel(msrs=f"0000003a: {why}\n0000010a: {why}"))
    host.write("/sys/kernel/security/lockdown", "none [integrity] confidentiality")
    return host


def amd(folder: Path) -> CopiedHost:
    """Not affected."""
    host = CopiedHost(folder)
    _kernel(host, Intel())
    host.write(
        "/proc/cpuinfo",
        "processor\t: 0\nvendor_id\t: AuthenticAMD\ncpu family\t: 23\nmodel\t\t: 49\n"
        "model name\t: AMD EPYC 7302P 16-Core Processor\nstepping\t: 0\nmicrocode\t: 0x830107c\n"
        f"siblings\t: 32\ncpu cores\t: 16\nflags\t\t: {_PLAIN} lm svm avx2\nbugs\t\t: sysret_ss_attrs spectre_v1\n"
        "address sizes\t: 43 bits physical, 48 bits virtual\npower management:\n",
    )
    host.write(L1TF, "Not affected")
    host.write(CONTROL, "on")
    host.write(f"{CPU}/smt/active", "1")
    host.write(f"{CPU}/cpu0/topology/thread_siblings_list", "0,16")
    _cache(host, "32K", 8)
    host.at("/sys/module/kvm_amd").mkdir(parents=True)
    vendor, features = "00000010 68747541 444d4163 69746e65", "00000000 219c91a9 00400004 00000000"
    host.write(CPUID, f"00000000 00000000: {vendor}\n00000007 00000000: {features}")
    return host


def without_pae(folder: Path) -> CopiedHost:
    """32-bit, two levels of page tables: no PTE inversion."""
    release = "6.1.0-31-686"
    config = f"CONFIG_X86_32=y\nCONFIG_PGTABLE_LEVELS=2\n{_BUILT}"
    said = Intel(command=False, release=release, machine="i686", config=config, loaded=False, state="", msrs=_VMX_ON)
    host = _intel(CopiedHost(folder), said)
    host.write(L1TF, "Vulnerable")
    host.write("/proc/iomem", "00000000-00000fff : Reserved\n00001000-bfffffff : System RAM")
    return host


def rhel7(folder: Path) -> CopiedHost:
    """The layout of the text before upstream changed it; symbols of today are not in its configuration."""
    said = Intel(
        command=False,
        model=62,
        stepping=4,
        name="Intel(R) Xeon(R) CPU E5-2650 v2 @ 2.60GHz",
        smt="on",
        state="SMT vulnerable, L1D conditional cache flushes",
        release="3.10.0-1160.el7.x86_64",
        version="#1 SMP Mon Oct 19 16:18:59 UTC 2020",
        config="CONFIG_64BIT=y\nCONFIG_X86_64=y\nCONFIG_KVM_INTEL=m\n# CONFIG_DEBUG_KMEMLEAK is not set",
        vmx_flags=False,
        msrs=_VMX_ON,
    )
    host = _intel(CopiedHost(folder), said)
    host.remove("/sys/kernel/security")
    return host


_MADE = (with_microcode, without_microcode, ept_off, smt_on, not_loaded, guest, locked_down, amd, without_pae, rhel7)
KINDS: dict[str, Callable[[Path], CopiedHost]] = {made.__name__: made for made in _MADE}


def compressed_config(host: CopiedHost, config: str) -> None:
    """The kernel has its configuration itself."""
    host.write("/proc/config.gz", gzip.compress(f"{config}\n".encode(), mtime=0))
