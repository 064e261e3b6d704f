# SPDX-License-Identifier: GPL-2.0-or-later
"""What is written to the machine's own registers: harmless, the flush, or something behind which nothing is known."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from flush_programs import WALK, function, judged

from l1dflush.ending import Verdict
from l1dflush.tracing.model import Event, Kind
from l1dflush.tracing.msr_write import MsrWrite
from l1dflush.tracing.msrs import flushes_by_msr, harmless, is_harmless, may_flush_by_msr

pytestmark = pytest.mark.skipif(shutil.which("as") is None, reason="the GNU assembler is not installed")


def write(msr: int, value: int = 0) -> str:
    return f"mov ${msr:#x},%ecx; mov ${value:#x},%eax; xor %edx,%edx; wrmsr"


# Numbers of the manual (SDM volume 4, table 2-2) that decide what is cached or where pages are.
DANGEROUS = {
    "IA32_APIC_BASE": 0x1B, "IA32_SMRR_PHYSBASE": 0x1F2, "IA32_MTRR_PHYSBASE0": 0x200, "IA32_MTRR_PHYSMASK9": 0x213,
    "IA32_MTRR_FIX64K_00000": 0x250, "IA32_MTRR_FIX4K_F8000": 0x26F, "IA32_PAT": 0x277, "IA32_MTRR_DEF_TYPE": 0x2FF,
    "IA32_MISC_ENABLE": 0x1A0, "IA32_BIOS_UPDT_TRIG": 0x79, "IA32_EFER": 0xC0000080, "IA32_L3_MASK_0": 0xC90,
    "IA32_S_CET": 0x6A2, "AMD SYSCFG": 0xC0010010, "AMD HWCR": 0xC0010015, "AMD IORR_BASE0": 0xC0010016,
    "none that is known": 0x12345,
}  # fmt: skip
HARMLESS = {
    "SPEC_CTRL": 0x48, "PRED_CMD": 0x49, "FS_BASE": 0xC0000100, "GS_BASE": 0xC0000101, "KERNEL_GS_BASE": 0xC0000102,
    "TSC_AUX": 0xC0000103, "SYSENTER_ESP": 0x175, "TSC_DEADLINE": 0x6E0, "PERF_GLOBAL_CTRL": 0x38F,
    "the flush command": 0x10B, "the flush command's other bits": 0x10B,
}  # fmt: skip


@pytest.mark.parametrize("msr", DANGEROUS.values(), ids=DANGEROUS)
def test_an_msr_that_may_turn_caches_off_leaves_nothing_known(msr: int, tmp_path: Path) -> None:
    result = judged(tmp_path, function(write(msr), WALK))
    assert (result.verdict, result.rows[0].cause) == (Verdict.UNDECIDED, "msr-may-change-the-cache")
    assert f"MSR {msr:#x}" in result.reason and "flush.s:4" in result.reason
    assert judged(tmp_path, function(WALK, write(msr))).verdict is Verdict.PROVED


@pytest.mark.parametrize("msr", HARMLESS.values(), ids=HARMLESS)
def test_an_msr_of_the_list_is_written_as_if_nothing_were(msr: int, tmp_path: Path) -> None:
    assert judged(tmp_path, function(write(msr, 2 if msr == 0x10B else 1), WALK)).verdict is Verdict.PROVED


def test_what_is_written_between_two_accesses_counts_too(tmp_path: Path) -> None:
    half = WALK.replace("65536", "32768")
    rest = "add $32768,%rdi; " + half.replace("9", "8")
    assert judged(tmp_path, function(half, rest)).verdict is Verdict.PROVED
    assert judged(tmp_path, function(half, write(0x277), rest)).rows[0].cause == "msr-may-change-the-cache"


def test_a_short_walk_behind_such_a_write_is_not_refuted_either(tmp_path: Path) -> None:
    short = WALK.replace("65536", "16384")
    assert judged(tmp_path, function(short)).verdict is Verdict.REFUTED
    assert judged(tmp_path, function("mov %esi,%ecx; wrmsr", short)).verdict is Verdict.UNDECIDED


def test_another_path_that_leaves_lines_is_refuted_all_the_same(tmp_path: Path) -> None:
    text = function(
        "test %rsi,%rsi; jz 1f", write(0x2FF), WALK, "ret", "1:", WALK.replace("65536", "16384").replace("9", "8")
    )
    assert judged(tmp_path, text).verdict is Verdict.REFUTED


# Skylake without -SP has no protection keys.
HAS_ALL = ("skylake-sp",)
SYSTEM = {
    "cr0": "mov %rsi,%cr0", "cr3": "mov %cr3,%rax; mov %rax,%cr3", "cr4": "mov %rsi,%cr4", "lmsw": "lmsw %si",
    "xsetbv": "xor %ecx,%ecx; mov $7,%eax; xor %edx,%edx; xsetbv",
    "wrpkru": "xor %ecx,%ecx; xor %edx,%edx; mov $-1,%eax; wrpkru",
}  # fmt: skip


@pytest.mark.parametrize("code", SYSTEM.values(), ids=SYSTEM)
def test_a_system_register_that_decides_what_is_memory_leaves_nothing_known(code: str, tmp_path: Path) -> None:
    result = judged(tmp_path, function(code, WALK), cpus=HAS_ALL)
    assert (result.verdict, result.rows[0].cause) == (Verdict.UNDECIDED, "system-register-written")
    assert judged(tmp_path, function(WALK, code), cpus=HAS_ALL).verdict is Verdict.PROVED


@pytest.mark.parametrize("code", ["mov %rsi,%cr2", "mov %rsi,%cr8", "mov %rsi,%db7", "clts"])
def test_other_system_registers_do_not_matter(code: str, tmp_path: Path) -> None:
    assert judged(tmp_path, function(code, WALK)).verdict is Verdict.PROVED


def test_where_gs_leads_is_another_place_after_its_base_was_written(tmp_path: Path) -> None:
    """Each time the byte at gs:0 decides; read twice from one place it is one decision."""
    ask = "cmpb $0,%gs:0; je {0}f; nop; {0}:"
    same = judged(tmp_path, function(ask.format(1), ask.format(2), WALK))
    moved = judged(tmp_path, function(ask.format(1), write(0xC0000101), ask.format(2), WALK))
    unknown = judged(tmp_path, function(ask.format(1), "mov %esi,%ecx; wrmsr", ask.format(2), WALK))
    assert (len(same.paths), len(moved.paths), len(unknown.paths)) == (2, 4, 4)
    other = judged(tmp_path, function(ask.format(1), write(0xC0000102), ask.format(2), WALK))
    assert len(other.paths) == 2


# --- a command that is not known

FROM_VARIABLE = function(
    "mov command(%rip),%rax; test %rax,%rax; jz 1f", "mov %rax,%rdx; shr $32,%rdx; mov $0x10b,%ecx; wrmsr", "ret",
    "1:", WALK, "lfence",
) + "        .comm command,8,8\n"  # fmt: skip
FROM_ARGUMENT = function("test %esi,%esi; je 1f; mov %esi,%eax; xor %edx,%edx; mov $0x10b,%ecx; wrmsr; ret", "1:", WALK)
FROM_NUMBER = function("test %esi,%esi; je 1f; mov %esi,%ecx; mov $1,%eax; xor %edx,%edx; wrmsr; ret", "1:", WALK)


@pytest.mark.parametrize(("text", "name"), [(FROM_VARIABLE, "command"), (FROM_ARGUMENT, "rsi"), (FROM_NUMBER, "")])
def test_an_msr_write_that_may_be_the_flush_is_a_kind_of_its_own(text: str, name: str, tmp_path: Path) -> None:
    result = judged(tmp_path, text)
    assert sorted(path.outcome for path in result.paths) == ["msr-write-of-an-unknown-value", "software-walk"]
    assert result.verdict is Verdict.PROVED and "msr-value-unknown" in {one.id for one in result.findings}
    every = judged(tmp_path, text, every_path=True)
    assert (every.verdict, every.cause) == (Verdict.UNDECIDED, "msr-value-unknown")
    assert not name or f"--bind {name}=VALUE" in every.reason


def test_binding_what_it_comes_from_settles_it(tmp_path: Path) -> None:
    bound = judged(tmp_path, FROM_VARIABLE, every_path=True, bind={"command": "1"})
    assert [path.outcome for path in bound.paths] == ["msr-write"]
    none = judged(tmp_path, FROM_VARIABLE, every_path=True, bind={"command": "2"})
    assert [path.outcome for path in none.paths] == ["skipped"]
    walk = judged(tmp_path, FROM_VARIABLE, every_path=True, bind={"command": "0"})
    assert (walk.verdict, [path.outcome for path in walk.paths]) == (Verdict.PROVED, ["software-walk"])


# --- the list


@pytest.mark.parametrize("one", list(harmless()), ids=lambda one: one.name)
def test_the_list_names_each_msr_once_and_says_why(one) -> None:  # type: ignore[no-untyped-def]
    assert one.first <= one.last and one.name and one.why
    others = [other for other in harmless() if other is not one]
    assert all(other.last < one.first or one.last < other.first for other in others)
    assert not any(is_harmless(number) for number in DANGEROUS.values())


@pytest.mark.parametrize(
    ("write", "said", "flushes"),
    [
        (MsrWrite(0x10B, 1), "MSR 0x10b = 0x1", True),
        (MsrWrite(0x10B, 2), "MSR 0x10b = 0x2", False),
        (MsrWrite(0x48, 1), "MSR 0x48 = 0x1", False),
        (MsrWrite(0x10B, None, ("one", "two")), "MSR 0x10b = an unknown value (one and two)", None),
        (MsrWrite(None, 1), "an unknown MSR = 0x1", None),
        (MsrWrite(None, 0xFFFFFFFE), "an unknown MSR = 0xfffffffe", False),
    ],
)
def test_an_event_has_the_write_as_a_fact(write: MsrWrite, said: str, flushes: bool | None) -> None:
    event = Event(Kind.MSR_WRITE, 0, str(write), msr=write)
    assert event.detail == said
    assert (flushes_by_msr(event), may_flush_by_msr(event)) == (flushes is True, flushes is not False)
    # What is called like that is no such write.
    assert not may_flush_by_msr(Event(Kind.CALL, 0, said))
