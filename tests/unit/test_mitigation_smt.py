# SPDX-License-Identifier: GPL-2.0-or-later
"""SMT's control: as boot leaves it, and what is written to it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from mitigation_facts import SMT2, loaded, on

from l1dflush.mitigation import rules
from l1dflush.mitigation.decision import Action, Do, decide
from l1dflush.mitigation.facts import RFDS_CLEAR, Control, Cpu, Facts, Kernel, Vendor
from l1dflush.mitigation.smt import active


@pytest.mark.parametrize(
    ("bugs", "line", "old", "new"),
    [
        ({"mds"}, "mitigations=auto,nosmt", Control.OFF, Control.OFF),
        ({"mds", "msbds_only"}, "mitigations=auto,nosmt", Control.ON, Control.ON),
        ({"taa"}, "tsx_async_abort=full,nosmt", Control.OFF, Control.OFF),
        ({"mmio_stale_data"}, "mmio_stale_data=full,nosmt mitigations=off", Control.ON, Control.OFF),
        ({"mds"}, "mds=full,nosmt mds=full", Control.OFF, Control.OFF),
        ({"mds"}, "mds=full,nosmt mds=off", Control.ON, Control.ON),
        ({"mds"}, "mitigations=auto,nosmt mds=off", Control.ON, Control.ON),
        (set(), "mds=full,nosmt mitigations=auto,nosmt", Control.ON, Control.ON),
    ],
)
def test_other_bugs_turn_smt_off_too(bugs: set[str], line: str, old: Control, new: Control) -> None:
    cpu = Cpu(bug=False, threads=2, bugs=frozenset(bugs))
    assert decide(on("6.1.192", line, cpu)).smt is old
    assert decide(on("7.2.13", line, cpu)).smt is new


@pytest.mark.parametrize(
    ("version", "line", "values", "results", "control"),
    [
        ("6.1.192", "", ["off", "on\n", "forceoff", "on"], ["ok", "ok", "ok", "EPERM"], Control.FORCE_OFF),
        ("6.1.192", "nosmt=force", ["nonsense", "off"], ["EINVAL", "EPERM"], Control.FORCE_OFF),
        ("6.12.1", "nosmt=force", ["nonsense", "off"], ["EPERM", "EPERM"], Control.FORCE_OFF),
        ("6.1.192", "", ["1"], ["EINVAL"], Control.ON),
        ("6.12.1", "", ["1", "3", "2\n", ""], ["ok", "EINVAL", "ok", "ok"], Control.ON),
    ],
)
def test_writes_to_smt_control(
    version: str, line: str, values: list[str], results: list[str], control: Control
) -> None:
    decision = decide(on(version, line), [Action(Do.WRITE_SMT, value) for value in values])
    assert [one.result for one in decision.results] == results
    assert decision.smt is control


def test_smt_that_is_not_there() -> None:
    for line in ("", "nosmt=force", "l1tf=full,force"):
        decision = decide(on("6.12.1", line, Cpu(threads=1)), [Action(Do.WRITE_SMT, "off")])
        assert (decision.smt, decision.results[0].result) == (Control.NOT_SUPPORTED, "ENODEV")
    decision = decide(Facts(Kernel((6, 1, 0), hotplug_smt=False), SMT2), [Action(Do.WRITE_SMT, "off")])
    assert (decision.smt, decision.results[0].result) == (Control.NOT_IMPLEMENTED, "ENODEV")


def test_siblings_that_do_not_run() -> None:
    """The control says on, and nothing runs beside."""
    for facts in (replace(on("6.1.192"), siblings_online=False), on("6.1.192", "maxcpus=1"), on("6.1.192", "nosmp")):
        decision = loaded(facts)
        assert (decision.smt, decision.smt_active) == (Control.ON, False)
        assert decision.sysfs.endswith("SMT disabled")
    # Switched on from off, SMT has all threads; a write of what it is already brings none up.
    again = [Action(Do.WRITE_SMT, word) for word in ("on", "off", "on")]
    assert not decide(on("6.1.192", "maxcpus=1"), again[:1]).smt_active
    assert decide(on("6.1.192", "maxcpus=1"), again).smt_active
    assert not decide(on("6.1.192", "nr_cpus=1"), again).smt_active


@pytest.mark.parametrize("line", ["nr_cpus=1", "maxcpus=0", "nosmp", "nosmp nosmt=force l1tf=full,force"])
def test_one_cpu_and_no_more(line: str) -> None:
    """Threads are counted among the CPUs that are let in since 6.9, by CPUID before, and by those that booted up to
    4.20."""
    for version in ("6.9.1", "6.12.117", "7.2.13", "4.19.0", "4.18.20", "4.9.120"):
        decision = decide(on(version, line), [Action(Do.WRITE_SMT, "off")])
        assert (decision.smt, decision.results[0].result) == (Control.NOT_SUPPORTED, "ENODEV"), version
    for version in ("6.8.1", "6.1.192", "5.10.262", "4.19.43"):
        assert decide(on(version, line)).smt is (Control.FORCE_OFF if "force" in line else Control.ON), version


@pytest.mark.parametrize(
    ("last_without", "first_with"),
    [("4.14.98", "4.14.99"), ("4.19.20", "4.19.21"), ("4.20.7", "4.20.8"), ("4.9.337", "5.0.0"), ("4.18.20", "7.2.13")],
)
def test_maxcpus_one_is_no_limit_for_good(last_without: str, first_with: str) -> None:
    """Since b284909abad4; 4.9.y was left without."""
    assert decide(on(last_without, "maxcpus=1")).smt is Control.NOT_SUPPORTED
    assert decide(on(first_with, "maxcpus=1")).smt is Control.ON


@pytest.mark.parametrize(
    ("version", "text_looks", "warning_looks"),
    [
        ("4.19.6", False, False),
        ("4.19.7", True, False),
        ("4.19.20", True, False),
        ("4.19.21", True, True),
        ("4.14.86", True, False),
        ("4.14.99", True, True),
        ("4.9.176", True, False),
        ("4.20.7", True, False),
        ("5.0.0", True, True),
    ],
)
def test_the_text_looked_at_the_threads_before_the_warning_did(
    version: str, text_looks: bool, warning_looks: bool
) -> None:
    """130d6f946f6f changed the one and says that it leaves the other, which b284909abad4 changed."""
    kernel = replace(Kernel.parse(version), hotplug_smt=False)
    decision = loaded(Facts(kernel, SMT2, siblings_online=False), "", Action(Do.CREATE_VM))
    assert decision.smt is Control.NOT_IMPLEMENTED
    assert decision.sysfs.endswith("SMT disabled") is text_looks
    assert any("present and SMT on" in line for line in decision.log) is not warning_looks
    with_threads = loaded(Facts(kernel, SMT2), "", Action(Do.CREATE_VM))
    assert with_threads.sysfs.endswith("SMT vulnerable") and len(with_threads.log) == 1


def test_the_text_looked_at_the_control_alone() -> None:
    """Until 'x86/l1tf: Show actual SMT state'; where it is not supported nothing differs."""
    seen = {
        version: active(on(version), Control.ON, siblings=False)
        for version in ("4.9.175", "4.9.176", "4.14.85", "4.14.86", "4.19.6", "4.19.7", "4.20.0", "4.19.0-27-amd64")
    }
    assert [version for version, is_active in seen.items() if is_active] == ["4.9.175", "4.14.85", "4.19.6"]


NOSMT = "mitigations=auto,nosmt"
NONE_BUT_SMT = "mitigations=auto,nosmt,no_user_kernel,no_user_user,no_guest_host,no_guest_guest"


@pytest.mark.parametrize(
    ("bugs", "line", "off"),
    [
        # One VERW serves all of them: mds=off is undone where another is mitigated, with the nosmt it had before.
        ({"mds", "mmio_stale_data"}, "mds=full,nosmt mds=off", True),
        ({"mds", "mmio_stale_data"}, "mds=full,nosmt mds=off mmio_stale_data=off", False),
        ({"mds", "taa"}, "tsx_async_abort=full,nosmt tsx_async_abort=off", True),
        ({"mds", "taa"}, "tsx_async_abort=full,nosmt tsx_async_abort=off mds=off", False),
        ({"mds", "mmio_stale_data"}, f"{NOSMT} mmio_stale_data=off mds=off", False),
        ({"mds", "mmio_stale_data"}, f"{NOSMT} mmio_stale_data=off", True),
        # Alone it turns on no VERW for others.
        ({"mmio_stale_data", "rfds"}, "mmio_stale_data=full,nosmt mmio_stale_data=off", False),
        ({"mmio_stale_data"}, NOSMT, True),
        ({"mmio_unknown"}, NOSMT, False),
        ({"srbds", "gds", "its", "vmscape", "srso", "smt_rsb"}, NOSMT, False),
        ({"retbleed"}, f"{NOSMT} retbleed=auto,nosmt", False),
    ],
)
@pytest.mark.parametrize("version", ["5.10.262", "6.1.192", "6.12.117", "6.16.0", "7.2.13"])
def test_one_verw_for_all(version: str, bugs: set[str], line: str, off: bool) -> None:
    decision = decide(on(version, line, Cpu(bug=False, threads=2, bugs=frozenset(bugs), stibp=False)))
    assert decision.smt is (Control.OFF if off else Control.ON)
    assert decision.rules[1] is (rules.SMT_OTHER if off else rules.SMT_ON)


def test_what_else_the_buffers_depend_on() -> None:
    taa = Cpu(bug=False, threads=2, bugs=frozenset({"taa"}))
    assert decide(on("6.1.192", NOSMT, taa)).smt is Control.OFF
    assert decide(on("6.1.192", NOSMT, replace(taa, rtm=False))).smt is Control.ON, "no TSX, no TAA"
    cpu = Cpu(bug=False, threads=2, bugs=frozenset({"mmio_stale_data", "rfds"}), arch_capabilities=RFDS_CLEAR)
    line = "mmio_stale_data=full,nosmt mmio_stale_data=off"
    assert decide(on("6.12.117", line, cpu)).smt is Control.OFF
    assert decide(on("6.12.117", f"{line} reg_file_data_sampling=off", cpu)).smt is Control.ON
    # Vectors decide whether anything is done, not the wish to turn SMT off.
    mds = Cpu(bug=False, threads=2, bugs=frozenset({"mds"}))
    assert decide(on("7.2.13", NONE_BUT_SMT, mds)).smt is Control.ON
    assert decide(on("7.2.13", f"{NONE_BUT_SMT} mds=full", mds)).smt is Control.OFF
    assert decide(on("7.2.13", f"{NOSMT},no_cross_thread", mds)).smt is Control.ON
    assert decide(on("7.2.13", f"{NOSMT},no_cross_thread mds=full,nosmt", mds)).smt is Control.OFF


@pytest.mark.parametrize(
    ("line", "old", "new"),
    [
        ("", False, False),
        (NOSMT, True, True),
        ("retbleed=auto,nosmt", True, True),
        ("retbleed=nosmt", True, True),
        ("retbleed=nosmt retbleed=off", False, False),
        (f"{NOSMT} retbleed=off", False, False),
        ("retbleed=unret,nosmt mitigations=off", False, True),
        ("retbleed=auto,nosmt mitigations=off", False, False),
        ("retbleed=auto,nosmt mitigations=auto,no_user_kernel,no_guest_host", True, False),
        ("retbleed=stuff,nosmt", True, True),
        ("retbleed=NOSMT", False, False),
    ],
)
def test_retbleed(line: str, old: bool, new: bool) -> None:
    cpu = Cpu(bug=False, vendor=Vendor.AMD, family=23, threads=2, bugs=frozenset({"retbleed"}), stibp=False)
    for version, off in (("6.1.192", old), ("6.16.0", old), ("7.2.13", new)):
        decision = decide(on(version, line, cpu))
        assert decision.smt is (Control.OFF if off else Control.ON), version
        assert (decision.rules[1] is rules.SMT_RETBLEED) is off
        assert decide(on(version, line, replace(cpu, stibp=True))).smt is Control.ON
        assert decide(on(version, line, replace(cpu, bugs=frozenset()))).smt is Control.ON


def test_retbleed_on_intel() -> None:
    """Only AMD's mitigation, asked for on the wrong CPU, and no longer from 6.16 on."""
    cpu = Cpu(bug=False, threads=2, bugs=frozenset({"retbleed"}), stibp=False)
    for version, control in (("6.1.192", Control.OFF), ("6.16.0", Control.ON), ("7.2.13", Control.ON)):
        assert decide(on(version, "retbleed=unret,nosmt", cpu)).smt is control


