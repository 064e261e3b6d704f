# SPDX-License-Identifier: GPL-2.0-or-later
"""What must hold whatever the facts are and whatever was done."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st
from mitigation_facts import actions, cpus, hosts, kernels, lines, stories, words
from plain_boot_line import settled

from l1dflush.mitigation import rules
from l1dflush.mitigation.decision import Action, Do, decide
from l1dflush.mitigation.facts import Control, Facts
from l1dflush.mitigation.run_time import Result, RunningHost
from l1dflush.mitigation.sysfs_text import Kind, read
from l1dflush.vmentry.subsystem import Boot, Mode

LOAD = Action(Do.LOAD)
NO_MORE_SMT = (Control.OFF, Control.FORCE_OFF, Control.NOT_SUPPORTED)
forced = st.builds(
    lambda kernel, cpu, before, after: Facts(kernel, cpu, " ".join([*before, "l1tf=full,force", *after])),
    kernels,
    cpus.map(lambda cpu: replace(cpu, bug=True)),
    st.lists(words, max_size=3),
    st.lists(words.filter(lambda word: not word.startswith("l1tf=")), max_size=3),
)


def do(host: RunningHost, action: Action) -> Result:
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


@given(forced, stories)
def test_full_force_is_weakened_by_nothing_but_ept_off_and_a_flush_that_is_not_necessary(
    facts: Facts, story: list[Action]
) -> None:
    """After every single step. Where force did not become the boot's mode, an older kernel's ``mitigations=`` took it
    away; where it did and there is no flush all the same, EPT is off, ARCH_CAPABILITIES bit 3 is set, or the kernel is
    built without any flush (CONFIG_CPU_MITIGATIONS)."""
    host = RunningHost(facts)
    if host.boot.l1tf is not Boot.FULL_FORCE:
        assert not facts.kernel.since(6, 17)
        assert "mitigations=" in facts.line or not facts.kernel.mitigations
        return
    assert host.smt in (Control.FORCE_OFF, Control.NOT_SUPPORTED)
    for action in [LOAD, *story]:
        do(host, action)
        assert host.smt in (Control.FORCE_OFF, Control.NOT_SUPPORTED)
        if host.kvm is None:
            continue
        if facts.kernel.since(6, 19) and not facts.kernel.mitigations:
            assert (host.kvm.mode, host.kvm.flushes) == (Mode.NEVER, Mode.NEVER)
        elif not host.kvm.ept:
            # Late 6.1.y, which does not know it yet, flushes all the same, and then always.
            assert host.kvm.mode is Mode.EPT_DISABLED or facts.kernel.version[:2] == (6, 1)
            assert host.kvm.flushes in (Mode.NEVER, Mode.ALWAYS)
        elif facts.cpu.flush_not_required:
            assert (host.kvm.mode, host.kvm.flushes) == (Mode.NOT_REQUIRED, Mode.NEVER)
        else:
            assert (host.kvm.mode, host.kvm.flushes) == (Mode.ALWAYS, Mode.ALWAYS)


@given(hosts, stories, st.sampled_from(["off", "forceoff"]))
def test_never_is_vulnerable_also_with_smt_off(facts: Facts, story: list[Action], off: str) -> None:
    """What was done before does not matter: no SMT makes up for no flush."""
    decision = decide(facts, [LOAD, *story, Action(Do.WRITE, "never"), Action(Do.WRITE_SMT, off)])
    if facts.kernel.hotplug_smt:
        assert decision.smt in NO_MORE_SMT
        assert not decision.smt_active
    if decision.mode is not Mode.NEVER:
        return
    assert decision.mechanism is None
    if decision.bug and decision.inversion:
        assert decision.sysfs == "Mitigation: PTE Inversion; VMX: vulnerable, SMT disabled"


@given(hosts, stories)
def test_never_is_called_vulnerable(facts: Facts, story: list[Action]) -> None:
    decision = decide(facts, [LOAD, *story])
    if decision.mode is Mode.NEVER and decision.bug and decision.inversion:
        assert "VMX: vulnerable" in decision.sysfs
        assert decision.sysfs.endswith("SMT disabled") is not decision.smt_active


@given(hosts)
def test_contradictory_options_are_settled_as_by_the_kernel(facts: Facts) -> None:
    """Against a plain second implementation, in any order and number."""
    decision = decide(facts)
    assert (decision.l1tf.value, decision.smt.value) == settled(facts)


@given(hosts, lines)
def test_the_last_l1tf_counts(facts: Facts, more: str) -> None:
    """From 6.17 on an explicit word always wins; earlier ones only where ``mitigations=`` is not off or auto,nosmt."""
    for word in Boot:
        line = f"{facts.line} {more} l1tf={word.value}"
        decision = decide(replace(facts, line=line))
        if facts.cpu.bug and (facts.kernel.since(6, 17) or ("mitigations=" not in line and facts.kernel.mitigations)):
            assert decision.l1tf is word
            assert decision.rules[0] is rules.BOOT_EXPLICIT


@given(hosts, stories)
def test_what_is_said_agrees(facts: Facts, story: list[Action]) -> None:
    decision = decide(facts, story)
    reading = read(decision.sysfs)
    assert reading.kind is not Kind.UNKNOWN
    assert (reading.kind is Kind.NOT_AFFECTED) is not decision.bug
    if reading.mode is not None:
        assert decision.parameter == reading.mode.value
    assert (decision.mechanism is None) is (decision.flushes is Mode.NEVER)
    assert len(decision.results) == len(story)
    assert decision.rule in rules.ALL


@given(hosts, st.lists(actions, max_size=8))
def test_what_fails_changes_nothing(facts: Facts, story: list[Action]) -> None:
    host = RunningHost(facts)
    for action in story:
        before = (host.sysfs_text, host.parameter, host.smt, host.mechanism)
        if not do(host, action).ok:
            assert (host.sysfs_text, host.parameter, host.smt, host.mechanism) == before


@given(hosts, stories)
def test_force_off_is_never_left(facts: Facts, story: list[Action]) -> None:
    decision = decide(facts, [Action(Do.WRITE_SMT, "forceoff"), *story, Action(Do.WRITE_SMT, "on")])
    assert decision.smt in (Control.FORCE_OFF, Control.NOT_SUPPORTED)


def test_rules_are_told_apart_and_have_sources() -> None:
    assert len({rule.id for rule in rules.ALL}) == len(rules.ALL) > 20
    assert all(rule.says and rule.source for rule in rules.ALL)
