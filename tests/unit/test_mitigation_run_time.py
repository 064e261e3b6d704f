# SPDX-License-Identifier: GPL-2.0-or-later
"""kvm_intel: loaded, written to, unloaded; what it says and what it warns of."""

from __future__ import annotations

from dataclasses import replace

import pytest
from mitigation_facts import SMT2, loaded, on, write

from l1dflush.mitigation import rules
from l1dflush.mitigation.decision import Action, Do, decide
from l1dflush.mitigation.facts import SKIP_VMENTRY_L1DFLUSH, Facts, Kernel
from l1dflush.vmentry.subsystem import Mechanism, Mode


@pytest.mark.parametrize(
    ("facts", "parameters", "mode", "rule", "mechanism"),
    [
        (on("6.12.1"), "", Mode.COND, rules.AUTO, Mechanism.READING),
        (on("6.12.1", "", replace(SMT2, command=True)), "", Mode.COND, rules.AUTO, Mechanism.COMMAND),
        (on("6.12.1", "l1tf=off"), "", Mode.NEVER, rules.AUTO, None),
        (on("6.12.1", "l1tf=off"), "vmentry_l1d_flush=always", Mode.ALWAYS, rules.WRITTEN, Mechanism.READING),
        (on("6.12.1", "l1tf=full,force"), "vmentry-l1d-flush=never", Mode.ALWAYS, rules.FORCED, Mechanism.READING),
        (on("6.12.1", "l1tf=full,force"), "ept=n", Mode.EPT_DISABLED, rules.EPT_OFF, None),
        (on("6.12.1", "", replace(SMT2, ept=False)), "", Mode.EPT_DISABLED, rules.EPT_OFF, None),
        (on("6.1.192", "", replace(SMT2, ept=False)), "", Mode.COND, rules.EPT_UNKNOWN, Mechanism.READING),
        (on("6.1.192", "", replace(SMT2, ept=False)), "ept=off", Mode.EPT_DISABLED, rules.EPT_OFF, None),
        (on("6.1.0", "", replace(SMT2, ept=False)), "", Mode.COND, rules.EPT_UNKNOWN, Mechanism.READING),
        (on("6.1.19", "", replace(SMT2, ept=False)), "", Mode.EPT_DISABLED, rules.EPT_OFF, None),
        (on("6.2.6", "", replace(SMT2, ept=False)), "", Mode.EPT_DISABLED, rules.EPT_OFF, None),
        (on("6.2.7", "", replace(SMT2, ept=False)), "", Mode.COND, rules.EPT_UNKNOWN, Mechanism.READING),
        (on("6.3.1", "", replace(SMT2, ept=False)), "", Mode.EPT_DISABLED, rules.EPT_OFF, None),
        (
            on("6.12.1", "", replace(SMT2, arch_capabilities=SKIP_VMENTRY_L1DFLUSH)),
            "",
            Mode.NOT_REQUIRED,
            rules.SKIP,
            None,
        ),
        (on("5.4.1", "", replace(SMT2, bug=False)), "", Mode.NOT_REQUIRED, rules.NO_BUG, None),
        (on("4.19.43", "", replace(SMT2, bug=False)), "", Mode.AUTO, rules.NO_BUG_OLD, None),
    ],
)
def test_the_first_rule_decides(
    facts: Facts, parameters: str, mode: Mode, rule: rules.Rule, mechanism: Mechanism | None
) -> None:
    decision = loaded(facts, parameters)
    assert decision.results[0].ok
    assert (decision.mode, decision.rule, decision.mechanism) == (mode, rule, mechanism)
    assert decision.parameter == mode.value


def test_a_later_ept_does_not_undo_the_flush() -> None:
    """6.1.y without EPT: the parameter says that nothing is flushed, and it still is."""
    decision = loaded(on("6.1.192", "", replace(SMT2, ept=False)), "vmentry_l1d_flush=always", write("never"))
    assert (decision.mode, decision.flushes) == (Mode.EPT_DISABLED, Mode.ALWAYS)


@pytest.mark.parametrize("value", ["always\n", "always", "always\0never"])
def test_accepted(value: str) -> None:
    decision = loaded(on("6.12.1"), "", write(value))
    assert decision.results[1].ok
    assert decision.mode is Mode.ALWAYS


@pytest.mark.parametrize("value", ["\n", "always\n\n", " always", "Always", "not required", "2", "\0always"])
def test_refused(value: str) -> None:
    for cpu in (SMT2, replace(SMT2, bug=False)):
        decision = loaded(on("6.12.1", "", cpu), "", write(value))
        assert decision.results[1].result == "EINVAL"
        assert decision.mode is loaded(on("6.12.1", "", cpu)).mode
        assert not decision.log


@pytest.mark.parametrize(
    ("facts", "actions", "results"),
    [
        (on("6.12.1"), [Action(Do.UNLOAD)], ["ENOENT"]),
        (on("6.12.1"), [write("cond")], ["ENOENT"]),
        (on("6.12.1"), [Action(Do.CREATE_VM)], ["ENOENT"]),
        (on("6.12.1"), [Action(Do.LOAD), Action(Do.LOAD)], ["ok", "EEXIST"]),
        (on("6.12.1"), [Action(Do.LOAD), write("")], ["ok", "ok"]),
        (on("6.12.1"), [Action(Do.LOAD, "ept=maybe")], ["EINVAL"]),
        (on("6.12.1"), [Action(Do.LOAD, "ept"), Action(Do.UNLOAD), Action(Do.UNLOAD)], ["ok", "ok", "ENOENT"]),
        (on("6.12.1", "", replace(SMT2, vmx=False)), [Action(Do.LOAD, "ept=0")], ["EOPNOTSUPP"]),
        (on("6.12.1", "", replace(SMT2, vmx=False)), [Action(Do.LOAD, "vmentry_l1d_flush")], ["EINVAL"]),
        (Facts(Kernel((6, 1, 0), kvm_intel=False)), [Action(Do.LOAD)], ["ENOENT"]),
    ],
)
def test_how_actions_end(facts: Facts, actions: list[Action], results: list[str]) -> None:
    assert [one.result for one in decide(facts, actions).results] == results


