# SPDX-License-Identifier: GPL-2.0-or-later
"""What the walked memory is: zeros that nobody wrote, the address 0."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from flush_programs import WALK, function, judged

from l1dflush.assumption import Assumes
from l1dflush.ending import Verdict
from l1dflush.verdict.judge import verify
from l1dflush.verdict.options import VerifyOptions
from l1dflush.verdict.verify_result import VerifyResult

pytestmark = pytest.mark.skipif(
    shutil.which("as") is None or shutil.which("gcc") is None, reason="no assembler or compiler"
)

IN_ASM = function("lea pages(%rip),%rdi", WALK, "lfence") + "        .local pages\n        .comm pages,65536,4096\n"
IN_DATA = (
    function("lea pages(%rip),%rdi", WALK, "lfence")
    + "        .data\n        .balign 4096\n"
    + "        .type pages,@object\n        .size pages,65536\npages:  .zero 65536\n"
)
LOOP = 'for (long i = 0; i < 65536; i += 64) asm volatile("movb (%0), %%al" :: "r"(pages + i) : "eax", "memory");'
IN_C = f"static char pages[65536] __attribute__((aligned(4096)));\nvoid flush_it(void) {{ {LOOP} }}\n"


def rules(result: VerifyResult) -> dict[str, str]:
    """Findings by their ids."""
    assert result.verdict is Verdict.PROVED
    return {one.id: one.message for one in result.findings}


def unchecked(result: VerifyResult) -> bool:
    """Whether the report says that nobody looked at the pages' content."""
    assert result.scope is not None
    return any(one.kind is Assumes.PAGES_DIFFER for one in result.scope.not_modelled)


def of_object(folder: Path, text: str, **options: Any) -> VerifyResult:
    """The result for the object file that GCC makes."""
    (folder / "flush.c").write_text(text)
    subprocess.run(["gcc", "-O2", "-c", "flush.c", "-o", "flush.o"], cwd=folder, check=True)
    return verify(str(folder / "flush.o"), VerifyOptions(cpus=("skylake",), function="flush_it", **options))


@pytest.mark.parametrize("text", [IN_ASM, IN_DATA, IN_C])
def test_zeros_that_nobody_wrote(text: str, tmp_path: Path) -> None:
    found = judged(tmp_path, text)
    assert "`pages`" in rules(found)["zero-buffer"] and not unchecked(found)


def test_in_an_object_file_too(tmp_path: Path) -> None:
    assert "zero-buffer" in rules(of_object(tmp_path, IN_C))


STORE = "        .globl init\n        .type init, @function\ninit:  movb $1, pages+4096(%rip)\n        ret\n        .size init, .-init\n"  # noqa: E501
FILL = "void init(void) { for (int i = 0; i < 65536; i++) pages[i] = i / 4096; }\n"
FAR = "char *where(void) { return pages; }\n"


@pytest.mark.parametrize(
    ("text", "options"),
    [
        # Something else may write it.
        (IN_ASM + "        .text\n" + STORE, {"function": "flush_it"}),
        (IN_C + FILL, {"function": "flush_it"}), (IN_C + FAR, {"function": "flush_it"}),
        # It is not all zero, or no buffer of pages, or the routine writes it, or what it calls may.
        (IN_DATA.replace(".zero 65536", ".zero 4096, 1\n        .zero 61440"), {}),
        (IN_ASM.replace(WALK, f"movb $1,4096(%rdi); {WALK}"), {}),
        (IN_ASM.replace("lea ", "call prepare\n        lea "), {}),
        (function(WALK, "lfence"), {}),
    ],
)  # fmt: skip
def test_what_may_be_written_is_no_finding(text: str, options: dict[str, str], tmp_path: Path) -> None:
    found = judged(tmp_path, text, **options)
    assert "zero-buffer" not in rules(found) and unchecked(found)


@pytest.mark.parametrize("more", [FILL, FAR, "char *somewhere = pages;\n"])
def test_nor_is_it_in_an_object_file(more: str, tmp_path: Path) -> None:
    assert "zero-buffer" not in rules(of_object(tmp_path, IN_C + more))


def test_what_ran_first_may_have_written_it(tmp_path: Path) -> None:
    text = IN_C + FILL.replace("i / 4096", "1")
    assert "zero-buffer" not in rules(judged(tmp_path, text, function="flush_it", run_first=("init",)))


@pytest.mark.parametrize(
    ("text", "bind"),
    [
        (function("xor %edi,%edi", WALK, "lfence"), {}),
        (function("mov $64,%edi", WALK, "lfence"), {}),
        (function(WALK, "lfence"), {"rdi": "0"}),
        (IN_C.replace("static char pages[65536] __attribute__((aligned(4096)))", "#define pages ((char *)0)").replace(";\nvoid", "\nvoid"), {}),  # noqa: E501
    ],
)  # fmt: skip
def test_a_buffer_at_address_0_is_an_error(text: str, bind: dict[str, str], tmp_path: Path) -> None:
    found = judged(tmp_path, text, bind=bind)
    assert "null-buffer" in rules(found)
    assert next(one for one in found.findings if one.id == "null-buffer").severity.value == "error"


@pytest.mark.parametrize("address", ["4096", "0x100000", "0xffffffff81000000"])
def test_another_address_is_none(address: str, tmp_path: Path) -> None:
    assert "null-buffer" not in rules(judged(tmp_path, function(WALK, "lfence"), bind={"rdi": address}))


UP = "lea 63(%rdi),%rdi; and $-64,%rdi"
ONE_MORE = (
    "test %esi,%esi; jz 3f; movzbl (%rdi),%ecx; 3: mov $64,%eax; 9: movzbl (%rdi,%rax),%ecx; add $64,%eax; {} "
    "8: cmp $65600,%eax; jne 9b; lfence"
)
HOLE = "cmp $16384,%eax; jne 8f; add $64,%eax;"


@pytest.mark.parametrize(
    ("before", "hole", "left_out"),
    [
        # Nobody knows which of two paths begins where the rounded buffer does.
        (UP, "", []),
        (UP, HOLE, ["1 line left out: buffer+0x4040"]),
        ("nop", "", ["1 line left out: buffer+0x0"]),
        ("nop", HOLE, ["1 line left out: buffer+0x4000", "2 lines left out: buffer+0x0, buffer+0x4000"]),
    ],
)
def test_lines_are_left_out_of_pages_that_are_known(
    before: str, hole: str, left_out: list[str], tmp_path: Path
) -> None:
    result = judged(tmp_path, function(before, ONE_MORE.format(hole)))
    assert sorted(one.message for one in result.findings if one.id == "skipped-line") == left_out