@pytest.mark.parametrize(
    ("value", "old", "new"),
    [
        ("off\n", "ok", "ok"),
        ("off\n\n", "EINVAL", "EINVAL"),
        (" off", "EINVAL", "EINVAL"),
        ("off ", "EINVAL", "EINVAL"),
        ("OFF", "EINVAL", "EINVAL"),
        ("off\0junk", "ok", "ok"),
        ("notsupported", "EINVAL", "EINVAL"),
        ("+1", "EINVAL", "ok"),
        ("0000000000001\n", "EINVAL", "ok"),
        ("0", "EINVAL", "EINVAL"),
        ("-2", "EINVAL", "EINVAL"),
        ("0x2", "EINVAL", "EINVAL"),
        ("4294967298", "EINVAL", "EINVAL"),
    ],
)
def test_what_smt_control_takes(value: str, old: str, new: str) -> None:
    for version, result in (("6.1.192", old), ("6.5.1", old), ("6.6.1", new), ("7.2.13", new)):
        assert decide(on(version), [Action(Do.WRITE_SMT, value)]).results[0].result == result, version


def test_what_comes_first_when_nothing_can_be_written() -> None:
    for version, result in (("6.1.192", "EINVAL"), ("7.2.13", "ENODEV")):
        single = on(version, "", Cpu(threads=1))
        assert decide(single, [Action(Do.WRITE_SMT, "junk")]).results[0].result == result
        assert decide(single, [Action(Do.WRITE_SMT, "on")]).results[0].result == "ENODEV"
