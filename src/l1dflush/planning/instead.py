# SPDX-License-Identifier: GPL-2.0-or-later
"""What else there is where no number of loads is certain to empty an L1D."""

from __future__ import annotations

from l1dflush.cache.cpus import Isa

# The pages on these instructions in the Arm ARM (DDI 0487), Power ISA 3.1 book II, the RISC-V CMO specification 1.0 and
# Intel's SDM volume 2; Intel, "Deep Dive: Intel Analysis of L1 Terminal Fault", on IA32_FLUSH_CMD.
_INSTRUCTIONS: dict[Isa, str] = {
    "arm": "DC CISW, from EL1 on, cleans and invalidates the L1D by set and way; DC CIVAC does so with lines whose"
    " addresses are known",
    "power": "dcbf flushes lines whose addresses are known",
    "riscv": "cbo.flush, on CPUs with Zicbom, flushes lines whose addresses are known; some CPUs have an instruction of"
    " their own for the whole L1D",
    "x86": "the MSR IA32_FLUSH_CMD, on CPUs that have it, and WBINVD empty the L1D, both from the kernel only",
}


def instead(isa: Isa, cache: str, policy: str, *, by_chance: bool) -> tuple[str, ...]:
    """Instructions of ``isa`` that empty a cache; and, where it is left to chance whether a line stays, how to ask for
    it. ``cache`` is the option that names the cache (``--cpu rocket``), ``policy`` the name of its policy."""
    told = [_INSTRUCTIONS[isa]]
    if by_chance:
        told.append(
            f"'l1dflush size {cache} --policy {policy} --chance 2^-20' says after how many loads an old line stays with"
            " that chance only"
        )
    return tuple(told)
