# SPDX-License-Identifier: GPL-2.0-or-later
"""Kernels whose KVM has no flush, those with no mitigation, and what distributions made of them: against the truth."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_hosts import hide
from old_hosts import CPUS, NAMES, Has, Old
from thorough import examples

from l1dflush.data.l1tf_cpus import lists
from l1dflush.ending import Verdict
from l1dflush.host.l1d import Signature
from l1dflush.host.reading.fact import Fact
from l1dflush.host.reading.host_facts import HostFacts
from l1dflush.host.status.flush_worth import FlushWorth
from l1dflush.host.status.grounds import Cause, L1tfVerdict
from l1dflush.host.status.model import StatusResult
from l1dflush.host.status.result import status_result

LISTS = lists()
HIDEABLE = ("release", "machine", "signature", "cpuinfo",
            "version", "command_line", "config_mitigations", "config_kvm_intel", "config_hotplug_smt", "memory_end",
            "bugs", "flags", "flush_command", "arch_capabilities", "ept", "vmx", "address_bits", "threads", "text",
            "has_text", "smt_control", "smt_active", "loaded", "built_in", "device", "parameter", "has_parameter",
            "kvm_ept", "options", "hypervisor", "l1d", "others")  # fmt: skip
CPUINFO = frozenset({"signature", "flags", "uneven", "bugs", "hypervisor", "flush_command", "vmx", "ept"})


def status(host: HostFacts) -> StatusResult:
    return status_result(host, FlushWorth(Verdict.PROVED, "linux-4.18", ""), LISTS)


@st.composite
def old_hosts(draw: st.DrawFn, *, any_name: bool) -> Old:
    """``any_name``: also kernels that have what nobody expects of their name."""
    release, version, may_have = draw(st.sampled_from(NAMES))
    kvm = draw(st.sampled_from(("module", "built in", "gave up", "not loaded", "absent")))
    below = draw(st.sampled_from(("", "", "KVM", "KVM, which flushes")))
    return Old(
        release,
        version,
        has=draw(st.sampled_from(("nothing", "inversion", "all") if any_name else may_have)),
        kvm=kvm,
        cpu=draw(st.sampled_from(tuple(CPUS))),
        ept=draw(st.sampled_from((True, True, False))) or kvm == "gave up",
        mode=draw(st.sampled_from(("never", "cond", "always"))),
        smt=draw(st.booleans()),
        below=below,
        lock_seen=draw(st.booleans()),
    )


@settings(max_examples=examples(150, 1500), deadline=None)
@given(old_hosts(any_name=True))
def test_what_is_in_sys_decides_whatever_the_kernel_is_called(old: Old) -> None:
    result = status(old.facts())
    assert result.verdict is old.truth, result.grounds
    if old.bug:
        assert result.follows is not None
        assert result.follows.agrees, result.follows.differences
        assert (result.follows.outcome.sysfs is None) == (old.has == "nothing")
        assert result.follows.outcome.parameter == (None if old.kvm == "gave up" else old.parameter)
        if old.has != "all":
            assert result.follows.outcome.mechanism is None


@settings(max_examples=examples(250, 2500), deadline=None)
@given(old_hosts(any_name=False), st.frozensets(st.sampled_from(HIDEABLE), max_size=14))
def test_what_is_hidden_makes_a_verdict_unknown_at_most(old: Old, names: frozenset[str]) -> None:
    if old.kvm == "gave up" and not old.lock_seen:
        # Nothing else tells it from what runs guests, and then the flag is believed: see the next test.
        names -= {"device"}
    if "cpuinfo" in names:
        names = names - {"cpuinfo"} | CPUINFO
    result = status(hide(old.facts(), names))
    unless = [ground.says for ground in result.grounds if ground.cause is Cause.UNLESS]
    if unless and old.truth is not result.verdict:
        # It promises nothing, and says what else may be.
        assert any(one.endswith(f"then {old.truth.value}") for one in unless)
    else:
        assert result.verdict in (old.truth, L1tfVerdict.UNKNOWN), result.grounds


@pytest.mark.parametrize(
    "release", ["3.16.84", "4.4.150", "4.4.0-116-generic", "4.9.0-8-amd64", "4.12.14-122.37-default"]
)
@pytest.mark.parametrize("has", ["nothing", "inversion"])
def test_every_host_without_the_flush(release: str, has: Has) -> None:
    kinds = ("module", "built in", "gave up", "not loaded", "absent")
    below = ("", "KVM", "KVM, which flushes")
    for kvm, ept, hypervisor, seen in product(kinds, (True, False), below, (True, False)):
        old = Old(release, "#1 SMP", has, kvm, ept=ept or kvm == "gave up", below=hypervisor, lock_seen=seen)
        result = status(old.facts())
        assert result.verdict is old.truth, old
        assert result.software_flush.used is False
        says = {ground.cause for ground in result.grounds}
        assert (Cause.NO_FLUSH in says) == (old.runs_guests and old.ept and hypervisor != below[2]), old
        assert (Cause.TOO_OLD in says) == (has == "nothing"), old


FIXED = {
    "Cascade Lake": Signature("GenuineIntel", 6, 0x55, 7, "Gold 6252"),
    "Ice Lake": Signature("GenuineIntel", 6, 0x6A, 6, "Gold 6338"),
    "Whiskey Lake": Signature("GenuineIntel", 6, 0x8E, 11, "i7-8565U"),
    "later than the catalogue": Signature("GenuineIntel", 6, 0xFE, 1, "a CPU of tomorrow"),
}
NOT_FIXED = {
    "Skylake-SP": Signature("GenuineIntel", 6, 0x55, 4, "Gold 6154"),
    "Coffee Lake": Signature("GenuineIntel", 6, 0x9E, 10, "i7-8700"),
    "Core 2": Signature("GenuineIntel", 6, 0x0F, 11, "E6550"),
    "Pentium 4": Signature("GenuineIntel", 15, 4, 10, "Pentium 4"),
}
UNKNOWING = (("4.4.150", "inversion"), ("3.16.60", "inversion"), ("4.14.10", "nothing"),
             ("3.10.0-862.el7.x86_64", "nothing"),
             ("4.4.0-104-generic", "nothing"))  # fmt: skip


def without_the_flag(release: str, has: Has, cpu: Signature) -> HostFacts:
    """A host that shows no flag arch_capabilities, and of which CPUID was not read."""
    host = Old(release, "#1 SMP", has).facts(signature=cpu)
    unread = Fact(0, "arch_capabilities in /proc/cpuinfo")
    return replace(host, cpu=replace(host.cpu, arch_capabilities=unread))


@pytest.mark.parametrize(("release", "has"), UNKNOWING)
def test_a_flag_that_a_kernel_does_not_know_says_nothing_where_it_is_missing(release: str, has: Has) -> None:
    for cpu in FIXED.values():
        result = status(without_the_flag(release, has, cpu))
        assert result.verdict is L1tfVerdict.UNKNOWN, cpu
        assert "vulnerable or not affected" in result.grounds[0].says
        assert any("MSR 10AH" in one.what for one in result.advice)
    for cpu in NOT_FIXED.values():
        assert status(without_the_flag(release, has, cpu)).verdict is L1tfVerdict.VULNERABLE, cpu


def test_a_kernel_that_knows_the_flag_says_something_where_it_is_missing() -> None:
    for release, has in (("4.9.150", "all"), ("4.17.0", "nothing"), ("6.1.192", "all")):
        for cpu in FIXED.values():
            result = status(without_the_flag(release, has, cpu))  # type: ignore[arg-type]
            assert result.verdict in (L1tfVerdict.VULNERABLE, L1tfVerdict.PARTIAL), (release, cpu)


@pytest.mark.parametrize("release", ["4.4.100", "4.4.147", "4.9.30", "4.14.62", "3.16.57"])
def test_a_version_without_the_mitigation_is_not_shown_with_a_part_of_it(release: str) -> None:
    """Nor is anything promised that helps only a kernel with that part."""
    host = Old(release, "#1 SMP", "nothing").facts(bugs=None, has_text=None)
    result = status(host)
    assert result.verdict is L1tfVerdict.VULNERABLE
    assert result.follows is not None
    assert result.follows.outcome.sysfs is None
    assert not any("ept=0" in one.what for one in result.advice)


def test_the_flag_is_believed_where_nothing_shows_that_kvm_gave_up() -> None:
    old = Old("4.4.302+", "#1 SMP", "inversion", "built in")
    assert status(old.facts(device=None)).verdict is L1tfVerdict.VULNERABLE
    gave_up = Old("4.4.302+", "#1 SMP", "inversion", "gave up", lock_seen=False)
    assert status(gave_up.facts(device=None)).verdict is L1tfVerdict.VULNERABLE
    assert status(gave_up.facts()).verdict is L1tfVerdict.MITIGATED
    # Not where VMX is unknown.
    assert status(old.facts(device=None, vmx=None)).verdict is L1tfVerdict.UNKNOWN


@pytest.mark.parametrize(
    "names", [("parameter",), ("parameter", "has_parameter"), ("parameter", "has_parameter", "kvm_ept")]
)
@pytest.mark.parametrize("release", ["4.4.180", "4.4.0-1028-aws", "6.1.192"])
def test_a_module_without_a_word_of_vmx_has_no_flush(release: str, names: tuple[str, ...]) -> None:
    """Its parameters cannot be read, or their folder was not copied: the kernel's text shows it."""
    host = hide(Old(release, "#1 SMP", "inversion").facts(), frozenset(names))
    expected = L1tfVerdict.VULNERABLE
    if release == "6.1.192" and "has_parameter" in names:
        expected = L1tfVerdict.UNKNOWN  # that is no kernel's text with its own module
    if "kvm_ept" in names:
        expected = L1tfVerdict.UNKNOWN  # it may have been loaded with ept=0
    assert status(host).verdict is expected


@pytest.mark.parametrize("bugs", [(), ("bugs",)])
def test_what_has_parameters_is_there_whether_or_not_its_folder_could_be_seen(bugs: tuple[str, ...]) -> None:
    """Built in, it gave up: its parameter reads auto, as up to 5.3 on a CPU without L1TF, and this one has it."""
    old = Old("4.9.0-13-amd64", "#1 SMP Debian 4.9.228-1", "all", "gave up", smt=False, lock_seen=False)
    host = hide(old.facts(), frozenset({"loaded", "text", "arch_capabilities", *bugs}))
    assert status(host).verdict is L1tfVerdict.UNKNOWN


def test_a_kernel_that_gives_the_flag_leaves_no_doubt_of_the_bug() -> None:
    host = hide(Old("4.9.150", "#1 SMP", "all", mode="never").facts(), frozenset({"text", "arch_capabilities"}))
    result = status(host)
    assert result.verdict is L1tfVerdict.VULNERABLE
    assert result.follows is not None
    assert result.follows.outcome.bug