def test_no_memory_for_the_buffer() -> None:
    facts = replace(on("6.12.1", "l1tf=off"), buffer_memory=False)
    assert loaded(facts, "vmentry_l1d_flush=cond").results[0].result == "ENOMEM"
    decision = loaded(facts, "", write("always"))
    assert decision.results[1].result == "ENOMEM"
    assert (decision.mode, decision.flushes) == (Mode.NEVER, Mode.NEVER)
    assert loaded(replace(facts, cpu=replace(SMT2, command=True)), "", write("always")).mode is Mode.ALWAYS


def test_warnings_come_once_per_load() -> None:
    vm = Action(Do.CREATE_VM)
    again = (Action(Do.UNLOAD), Action(Do.LOAD), vm)
    decision = loaded(on("6.12.1"), "vmentry_l1d_flush=never", vm, vm, *again)
    assert [line.partition(" present and ")[2].partition(",")[0] for line in decision.log] == [
        "SMT on",
        "virtualization mitigation disabled",
        "SMT on",
    ]
    assert all(line.startswith("kvm_intel: L1TF CPU bug") for line in decision.log)
    assert "admin-guide/l1tf.html" in loaded(on("4.19.42"), "", vm).log[0]
    assert "hw-vuln/l1tf.html" in loaded(on("4.19.43"), "", vm).log[0]


@pytest.mark.parametrize(
    "facts",
    [
        on("6.12.1", "l1tf=off"),
        on("6.12.1", "l1tf=flush,nowarn"),
        on("6.12.1", "l1tf=full,force"),
        on("6.12.1", "", replace(SMT2, bug=False)),
        on("6.12.1", "", replace(SMT2, ept=False)),
    ],
)
def test_no_warning(facts: Facts) -> None:
    assert not loaded(facts, "vmentry_l1d_flush=never", Action(Do.CREATE_VM)).log


@pytest.mark.parametrize(
    ("parameters", "result", "log"),
    [
        ("nested=1 vmentry_l1d_flush=never", "ok", []),
        ("made_up=1", "ok", []),
        ("vmentry_l1d_flushes=never", "ok", ["kvm_intel: unknown parameter 'vmentry_l1d_flushes' ignored"]),
        ("nested=2", "EINVAL", ["kvm_intel: `2' invalid for parameter `nested'"]),
        (
            "vmentry_l1d_flush=bogus ept=2 vmentry-l1d-flush",
            "EINVAL",
            [
                "kvm_intel: `bogus' invalid for parameter `vmentry_l1d_flush'",
                "kvm_intel: `2' invalid for parameter `ept'",
                "kvm_intel: `' invalid for parameter `vmentry-l1d-flush'",
            ],
        ),
        ("vmentry_l1d_flush=bogus vmentry_l1d_flush=never", "EINVAL", None),
        ("vmentry_l1d_flush=never -- vmentry_l1d_flush=bogus", "ok", []),
        ('"vmentry_l1d_flush=never"', "ok", []),
        ("vmentry_l1d_flush=never,always", "EINVAL", None),
    ],
)
def test_parameters_at_load(parameters: str, result: str, log: list[str] | None) -> None:
    done = loaded(on("6.12.1"), parameters)
    assert done.results[0].result == result
    assert (done.mode is None) is (result != "ok")
    if log is not None:
        assert list(done.log) == log


@pytest.mark.parametrize(
    ("value", "since", "ept"),
    [
        ("0", None, False),
        ("N", None, False),
        ("off", None, False),
        ("oFF", None, False),
        ("no", None, False),
        ("Y", None, True),
        ("on", None, True),
        ("1x", None, True),
        ("false", "5.19", False),
        ("T", "5.19", True),
        ("disabled", "6.16", False),
        ("E", "6.16", True),
        ("2", "never", None),
        ("", "never", None),
        ("o", "never", None),
        (" 1", "never", None),
    ],
)
def test_yes_and_no(value: str, since: str | None, ept: bool | None) -> None:
    for version in ("4.19.43", "5.18.1", "5.19", "6.12.117", "6.16.0", "7.2.13"):
        done = loaded(on(version), f'ept="{value}"')
        known = since is None or (since != "never" and Kernel.parse(version).since(*map(int, since.split("."))))
        assert done.results[0].result == ("ok" if known else "EINVAL"), version
        if known:
            assert (done.mode is Mode.EPT_DISABLED) is not ept


def test_compiled_out_at_load() -> None:
    facts = Facts(Kernel((7, 2, 13), mitigations=False), SMT2)
    done = loaded(facts, "vmentry_l1d_flush=junk vmentry_l1d_flush=always", write("always"))
    assert [one.result for one in done.results] == ["ok", "ok"]
    assert done.log == ("kvm_intel: Kernel compiled without mitigations, ignoring vmentry_l1d_flush",)
    assert loaded(facts, "vmentry_l1d_flush").results[0].result == "EINVAL", "no value is refused before it is asked"
