# SPDX-License-Identifier: GPL-2.0-or-later
"""A CPU on which an instruction of the routine is not there, or is another one: its row alone is UNDECIDED."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from flush_programs import WALK, function, judged

from l1dflush.cache.geometry import Geometry
from l1dflush.ending import Verdict

pytestmark = pytest.mark.skipif(shutil.which("as") is None, reason="the GNU assembler is not installed")

NOT_THERE = {
    "lzcnt is bsr": ("mov $1,%eax; lzcnt %eax,%eax", "nehalem", "haswell", "lzcnt", "bsr"),
    "bmi": ("blsr %ecx,%edx", "ivy-bridge", "haswell", "bmi", "invalid opcode"),
    "movbe": ("movbe (%rdi),%ecx", "sandy-bridge", "silvermont", "movbe", "invalid opcode"),
    "bmi2": ("rorx $3,%ecx,%edx", "ivy-bridge", "broadwell", "bmi2", "invalid opcode"),
    "rdrand": ("rdrand %rcx", "westmere", "ivy-bridge", "rdrnd", "invalid opcode"),
    "rdpid": ("rdpid %rcx", "skylake", "ice-lake", "rdpid", "invalid opcode"),
    "clflushopt": ("clflushopt (%rsi)", "broadwell", "skylake", "clflushopt", "invalid opcode"),
    "avx": ("vmovups (%rsi),%xmm0", "westmere", "sandy-bridge", "avx", "invalid opcode"),
    "avx2": ("vpxor %ymm0,%ymm0,%ymm0", "ivy-bridge", "haswell", "avx2", "invalid opcode"),
    "popcnt is everywhere here": ("popcnt %rax,%rcx", "", "nehalem", "", ""),
    "what is a nop": ("endbr64; prefetchw (%rsi); pause; nopl (%rax)", "", "nehalem", "", ""),
}  # fmt: skip


@pytest.mark.parametrize(("code", "without", "has", "feature", "instead"), NOT_THERE.values(), ids=NOT_THERE)
def test_a_cpu_without_an_instruction_is_undecided(
    code: str, without: str, has: str, feature: str, instead: str, tmp_path: Path
) -> None:
    text = function("push %rsi", code, "pop %rsi", WALK)
    assert judged(tmp_path, text, cpus=(has,), bind={"rdi": "buffer"}).rows[0].cause != "instruction-not-there"
    if without:
        result = judged(tmp_path, text, cpus=(without, has), bind={"rdi": "buffer"})
        (row,) = (one for one in result.rows if one.cause == "instruction-not-there")
        assert (row.cpus, row.verdict) == ((without,), Verdict.UNDECIDED)
        # The larger caches of the newer ones need more than this walk.
        assert result.verdict is (Verdict.REFUTED if has == "ice-lake" else Verdict.UNDECIDED)
        assert feature in row.reason and instead in row.reason and "flush.s:5" in row.reason


def test_the_same_cache_is_two_rows(tmp_path: Path) -> None:
    text = function("mov $1,%eax; lzcnt %eax,%eax", WALK)
    result = judged(tmp_path, text, cpus=())
    by_cause = {row.cause: set(row.cpus) for row in result.rows if row.decides}
    assert {"nehalem", "ivy-bridge"} <= by_cause["instruction-not-there"] and "skylake" in by_cause[None]


def test_without_a_cpu_it_is_granted_by_name(tmp_path: Path) -> None:
    text = function("mov $1,%eax; lzcnt %eax,%eax", WALK)
    asked = judged(tmp_path, text, policy="tree-PLRU", geometry=Geometry(32768, 8, 64))
    assert asked.verdict is Verdict.PROVED
    assert "the CPU has the instructions that are run: lzcnt" in [one.text for one in asked.scope.particular]
    plain = judged(tmp_path, function(WALK), policy="tree-PLRU", geometry=Geometry(32768, 8, 64))
    assert not any("instructions" in one.text for one in plain.scope.taken_for_granted)


def test_so_it_is_for_a_cpu_of_which_nobody_said_what_it_has(tmp_path: Path) -> None:
    own = tmp_path / "cpus"
    own.mkdir()
    (own / "mine.toml").write_text(
        'title = "Mine"\nyear = 2020\nvendor = "Me"\nisa = "x86"\n'
        '[l1tf]\naffected = true\nsource = "me"\ncertainty = "documented"\n'
        '[l1d]\nsize = "32K"\nways = 8\nline = 64\nsource = "me"\ncertainty = "documented"\n'
        '[policy]\nname = "tree-PLRU"\nsource = "me"\ncertainty = "documented"\n'
    )
    text = function("mov $1,%eax; lzcnt %eax,%eax", WALK)
    result = judged(tmp_path, text, cpus=("mine",), cpu_folders=(own,))
    assert result.verdict is Verdict.PROVED and any("lzcnt" in one.text for one in result.scope.particular)
    (own / "mine.toml").write_text(
        (own / "mine.toml").read_text() + '[features]\nhas = []\nsource = "me"\ncertainty = "documented"\n'
    )
    assert judged(tmp_path, text, cpus=("mine",), cpu_folders=(own,)).verdict is Verdict.UNDECIDED
