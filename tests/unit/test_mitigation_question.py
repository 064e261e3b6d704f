# SPDX-License-Identifier: GPL-2.0-or-later
"""Questions in JSON become facts."""

from __future__ import annotations

import pytest

from l1dflush.data.l1tf_cpus import lists
from l1dflush.errors import InputError
from l1dflush.mitigation.facts import Control, Kernel
from l1dflush.mitigation.question import answered, asked, facts_of
from l1dflush.report.terminal.what_if import what_if_lines

AMD = '"cpu": {"vendor": "AuthenticAMD", "family": 23, "threads_per_core": 2, "bugs": ["retbleed"], "stibp": false}'


def test_everything_said_of_the_kernel_arrives() -> None:
    text = """{"kernel": {"release": "4.19.0-27-amd64", "page_table_levels": 3, "mitigations": false,
        "mitigation_l1tf": false, "kvm_intel": false, "hotplug_smt": false}}"""
    facts, _ = facts_of(asked(text, "here"), lists())
    assert facts.kernel == Kernel((4, 19, 0), 3, False, False, False, False, False, True)


def test_a_release_says_how_its_tables_are_only_if_nobody_asks() -> None:
    facts, _ = facts_of(asked('{"kernel": {"release": "6.1.0-56-686"}}', "here"), lists())
    assert facts.kernel.levels == 4


def test_what_only_other_bugs_need() -> None:
    for line, control in (("retbleed=auto,nosmt", Control.OFF), ("", Control.ON)):
        question = asked(f'{{"kernel": {{"release": "6.1.192"}}, {AMD}, "command_line": "{line}"}}', "here")
        assert answered(question, lists()).smt is control
    for rtm, control in (("true", Control.OFF), ("false", Control.ON)):
        cpu = f'{{"bug": false, "threads_per_core": 2, "bugs": ["taa"], "rtm": {rtm}}}'
        line = '"command_line": "mitigations=auto,nosmt"'
        question = asked(f'{{"kernel": {{"release": "6.1.192"}}, "cpu": {cpu}, {line}}}', "here")
        assert answered(question, lists()).smt is control


def test_a_flag_that_the_lists_do_not_give() -> None:
    facts, why = facts_of(asked('{"kernel": {"release": "6.1"}, "cpu": {"bug": false}}', "here"), lists())
    assert (facts.cpu.bug, why.source) == (False, "the question")
    _, why = facts_of(asked('{"kernel": {"release": "6.1"}, "cpu": {"bug": true}}', "here"), lists())
    assert why.source != "the question"


@pytest.mark.parametrize(
    "text",
    ["", "{}", "[]", '{"kernel": {"release": 6}}', '{"kernel": {"release": "6.1"}, "cpu": {"threads_per_core": 0}}'],
)
def test_no_question(text: str) -> None:
    with pytest.raises(InputError) as caught:
        asked(text, "here")
    assert caught.value.where == "here"


@pytest.mark.parametrize(
    ("release", "sysfs", "parameter", "notes"),
    [
        ("4.4.302", "Mitigation: PTE Inversion", None, 0),
        ("3.16.60", "Mitigation: Page Table Inversion", None, 1),
        ("3.16.58", "Mitigation: Page Table Inversion", None, 1),
        ("4.14.62", None, None, 0),
        ("4.14.63", "Mitigation: PTE Inversion; VMX: conditional cache flushes, SMT disabled", "cond", 0),
        ("4.9.0-7-amd64", "Mitigation: PTE Inversion; VMX: conditional cache flushes, SMT disabled", "cond", 1),
    ],
)
def test_a_kernel_without_the_flush_or_that_does_not_show_it(
    release: str, sysfs: str | None, parameter: str | None, notes: int
) -> None:
    text = f'{{"kernel": {{"release": "{release}"}}, "command_line": "l1tf=flush", "actions": [{{"do": "load"}}]}}'
    answer = answered(asked(text, "here"), lists())
    assert (answer.sysfs, answer.parameter, len(answer.notes)) == (sysfs, parameter, notes)
    said = " ".join(line.plain for line in what_if_lines([answer], 80))
    assert ("this KVM has no flush" in said) == (parameter is None)
    assert ("does not show" in said) == bool(notes)
    assert ("distributions" in said) == (bool(notes) and "amd64" in release)
    assert ("nothing: there is no l1tf=" in said) == (parameter is None)
