# SPDX-License-Identifier: GPL-2.0-or-later
"""The words of a verdict: what it may be, the causes it may rest on, and how several come together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from l1dflush.ending import ExitStatus


class L1tfVerdict(StrEnum):
    """Whether a host is protected."""

    NOT_AFFECTED = "not-affected"
    MITIGATED = "mitigated"
    PARTIAL = "partially-mitigated"
    VULNERABLE = "vulnerable"
    UNKNOWN = "unknown"

    @property
    def exit_status(self) -> ExitStatus:
        """0 for the first two, 2 for what can be attacked, 3 for what nobody knows."""
        match self:
            case L1tfVerdict.NOT_AFFECTED | L1tfVerdict.MITIGATED:
                return ExitStatus.FINE
            case L1tfVerdict.UNKNOWN:
                return ExitStatus.UNDECIDED
            case _:
                return ExitStatus.REFUTED

    @property
    def behind(self) -> int:
        """How far it is behind the best."""
        return _RANK.index(self)


_RANK = (
    L1tfVerdict.NOT_AFFECTED,
    L1tfVerdict.MITIGATED,
    L1tfVerdict.UNKNOWN,
    L1tfVerdict.PARTIAL,
    L1tfVerdict.VULNERABLE,
)
"""Of several causes the one that is furthest behind decides. What is unknown beside one that is partial cannot make it
better, so it stays at that, unless it may as well be vulnerable (:attr:`Ground.open`)."""


class Cause(StrEnum):
    """Why a verdict is what it is; the names are stable."""

    NO_BUG = "no-bug"
    INVERSION = "pte-inversion"
    NO_INVERSION = "no-pte-inversion"
    MEMORY = "memory-above-limit"
    NOT_LOADED = "no-guests"
    EPT_OFF = "ept-off"
    BELOW = "hypervisor-below"
    NEVER = "never-flushed"
    NO_FLUSH = "kvm-without-flush"
    CONDITIONAL = "conditional"
    ALWAYS = "always-flushed"
    SMT = "smt-on"
    SMT_BELOW = "smt-below-unknown"
    UNEVEN = "flush-command-not-on-all-cpus"
    REFUTED = "software-flush-refuted"
    UNPROVED = "software-flush-undecided"
    OTHERS = "other-hypervisor"
    XEN = "xen"
    DISAGREE = "facts-and-kernel-disagree"
    NO_TEXT = "kernel-does-not-say"
    UNKNOWN_TEXT = "unknown-text"
    TOO_OLD = "kernel-without-mitigation"
    SANDBOX = "not-linux"
    KERNEL_SAYS = "kernel-says"
    DEPENDS = "depends-on-unknown"
    UNLESS = "unless"


@dataclass(frozen=True, slots=True)
class Ground:
    """One cause with its share in the verdict. ``open``: it is unknown, and nothing makes it likelier than not that it
    is no worse than partial."""

    cause: Cause
    verdict: L1tfVerdict
    says: str
    open: bool = False

    @property
    def behind(self) -> float:
        """How far it is behind the best: what is open is between partial and vulnerable."""
        return L1tfVerdict.PARTIAL.behind + 0.5 if self.open else self.verdict.behind


@dataclass(frozen=True, slots=True)
class Judged:
    """``grounds``: what it rests on, the ones that decide first."""

    verdict: L1tfVerdict
    grounds: tuple[Ground, ...]

    @property
    def settled(self) -> L1tfVerdict:
        """The verdict without what is open, which no change of Linux's settings can close."""
        others = [ground for ground in self.grounds if not ground.open]
        return worst(others).verdict if others else self.verdict


def worst(grounds: Sequence[Ground]) -> Judged:
    """The verdict of grounds that hold together."""
    ordered = tuple(sorted(grounds, key=lambda ground: -ground.behind))
    return Judged(ordered[0].verdict, ordered)
