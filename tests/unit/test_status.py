# SPDX-License-Identifier: GPL-2.0-or-later
"""The verdict on a host, what it rests on, and what to do: hosts made of facts, without any file."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from made_hosts import made, without_module

from l1dflush.data.l1tf_cpus import lists
from l1dflush.ending import Verdict
from l1dflush.host.l1d import Signature
from l1dflush.host.reading.fact import Fact
from l1dflush.host.reading.host_facts import HostFacts
from l1dflush.host.status.flush_worth import FlushWorth
from l1dflush.host.status.grounds import Cause, L1tfVerdict
from l1dflush.host.status.model import StatusResult
from l1dflush.host.status.result import status_result
from l1dflush.report.terminal.status import status_lines

P = "Mitigation: PTE Inversion; VMX: "
SMT_OFF = {"smt_control": "off", "smt_active": False, "command_line": "nosmt"}
SOFTWARE = {"flush_command": False, "flags": frozenset({"vmx"})}
AMD = Signature("AuthenticAMD", 0x19, 0x11, 1, "AMD EPYC")
UNKNOWN, PARTIAL, MITIGATED, VULNERABLE, NOT_AFFECTED = (
    L1tfVerdict.UNKNOWN,
    L1tfVerdict.PARTIAL,
    L1tfVerdict.MITIGATED,
    L1tfVerdict.VULNERABLE,
    L1tfVerdict.NOT_AFFECTED,
)


def status(host: HostFacts, software: Verdict = Verdict.PROVED) -> StatusResult:
    return status_result(host, FlushWorth(software, "linux-4.18", "Haswell"), lists())


NOT_X86: dict[str, Any] = {"signature": None, "bugs": None, "parameter": None, "has_parameter": None, "kvm_ept": None,
                           "loaded": False}  # fmt: skip


CASES: dict[str, tuple[dict[str, Any], L1tfVerdict, Cause]] = {
    "conditional and SMT on": ({}, PARTIAL, Cause.CONDITIONAL),
    "conditional alone": (
        SMT_OFF | {"text": P + "conditional cache flushes, SMT disabled"}, PARTIAL, Cause.CONDITIONAL,
    ),
    "always, SMT on": ({"parameter": "always", "text": P + "cache flushes, SMT vulnerable"}, PARTIAL, Cause.SMT),
    "always, SMT off": (
        SMT_OFF | {"parameter": "always", "text": P + "cache flushes, SMT disabled"}, MITIGATED, Cause.ALWAYS,
    ),
    "never": ({"parameter": "never", "text": P + "vulnerable"}, VULNERABLE, Cause.NEVER),
    "never, SMT off": (
        SMT_OFF | {"parameter": "never", "text": P + "vulnerable, SMT disabled"}, VULNERABLE, Cause.NEVER,
    ),
    "EPT off": ({"parameter": "EPT disabled", "kvm_ept": False, "text": P + "EPT disabled"}, MITIGATED, Cause.EPT_OFF),
    "a guest whose hypervisor flushes": (
        {"hypervisor": "KVM", "arch_capabilities": 8, "parameter": "not required",
         "text": P + "flush not necessary, SMT vulnerable"}, UNKNOWN, Cause.BELOW,
    ),
    "bit 3, and the hypervisor below hides itself": (
        {"arch_capabilities": 8, "parameter": "not required", "text": P + "flush not necessary, SMT vulnerable"},
        UNKNOWN, Cause.BELOW,
    ),
    "a guest that flushes always, without SMT": (
        {"hypervisor": "KVM", "threads": 1, "smt_control": "notsupported", "smt_active": False, "parameter": "always",
         "text": P + "cache flushes, SMT disabled"}, UNKNOWN, Cause.SMT_BELOW,
    ),
    "the flush command on some CPUs only": (
        SMT_OFF | {"parameter": "always", "text": P + "cache flushes, SMT disabled",
                   "uneven": frozenset({"flush_l1d"})}, UNKNOWN, Cause.UNEVEN,
    ),
    "32-bit without PAE": (
        {"release": "6.1.0-50-686", "machine": "i686", "levels": 2, "text": "Vulnerable"}, VULNERABLE,
        Cause.NO_INVERSION,
    ),
    "too much memory": ({"memory_end": 1 << 45, "text": "Vulnerable"}, VULNERABLE, Cause.NO_INVERSION),
    "too much memory, and nobody looks": (
        {"memory_end": 1 << 45, "command_line": "l1tf=off", "parameter": "always",
         "text": P + "cache flushes, SMT vulnerable"}, VULNERABLE, Cause.MEMORY,
    ),
    "AMD": (
        {"signature": AMD, "bugs": frozenset(), "flush_command": False, "text": "Not affected",
         "parameter": "not required", "vmx": True}, NOT_AFFECTED, Cause.NO_BUG,
    ),
    "RDCL_NO": (
        {"arch_capabilities": 1, "bugs": frozenset(), "text": "Not affected", "parameter": "not required"},
        NOT_AFFECTED, Cause.NO_BUG,
    ),
    "a text that nobody knows": ({"text": "Mitigation: Prayers"}, UNKNOWN, Cause.UNKNOWN_TEXT),
    "VirtualBox beside an always": (
        SMT_OFF | {"parameter": "always", "text": P + "cache flushes, SMT disabled", "others": ("vboxdrv",)}, UNKNOWN,
        Cause.OTHERS,
    ),
    "facts and kernel disagree": ({"text": P + "EPT disabled"}, UNKNOWN, Cause.DISAGREE),
    "they disagree, and the kernel says vulnerable": ({"text": "Vulnerable"}, VULNERABLE, Cause.KERNEL_SAYS),
    "RHEL 7": (
        {"release": "3.10.0-1160.el7.x86_64", "version": "#1 SMP",
         "text": "Mitigation: PTE Inversion; VMX: SMT vulnerable, L1D conditional cache flushes"}, PARTIAL,
        Cause.CONDITIONAL,
    ),
    "the kernel does not say": ({"text": None}, UNKNOWN, Cause.NO_TEXT),
    "a kernel from before the mitigation": (
        {"release": "4.9.100", "version": "#1", "text": None, "parameter": None, "kvm_ept": None, "smt_control": None,
         "smt_active": None, "bugs": frozenset(), "has_text": None, "has_parameter": False}, VULNERABLE, Cause.TOO_OLD,
    ),
    "powerpc": (
        NOT_X86 | {"machine": "ppc64le", "text": "Mitigation: RFI Flush", "loaded": False}, MITIGATED,
        Cause.KERNEL_SAYS,
    ),
    "powerpc without": (
        NOT_X86 | {"machine": "ppc64le", "text": "Vulnerable: L1D private per thread"}, VULNERABLE,
        Cause.KERNEL_SAYS,
    ),
    "powerpc that knew nothing of L1TF": (
        NOT_X86 | {"machine": "ppc64le", "text": "Not affected", "release": "4.14.161", "parameter": None,
         "loaded": None, "others": None}, UNKNOWN, Cause.KERNEL_SAYS,
    ),
    "powerpc of a distribution, of which that is not known": (
        NOT_X86 | {"machine": "ppc64", "text": "Not affected", "release": "4.18.0-80.el8.ppc64le",
         "parameter": None, "loaded": None, "others": None}, UNKNOWN, Cause.KERNEL_SAYS,
    ),
    "powerpc that is not affected": (
        NOT_X86 | {"machine": "ppc64le", "text": "Not affected", "release": "4.14.162", "parameter": None,
         "loaded": None, "others": None}, NOT_AFFECTED, Cause.KERNEL_SAYS,
    ),
    "ARM": (NOT_X86 | {"machine": "aarch64", "text": "Not affected"}, NOT_AFFECTED, Cause.KERNEL_SAYS),
    "powerpc's text on x86": (
        SMT_OFF | {"parameter": "always", "text": "Mitigation: RFI Flush"}, UNKNOWN, Cause.DISAGREE,
    ),
    "x86's text on powerpc": (
        NOT_X86 | {"machine": "ppc64le", "text": "Mitigation: PTE Inversion", "parameter": None}, UNKNOWN,
        Cause.DISAGREE,
    ),
    "whether VirtualBox is there could not be read": (
        SMT_OFF | {"parameter": "always", "text": P + "cache flushes, SMT disabled", "others": None}, UNKNOWN,
        Cause.OTHERS,
    ),
    "powerpc with nothing else to be read": (
        NOT_X86 | {"machine": "ppc64le", "text": "Mitigation: RFI Flush", "parameter": None, "loaded": None,
         "others": None}, MITIGATED, Cause.KERNEL_SAYS,
    ),
    "VirtualBox where the CPU is unknown": (
        {"signature": None, "text": P + "EPT disabled", "parameter": "EPT disabled", "kvm_ept": False,
         "others": ("vboxdrv",)}, UNKNOWN,
        Cause.OTHERS,
    ),
    "EPT off where the CPU is unknown": (
        {"signature": None, "text": P + "EPT disabled", "parameter": "EPT disabled", "kvm_ept": False}, MITIGATED,
        Cause.EPT_OFF,
    ),
    "a parameter that the kernel's word does not fit": (
        {"signature": None, "text": "Mitigation: PTE Inversion", "parameter": "never"}, UNKNOWN, Cause.DISAGREE,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_the_verdict_and_what_decides(name: str) -> None:
    changes, verdict, cause = CASES[name]
    result = status(made(**changes))
    assert (result.verdict, result.grounds[0].cause) == (verdict, cause)
    assert result.exit_status == {NOT_AFFECTED: 0, MITIGATED: 0, UNKNOWN: 3}.get(verdict, 2)


@pytest.mark.parametrize("name", CASES)
def test_verdicts_are_told_in_words(name: str) -> None:
    changes, _, _ = CASES[name]
    result = status(made(**changes))
    # Whatever the advice comes to.
    advice = tuple(one.model_copy(update={"then": PARTIAL}) for one in result.advice)
    lines = status_lines(result.model_copy(update={"advice": advice}), 100)
    shown = " ".join(" ".join(line.plain for line in lines).split())
    assert not any(identifier in shown for identifier in L1tfVerdict if "-" in identifier)
    assert shown.count("-> partially mitigated") == len(advice)


@pytest.mark.parametrize(
    ("software", "verdict"),
    [(Verdict.PROVED, MITIGATED), (Verdict.REFUTED, VULNERABLE), (Verdict.UNDECIDED, UNKNOWN)],
)
def test_a_flush_in_software_is_worth_what_its_proof_says(software: Verdict, verdict: L1tfVerdict) -> None:
    changes = SMT_OFF | SOFTWARE | {"parameter": "always", "text": P + "cache flushes, SMT disabled"}
    assert status(made(**changes), software).verdict is verdict


@pytest.mark.parametrize("software", [Verdict.PROVED, Verdict.REFUTED, Verdict.UNDECIDED])
def test_the_proof_does_not_matter_where_the_msr_flushes(software: Verdict) -> None:
    changes = SMT_OFF | {"parameter": "always", "text": P + "cache flushes, SMT disabled"}
    result = status(made(**changes), software)
    assert result.verdict is MITIGATED
    assert result.software_flush.used is False


def test_a_flush_that_is_conditional_and_not_proved_is_partial_at_best() -> None:
    assert status(made(**SOFTWARE), Verdict.UNDECIDED).verdict is PARTIAL


@pytest.mark.parametrize(
    ("changes", "cause", "verdict"),
    [
        ({"others": ("vboxdrv",)}, Cause.OTHERS, UNKNOWN),
        ({"uneven": frozenset({"flush_l1d"})}, Cause.UNEVEN, UNKNOWN),
        # As a rule there is none: it stays at what is seen.
        ({"others": None}, Cause.CONDITIONAL, PARTIAL),
        ({"others": ("vboxdrv",), "parameter": "never", "text": P + "vulnerable"}, Cause.NEVER, VULNERABLE),
    ],
)
def test_beside_what_may_as_well_be_vulnerable_partial_is_unknown(
    changes: dict[str, Any], cause: Cause, verdict: L1tfVerdict
) -> None:
    result = status(made(**changes))
    assert (result.verdict, result.grounds[0].cause) == (verdict, cause)
    # What helps against the rest is still told, and what does not is not.
    assert any("echo always" in one.what and "echo off" in one.what for one in result.advice)
    half = [one for one in result.advice if one.what.startswith("echo") and ";" not in one.what]
    assert bool(half) is (verdict is VULNERABLE)


def test_no_guests_without_the_module_and_what_would_be_with_it() -> None:
    result = status(without_module(made()))
    assert result.verdict is MITIGATED
    assert [ground.cause for ground in result.grounds] == [Cause.NOT_LOADED, Cause.INVERSION]
    assert "with kvm_intel loaded: partially mitigated (cond)" in result.notes


def test_what_would_be_with_the_module_counts_other_hypervisors_too() -> None:
    host = without_module(made(others=("vboxdrv",), command_line="l1tf=full", smt_control="off", smt_active=False))
    assert "with kvm_intel loaded: unknown (always)" in status(host).notes


def test_what_was_written_since_boot_is_found_out() -> None:
    result = status(made(parameter="never", text=P + "vulnerable"))
    assert result.follows is not None
    assert result.follows.written == ("vmentry_l1d_flush: never",)
    assert result.follows.agrees


def test_options_for_modprobe_explain_a_mode_without_a_write() -> None:
    text = P + "cache flushes, SMT vulnerable"
    result = status(made(parameter="always", text=text, options=("vmentry_l1d_flush=always",)))
    assert result.follows is not None
    assert result.follows.written == ()


def test_a_later_layout_of_an_old_kernel_is_no_difference() -> None:
    result = status(made(release="4.4.180", version="#1"))
    assert result.follows is not None
    assert result.follows.agrees


@pytest.mark.parametrize("release", ["3.10.0-1160.el7.x86_64", "4.4.0-210-generic", "4.15.0-213-generic"])
@pytest.mark.parametrize("text", [P + "EPT disabled", P + "SMT vulnerable, L1D EPT disabled"])
def test_without_ept_it_does_not_matter_that_only_one_layout_names_smt(release: str, text: str) -> None:
    result = status(made(release=release, version="#1", text=text, parameter="EPT disabled", kvm_ept=False))
    assert result.follows is not None
    assert result.follows.agrees
    assert result.verdict is MITIGATED


@pytest.mark.parametrize("device", [False, None])
@pytest.mark.parametrize("built_in", [True, None])
def test_what_is_built_in_has_a_folder_where_firmware_locked_vmx_off(
    built_in: bool | None, device: bool | None
) -> None:
    given_up = {"built_in": built_in, "parameter": "auto", "kvm_ept": True, "ept": None, "vmx": False, "device": device}
    result = status(made(text="Mitigation: PTE Inversion", **given_up))
    assert result.follows is not None
    assert result.follows.agrees
    assert (result.verdict, result.grounds[0].cause) == (MITIGATED, Cause.NOT_LOADED)
    changes = {"signature": AMD, "bugs": frozenset[str](), "flush_command": False, "text": "Not affected"}
    assert status(made(**changes, **given_up)).verdict is NOT_AFFECTED


def test_a_module_that_is_loaded_and_not_built_in_found_vmx() -> None:
    result = status(made(text="Mitigation: PTE Inversion", parameter="auto", built_in=False, vmx=False))
    assert result.grounds[0].cause is Cause.DISAGREE


@pytest.mark.parametrize(
    "changes",
    [
        {"address_bits": 0, "signature": Signature("GenuineIntel", 6, 79, 1, "Broadwell-EP")},
        {"command_line": f"mem={'9' * 5000} memmap={'7' * 5000}@{'1' * 5000}"},
        {"version": f"#1 SMP Debian 6.1.{'9' * 5000}"},
    ],
)
def test_numbers_that_no_host_has_are_no_error(changes: dict[str, Any]) -> None:
    assert status(made(**changes)).verdict in (PARTIAL, VULNERABLE, UNKNOWN)


def test_rules_that_a_distribution_ported_back_are_tried() -> None:
    # Up to 5.3 the parameter reads auto on such a CPU, for ever; this kernel calls itself 4.18 and says otherwise.
    changes = {"arch_capabilities": 1, "bugs": frozenset[str](), "text": "Not affected", "parameter": "not required"}
    result = status(made(release="4.18.0-553.el8.x86_64", version="#1", **changes))
    assert result.follows is not None
    assert result.follows.agrees
    assert any("backports" in assumed for assumed in result.follows.outcome.assumed)


def test_a_capability_that_could_not_be_read_follows_from_what_the_kernel_says() -> None:
    result = status(made(arch_capabilities=None))
    assert result.verdict is PARTIAL
    assert result.follows is not None
    assert result.follows.outcome.rule.id == "auto"


def test_advice_has_been_tried() -> None:
    advice = status(made()).advice
    assert [(one.takes, one.then) for one in advice] == [("at once", MITIGATED), ("after a reboot", MITIGATED)]
    assert "echo always" in advice[0].what
    assert "echo off" in advice[0].what


def test_nothing_is_advised_where_nothing_is_to_be_done() -> None:
    changes = SMT_OFF | {"parameter": "always", "text": P + "cache flushes, SMT disabled"}
    assert status(made(**changes)).advice == ()


@pytest.mark.parametrize("release", ["6.19.0", "7.2.13"])
def test_a_kernel_that_was_built_without_mitigations_is_told_what_it_lacks(release: str) -> None:
    host = made(release=release, version="#1", config_mitigations=False, parameter="never", text=P + "vulnerable")
    result = status(host)
    assert result.verdict is VULNERABLE
    assert any("CONFIG_CPU_MITIGATIONS" in one.what for one in result.advice)
    built = made(release=release, version="#1", parameter="never", text=P + "vulnerable")
    assert not any("CONFIG_CPU_MITIGATIONS" in one.what for one in status(built).advice)


@pytest.mark.parametrize("folder", ["/sys/module", "/sys/class"])
def test_a_whole_folder_that_is_missing_is_named(folder: str) -> None:
    changes = SMT_OFF | {"parameter": "always", "text": P + "cache flushes, SMT disabled"}
    host = made(**changes)
    why = f"there is no {folder}"
    host = replace(host, mitigation=replace(host.mitigation, others=Fact.unknown(folder, why)))
    assert [one.what for one in status(host).advice] == [f"copy {folder} too, if it is there"]


def test_what_would_be_with_the_module_is_short_where_it_depends() -> None:
    hidden = {"command_line": None, "memory_end": None, "address_bits": None, "flush_command": None, "ept": None}
    notes = status(without_module(made(**hidden)), Verdict.REFUTED).notes
    assert len(notes) == 1
    assert notes[0].endswith("which, depends on what could not be read") and len(notes[0]) < 140
    assert "vulnerable" in notes[0] and "cond" not in notes[0]


def test_only_what_decides_is_to_be_made_readable() -> None:
    """Whether kvm_intel is loaded decides, and that the CPU has L1TF the kernel's line has said."""
    old = {"release": "4.4.200", "version": "#1", "text": "Mitigation: PTE Inversion", "parameter": None,
           "has_parameter": None, "kvm_ept": None, "smt_control": None, "smt_active": None}  # fmt: skip
    result = status(made(**old, loaded=None, arch_capabilities=None))
    assert result.verdict is UNKNOWN
    asked = [one.what for one in result.advice if one.what.startswith(("make", "copy"))]
    assert any("loaded" in one for one in asked)
    assert not any("10AH" in one for one in asked)


def test_different_microcode_is_told() -> None:
    assert "0x27, 0x28" in status(made(microcode=("0x27", "0x28"))).advice[-1].what


def test_a_guest_is_told_what_this_is_not_about() -> None:
    assert "a guest of KVM" in status(made(hypervisor="KVM")).notes[0]


def test_every_fact_has_its_origin_and_what_is_unknown_its_reason() -> None:
    for fact in status(made(arch_capabilities=None, lockdown=None)).facts:
        assert fact.origin
        assert (fact.value is None) == bool(fact.why)


@pytest.mark.parametrize("name", ["a text that nobody knows", "the kernel does not say", "facts and kernel disagree"])
def test_no_change_is_promised_to_help_where_nobody_knows_what_is(name: str) -> None:
    assert all(one.then is None for one in status(made(**CASES[name][0])).advice)
