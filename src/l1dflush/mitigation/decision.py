# SPDX-License-Identifier: GPL-2.0-or-later
"""One question, one answer: facts and what was done after boot in, everything that follows from them out."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from l1dflush.mitigation import rules
from l1dflush.mitigation.facts import Control, Facts
from l1dflush.mitigation.rules import Rule
from l1dflush.mitigation.run_time import Result, RunningHost
from l1dflush.vmentry.subsystem import Boot, Mechanism, Mode


class Do(StrEnum):
    """What may be done after boot."""

    LOAD = "load"
    UNLOAD = "unload"
    WRITE = "write"
    WRITE_SMT = "write-smt"
    CREATE_VM = "create-vm"


@dataclass(frozen=True, slots=True)
class Action:
    """``text``: the parameters for load, what is written for write and write-smt; else empty."""

    do: Do
    text: str = ""


@dataclass(frozen=True, slots=True)
class Decision:
    """Everything that follows. ``l1tf`` is what ``auto`` means; ``smt`` and ``smt_active`` are SMT's control and state.

    ``mode`` is the effective mode and ``ept`` whether EPT is used (None: kvm_intel is not loaded), ``flushes`` what is
    really done at VM entry (it differs from ``mode`` where a later step did not undo an earlier one), ``mechanism``
    how. ``sysfs`` and ``parameter`` are the texts that are read, None if there is no such file.
    ``results``: one for each action. ``memory_limit`` in bytes and ``swap_limit`` in pages, None where L1TF sets none.
    ``rule`` decided the mode; ``rules`` are all that did.
    """

    bug: bool
    l1tf: Boot
    smt: Control
    smt_active: bool
    inversion: bool
    memory_limit: int
    swap_limit: int | None
    mode: Mode | None
    ept: bool | None
    flushes: Mode
    mechanism: Mechanism | None
    sysfs: str | None
    parameter: str | None
    results: tuple[Result, ...]
    rule: Rule
    rules: tuple[Rule, ...]

    @property
    def log(self) -> tuple[str, ...]:
        """The lines about L1TF that the actions left in the log."""
        return tuple(line for result in self.results for line in result.log)


def decide(facts: Facts, actions: Iterable[Action] = ()) -> Decision:
    """What ``facts`` lead to after ``actions``, which are done in order, whether or not the one before succeeded."""
    host = RunningHost(facts)
    results = tuple(_done(host, action) for action in actions)
    kvm, boot = host.kvm, host.boot
    rule = kvm.rule if kvm else rules.NOT_LOADED
    return Decision(
        bug=facts.cpu.bug,
        l1tf=boot.l1tf,
        smt=host.smt,
        smt_active=host.smt_active,
        inversion=boot.inversion,
        memory_limit=boot.memory_limit,
        swap_limit=boot.swap_limit,
        mode=kvm.mode if kvm else None,
        ept=host.ept,
        flushes=kvm.flushes if kvm else Mode.NEVER,
        mechanism=host.mechanism,
        sysfs=host.sysfs_text,
        parameter=host.parameter,
        results=results,
        rule=rule,
        rules=(*boot.rules, rule),
    )


def _done(host: RunningHost, action: Action) -> Result:
    match action.do:
        case Do.LOAD:
            return host.load(action.text)
        case Do.UNLOAD:
            return host.unload()
        case Do.WRITE:
            return host.write(action.text)
        case Do.WRITE_SMT:
            return host.write_smt(action.text)
        case Do.CREATE_VM:
            return host.create_vm()
