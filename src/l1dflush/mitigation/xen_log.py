# SPDX-License-Identifier: GPL-2.0-or-later
"""What Xen wrote into its log about L1TF when it booted, and what ``xl info`` says of threads.

Read in ``xen/arch/x86/spec_ctrl.c`` (print_details, l1tf_calculations), ``hvm/hvm.c``, ``hvm/vmx/vmcs.c`` and
``sysctl.c`` of Xen 4.6 to 4.22. The lines about L1TF came with XSA-273 of August 2018 (3bd36952da, 66a4e98681); a Xen
from before has the settings without the word. The flush is the MSR's alone, before each entry of a guest whose paging
is the hardware's (vmx_add_msr with MSR_FLUSH_CMD); there is none in software.

Nothing is concluded from a line that is missing: the log is a ring whose oldest lines are overwritten, and somebody may
have kept some of them only.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

_YES = ("1", "on", "yes", "true", "enable")
_NO = ("0", "no", "off", "false", "disable")
"""As ``parse_bool`` of xen/common/kernel.c reads them."""
_PV = re.compile(r"PV L1TF shadowing: Dom0 (?:enabled|disabled), DomU (enabled|disabled)")
_HAP = re.compile(r"HVM: Hardware Assisted Paging \(HAP\) (detected but disabled|not detected|detected)")
_ONE_LINE = frozenset({"IBRS/IBPB", "RDCL_NO", "IBRS_ALL", "RSBA", "SSB_NO", "MDS_NO"})
"""What only a line has that holds hints and features together; those that have a line each write IBPB IBRS."""
_THREADS = re.compile(r"(?m)^threads_per_core\s*:\s*([0-9]{1,4})\s*$")


@dataclass(frozen=True, slots=True)
class XenSettings:
    """Each None where the log does not settle it, also where it says both.

    ``bug``: whether Xen believes that the CPU has L1TF; ``immune``: the CPU itself says that it has not (RDCL_NO).
    ``settings``: the line with Xen's own settings is there. ``flush``: the L1D is flushed before each entry of a guest
    whose paging is the hardware's. ``skip``: whether a hypervisor below Xen says that it flushes. ``command``: the CPU
    has the flush. ``hvm``: such guests can be run. ``pv``: paravirtual guests are kept from page table entries that
    L1TF can use. ``smt_at_boot``: SMT was on when Xen had booted; ``smt``: it is now.
    """

    bug: bool | None = None
    immune: bool = False
    settings: bool = False
    flush: bool | None = None
    skip: bool | None = None
    command: bool | None = None
    hvm: bool | None = None
    pv: bool | None = None
    smt_at_boot: bool | None = None
    smt: bool | None = None


def read_log(lines: Iterable[str], info: str) -> XenSettings:
    """``lines``: of the log, without what stands before them; ``info``: what ``xl info`` says."""
    lines = list(lines)
    hints = [line for line in lines if line.startswith(("Hardware hints:", "Hardware features:"))]
    settings = [line for line in lines if line.startswith("Xen settings:")]
    return XenSettings(
        bug=_agreed(" not " not in line.partition(",")[0] for line in lines if line.startswith("L1TF: believed")),
        immune=any("RDCL_NO" in line.split() for line in hints),
        settings=bool(settings),
        flush=_agreed("L1D_FLUSH" in line.split() for line in settings),
        skip=_skip(hints),
        command=_agreed("L1D_FLUSH" in line.split() for line in hints if line.startswith("Hardware features:")),
        hvm=_hvm(lines),
        pv=_agreed(found[1] == "enabled" for line in lines if (found := _PV.match(line))),
        smt_at_boot=_smt_at_boot(lines),
        smt=_agreed(int(found[1]) > 1 for found in _THREADS.finditer(info)),
    )


def _agreed(answers: Iterable[bool]) -> bool | None:
    """The answer, if all are the same."""
    found = set(answers)
    return found.pop() if len(found) == 1 else None


def _skip(hints: list[str]) -> bool | None:
    """Which of the two lines has it depends on the version, so that a line of features says that it is not so only
    where its words show that it has the hints too."""
    if any("SKIP_L1DFL" in line.split() for line in hints):
        return True
    complete = any(line.startswith("Hardware hints:") or not _ONE_LINE.isdisjoint(line.split()) for line in hints)
    return False if complete else None


def _hvm(lines: list[str]) -> bool | None:
    """Whether there are guests that could aim at memory: with shadow paging Xen writes the entries itself."""
    enabled = any(re.match(r"HVM: \S+ enabled", line) for line in lines)
    # Of another CPU than the first it says that this CPU stays down.
    if any(line.startswith("VMX: failed") or line == "CPU0: VMX disabled by BIOS." for line in lines):
        return None if enabled else False
    paging = _agreed(found[1] == "detected" for line in lines if (found := _HAP.match(line)))
    return paging if enabled or paging is False else None


def _smt_at_boot(lines: list[str]) -> bool | None:
    """Xen warns where nobody chose and there is SMT; the option of the boot line says that it shall be off."""
    if any(line.startswith("Booted on L1TF-vulnerable hardware with SMT") for line in lines):
        return True
    chosen = None
    for line in lines:
        if line.startswith("Command line:"):
            for word in line.split():
                name, _, value = word.partition("=")
                if name == "smt":
                    chosen = False if value in _NO else True if value in ("", *_YES) else chosen
                elif name == "no-smt":
                    chosen = False
    # On is what it is only where the CPU has it, which nothing shows.
    return False if chosen is False else None
