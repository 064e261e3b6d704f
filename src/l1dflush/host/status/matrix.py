# SPDX-License-Identifier: GPL-2.0-or-later
"""The whole table for a host: every boot option, every write to the parameter, with SMT on and off."""

from __future__ import annotations

from collections.abc import Iterator

from l1dflush.ending import Verdict
from l1dflush.host.reading.host_facts import HostFacts
from l1dflush.host.status.changes import Change, changed
from l1dflush.host.status.explained import Explanation
from l1dflush.host.status.judged import judge_explanation
from l1dflush.host.status.model import Cell
from l1dflush.mitigation.affected import Lists
from l1dflush.mitigation.facts import Control
from l1dflush.vmentry.subsystem import WRITABLE, Boot

_SAID = ("l1tf", "mitigations", "nosmt")
"""What is taken out of the boot line, so that each row is about its own option."""


def cells(host: HostFacts, now: Explanation, lists: Lists, *, software: Verdict) -> Iterator[Cell]:
    """Those of an explanation of ``host``, row by row: boot options, then parameters, then SMT on and off, where there
    is SMT. kvm_intel is loaded."""
    was = now.decision
    controls = (Control.ON, Control.OFF) if now.world.facts.cpu.threads > 1 else (None,)
    for boot in Boot:
        booted = changed(now, Change(line=f"l1tf={boot.value}", without=_SAID, load=""), lists).explanation
        for wanted in WRITABLE:
            for control in controls:
                after = changed(booted, Change(smt=control, writes=(wanted.value,)), lists)
                decision = after.decision
                same = (was.l1tf, was.mode, was.smt_active) == (boot, decision.mode, decision.smt_active)
                yield Cell(
                    l1tf=boot,
                    parameter=wanted,
                    asked_smt=control is Control.ON,
                    smt=decision.smt_active,
                    mode=decision.mode,
                    verdict=judge_explanation(host, after.explanation, software).verdict,
                    now=same,
                )
