# SPDX-License-Identifier: GPL-2.0-or-later
"""Kernel modules: all that the kernel may make of the code in them is judged, and each way through it is named."""

from __future__ import annotations

import shutil
import subprocess
from collections import Counter
from pathlib import Path

import kernel_modules
import pytest
from kernel_modules import Module, Packing

from l1dflush.cli.main import main
from l1dflush.ending import Verdict
from l1dflush.tracing.region import BUFFER
from l1dflush.verdict.judge import verify
from l1dflush.verdict.options import VerifyOptions
from l1dflush.verdict.verify_result import PathInfo, VerifyResult

pytestmark = pytest.mark.skipif(shutil.which("as") is None, reason="the GNU assembler is not installed")
FEATURE = "18*32+28"
VARIANTS = {
    "plain": {},
    "nop of 2 bytes": {"site": "nop2"},
    "nop of 5 bytes": {"site": "nop5"},
    "jmp of 5 bytes": {"site": "jmp5"},
    "jumps with the key on": {"likely": False, "site": "nop5"},
    "jumps with the key on, shipped as a jmp": {"likely": False, "site": "jmp2"},
    "both low bits of the key": {"marked": True},
    "bit 1 alone": {"marked": True, "likely": False, "site": "nop2"},
    "absolute records": {"table": "absolute"},
    "absolute records, nop": {"table": "absolute", "site": "nop5", "likely": False},
    "key elsewhere": {"key": "undefined"},
    "pointer elsewhere": {"pointer": "undefined"},
    "records of 13 bytes": {"record": 13},
    "records of 14 bytes": {"record": 14},
    "returns where it is": {"thunk": False},
    "a call at its entry": {"entry_call": True},
    "another name": {"name": "prepare_entry"},
    "behind other functions": {"padding": 30},
    "behind 700 undefined symbols": {"padding": 3, "outside": 700},
    "no size": {"sized": False, "padding": 2},
    "no local symbols": {"local_symbols": False, "padding": 2},
    "sections in another order": {"reordered": True},
    "all at once": {
        "site": "nop5", "key": "undefined", "pointer": "undefined", "entry_call": True, "padding": 9, "outside": 700,
        "sized": False, "local_symbols": False, "reordered": True, "record": 14, "marked": True,
    },
}  # fmt: skip


def judge(module: Module, folder: Path, packing: Packing | None = None, **options: object) -> VerifyResult:
    data = kernel_modules.build(module)
    path = folder / f"module.ko{'' if packing is None else '.' + packing}"
    path.write_bytes(data if packing is None else kernel_modules.packed(data, packing))
    return verify(str(path), VerifyOptions(function=module.name, **options))


def outcomes(result: VerifyResult) -> dict[str, int]:
    return dict(Counter(path.outcome for path in result.paths))


def named(path: PathInfo, what: str) -> bool:
    return any(what in str(decision) for decision in path.decisions)


def is_the_whole_routine(result: VerifyResult) -> None:
    """All seven ways, each walk whole, the verdict on every CPU that counts."""
    assert outcomes(result) == {"skipped": 1, "software-walk": 3, "msr-write": 3}
    for path in result.paths:
        assert named(path, kernel_modules.KEY)
        assert named(path, FEATURE) == (path.outcome != "skipped")
        kinds = [(run.kind, run.count) for run in path.runs if run.region == BUFFER or run.region is None]
        if path.outcome == "software-walk":
            assert path.loads == 16 + 1024
            in_order = [kind for kind in kinds if kind[0] in ("load", "serialise", "fence")]
            assert in_order == [("load", 16), ("serialise", 1), ("load", 1024), ("fence", 1)]
    assert result.verdict is Verdict.PROVED
    assert result.exit_status == 0
    deciding = [row for row in result.rows if row.decides]
    assert deciding and all(row.l1tf_affected and row.verdict is Verdict.PROVED for row in deciding)


@pytest.mark.parametrize("bits", [64, 32])
@pytest.mark.parametrize("changes", VARIANTS.values(), ids=VARIANTS)
def test_every_way_through(bits: int, changes: dict[str, object], tmp_path: Path) -> None:
    is_the_whole_routine(judge(Module(bits=bits, **changes), tmp_path))


@pytest.mark.parametrize("bits", [64, 32])
@pytest.mark.parametrize("packing", ["xz", "zst"])
def test_packed_modules(bits: int, packing: Packing, tmp_path: Path) -> None:
    is_the_whole_routine(judge(Module(bits=bits), tmp_path, packing))


@pytest.mark.parametrize("bits", [64, 32])
@pytest.mark.parametrize("site", ["nop2", "nop5", "jmp2", "jmp5"])
@pytest.mark.parametrize("likely", [True, False], ids=["bit 0 set", "bit 0 clear"])
def test_a_key_that_is_given(bits: int, site: str, likely: bool, tmp_path: Path) -> None:
    """What the file holds at the place does not matter: the key and bit 0 of its record say whether it jumps."""
    module = Module(bits=bits, site=site, likely=likely)
    off = judge(module, tmp_path, static_keys={kernel_modules.KEY: False})
    assert outcomes(off) == {"software-walk": 1, "msr-write": 1}
    on = judge(module, tmp_path, static_keys={kernel_modules.KEY: True})
    assert outcomes(on) == {"skipped": 1, "software-walk": 2, "msr-write": 2}
    assert (off.exit_status, on.exit_status) == (0, 0)


@pytest.mark.parametrize("bits", [64, 32])
def test_every_path_has_to_flush_when_that_is_asked_for(bits: int, tmp_path: Path) -> None:
    assert judge(Module(bits=bits), tmp_path, every_path=True).exit_status == 2
    never_skipped = {kernel_modules.KEY: False}
    assert judge(Module(bits=bits), tmp_path, every_path=True, static_keys=never_skipped).exit_status == 0


@pytest.mark.parametrize("bits", [64, 32])
def test_a_module_that_reads_too_little(bits: int, tmp_path: Path) -> None:
    """The same ways, and a verdict that is not PROVED by habit."""
    result = judge(Module(bits=bits, size=32768), tmp_path)
    assert outcomes(result) == {"skipped": 1, "software-walk": 3, "msr-write": 3}
    assert (result.verdict, result.exit_status) == (Verdict.REFUTED, 2)


@pytest.mark.parametrize("bits", [64, 32])
def test_without_a_key_only_the_flags_decide(bits: int, tmp_path: Path) -> None:
    result = judge(Module(bits=bits, site=None), tmp_path)
    assert outcomes(result) == {"skipped": 1, "software-walk": 2, "msr-write": 2}
    result = judge(Module(bits=bits, site=None, flags=False, record=None), tmp_path)
    assert outcomes(result) == {"software-walk": 1}


@pytest.mark.skipif(shutil.which("strip") is None, reason="strip is not installed")
def test_a_module_without_its_symbol_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its relocations are gone as well: nothing in it refers to anything."""
    file = tmp_path / "stripped.ko"
    file.write_bytes(kernel_modules.build(Module()))
    subprocess.run(["strip", "-s", file], check=True)
    assert main(["verify", str(file)]) == 1
    assert "has no symbol table" in capsys.readouterr().err
