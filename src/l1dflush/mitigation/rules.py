# SPDX-License-Identifier: GPL-2.0-or-later
"""The rules by name, each with where it comes from.

A source is a text that was read (a mail with the patch, a source file), the subject of a patch and the version that
first had it, or an observation of an unmodified kernel. A version is where its commit was found: in a pull request, in
the announcement of a stable version, in the stable queue.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Rule:
    """``id`` is stable, ``says`` is one sentence, ``source`` where it comes from."""

    id: str
    says: str
    source: str


VMX_C = "arch/x86/kvm/vmx/vmx.c (4.x: vmx.c), read in 4.9.y, 4.19 and 6.x"
BUGS_C = "arch/x86/kernel/cpu/bugs.c, read in 4.19 and 6.x"
SEEN = "observed in unmodified 5.10.262, 6.1.192, 6.12.117 and 7.2.13"
KAPLAN = "David Kaplan's patches for attack vectors, read as mails; merged in 6.17; 7.2.13 does so"

NO_BUG = Rule("no-bug", "a CPU without the bug needs no flush and takes no notice of l1tf=", VMX_C)
NO_BUG_OLD = Rule(
    "no-bug-untouched",
    "up to 5.3 nothing is set up on a CPU without the bug: the parameter reads auto for ever",
    "arch/x86/kvm/vmx.c of 4.19; ended by 'KVM: VMX: Set VMENTER_L1D_FLUSH_NOT_REQUIRED if !X86_BUG_L1TF', read in "
    "the pull request of KVM for 5.4-rc2",
)
COMPILED_OUT = Rule(
    "compiled-out",
    "a kernel without CONFIG_CPU_MITIGATIONS never flushes and ignores the parameter",
    "patch series 'x86/bugs: KVM: L1TF and MMIO Stale Data cleanups', for 6.19; the patch read as a mail",
)
EPT_OFF = Rule("ept-off", "without EPT a guest cannot aim at host memory: nothing is flushed", VMX_C)
EPT_UNKNOWN = Rule(
    "ept-not-known-yet",
    "late 6.1.y and 6.2.y set the mode up before they look whether the CPU has EPT, so only ept=0 counts at load",
    "observed in 6.1.192 on a CPU with VMX and without EPT (5.10.262, 6.12.117 and 7.2.13 know it). Inferred cause: "
    "'KVM: VMX: Do _all_ initialization before exposing /dev/kvm to userspace' went into 6.1.20 and 6.2.7 without the "
    "patch that moves the look at the hardware; read in the stable queue's list and in the announcement",
)
NO_FLUSH = Rule(
    "kvm-without-flush",
    "this kernel's KVM has no flush: kvm_intel has no parameter vmentry_l1d_flush",
    "3.16.y and 4.4.y took PTE inversion only: Ben Hutchings, 'x86/bugs: Change L1TF mitigation string to match "
    "upstream', read as the mails of May 2019 for 3.16.68-rc1 and 4.4.180-rc1; kernels from before August 2018 have "
    "nothing",
)
SKIP = Rule("hypervisor-flushes", "ARCH_CAPABILITIES bit 3: a hypervisor below flushes, so none is necessary", VMX_C)
FORCED = Rule("full-force", "l1tf=full,force: always, whatever is written", VMX_C + "; " + SEEN)
AUTO = Rule("auto", "auto is what the boot line says", VMX_C)
WRITTEN = Rule("written", "a mode that was asked for is what is done", VMX_C)
NO_MEMORY = Rule("no-memory", "no memory for the buffer: ENOMEM, and nothing changes", VMX_C)
NOT_LOADED = Rule("not-loaded", "kvm_intel is not loaded: there is no mode and no parameter", BUGS_C)

BOOT_DEFAULT = Rule("l1tf-default", "without an option that counts: flush", BUGS_C)
BOOT_NONE = Rule("l1tf-unknown-option", "this kernel knows no l1tf=: its KVM has no flush", NO_FLUSH.source)
BOOT_EXPLICIT = Rule(
    "l1tf-explicit", "the last l1tf= with a recognised value counts; others are silently ignored", BUGS_C
)
BOOT_OFF = Rule(
    "mitigations-off",
    "up to 6.16 mitigations=off overrides any l1tf=",
    BUGS_C + "; observed in 6.1.192; the 6.16 form is what the 6.17 patch removes",
)
BOOT_NOSMT = Rule(
    "mitigations-nosmt", "up to 6.15 mitigations=auto,nosmt is flush,nosmt and overrides any l1tf=", BUGS_C
)
BOOT_NOSMT_NEW = Rule(
    "mitigations-nosmt-default",
    "from 6.16 on mitigations=auto,nosmt is flush,nosmt only where no l1tf= was given",
    "David Kaplan, 'x86/bugs: Restructure L1TF mitigation', 6.16; " + KAPLAN,
)
BOOT_VECTORS = Rule(
    "attack-vectors",
    "from 6.17 on: off if neither user-to-kernel nor guest-to-host attacks are to be stopped and no l1tf= was given",
    KAPLAN,
)
BOOT_CONFIG = Rule("l1tf-config", "from 6.16 on a kernel without CONFIG_MITIGATION_L1TF starts at off", KAPLAN)

SMT_ABSENT = Rule("smt-not-supported", "one thread per core: notsupported, whatever the boot line says", SEEN)
SMT_ONE_CPU = Rule(
    "smt-one-cpu",
    "from 6.9 on threads are counted where firmware lists CPUs, of which nr_cpus=1, maxcpus=0 and nosmp let in one: "
    "notsupported",
    "arch/x86/kernel/cpu/topology.c and kernel/cpu.c, read in a version after 6.9; 'x86/cpu/topology: Use topology "
    "bitmaps for sizing' is in the pull request x86/apic for 6.9-rc1",
)
SMT_NO_SIBLING = Rule(
    "smt-no-sibling",
    "in 4.18 to 4.20 and the stable versions of their time a boot that starts no sibling ends at notsupported",
    "kernel/cpu.c of 4.19 (cpu_smt_available); ended by 'cpu/hotplug: Fix \"SMT disabled by BIOS\" detection for KVM', "
    "in 5.0, 4.20.8, 4.19.21 and 4.14.99: the stable queue's lists and Debian's changelog; 4.9.y keeps it",
)
SMT_BOOT = Rule("smt-nosmt", "nosmt: off; nosmt=force: forceoff", SEEN)
SMT_L1TF = Rule("smt-l1tf", "flush,nosmt and full turn SMT off, full,force for good", BUGS_C)
SMT_OTHER = Rule(
    "smt-other-bug",
    "MDS, TAA and MMIO stale data turn SMT off for their own ,nosmt and for mitigations=auto,nosmt, also against their "
    "own off where another of them is mitigated by the same VERW",
    "arch/x86/kernel/cpu/bugs.c, read in 5.x, 6.9 and after 6.17",
)
SMT_RETBLEED = Rule(
    "smt-retbleed",
    "AMD's and Hygon's mitigations of Retbleed turn SMT off for retbleed=auto,nosmt and mitigations=auto,nosmt where "
    "there is no STIBP",
    "arch/x86/kernel/cpu/bugs.c, read in 6.9 and after 6.17",
)
SMT_ON = Rule("smt-on", "nothing turns SMT off", SEEN)

PTE_NOTHING = Rule(
    "no-mitigation",
    "this kernel has nothing against L1TF: entries of page tables are not inverted, and sysfs has no file about it",
    "the mitigation came in August 2018, with the stable versions that mitigation/part.py lists",
)
PTE_NO_LEVELS = Rule("two-levels", "two levels of page tables have no bits to invert: no mitigation", BUGS_C)
PTE_MEMORY = Rule(
    "too-much-memory",
    "RAM above half of what the L1D addresses (until late August 2018: of what CPUID says, which is less on clients): "
    "no mitigation, unless l1tf is off, then nobody looks (from 4.20.1, 4.19.14, 4.14.92 and 4.9.176 on)",
    BUGS_C + "; observed in 6.1.192 with and without l1tf=off",
)
PTE_UNDEFINED = Rule(
    "undefined-limit",
    "4.9.y and 4.14.y until July 2020 have no number of address bits for CPUs outside the list of those whose L1D uses "
    "more: where RAM must end is undefined",
    "'x86/cpu: Move x86_cache_bits settings' (4.9.231 and 4.14.189), read as a mail",
)
PTE_INVERTED = Rule("pte-inversion", "entries that are not present have their frame number inverted", BUGS_C)

ALL = tuple(value for value in list(vars().values()) if isinstance(value, Rule))
"""Every rule, in the order of this file."""
