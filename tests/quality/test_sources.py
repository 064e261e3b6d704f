# SPDX-License-Identifier: GPL-2.0-or-later
"""The same judgements through C and mails: what the source shows is found, what the compiler does is seen."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from l1dflush.cache.geometry import Geometry
from l1dflush.ending import Verdict
from l1dflush.report.layout import plain
from l1dflush.report.terminal.verify import verify_lines
from l1dflush.tracing.region import Region, RegionKind
from l1dflush.verdict.judge import verify
from l1dflush.verdict.options import VerifyOptions
from l1dflush.verdict.verify_result import VerifyResult

pytestmark = pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler is installed")

ROOT = Path(__file__).parents[2]
SHARED = Path(os.environ.get("L1DFLUSH_SHARED", ROOT.parent / "shared"))
SEED = SHARED / "data" / "seed" / "l1d-flush-patch-mail.txt"
L1D = Geometry(32768, 8, 64)

INLINE = """
static void *pages;
void l1d_flush(void)
{{
	int size = 65536;

	asm volatile(
		"xorl	%%eax, %%eax\\n"
		"1:	movzbl	(%[base], %%rax), %%ecx\\n"
		"addl	$4096, %%eax\\n"
		"cmpl	%%eax, %[size]\\n"
		"jne	1b\\n"
		"xorl	%%eax, %%eax\\n"
		"cpuid\\n"
		"xorl	%%eax, %%eax\\n"
		"2:	movzbl	(%[base], %%rax), %%ecx\\n"
		"addl	$64, %%eax\\n"
		"cmpl	%%eax, %[size]\\n"
		"jne	2b\\n"
		"lfence\\n"
		:: [base] "r" ({base}), [size] "r" (size)
		: {clobbers});
}}
"""
CLOBBERS = '"eax", "ebx", "ecx", "edx", "memory"'
PLAIN = """
void l1d_flush(const volatile char *buffer)
{
	for (int i = 0; i < 65536; i += 64)
		(void)buffer[i];
}
"""


def judge(path: Path, text: str, optimize: str = "2") -> VerifyResult:
    path.write_text(text)
    return verify(str(path), VerifyOptions(policy="tree-PLRU", geometry=L1D, optimize=optimize))


def inline(base: str = "pages", clobbers: str = CLOBBERS) -> str:
    return INLINE.format(base=base, clobbers=clobbers)


@pytest.mark.parametrize("optimize", ["0", "2"])
def test_inline_assembly_is_the_same_at_every_level(optimize: str, tmp_path: Path) -> None:
    result = judge(tmp_path / "flush.c", inline(), optimize)
    assert result.verdict is Verdict.PROVED
    assert not [f for f in result.findings if f.severity != "note"]


@pytest.mark.parametrize(
    ("clobbers", "rule", "said"),
    [
        ('"eax", "ebx", "ecx", "edx"', "no-memory-clobber", "memory"),
        ('"ebx", "ecx", "edx", "memory"', "undeclared-register", "ax"),
        ('"eax", "ecx", "edx", "memory"', "undeclared-register", "bx"),
    ],
)
def test_missing_clobbers(clobbers: str, rule: str, said: str, tmp_path: Path) -> None:
    result = judge(tmp_path / "flush.c", inline(clobbers=clobbers))
    # Left undeclared, eax is where the compiler puts an input: then the routine is broken for good.
    assert result.verdict is (Verdict.REFUTED if said == "ax" else Verdict.PROVED)
    (found,) = [f for f in result.findings if f.id == rule]
    assert said in found.message
    assert found.where is not None and found.where.file is not None and found.where.file.endswith("flush.c")
    assert found.where.line


def test_own_storage_in_c(tmp_path: Path) -> None:
    result = judge(tmp_path / "flush.c", inline(base="&pages"))
    assert result.verdict is Verdict.PROVED
    (found,) = [f for f in result.findings if f.id == "own-storage"]
    assert found.severity == "error" and "pages" in found.message


def test_wrong_base_register_in_c(tmp_path: Path) -> None:
    result = judge(tmp_path / "flush.c", inline().replace("%[base]", "%%r12"))
    assert [f.severity for f in result.findings if f.id == "undefined-register"] == ["error"]


def test_plain_c_without_optimisation_keeps_its_counter_in_memory(tmp_path: Path) -> None:
    result = judge(tmp_path / "flush.c", PLAIN, "0")
    assert result.verdict is Verdict.REFUTED
    (row,) = result.rows
    assert (row.has, row.needs, row.margin, row.leftovers) == (16, 13, None, 3)


def test_plain_c_with_optimisation_is_proved_but_depends_on_it(tmp_path: Path) -> None:
    result = judge(tmp_path / "flush.c", PLAIN)
    assert result.verdict is Verdict.PROVED
    (found,) = [f for f in result.findings if f.id == "optimisation-dependent"]
    told = "own accesses come between the buffer's at -O0: stack"
    assert "PROVED at -O" in found.message and found.message.endswith(f"REFUTED at -O0: {told}")


@pytest.mark.skipif(not SEED.is_file(), reason=f"the seed mail is not there: {SEED}")
def test_the_seed_mail_is_judged_like_the_built_in() -> None:
    mail, built_in = verify(str(SEED), VerifyOptions()), verify("linux-4.9.120", VerifyOptions())
    assert mail.verdict is built_in.verdict is Verdict.PROVED
    assert mail.exit_status == built_in.exit_status == 0
    assert mail.rows == built_in.rows
    ids = [{f.id for f in result.findings if f.severity != "note"} for result in (mail, built_in)]
    assert ids == [{"buffer-not-initialised", "no-memory-clobber"}] * 2
    assert [str(r.buffer.region) if r.buffer else "" for r in (mail, built_in)] == [
        "what `vmx_l1d_flush_pages` points to"
    ] * 2


@pytest.mark.skipif(not SEED.is_file(), reason=f"the seed mail is not there: {SEED}")
def test_the_seed_mail_on_every_affected_cpu() -> None:
    deciding = [row for row in verify(str(SEED), VerifyOptions()).rows if row.decides]
    assert [(row.needs, row.has, row.margin, row.verdict) for row in deciding] == [(13, 16, 3, Verdict.PROVED)]
    assert len(deciding[0].cpus) >= 10


def test_a_variable_beside_the_buffer_is_not_the_buffer(tmp_path: Path) -> None:
    text = (
        "static int i;\nstatic char buf[65536];\n"
        "void l1d_flush(void) { for (i = 0; i < 65536; i += 64) (void)*(volatile char *)&buf[i]; }\n"
    )
    result = judge(tmp_path / "flush.c", text, "0")
    assert result.buffer is not None and result.buffer.region == Region(RegionKind.SYMBOL, ("buf",))
    assert not {"own-storage", "buffer-written"} & {f.id for f in result.findings}


@pytest.mark.parametrize(
    ("definition", "pointer"),
    [
        ("DEFINE_PER_CPU(unsigned char [SIZE], pages);", "this_cpu_ptr(pages)"),
        ("static DEFINE_PER_CPU(unsigned char, pages[SIZE]);", "this_cpu_ptr(&pages[0])"),
        ("DEFINE_PER_CPU_PAGE_ALIGNED(unsigned char [SIZE], pages);", "raw_cpu_ptr(pages)"),
        ("struct b { char c[SIZE]; };\nstatic DEFINE_PER_CPU(struct b, pages);", "get_cpu_var(pages).c"),
        ("struct b { char c[SIZE]; };\nDEFINE_PER_CPU_ALIGNED(struct b, pages);", "this_cpu_ptr(&pages)->c"),
    ],
)
@pytest.mark.parametrize("size", [65536, 61440])
def test_a_buffer_in_per_cpu_memory(definition: str, pointer: str, size: int, tmp_path: Path) -> None:
    text = (
        f"#define SIZE {size}\n{definition}\nvoid l1d_flush(void)\n{{\n\tint i;\n"
        f"\tunsigned char *p = (void *){pointer};\n"
        "\tfor (i = 0; i < 65536; i += 64)\n\t\t(void)*(volatile char *)(p + i);\n}\n"
    )
    result = judge(tmp_path / "flush.c", text)
    assert result.buffer is not None
    assert (result.buffer.region.names, result.buffer.size) == (("pages",), size)
    assert not result.outside
    assert ("outside-buffer" in {found.id for found in result.findings}) == (size < 65536)


@pytest.mark.parametrize(("index", "stays"), [("p", True), ("p + (i & 63)", True), ("p + (i >> 6 & 63)", False)])
def test_a_walk_whose_index_does_not_move(index: str, stays: bool, tmp_path: Path) -> None:
    text = (
        "void l1d_flush(unsigned char *p)\n{\n\tint i;\n\tfor (i = 0; i < 65536; i += 64)\n"
        f"\t\t(void)*(volatile char *)({index});\n}}\n"
    )
    result = judge(tmp_path / "flush.c", text)
    assert (result.verdict, result.cause) == (Verdict.UNDECIDED, "no-software-walk")
    assert result.undecided is not None
    told = "a loop reads what `p` points to 1024 times, which stays the same place"
    assert (told in result.undecided.what) is stays
    assert (result.undecided.where is not None and result.undecided.where.line == 5) is stays
    shown = " ".join(plain(verify_lines(result, 100)).split())
    assert ("1024 loads of one place (what `p` points to+0)" in shown) is stays
