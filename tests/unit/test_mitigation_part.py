# SPDX-License-Identifier: GPL-2.0-or-later
"""How much of the mitigation a kernel has by its name: against the names that the hosts of the tests have."""

from __future__ import annotations

import pytest
from old_hosts import NAMES, Has

from l1dflush.mitigation.facts import Kernel
from l1dflush.mitigation.part import Part, parts

NOBODY_KNOWS = ("3.10.0-693.el7.x86_64", "4.4.0-1028-aws", "4.4.143-94.47-default", "4.9.100-vendor", "4.9.100+",
                "4.12.14-122.37-default", "4.14.35-2047.el7uek.x86_64", "4.14.62-65.117.amzn1.x86_64")  # fmt: skip
"""Names of distributions that show nothing."""
EITHER = {"3.16.61": {"inversion", "nothing"}, "3.16.67": {"inversion", "nothing"},
          "4.4.180-94.164-default": {"inversion", "all"}, "4.4.302-cip97": {"inversion", "all"},
          "4.4.302+": {"inversion", "all"}}  # fmt: skip


@pytest.mark.parametrize(("release", "text", "has"), NAMES)
def test_a_name_says_what_is_certain(release: str, text: str, has: tuple[Has, ...]) -> None:
    found = {part.value for part in parts(Kernel.parse(release).version, release, text)}
    if release in NOBODY_KNOWS:
        assert found == {"all", "inversion", "nothing"}
    else:
        assert found == EITHER.get(release, set(has))


def test_debian_shows_its_version_in_the_build_only() -> None:
    assert len(parts((4, 9, 0), "4.9.0-8-amd64")) == 3
    assert parts((4, 9, 0), "4.9.0-7-amd64", "#1 SMP Debian 4.9.110-3+deb9u2 (2018-08-13)") == (Part.NOTHING,)
    for own in ("4.9.110-3+deb9u3", "4.9.110-3+deb9u12", "4.9.130-2", "4.9.320-2"):
        assert parts((4, 9, 0), "4.9.0-8-amd64", f"#1 SMP Debian {own}") == (Part.ALL,)
    # A build that is of another branch says nothing.
    assert len(parts((4, 12, 0), "4.12.0-1-amd64", "#1 SMP Debian 4.9.110-3+deb9u2")) == 3


@pytest.mark.parametrize("release", ["4.19.0", "4.19.0-rc1", "4.19.0-27-amd64", "5.4.0-1-generic", "6.1", "7.2.13"])
def test_what_began_with_it_has_it(release: str) -> None:
    assert Kernel.parse(release).part is Part.ALL
    assert parts(Kernel.parse(release).version, release) == (Part.ALL,)


@pytest.mark.parametrize(
    ("release", "plain"),
    [("4.18.4-041804-generic", True), ("4.4.150-0404150-generic", True), ("4.18.4-041805-generic", False),
     ("4.9.150-1", False), ("4.18.0-rc8", True), ("4.18.0-rc8+", False), ("4.15.0-213-generic", False)],
)  # fmt: skip
def test_ubuntus_builds_of_unchanged_kernels(release: str, plain: bool) -> None:
    kernel = Kernel.parse(release)
    assert not kernel.hidden or not plain
    assert (len(parts(kernel.version, release)) == 1) or not plain


def test_damaged_names_are_no_error() -> None:
    for text in ("#1 Debian 4.9", "#1 Debian 4.9.", "#1 Debian 4.9.99999999-1", "Debian 4.9.110-999999+deb9u999999"):
        assert parts((4, 9, 0), "4.9.0-8-amd64", text)
    for release in ("4.9.0-", "3.10.0-.el7", "3.10.0-862..el7", "4.4.0-99999-generic", "3.10.0-862.99999.el7"):
        assert parts(Kernel.parse(release).version, release)
