# SPDX-License-Identifier: GPL-2.0-or-later
"""Changes to a host: what they take, what outlives them, what follows, and the whole table."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from made_hosts import made, without_module

from l1dflush.data.catalogue import load_catalogue
from l1dflush.data.l1tf_cpus import lists
from l1dflush.ending import Verdict
from l1dflush.errors import InputError
from l1dflush.host.l1d import Signature
from l1dflush.host.reading.fact import Fact
from l1dflush.host.reading.host_facts import HostFacts
from l1dflush.host.status.changes import Change, Takes, changed, written_as
from l1dflush.host.status.flush_worth import FlushWorth
from l1dflush.host.status.grounds import L1tfVerdict
from l1dflush.host.status.model import WhatIfHostResult
from l1dflush.host.status.result import status_result
from l1dflush.host.status.what_if import explained_host, matrix_result, what_if_result
from l1dflush.mitigation.facts import Control
from l1dflush.report.terminal.matrix import matrix_lines
from l1dflush.report.terminal.what_if_host import what_if_host_lines
from l1dflush.vmentry.subsystem import Boot, Mechanism, Mode

LISTS = lists()
P = "Mitigation: PTE Inversion; VMX: "


def what_if(host: HostFacts, change: Change, then: Verdict = Verdict.PROVED) -> WhatIfHostResult:
    return what_if_result(host, explained_host(host, LISTS), change, (Verdict.PROVED, then), LISTS)


@pytest.mark.parametrize(
    ("change", "text", "takes", "rule"),
    [
        (Change(line="l1tf=full,force"), P + "cache flushes, SMT disabled", "after a reboot", "l1tf-explicit"),
        (Change(line="mitigations=off"), P + "vulnerable", "after a reboot", "mitigations-off"),
        (Change(writes=("never",)), P + "vulnerable", "at once", "written"),
        (Change(smt=Control.OFF), P + "conditional cache flushes, SMT disabled", "at once", "auto"),
        (Change(ept=False), P + "EPT disabled", "after kvm_intel is loaded anew", "ept-off"),
        (Change(load="vmentry_l1d_flush=always"), P + "cache flushes, SMT vulnerable",
         "after kvm_intel is loaded anew", "written"),
        (Change(kernel="4.9.120"), P + "conditional cache flushes, SMT vulnerable", "after a reboot", "auto"),
    ],
)  # fmt: skip
def test_what_follows(change: Change, text: str, takes: str, rule: str) -> None:
    result = what_if(made(), change)
    assert (result.after[0].sysfs, result.takes, result.decided_by.id) == (text, takes, rule)
    assert result.before[0].sysfs == P + "conditional cache flushes, SMT vulnerable"
    assert result.exit_status == result.verdict.exit_status


def test_microcode_changes_how_and_not_when() -> None:
    result = what_if(made(), Change(microcode=False))
    assert result.before[0].mechanism is Mechanism.COMMAND
    assert result.after[0].mechanism is Mechanism.READING
    assert result.after[0].flushes is Mode.COND


def test_another_cpu_has_another_proof() -> None:
    host = made(flush_command=False, flags=frozenset({"vmx"}), smt_control="off", smt_active=False,
                command_line="nosmt l1tf=full", parameter="always", text=P + "cache flushes, SMT disabled")  # fmt: skip
    cpus = load_catalogue()
    assert what_if(host, Change(cpu=cpus.get("skylake"))).verdict is L1tfVerdict.MITIGATED
    assert what_if(host, Change(cpu=cpus.get("skylake")), Verdict.REFUTED).verdict is L1tfVerdict.VULNERABLE
    assert what_if(host, Change(cpu=cpus.get("zen3"))).verdict is L1tfVerdict.NOT_AFFECTED
    # In no list of the kernel's: it says so itself.
    assert what_if(host, Change(cpu=cpus.get("ice-lake"))).verdict is L1tfVerdict.NOT_AFFECTED
    with pytest.raises(InputError, match="about x86"):
        what_if(host, Change(cpu=cpus.get("power9")))


def test_nothing_that_was_written_outlives_a_reboot() -> None:
    host = made(parameter="never", text=P + "vulnerable, SMT disabled", smt_control="off", smt_active=False)
    assert what_if(host, Change(line="quiet")).after[0].sysfs == P + "conditional cache flushes, SMT vulnerable"
    # The module forgets what was written to it, SMT does not.
    assert what_if(host, Change(load="")).after[0].sysfs == P + "conditional cache flushes, SMT disabled"
    assert what_if(host, Change(writes=("cond",))).after[0].sysfs == P + "conditional cache flushes, SMT disabled"


def test_what_is_built_in_takes_a_reboot() -> None:
    assert what_if(made(built_in=True), Change(ept=False)).takes == "after a reboot"


def test_an_option_is_taken_out_of_the_boot_line() -> None:
    host = made(command_line='root="a b" l1tf=off quiet', parameter="never", text=P + "vulnerable")
    result = what_if(host, Change(without=("l1tf",)))
    assert result.after[0].l1tf is Boot.FLUSH
    explained = explained_host(host, LISTS).shown
    after = changed(explained, Change(without=("l1tf",), line="nosmt"), LISTS).explanation
    assert after.world.facts.line == 'root="a b" quiet nosmt'


def test_what_stays_of_the_boot_line_stays_as_it_is() -> None:
    line = 'a=b" c"d"e f" "g h" l1tf=off i -- l1tf=full'
    after = changed(explained_host(made(), LISTS).shown, Change(line=line), LISTS).explanation
    without = changed(after, Change(without=("l1tf",), line="nosmt"), LISTS).explanation
    assert without.world.facts.line == 'quiet a=b" c"d"e f" "g h" i nosmt'


def test_what_was_given_by_hand_does_not_outlive_the_module() -> None:
    host = made(parameter="EPT disabled", kvm_ept=False, text=P + "EPT disabled")
    for change in (Change(line="quiet"), Change(load="")):
        assert what_if(host, change).after[0].parameter == "cond"
    assert what_if(host, Change(smt=Control.OFF)).after[0].parameter == "EPT disabled"
    # By a file, or by hand: both are possible, and nobody knows.
    host = made(parameter="EPT disabled", kvm_ept=False, text=P + "EPT disabled", options=None)
    assert {one.parameter for one in what_if(host, Change(line="quiet")).after} == {"cond", "EPT disabled"}
    assert what_if(host, Change(line="quiet")).verdict is L1tfVerdict.UNKNOWN


def test_another_kernel_may_have_other_page_tables() -> None:
    host = made(release="6.1.0-50-686", machine="i686", levels=2, text="Vulnerable")
    assert not what_if(host, Change(kernel="6.1.192")).after[0].pte_inversion
    for release in ("6.1.0-50-amd64", "6.1.0-50-686-pae", "5.14.0-362.el9.x86_64"):
        assert what_if(host, Change(kernel=release)).after[0].pte_inversion


def test_vmx_comes_and_goes_with_the_vendor() -> None:
    cpus = load_catalogue()
    amd = without_module(made(signature=Signature("AuthenticAMD", 0x19, 0x11, 1, "AMD EPYC"), bugs=frozenset(),
                              text="Not affected", flush_command=False, vmx=False, ept=False))  # fmt: skip
    amd = replace(amd, mitigation=replace(amd.mitigation, text=made(text="Not affected").mitigation.text))
    assert what_if(amd, Change(cpu=cpus.get("haswell"), load="")).after[0].parameter == "cond"
    assert what_if(made(), Change(cpu=cpus.get("zen4"))).after[0].parameter is None


@pytest.mark.parametrize("release", ["4.14.35-2047.el7uek.x86_64", "4.12.14-122.37-default", "3.10.0-1160.el7.x86_64"])
def test_kernels_that_keep_their_number_are_not_refused(release: str) -> None:
    assert what_if(made(), Change(kernel=release)).after[0].parameter == "cond"
    unread = made(release=release, version="#1", text=None, parameter=None, kvm_ept=None)
    assert status_result(unread, FlushWorth(Verdict.PROVED, "linux-4.18", ""), LISTS).verdict is L1tfVerdict.UNKNOWN


@pytest.mark.parametrize(
    "changes", [{"text": None}, {"text": "Mitigation: Prayers"}, {"text": P + "EPT disabled"}, {"others": ("vboxdrv",)}]
)
def test_nothing_is_promised_that_status_would_not_say(changes: dict[str, Any]) -> None:
    result = what_if(made(**changes), Change(line="l1tf=full"))
    assert result.after[0].parameter == "always"
    assert result.verdict is L1tfVerdict.UNKNOWN
    assert what_if(made(**changes), Change(line="l1tf=off")).verdict is L1tfVerdict.VULNERABLE
    text = " ".join(line.plain for line in what_if_host_lines(result, 80))
    assert "unknown" in text


def test_beside_another_hypervisor_no_cell_is_safe() -> None:
    host = made(others=("vboxdrv",))
    cells = matrix_result(host, explained_host(host, LISTS), Change(), Verdict.PROVED, LISTS).cells
    assert {cell.verdict for cell in cells} == {L1tfVerdict.UNKNOWN, L1tfVerdict.VULNERABLE}


def test_long_titles_are_wrapped() -> None:
    change = Change(line="l1tf=full " * 20)
    host = made()
    explained = explained_host(host, LISTS)
    table = matrix_result(host, explained, change, Verdict.PROVED, LISTS)
    for lines in (what_if_host_lines(what_if(host, change), 80), matrix_lines(table, 80)):
        assert all(len(line.plain) <= 80 for line in lines)


def test_writes_end_as_the_kernel_ends_them() -> None:
    result = what_if(made(), Change(writes=("sometimes", "never")))
    assert [one.result for one in result.written] == ["EINVAL", "ok"]
    assert what_if(without_module(made()), Change(writes=("never",))).written[0].result == "ENOENT"
    forced = what_if(made(), Change(line="l1tf=full,force", smt=Control.ON, writes=("never",)))
    assert [one.result for one in forced.written] == ["EPERM", "ok"]
    assert forced.after[0].parameter == "always"


def test_where_it_depends_on_what_is_unknown_each_case_is_told() -> None:
    host = made(arch_capabilities=None, text=None, parameter=None, hypervisor="", bugs=None)
    result = what_if(host, Change(smt=Control.OFF))
    assert {one.sysfs for one in result.after} == {
        P + "conditional cache flushes, SMT disabled",
        P + "flush not necessary, SMT disabled",
        "Not affected",
    }
    assert result.verdict is L1tfVerdict.UNKNOWN
    assert all(one.assumed for one in result.after)


@pytest.mark.parametrize(
    "release", ["4.9.119", "4.14.62", "4.14.2", "3.16.57", "4.4.147", "4.18.0", "3.10.108", "4.16.18"]
)
def test_a_kernel_from_before_the_mitigation_has_nothing(release: str) -> None:
    result = what_if(made(), Change(kernel=release))
    after = result.after[0]
    assert (after.sysfs, after.parameter, after.pte_inversion) == (None, None, False)
    assert (result.verdict, result.notes) == (L1tfVerdict.VULNERABLE, ())
    said = " ".join(line.plain for line in what_if_host_lines(result, 80))
    assert "no such file" in said
    assert "nothing: this KVM has no flush" in said
    amd = made(signature=Signature("AuthenticAMD", 0x19, 0x11, 1, "AMD EPYC"), bugs=frozenset(), text="Not affected",
               flush_command=False, parameter="not required")  # fmt: skip
    assert what_if(amd, Change(kernel=release)).verdict is L1tfVerdict.NOT_AFFECTED


@pytest.mark.parametrize(
    ("release", "text"),
    [
        ("4.4.148", "Page Table"), ("4.4.179", "Page Table"), ("4.4.180", "PTE"), ("4.4.302", "PTE"),
        ("3.16.84", "PTE"), ("3.16.68", "PTE"),
    ],
)  # fmt: skip
def test_a_branch_that_never_took_the_vmx_part(release: str, text: str) -> None:
    result = what_if(made(), Change(kernel=release))
    after = result.after[0]
    assert (after.sysfs, after.parameter, after.mechanism) == (f"Mitigation: {text} Inversion", None, None)
    assert (result.verdict, after.rule.id) == (L1tfVerdict.VULNERABLE, "kvm-without-flush")
    # Without guests, or with guests that cannot aim, nothing is missing.
    assert what_if(made(), Change(kernel=release, ept=False)).verdict is L1tfVerdict.MITIGATED
    assert what_if(without_module(made()), Change(kernel=release)).verdict is L1tfVerdict.MITIGATED
    # There is nothing to write to, and nothing on the boot line helps.
    full = what_if(made(), Change(kernel=release, line="l1tf=full,force", writes=("always",)))
    assert (full.verdict, full.written[0].result) == (L1tfVerdict.VULNERABLE, "ENOENT")


@pytest.mark.parametrize(
    "release", ["4.4.0-1028-aws", "4.12.14-122.37-default", "3.10.0-693.el7.x86_64", "4.9.0-7-amd64", "3.16.0-6-amd64"]
)
def test_a_distributions_old_release_carries_the_caveat(release: str) -> None:
    result = what_if(made(), Change(kernel=release))
    assert result.verdict is L1tfVerdict.UNKNOWN
    assert f"{release} does not show" in result.notes[0]
    assert {one.verdict for one in result.after} == {L1tfVerdict.PARTIAL, L1tfVerdict.VULNERABLE}
    assert all(one.assumed for one in result.after)
    told = " ".join(" ".join(line.plain for line in what_if_host_lines(result, 80)).split())
    assert "does not show" in told
    # What the column rests on is told, as of every other case.
    assert f"the column after holds if {result.after[0].assumed[-1]}" in told
    assert "the column before" not in told
    table = matrix_result(made(), explained_host(made(), LISTS), Change(kernel=release), Verdict.PROVED, LISTS)
    assert "does not show" in " ".join(line.plain for line in matrix_lines(table, 80))
    # What is certain in each case stays so.
    assert what_if(made(), Change(kernel=release, line="l1tf=off")).verdict is L1tfVerdict.VULNERABLE


@pytest.mark.parametrize("release", ["4.4.0-210-generic", "4.15.0-213-generic", "4.18.0-553.el8.x86_64", "4.14.80-x"])
def test_a_distributions_release_that_shows_it_carries_none(release: str) -> None:
    result = what_if(made(), Change(kernel=release))
    assert (result.verdict, result.notes) == (L1tfVerdict.PARTIAL, ())


def test_a_later_kernel_brings_the_flush_to_a_host_without() -> None:
    host = made(release="4.4.200", version="#1", text="Mitigation: PTE Inversion", smt_control=None, smt_active=None,
                parameter=None, has_parameter=False)  # fmt: skip
    result = what_if(host, Change(kernel="4.9.337", line="l1tf=full"))
    assert result.before[0].verdict is L1tfVerdict.VULNERABLE
    assert (result.after[0].parameter, result.verdict) == ("always", L1tfVerdict.MITIGATED)
    assert "notimplemented" not in " ".join(line.plain for line in what_if_host_lines(result, 80))
    table = matrix_result(host, explained_host(host, LISTS), Change(), Verdict.PROVED, LISTS)
    assert {cell.verdict for cell in table.cells} == {L1tfVerdict.VULNERABLE}
    said = " ".join(line.plain for line in matrix_lines(table, 80))
    assert "it never flushes" in said
    assert "in software" not in said


def test_a_host_that_the_decision_is_not_about_is_refused() -> None:
    with pytest.raises(InputError, match="about x86"):
        explained_host(made(machine="ppc64le", signature=None), LISTS)


@pytest.mark.parametrize("text", ["never", "smt=off", "ept=0", ""])
def test_what_cannot_be_written(text: str) -> None:
    with pytest.raises(InputError, match="cannot be written"):
        written_as(text)


def test_the_largest_of_what_changes_take_counts() -> None:
    assert Change(smt=Control.OFF, line="quiet").takes(built_in=False) is Takes.REBOOT
    assert Change(ept=True, writes=("never",)).takes(built_in=False) is Takes.RELOAD


def plain_cell(boot: Boot, wanted: str, smt: bool) -> tuple[str, L1tfVerdict]:
    """Sections 1.4 and 1.7 of the facts, for an affected CPU with EPT and a flush that is enough."""
    auto = {"off": "never", "full": "always", "full,force": "always"}.get(boot.value, "cond")
    mode = auto if wanted == "auto" or boot is Boot.FULL_FORCE else wanted
    if mode == "never":
        return mode, L1tfVerdict.VULNERABLE
    smt = smt and boot is not Boot.FULL_FORCE
    return mode, L1tfVerdict.PARTIAL if mode == "cond" or smt else L1tfVerdict.MITIGATED


def test_the_table_is_that_of_the_facts() -> None:
    host = made()
    cells = matrix_result(host, explained_host(host, LISTS), Change(), Verdict.PROVED, LISTS).cells
    assert len(cells) == 6 * 4 * 2
    for cell in cells:
        assert cell.mode is not None
        assert (cell.mode.value, cell.verdict) == plain_cell(cell.l1tf, cell.parameter.value, cell.asked_smt)
    assert {(cell.l1tf, cell.mode, cell.smt) for cell in cells if cell.now} == {(Boot.FLUSH, Mode.COND, True)}


def test_without_smt_there_is_one_table() -> None:
    host = made(
        threads=1, smt_control="notsupported", smt_active=False, text=P + "conditional cache flushes, SMT disabled"
    )
    assert len(matrix_result(host, explained_host(host, LISTS), Change(), Verdict.PROVED, LISTS).cells) == 6 * 4


def test_a_module_that_cannot_be_loaded_is_told() -> None:
    host = without_module(made(vmx=False, ept=False))
    result = what_if(host, Change(load=""))
    assert result.loading is not None
    assert result.loading.result == "EOPNOTSUPP"
    said = " ".join(line.plain for line in what_if_host_lines(result, 80))
    assert "kvm_intel cannot be loaded: EOPNOTSUPP (the CPU offers no VMX)" in said
    refused = what_if(without_module(made()), Change(load="vmentry_l1d_flush=sometimes"))
    assert refused.loading is not None
    assert refused.loading.result == "EINVAL"
    table = matrix_result(host, explained_host(host, LISTS), Change(), Verdict.PROVED, LISTS)
    assert "cannot be loaded" in " ".join(line.plain for line in matrix_lines(table, 80))


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (Change(kernel="4.9.0-6-amd64"), "the cases above differ"),
        (Change(kernel="4.4.0-1028-aws"), "the cases above differ"),
    ],
)
def test_where_cases_differ_the_table_says_so(change: Change, why: str) -> None:
    result = what_if(made(), change)
    assert result.verdict is L1tfVerdict.UNKNOWN and len({one.verdict for one in result.after}) > 1
    lines = [line.plain for line in what_if_host_lines(result, 80)]
    text = " ".join(" ".join(lines).split())
    assert f"the verdict is unknown: {why}" in text
    assert ", or another:" in text


def test_an_unknown_verdict_has_its_reason() -> None:
    host = made()
    others = replace(host.mitigation, others=Fact(("kvm_pvm",), "/sys/module"))
    result = what_if(replace(host, mitigation=others), Change(smt=Control.OFF))
    assert result.verdict is L1tfVerdict.UNKNOWN and "kvm_pvm" in result.after[0].because
    assert "the verdict is unknown: kvm_pvm" in "\n".join(line.plain for line in what_if_host_lines(result, 80))
