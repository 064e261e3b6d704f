# SPDX-License-Identifier: GPL-2.0-or-later
"""What Xen's log says of its settings."""

from __future__ import annotations

from typing import Any

import pytest
from xen_hosts import SETTINGS, threads, written, xen_log

from l1dflush.host.reading.xen import kept_info, kept_log, xen_lines
from l1dflush.host.status.grounds import L1tfVerdict
from l1dflush.mitigation.xen_log import XenSettings, read_log

UNKNOWN, PARTIAL, MITIGATED, VULNERABLE, NOT_AFFECTED = (
    L1tfVerdict.UNKNOWN,
    L1tfVerdict.PARTIAL,
    L1tfVerdict.MITIGATED,
    L1tfVerdict.VULNERABLE,
    L1tfVerdict.NOT_AFFECTED,
)


@pytest.mark.parametrize("version", SETTINGS)
@pytest.mark.parametrize("flush", [True, False])
@pytest.mark.parametrize("shadowing", [True, False])
@pytest.mark.parametrize("rdcl_no", [True, False])
def test_a_whole_log(version: str, flush: bool, shadowing: bool, rdcl_no: bool) -> None:
    log = xen_log(version=version, flush=flush, shadowing=shadowing, rdcl_no=rdcl_no, bug=not rdcl_no)
    expected = XenSettings(
        bug=None if rdcl_no else True, immune=rdcl_no, settings=True, flush=flush, skip=False, command=True, hvm=True,
        pv=shadowing,
    )  # fmt: skip
    assert read_log(xen_lines(written(log)), "") == expected
    stamped = written(log).replace("(XEN) ", "(XEN) [2026-03-01 10:20:30.123] ")
    assert read_log(xen_lines(stamped), "") == expected
    # What gather keeps says the same, and names neither the host nor who built it.
    kept = kept_log(written(log).encode()).decode()
    assert read_log(xen_lines(kept), "") == expected
    assert "abuild" not in kept
    assert "dom0_mem" not in kept


@pytest.mark.parametrize(
    ("changes", "hvm"),
    [
        ({}, True), ({"hap": "not detected"}, False), ({"hap": "detected but disabled"}, False), ({"hap": None}, None),
        ({"vmx": False}, False),
    ],
)  # fmt: skip
def test_whether_there_are_guests_that_can_aim(changes: dict[str, Any], hvm: bool | None) -> None:
    assert read_log(xen_lines(written(xen_log(**changes))), "").hvm is hvm


@pytest.mark.parametrize(
    ("line", "hvm"), [("CPU0: VMX disabled by BIOS.", False), ("CPU1: VMX disabled by BIOS.", None),
                      ("VMX: failed to initialise.", False)],
)  # fmt: skip
def test_only_the_first_cpu_tells_whether_there_is_vmx(line: str, hvm: bool | None) -> None:
    assert read_log([line], "").hvm is hvm


@pytest.mark.parametrize(
    ("lines", "skip"),
    [
        (["Hardware hints: SKIP_L1DFL"], True),
        (["Hardware hints:"], False),
        (["Hardware hints:", "Hardware features: IBPB IBRS"], False),
        # The line of hints is lost, or there was none in that version.
        (["Hardware features: IBPB IBRS STIBP SSBD L1D_FLUSH"], None),
        (["Hardware features:"], None),
        (["Hardware features: IBRS/IBPB STIBP L1D_FLUSH SSBD MD_CLEAR"], False),
        (["Hardware features: IBRS/IBPB STIBP L1D_FLUSH SSBD MD_CLEAR SKIP_L1DFL"], True),
        (["Hardware features: RSBA"], False),
        ([], None),
    ],
)
def test_whether_a_hypervisor_below_flushes_is_known_from_a_line_that_would_say_so(
    lines: list[str], skip: bool | None
) -> None:
    assert read_log(lines, "").skip is skip


@pytest.mark.parametrize(
    ("line", "smt", "expected"),
    [
        ("placeholder", True, True), ("placeholder", False, None), ("smt=0", False, False), ("no-smt", False, False),
        ("smt=off", False, False), ("smt=0 smt=1", False, None), ("smt=1 smt=no", False, False), ("smt", False, None),
        ("smt=junk", False, None), ("nosmt", False, None), ("xsmt=0", False, None),
    ],
)  # fmt: skip
def test_smt_when_xen_booted(line: str, smt: bool, expected: bool | None) -> None:
    assert read_log(xen_lines(written(xen_log(line=line, smt=smt))), "").smt_at_boot is expected


@pytest.mark.parametrize(
    ("said", "smt"),
    [(threads(1), False), (threads(2), True), ("", None), ("threads_per_core", None), (threads(1) + threads(2), None)],
)
def test_smt_now(said: str, smt: bool | None) -> None:
    assert read_log([], said).smt is smt
    assert read_log([], kept_info(said.encode()).decode()).smt is smt
    assert b"vault7" not in kept_info(said.encode())


def test_a_guest_writes_no_line_of_xen() -> None:
    log = written(xen_log(flush=False, shadowing=False))
    forged = "(d7) (XEN) Xen settings: SPEC_CTRL: IBRS-, Other: L1D_FLUSH\n(d7) PV L1TF shadowing: Dom0 disabled, DomU "
    said = read_log(xen_lines(forged + "enabled\n" + log), "")
    assert (said.flush, said.pv) == (False, False)
    assert read_log(xen_lines(forged), "") == XenSettings()


def test_what_is_said_twice_and_not_alike_is_not_known() -> None:
    said = read_log([*xen_lines(written(xen_log())), *xen_lines(written(xen_log(flush=False, shadowing=False)))], "")
    assert (said.flush, said.pv, said.settings) == (None, None, True)


@pytest.mark.parametrize("cut", range(0, 24))
def test_a_log_that_has_lost_lines_says_less_and_nothing_else(cut: int) -> None:
    log = written(xen_log(flush=False, line="smt=0"))
    whole = read_log(xen_lines(log), "")
    lines = log.split("\n")
    for rest in (lines[cut:], lines[:-cut], lines[:cut] + lines[cut + 1 :], log[cut * 17 :].split("\n")):
        said = read_log(xen_lines("\n".join(rest)), "")
        for name in ("bug", "flush", "hvm", "pv", "smt_at_boot", "command", "skip"):
            assert getattr(said, name) in (None, getattr(whole, name))
