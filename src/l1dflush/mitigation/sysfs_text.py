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
    vulnerable, None: it does not say. ``raw``: the text itself, on one line."""

    kind: Kind
    raw: str
    mode: Mode | None = None
    smt: bool | None = None
    old_layout: bool = False


def text(*, bug: bool, inversion: bool, mode: Mode | None, smt_active: bool, old_layout: bool = False) -> str:
    """What the kernel writes, without the line break. ``mode`` None: kvm_intel is not there.

    The layout since 'x86/speculation: Simplify sysfs report of VMX L1TF vulnerability'; ``old_layout`` is the one
    before.
    """
    if not bug:
        return NOT_AFFECTED
    if not inversion:
        return VULNERABLE
    if mode is None or mode is Mode.AUTO:
        return INVERSION
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
_POWER = re.compile(
    r"Mitigation: RFI Flush(?:, L1D private per thread)?|(?:Mitigation|Vulnerable): L1D private per thread"
)


def read(found: str) -> Reading:
    """What a text means: upstream's layout, RHEL 7's, powerpc's; anything else is unknown."""
    stripped = found.removesuffix("\n")
    raw = one_line(stripped)
    if stripped == NOT_AFFECTED:
        return Reading(Kind.NOT_AFFECTED, raw)
    if stripped == VULNERABLE:
        return Reading(Kind.VULNERABLE, raw)
    if stripped == INVERSION:
        return Reading(Kind.INVERSION, raw)
    if new := _NEW.fullmatch(stripped):
        mode = _MODES[new[1]]
        smt = new[2] == "vulnerable" if new[2] else True if mode is Mode.NEVER else None
        return Reading(Kind.INVERSION, raw, mode, smt)
    if old := _OLD.fullmatch(stripped):
        return Reading(Kind.INVERSION, raw, _MODES[old[2]], old[1] == "vulnerable", old_layout=True)
    if _POWER.fullmatch(stripped):
        return Reading(Kind.POWER, raw)
    return Reading(Kind.UNKNOWN, raw)
