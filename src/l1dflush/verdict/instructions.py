# SPDX-License-Identifier: GPL-2.0-or-later
"""CPUs on which an instruction of the routine is not there, or is another one."""

from __future__ import annotations

from collections.abc import Iterable

from l1dflush.assumption import Assumes, Assumption
from l1dflush.cache.cpus import Cpu
from l1dflush.ending import Verdict
from l1dflush.tracing.model import Need
from l1dflush.verdict.places import Places
from l1dflush.verdict.question import Outcome

_INSTEAD = {"lzcnt": "bsr", "tzcnt": "bsf", "wbnoinvd": "wbinvd"}
"""What runs in its place where it is not known (SDM volume 2, the pages of the instructions on the left)."""


def lacking(cpu: Cpu | None, needs: Iterable[Need]) -> Need | None:
    """The first of ``needs`` that ``cpu`` has not; None if it has all, or nobody said what it has."""
    if cpu is None or cpu.features is None:
        return None
    return next((need for need in needs if need.feature not in (cpu.features or ())), None)


def not_there(need: Need, places: Places) -> Outcome:
    """The outcome for a CPU without a feature."""
    instead = _INSTEAD.get(need.mnemonic)
    what = f"runs as `{instead}`" if instead else "is an invalid opcode"
    reason = f"`{need.mnemonic}` at {places.where(need.pc)} needs {need.feature}; without that it {what}"
    return Outcome(Verdict.UNDECIDED, None, None, None, 0, "instruction-not-there", reason)


def granted(cpus: Iterable[Cpu | None], needs: Iterable[Need]) -> tuple[Assumption, ...]:
    """That the instructions are there, where nobody said so."""
    features = dict.fromkeys(need.feature for need in needs)
    silent = any(cpu is None or cpu.features is None for cpu in cpus)
    return (Assumption(Assumes.CPU_HAS, tuple(features)),) if features and silent else ()
