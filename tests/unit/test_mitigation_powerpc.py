# SPDX-License-Identifier: GPL-2.0-or-later
"""powerpc's decision of its own."""

from __future__ import annotations

import pytest

from l1dflush.mitigation.facts import Kernel
from l1dflush.mitigation.powerpc import FILES, Firmware, Power, tells_l1tf
from l1dflush.mitigation.sysfs_text import Kind, read

KERNEL = Kernel.parse("6.1.176")


@pytest.mark.parametrize("line", ["mitigations=off", "nopti", "no_rfi_flush", "no-rfi-flush=x"])
def test_turned_off_at_boot(line: str) -> None:
    host = Power.at_boot(Firmware(), KERNEL, line)
    assert (host.sysfs_text(), host.debugfs_text("rfi_flush")) == ("Vulnerable", "0")
    others = [host.debugfs_text(file) for file in FILES[1:]]
    assert others == (["0", "0"] if line == "mitigations=off" else ["1", "1"])


def test_the_other_two() -> None:
    host = Power.at_boot(Firmware(), KERNEL, "no_entry_flush no_uaccess_flush l1tf=off mitigations=auto")
    assert [host.debugfs_text(file) for file in FILES] == ["1", "0", "0"]
    assert host.sysfs_text() == "Mitigation: RFI Flush"


@pytest.mark.parametrize(
    ("needed", "private", "flush", "text"),
    [
        (True, False, True, "Mitigation: RFI Flush"),
        (True, False, False, "Vulnerable"),
        (True, True, True, "Mitigation: RFI Flush, L1D private per thread"),
        (True, True, False, "Vulnerable: L1D private per thread"),
        (False, False, True, "Mitigation: RFI Flush"),
        (False, False, False, "Not affected"),
        (False, True, False, "Vulnerable: L1D private per thread"),
        (False, True, True, "Mitigation: RFI Flush, L1D private per thread"),
    ],
)
def test_every_text(needed: bool, private: bool, flush: bool, text: str) -> None:
    host = Power.at_boot(Firmware(flush_needed=needed, private_l1d=private), KERNEL, "")
    assert host.rfi_flush is needed
    host, result = host.write("rfi_flush", str(int(flush)))
    assert (result, host.sysfs_text()) == ("ok", text)
    if text != "Not affected":
        assert read(text).kind is (Kind.VULNERABLE if text.startswith("Vulnerable") else Kind.POWER)


@pytest.mark.parametrize(
    ("version", "text"),
    [
        *(("4.9.207", "Mitigation"), ("4.9.208", "Vulnerable"), ("4.14.161", "Mitigation"), ("4.14.162", "Vulnerable")),
        *(("4.19.92", "Mitigation"), ("4.19.93", "Vulnerable"), ("5.4.7", "Mitigation"), ("5.5", "Vulnerable")),
    ],
)
def test_a_private_l1d_was_called_a_mitigation(version: str, text: str) -> None:
    host = Power.at_boot(Firmware(private_l1d=True), Kernel.parse(version), "no_rfi_flush")
    assert host.sysfs_text() == f"{text}: L1D private per thread"
    assert read(host.sysfs_text()).kind is Kind.VULNERABLE
    # The file about L1TF was added in the same versions.
    assert tells_l1tf(Kernel.parse(version)) is (text == "Vulnerable")


def test_a_distribution_may_not_have_taken_over_that_l1tf_is_told() -> None:
    assert not tells_l1tf(Kernel.parse("4.18.0-80.el8.ppc64le"))
    assert tells_l1tf(Kernel.parse("5.14.0-70.el9.ppc64le"))


@pytest.mark.parametrize(
    ("value", "result"),
    [
        *((one, "ok") for one in ("1", "0\n", "01", "00", "0x1\n", "0X0", "+1", "+0x01", "1\0junk", "0" * 22 + "1")),
        *((one, "EINVAL") for one in ("", "\n", "2", "-1", "-0", "+-1", "++1", "0x", "0xg", "08", "1\n\n", " 1", "1 ")),
        *((one, "EINVAL") for one in ("true", "1.0", "0b1", "1_0", "0x_1", "\uff11", "y", "0xffffffffffffffff")),
        ("18446744073709551616", "ERANGE"),
        ("0x1" + "0" * 16, "ERANGE"),
        # What is longer than 23 characters is cut off.
        ("0" * 22 + "1junk", "ok"),
    ],
)
def test_what_debugfs_takes(value: str, result: str) -> None:
    host = Power.at_boot(Firmware(), KERNEL, "")
    for file in FILES:
        after, seen = host.write(file, value)
        assert seen == result
        if result != "ok":
            assert after == host
    with pytest.raises(ValueError, match="none of"):
        host.write("l1d_flush", "1")
