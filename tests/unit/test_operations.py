# SPDX-License-Identifier: GPL-2.0-or-later
"""The operations that Python packs are those that the core runs."""

from __future__ import annotations

import pytest

from l1dflush import _core
from l1dflush.errors import InputError
from l1dflush.tracing.operations import Do, check_core

NAMES = [one.name.lower() for one in Do]


def test_the_core_has_the_same() -> None:
    assert [*_core.OPERATIONS] == NAMES


@pytest.mark.parametrize(
    "others",
    [[], NAMES[:-1], [*NAMES, "more"], ["copy", "store", "load", *NAMES[3:]], [*NAMES[:40], "new", *NAMES[40:]]],
    ids=["none", "fewer", "more", "in another order", "one in between"],
)
def test_a_core_of_another_version_is_one_line(others: list[str]) -> None:
    with pytest.raises(InputError, match=r"_core.*another version.*install l1dflush again") as error:
        check_core(others)
    assert "\n" not in str(error.value)
