# SPDX-License-Identifier: GPL-2.0-or-later
"""The verdict on a host where the kernel's limit for RAM decides, or what little was read: hosts made of facts."""

from __future__ import annotations

import pytest
from made_hosts import NAMES, made

from l1dflush.data.l1tf_cpus import lists
from l1dflush.ending import Verdict
from l1dflush.host.l1d import Signature
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


IVY = Signature("GenuineIntel", 6, 0x3A, 9, "Intel(R) Core(TM) i7-3770 CPU @ 3.40GHz")
XEON = Signature("GenuineIntel", 6, 0x3E, 4, "Intel(R) Xeon(R) CPU E5-2670 v2 @ 2.50GHz")
UNTIL_2018 = {"signature": IVY, "address_bits": 36, "memory_end": 64 << 30, "text": "Vulnerable"}


@pytest.mark.parametrize("release", ["4.18.4", "4.14.66", "4.9.120-custom", "4.15.0-33-generic", "3.10.0-862.11.6.el7"])
def test_a_limit_for_ram_from_before_late_august_2018_explains_vulnerable(release: str) -> None:
    result = status(made(release=release, version="#1", **UNTIL_2018))
    assert (result.verdict, result.grounds[0].cause) == (VULNERABLE, Cause.NO_INVERSION)
    assert result.follows is not None
    assert result.follows.agrees
    assert "a later kernel" in result.advice[0].what
    assert "mem=32G" in result.advice[1].what


def test_the_same_under_a_later_kernel_is_not_explained() -> None:
    result = status(made(**UNTIL_2018))
    assert (result.verdict, result.grounds[0].cause) == (VULNERABLE, Cause.KERNEL_SAYS)


@pytest.mark.parametrize("release", ["4.14.150", "4.9.200"])
@pytest.mark.parametrize("end", [None, 64 << 30])
def test_the_limit_that_a_version_never_set_comes_before_what_it_has_not(release: str, end: int | None) -> None:
    host = {"release": release, "version": "#1", "signature": XEON, "address_bits": 46, "memory_end": end}
    result = status(made(**host, text="Vulnerable"))
    assert result.follows is not None
    assert "undefined, as in 4.9.y and 4.14.y until July 2020" in " ".join(result.follows.outcome.assumed)
    assert "backports" not in " ".join(result.follows.outcome.assumed)
    assert any(one.what.startswith("a later kernel") for one in result.advice)
    assert not any("mem=" in one.what for one in result.advice)


@pytest.mark.parametrize("release", ["4.14.150", "4.9.200", "4.14.165-131.185.amzn2.x86_64"])
def test_a_limit_for_ram_that_4_9_and_4_14_never_set_explains_vulnerable_and_hides_it(release: str) -> None:
    host = {"release": release, "version": "#1", "signature": XEON, "address_bits": 46}
    result = status(made(**host, text="Vulnerable"))
    assert (result.verdict, result.grounds[0].cause) == (VULNERABLE, Cause.NO_INVERSION)
    assert result.follows is not None
    assert result.follows.agrees
    assert not any("mem=" in advice.what for advice in result.advice)
    # They say that all is well where it is not.
    result = status(made(**host, memory_end=1 << 46))
    assert (result.verdict, result.grounds[0].cause) == (VULNERABLE, Cause.MEMORY)
    assert any("mem=32768G" in advice.what for advice in result.advice)


def test_ram_is_not_supposed_where_the_cpu_cannot_address_it() -> None:
    changes = {"command_line": None, "memory_end": None}
    assert status(made(**changes)).verdict is PARTIAL
    other = status(made(**changes, signature=XEON, address_bits=46))
    assert (other.verdict, other.exit_status) == (PARTIAL, 2)
    unless = next(ground for ground in other.grounds if ground.cause is Cause.UNLESS)
    assert unless.says == "unless some RAM is above the limit of PTE inversion: then vulnerable"


@pytest.mark.parametrize("signature", [XEON, Signature("GenuineIntel", 6, 0x55, 4, "Xeon Gold"), IVY])
@pytest.mark.parametrize("text", ["conditional cache flushes, SMT vulnerable", "cache flushes, SMT vulnerable"])
def test_the_text_cpuinfo_and_the_release_are_enough_for_partial(signature: Signature, text: str) -> None:
    cpuinfo = {"signature", "flags", "uneven", "bugs", "microcode", "flush_command", "vmx", "ept", "hypervisor"}
    known = {"release", "address_bits", "threads", "text", *cpuinfo}
    hidden = dict.fromkeys(NAMES - known)
    result = status(made(**hidden | {"signature": signature, "text": P + text}))
    assert (result.verdict, result.exit_status) == (PARTIAL, 2)


@pytest.mark.parametrize("text", ["flush not necessary, SMT disabled", "cache flushes, SMT disabled"])
def test_nobody_is_sent_to_read_a_register_that_the_text_has_answered(text: str) -> None:
    skip = "not" in text
    host = made(
        arch_capabilities=None, threads=1, smt_control="notsupported", smt_active=False, hypervisor="KVM",
        parameter="not required" if skip else "always", text=P + text,
    )  # fmt: skip
    result = status(host)
    assert result.verdict is UNKNOWN
    assert not any("10AH" in advice.what for advice in result.advice)


def test_a_register_is_asked_for_where_the_text_has_not_answered() -> None:
    result = status(made(arch_capabilities=None, bugs=None, text=None, parameter=None, loaded=None, kvm_ept=None))
    assert any("10AH" in advice.what for advice in result.advice)


def test_a_cpu_without_l1tf_is_shown_no_flush() -> None:
    host = made(signature=AMD, bugs=frozenset(), flush_command=False, text="Not affected", parameter="not required")
    shown = "\n".join(line.plain for line in status_lines(status(host), 80))
    assert "flush in software" not in shown
    assert "flush in software" in "\n".join(line.plain for line in status_lines(status(made()), 80))
