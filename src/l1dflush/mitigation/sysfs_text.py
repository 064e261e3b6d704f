# SPDX-License-Identifier: GPL-2.0-or-later
"""``/sys/devices/system/cpu/vulnerabilities/l1tf``: what is written there, and what a text found there means."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from l1dflush.errors import one_line
from l1dflush.vmentry.subsystem import Mode

NOT_AFFECTED = "Not affected"
VULNERABLE = "Vulnerable"
INVERSION = "Mitigation: PTE Inversion"
EARLY_INVERSION = "Mitigation: Page Table Inversion"
"""Before 'x86/litf: Introduce vmx status variable' (72c6d2db64fa): what says so knows nothing of VMX."""

STATES = {
    Mode.AUTO: "auto",
    Mode.NEVER: "vulnerable",
    Mode.COND: "conditional cache flushes",
    Mode.ALWAYS: "cache flushes",
    Mode.EPT_DISABLED: "EPT disabled",
    Mode.NOT_REQUIRED: "flush not necessary",
}
"""The words for the modes."""


class Kind(StrEnum):
    """What kind of text it is."""

    NOT_AFFECTED = "not affected"
    VULNERABLE = "vulnerable"
    INVERSION = "PTE inversion"
    POWER = "RFI flush"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Reading:
    """A text that was found. ``mode``: what is done at VM entry, None: it does not say. ``smt``: whether SMT is called
    vulnerable, None: it does not say. ``raw``: the text itself, on one line. ``early``: it says Page Table
    Inversion."""

    kind: Kind
    raw: str
    mode: Mode | None = None
    smt: bool | None = None
    old_layout: bool = False
    early: bool = False


def text(
    *, bug: bool, inversion: bool, mode: Mode | None, smt_active: bool, old_layout: bool = False, early: bool = False
) -> str:
    """What the kernel writes, without the line break. ``mode`` None: kvm_intel is not there, or it has no flush.

    The layout since 'x86/speculation: Simplify sysfs report of VMX L1TF vulnerability'; ``old_layout`` is the one
    before. ``early``: see :data:`EARLY_INVERSION`.
    """
    if not bug:
        return NOT_AFFECTED
    if not inversion:
        return VULNERABLE
    if mode is None or mode is Mode.AUTO:
        return EARLY_INVERSION if early else INVERSION
    smt = "vulnerable" if smt_active else "disabled"
    if old_layout:
        return f"{INVERSION}; VMX: SMT {smt}, L1D {STATES[mode]}"
    if mode is Mode.EPT_DISABLED or (mode is Mode.NEVER and smt_active):
        return f"{INVERSION}; VMX: {STATES[mode]}"
    return f"{INVERSION}; VMX: {STATES[mode]}, SMT {smt}"


_MODES = {word: mode for mode, word in STATES.items()}
_WORDS = "|".join(_MODES)
_NEW = re.compile(rf"{INVERSION}; VMX: ({_WORDS})(?:, SMT (vulnerable|disabled))?")
_OLD = re.compile(rf"{INVERSION}; VMX: SMT (vulnerable|disabled), L1D ({_WORDS})")
_POWER = re.compile(r"Mitigation: RFI Flush(?:, L1D private per thread)?")
_POWER_WITHOUT = re.compile(r"(?:Mitigation|Vulnerable): L1D private per thread")
"""That each thread has its own L1D helps nothing without the flush; until 'powerpc/security: Fix wrong message when RFI
Flush is disable' kernels called it a mitigation."""


def read(found: str) -> Reading:
    """What a text means: upstream's layout, RHEL 7's, powerpc's; anything else is unknown."""
    stripped = found.removesuffix("\n")
    raw = one_line(stripped)
    if stripped == NOT_AFFECTED:
        return Reading(Kind.NOT_AFFECTED, raw)
    if stripped == VULNERABLE or _POWER_WITHOUT.fullmatch(stripped):
        return Reading(Kind.VULNERABLE, raw)
    if stripped in (INVERSION, EARLY_INVERSION):
        return Reading(Kind.INVERSION, raw, early=stripped == EARLY_INVERSION)
    if new := _NEW.fullmatch(stripped):
        mode = _MODES[new[1]]
        smt = new[2] == "vulnerable" if new[2] else True if mode is Mode.NEVER else None
        return Reading(Kind.INVERSION, raw, mode, smt)
    if old := _OLD.fullmatch(stripped):
        return Reading(Kind.INVERSION, raw, _MODES[old[2]], old[1] == "vulnerable", old_layout=True)
    if _POWER.fullmatch(stripped):
        return Reading(Kind.POWER, raw)
    return Reading(Kind.UNKNOWN, raw)
