# SPDX-License-Identifier: GPL-2.0-or-later
"""The facts from which everything is decided."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

from l1dflush.errors import InputError
from l1dflush.mitigation.part import EARLY_TEXT, Part, is_plain, parts

RDCL_NO = 1 << 0
"""ARCH_CAPABILITIES: neither Meltdown nor L1TF."""
SKIP_VMENTRY_L1DFLUSH = 1 << 3
"""ARCH_CAPABILITIES: a hypervisor below flushes."""
RFDS_CLEAR = 1 << 28
"""ARCH_CAPABILITIES: VERW clears the register file too."""


class Control(StrEnum):
    """``/sys/devices/system/cpu/smt/control``."""

    ON = "on"
    OFF = "off"
    FORCE_OFF = "forceoff"
    NOT_SUPPORTED = "notsupported"
    NOT_IMPLEMENTED = "notimplemented"


class Vendor(StrEnum):
    """As ``/proc/cpuinfo`` has it under vendor_id."""

    INTEL = "GenuineIntel"
    AMD = "AuthenticAMD"
    HYGON = "HygonGenuine"
    CENTAUR = "CentaurHauls"
    ZHAOXIN = "  Shanghai  "
    NSC = "Geode by NSC"
    OTHER = "other"


class Limits(StrEnum):
    """How a kernel works out where RAM must end for PTE inversion: from how many bits of an address.

    ``BY_VERSION``: as its version says. ``ADDRESS_BITS``: those of CPUID. ``CACHE_BITS``: those that the L1D uses.
    ``UNSET``: of CPUs outside the list of :func:`.affected.identified` from none at all, a shift by a negative number,
    which on x86 comes to 2**63. ``UNDEFINED``: the same, and the compiler made something of it that every RAM exceeds.
    """

    BY_VERSION = "by version"
    ADDRESS_BITS = "address bits"
    CACHE_BITS = "cache bits"
    UNSET = "unset"
    UNDEFINED = "undefined"


@dataclass(frozen=True, slots=True)
class Kernel:
    """``version`` is the upstream one, (6, 1, 192). ``levels`` are those of its page tables: 2 is 32-bit without PAE.

    ``mitigations``: CONFIG_CPU_MITIGATIONS. ``l1tf``: CONFIG_MITIGATION_L1TF. ``kvm_intel``: CONFIG_KVM_INTEL.
    ``hotplug_smt``: CONFIG_HOTPLUG_SMT. ``old_layout``: it writes the sysfs text as RHEL 7 does. ``hidden``: the third
    number is a distribution's 0 and says nothing about the stable version. ``limits``: see :class:`Limits`. ``part``:
    how much of the mitigation it has.
    """

    version: tuple[int, int, int]
    levels: int = 4
    mitigations: bool = True
    l1tf: bool = True
    kvm_intel: bool = True
    hotplug_smt: bool = True
    old_layout: bool = False
    hidden: bool = False
    limits: Limits = Limits.BY_VERSION
    part: Part = Part.ALL

    def since(self, major: int, minor: int) -> bool:
        """Whether it is this upstream version or a later one."""
        return self.version[:2] >= (major, minor)

    def carries(self, since: tuple[int, int], stable: Mapping[tuple[int, int], int]) -> bool:
        """Whether a change is in it that came with ``since`` and was taken over by stable versions from the third
        number in ``stable`` on. A distribution that hides its stable version is taken to be up to date."""
        first = stable.get(self.version[:2])
        return self.hidden or self.since(*since) or (first is not None and self.version[2] >= first)

    @property
    def looks_for_capabilities(self) -> bool:
        """Whether it surely knows ARCH_CAPABILITIES, so that ``/proc/cpuinfo`` has a flag where there is that MSR, and
        RDCL_NO counts: since 4.16 (fc67dd70adb7 'x86/cpufeatures: Add Intel feature bits for Speculation Control', of
        26 January 2018). What has the flush is later; which other stable versions took it over was not looked up."""
        return self.since(4, 16) or self.part is Part.ALL

    @property
    def early_text(self) -> bool:
        """Whether it says Page Table Inversion where others say PTE Inversion."""
        last = EARLY_TEXT.get(self.version[:2], 0)
        return self.part is Part.INVERSION and not self.hidden and self.version[2] < last

    @classmethod
    def parse(cls, release: str) -> Kernel:
        """From a text such as ``6.1.0-56-cloud-amd64``, ``7.2`` or ``3.10.0-1160.el7.x86_64``.

        Distributions leave the third number at 0 and so hide the stable version; a number behind it tells them apart.
        Debian's flavours ``-686`` and ``-686-pae`` have two and three levels of page tables. Where the name leaves open
        how much of the mitigation it has (:func:`.part.parts`), the likeliest is taken. Raises InputError.
        """
        found = re.match(r"(\d{1,4})\.(\d{1,4})(?:\.(\d{1,5}))?(?!\d)", release)
        if not found:
            raise InputError(f"'{release[:60]}' is not a kernel version", hint="6.1.192 is one")
        major, minor, patch = (int(part or 0) for part in found.groups())
        version = (major, minor, patch)
        # Red Hat's own; others build later kernels for its system.
        old, part = version == (3, 10, 0) and ".el7" in release, parts(version, release)[0]
        hidden = patch == 0 and re.match(r"-\d", release[found.end() :]) is not None and not is_plain(version, release)
        levels = 3 if release.endswith("-686-pae") else 2 if release.endswith("-686") else 4
        smt = part is Part.ALL
        return cls(version, levels=levels, hotplug_smt=smt, old_layout=old, hidden=hidden, part=part)


@dataclass(frozen=True, slots=True)
class Cpu:
    """``bug``: the kernel gives it the bug flag; :mod:`.affected` says when. ``vmx`` and ``ept``: CPU and firmware
    offer them. ``command``: CPUID.7.0:EDX[28], the flush by MSR. ``address_bits``: CPUID.80000008:EAX[7:0];
    ``cache_bits``: how many of an address the L1D uses, which is more on some (:func:`.affected.identified`), and
    ``limit_bits`` how many the kernel takes it to use (None: as many; 0: it has none, see :attr:`Limits.UNSET`).

    ``threads``: per core, as the kernel counts them. ``bugs``: all of ``/proc/cpuinfo``'s, since others turn SMT off
    too; for two of them it matters whether there is TSX (``rtm``: no ``tsx=off`` and no microcode took it away) and
    STIBP (``stibp``). ``fixed``: it has no L1TF, and the kernel does not look for what says so (RDCL_NO), so that it
    gives it the flag.
    """

    bug: bool = True
    vendor: Vendor = Vendor.INTEL
    family: int = 6
    model: int = 0x3C
    stepping: int = 0
    vmx: bool = True
    ept: bool = True
    command: bool = False
    arch_capabilities: int = 0
    address_bits: int = 39
    cache_bits: int = 44
    limit_bits: int | None = None
    threads: int = 1
    bugs: frozenset[str] = frozenset()
    rtm: bool = True
    stibp: bool = True
    fixed: bool = False

    def with_bug(self, *, bug: bool) -> Cpu:
        """The same with the bug flag as given."""
        return replace(self, bug=bug)

    @property
    def flush_not_required(self) -> bool:
        """Whether a hypervisor below says that it flushes."""
        return bool(self.arch_capabilities & SKIP_VMENTRY_L1DFLUSH)


@dataclass(frozen=True, slots=True)
class Facts:
    """One host at boot. ``line`` is the kernel's command line as it stands in ``/proc/cmdline``.

    ``memory_end``: the address behind the last byte of RAM as firmware says it (``mem=`` and ``memmap=`` are applied by
    the decision), in bytes. ``siblings_online``: with SMT on, both threads of some core run (False: ``maxcpus=1``).
    ``buffer_memory``: the 64 KiB of the flush buffer can be allocated.
    """

    kernel: Kernel
    cpu: Cpu = field(default_factory=Cpu)
    line: str = ""
    memory_end: int = 1 << 32
    siblings_online: bool = True
    buffer_memory: bool = True
