# SPDX-License-Identifier: GPL-2.0-or-later
"""The text in sysfs, written and read."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mitigation_facts import SMT2, loaded

from l1dflush.errors import InputError
from l1dflush.mitigation.facts import Facts, Kernel
from l1dflush.mitigation.part import Part
from l1dflush.mitigation.sysfs_text import Kind, read, text
from l1dflush.vmentry.subsystem import Mode

P = "Mitigation: PTE Inversion"


@pytest.mark.parametrize(
    ("found", "kind", "mode", "smt"),
    [
        ("Not affected\n", Kind.NOT_AFFECTED, None, None),
        ("Vulnerable", Kind.VULNERABLE, None, None),
        (P, Kind.INVERSION, None, None),
        (f"{P}; VMX: EPT disabled", Kind.INVERSION, Mode.EPT_DISABLED, None),
        (f"{P}; VMX: vulnerable", Kind.INVERSION, Mode.NEVER, True),
        (f"{P}; VMX: vulnerable, SMT disabled", Kind.INVERSION, Mode.NEVER, False),
        (f"{P}; VMX: SMT vulnerable, L1D conditional cache flushes", Kind.INVERSION, Mode.COND, True),
        (f"{P}; VMX: SMT disabled, L1D vulnerable", Kind.INVERSION, Mode.NEVER, False),
        ("Mitigation: RFI Flush, L1D private per thread", Kind.POWER, None, None),
        ("Vulnerable: L1D private per thread", Kind.VULNERABLE, None, None),
        ("Mitigation: L1D private per thread", Kind.VULNERABLE, None, None),
        ("Mitigation: Page Table Inversion", Kind.INVERSION, None, None),
        ("Mitigation: Something new", Kind.UNKNOWN, None, None),
        (f"{P}; VMX: cache flushes, SMT perhaps", Kind.UNKNOWN, None, None),
        (f" {P}", Kind.UNKNOWN, None, None),
        ("", Kind.UNKNOWN, None, None),
    ],
)
def test_reading_the_text(found: str, kind: Kind, mode: Mode | None, smt: bool | None) -> None:
    reading = read(found)
    assert (reading.kind, reading.mode, reading.smt) == (kind, mode, smt)
    assert reading.raw == found.strip("\n") or kind is Kind.UNKNOWN


def test_unknown_text_is_shown_as_it_is() -> None:
    assert read("Mitigation: Red herring; VMX: full").raw == "Mitigation: Red herring; VMX: full"
    assert "\n" not in read("a\nb\n").raw


@given(st.sampled_from(list(Mode)), st.booleans(), st.booleans())
def test_what_is_written_is_read_back(mode: Mode, smt_active: bool, old_layout: bool) -> None:
    reading = read(text(bug=True, inversion=True, mode=mode, smt_active=smt_active, old_layout=old_layout))
    assert reading.mode is (None if mode is Mode.AUTO else mode)
    assert reading.smt in (None, smt_active)
    assert reading.old_layout is (old_layout and mode is not Mode.AUTO)


@given(st.text(max_size=80))
def test_any_text_is_read(found: str) -> None:
    reading = read(found)
    assert reading.kind is Kind.UNKNOWN or found.startswith(("Not affected", "Vulnerable", "Mitigation: "))


def test_red_hat_7() -> None:
    facts = Facts(Kernel.parse("3.10.0-1160.el7.x86_64"), SMT2)
    assert loaded(facts).sysfs == f"{P}; VMX: SMT vulnerable, L1D conditional cache flushes"


@pytest.mark.parametrize(
    "release", ["5.4.273-1.el7.elrepo.x86_64", "4.14.35-2047.el7uek.x86_64", "4.19.94-300.el7.x86_64", "6.1.1-1.el7"]
)
def test_what_others_build_for_red_hat_7_has_the_layout_of_its_version(release: str) -> None:
    facts = Facts(replace(Kernel.parse(release), part=Part.ALL, hotplug_smt=True), SMT2)
    assert loaded(facts).sysfs == f"{P}; VMX: conditional cache flushes, SMT vulnerable"


@pytest.mark.parametrize("release", ["", "6", "six.one", "6.x", "v6.1", "99999.1"])
def test_no_kernel_version(release: str) -> None:
    with pytest.raises(InputError, match="not a kernel version"):
        Kernel.parse(release)


def test_the_flavours_of_debian() -> None:
    levels = [Kernel.parse(f"6.1.0-56-{flavour}").levels for flavour in ("686", "686-pae", "amd64", "cloud-amd64")]
    assert levels == [2, 3, 4, 4]


def test_versions_that_hide() -> None:
    hidden = {
        release: Kernel.parse(release).hidden
        for release in ("4.19.0-27-amd64", "4.18.0-553.el8.x86_64", "3.10.0-1160.el7.x86_64", "6.1.0", "6.1", "6.1.192")
    }
    assert [release for release, hides in hidden.items() if hides] == list(hidden)[:3]
