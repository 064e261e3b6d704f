# SPDX-License-Identifier: GPL-2.0-or-later
"""What this machine says about its L1D, from folders that look like the kernel's."""

from __future__ import annotations

from pathlib import Path

import pytest

from l1dflush.cache.geometry import Geometry
from l1dflush.errors import InputError
from l1dflush.host.l1d import Signature, l1d_geometry, signature

DATA = {
    "type": "Data", "level": "1", "size": "48K", "ways_of_associativity": "12", "coherency_line_size": "64",
    "number_of_sets": "64",
}  # fmt: skip


def caches(folder: Path, *described: dict[str, str]) -> Path:
    for number, values in enumerate(described):
        index = folder / f"index{number}"
        index.mkdir()
        for name, value in values.items():
            (index / name).write_text(f"{value}\n")
    return folder


def test_the_data_cache_of_the_first_level(tmp_path: Path) -> None:
    others = [{**DATA, "type": "Instruction", "size": "32K"}, {**DATA, "level": "2"}, {"type": "Data"}]
    assert l1d_geometry(caches(tmp_path, *others, DATA)) == Geometry(49152, 12, 64)


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"type": "Unified"}, "does not describe an L1 data cache"),
        ({"size": ""}, "index0/size: the kernel does not say what it is"),
        ({"size": "-1K"}, "index0/size: the kernel does not say what it is"),
        ({"ways_of_associativity": "0"}, "a cache of 0 ways"),
        ({"coherency_line_size": "60"}, "a line of 60 bytes"),
        ({"number_of_sets": "128"}, "49152 bytes of 12 ways are 64 sets, and it says 128"),
    ],
)
def test_what_makes_no_sense_is_one_error(changed: dict[str, str], told: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=told) as caught:
        l1d_geometry(caches(tmp_path, {**DATA, **changed}))
    assert "--geometry" in str(caught.value)


def test_no_folder_at_all(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not describe an L1 data cache"):
        l1d_geometry(tmp_path / "none")


def test_signature_of_the_first_processor(tmp_path: Path) -> None:
    file = tmp_path / "cpuinfo"
    first = "processor\t: 0\nvendor_id\t: GenuineIntel\ncpu family\t: 6\nmodel\t\t: 94\nmodel name\t: A CPU\n"
    file.write_text(f"{first}stepping\t: 3\n\nprocessor\t: 1\nmodel\t\t: 7\n")
    assert signature(file) == Signature("GenuineIntel", 6, 94, 3, "A CPU")


@pytest.mark.parametrize("text", ["", "processor : 0\nBogoMIPS : 5\n", "vendor_id : x\ncpu family : six\nmodel : 1\n"])
def test_machines_without_a_signature(text: str, tmp_path: Path) -> None:
    (tmp_path / "cpuinfo").write_text(text)
    assert signature(tmp_path / "cpuinfo") is None
    assert signature(tmp_path / "none") is None
