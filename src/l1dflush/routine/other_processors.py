# SPDX-License-Identifier: GPL-2.0-or-later
"""Instruction sets whose code is not judged, and what can be asked about their processors all the same."""

from __future__ import annotations

from l1dflush.cache.cpus import Isa

_EXAMPLES: dict[Isa, tuple[str, str]] = {
    # A CPU of the catalogue, and a policy where the prover needs to be told one.
    "arm": ("cortex-a76", "tree-PLRU"),
    "power": ("power9", "LRU"),
    "riscv": ("rocket", "LRU"),
}
_BUILT_IN: dict[Isa, str] = {
    "power": "; 'l1dflush verify power9 --cpu power9' proves Linux's flush for POWER9, and power that for POWER8",
}


def what_else(isa: Isa | None) -> str:
    """What can be asked of a processor with the instruction set ``isa`` (None: the catalogue has none), as a hint for a
    message."""
    judged = "only code for x86-64 and 32-bit x86 is judged"
    if isa is None:
        return f"{judged}; 'l1dflush size --policy NAME --geometry SIZE,WAYS,LINE' says how many loads are enough"
    cpu, policy = _EXAMPLES[isa]
    return (
        f"{judged}; 'l1dflush size --cpu {cpu} --policy {policy}' says how many loads are enough, and"
        f" 'l1dflush plan --cpu {cpu} --policy {policy} --emit c' writes them in C{_BUILT_IN.get(isa, '')}"
    )
