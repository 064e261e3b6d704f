# SPDX-License-Identifier: GPL-2.0-or-later
"""What the processor says of all selectors is what the rows of lar, lsl, verr and verw let it say."""

from __future__ import annotations

import platform
import shutil
import subprocess
from pathlib import Path

import pytest

from l1dflush.tracing.descriptors import GIVEN, LIMIT, PAGES, READABLE, TYPE, TYPE_BITS

SOURCE = Path(__file__).with_name("descriptors.c")

pytestmark = pytest.mark.skipif(
    shutil.which("gcc") is None or platform.machine() != "x86_64", reason="it takes gcc and an x86-64 processor"
)


def test_one_answer_follows_from_the_others(tmp_path: Path) -> None:
    program = tmp_path / "descriptors"
    subprocess.run(["gcc", "-O1", "-o", program, SOURCE], check=True)
    done = subprocess.run([program], capture_output=True, text=True, check=False, timeout=60)
    if done.returncode:
        pytest.skip("this host's user mode reads no descriptors")
    rows = [tuple(map(int, line.split())) for line in done.stdout.splitlines()]
    # Code and data of a program have one at least, or nothing was asked.
    assert len(rows) >= 2
    for selector, has_rights, rights, has_limit, limit, readable, writable in rows:
        assert selector > 3
        kind = rights >> TYPE & ((1 << TYPE_BITS) - 1)
        assert has_rights and GIVEN[64]["lar"] >> kind & 1, hex(selector)
        found = {"lsl": has_limit, "verr": readable, "verw": writable}
        types = {"lsl": GIVEN[64]["lsl"], **READABLE}
        assert found == {name: types[name] >> kind & 1 for name in types}, hex(selector)
        if has_limit:
            assert limit & 0xFFF == 0xFFF if rights >> PAGES & 1 else limit <= LIMIT, hex(selector)
