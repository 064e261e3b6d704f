# SPDX-License-Identifier: GPL-2.0-or-later
"""Copies of what small hosts say of themselves, each with the verdict that is right and what has to be told."""

from __future__ import annotations

import tarfile
from pathlib import Path

import pytest
from packing import extract

from l1dflush.data.l1tf_cpus import lists
from l1dflush.ending import Verdict
from l1dflush.host.reading.collect import from_archive, from_sysroot
from l1dflush.host.reading.host_facts import HostFacts
from l1dflush.host.status.flush_worth import FlushWorth
from l1dflush.host.status.result import status_result
from l1dflush.report.terminal.status import status_lines

TRIALS = Path(__file__).parents[1] / "data" / "trials"


def told(host: HostFacts) -> tuple[str, str]:
    """The verdict, and all of the report in one line."""
    result = status_result(host, FlushWorth(Verdict.PROVED, "linux-4.18", "its L1D"), lists())
    return result.verdict.value, " ".join(line.plain.strip() for line in status_lines(result, 100))


@pytest.mark.parametrize(
    ("name", "verdict", "says", "silent"),
    [
        ("14-debian9-atom-switch", "not-affected", "the CPU has no L1TF", "flush in software"),
        ("24-v4.18.4-32gib-ivb", "vulnerable", "the kernel and the facts agree", "disagree"),
        ("26-opensuse-xen-dom0", "unknown", "the control domain (dom0) of Xen", "a guest of"),
        ("29-xen-pvh-domu", "mitigated", "a guest of Xen", "xl dmesg"),
        ("33-kvm-nested-skx-notneeded", "unknown", "run this on the host below", "make MSR 10AH readable"),
    ],
)
def test_a_copied_host(name: str, verdict: str, says: str, silent: str) -> None:
    found, text = told(from_sysroot(TRIALS / "hosts" / name))
    assert found == verdict
    assert says in text
    assert silent not in text


@pytest.mark.parametrize("name", ["archive", "folder"])
def test_a_control_domain_without_its_log_is_told_what_to_run(name: str, tmp_path: Path) -> None:
    archive = TRIALS / "inputs" / "38-host-xen-dom0.tar"
    if name == "archive":
        host = from_archive(archive)
    else:
        with tarfile.open(archive) as file:
            extract(file, tmp_path)
        host = from_sysroot(tmp_path)
    verdict, text = told(host)
    assert verdict == "unknown"
    assert "run 'xl dmesg'" in text


def test_the_kernel_s_text_cpuinfo_and_the_release_alone_are_partial(tmp_path: Path) -> None:
    """Of a server, whose RAM might be above the limit for all that is known."""
    for name, said in (
        ("proc/sys/kernel/osrelease", "5.15.0-101-generic"),
        (
            "sys/devices/system/cpu/vulnerabilities/l1tf",
            "Mitigation: PTE Inversion; VMX: conditional cache flushes, SMT vulnerable",
        ),
        (
            "proc/cpuinfo",
            "processor\t: 0\nvendor_id\t: GenuineIntel\ncpu family\t: 6\nmodel\t\t: 79\nmodel name\t: Xeon\n"
            "stepping\t: 1\nflags\t\t: vmx lm ht\nvmx flags\t: ept vpid\nbugs\t\t: l1tf\n"
            "address sizes\t: 46 bits physical, 48 bits virtual",
        ),
    ):
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{said}\n", encoding="ascii")
    verdict, text = told(from_sysroot(tmp_path))
    assert verdict == "partially-mitigated"
    assert "unless some RAM is above the limit of PTE inversion: then vulnerable" in text
