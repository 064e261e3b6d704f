# SPDX-License-Identifier: GPL-2.0-or-later
"""Assembly files of every kind that GNU as takes, and what becomes of those that it does not take."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import pytest

from l1dflush.errors import InputError
from l1dflush.routine import toolchain
from l1dflush.routine.assembly.source import load_assembly, looks_intel
from l1dflush.routine.model import OriginKind, Routine
from l1dflush.routine.options import LoadOptions

pytestmark = pytest.mark.skipif(shutil.which("as") is None, reason="there is no assembler")
needs_cc = pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler")

ATT = """\
	.globl	l1d_flush
	.type	l1d_flush, @function
l1d_flush:
	xorl	%eax, %eax		# eax, ebx: no matter what the comment says
fill:
	movzbl	(%rdi,%rax), %ecx
	addq	$64, %rax
	cmpq	$65536, %rax
	jne	fill
	lfence
	ret
	.size	l1d_flush, . - l1d_flush
"""
INTEL = """\
.globl l1d_flush
.type l1d_flush, @function
l1d_flush:
    xor eax, eax
fill:
    movzx ecx, byte ptr [rdi+rax]
    add rax, 64
    cmp rax, 65536
    jne fill
    lfence
    ret
.size l1d_flush, . - l1d_flush
"""


def one(text: str, source: str = "x.s", **options: object) -> Routine:
    (routine,) = load_assembly(source, text, LoadOptions(**options))  # type: ignore[arg-type]
    return routine


def test_both_syntaxes_give_the_same_code() -> None:
    att, intel = one(ATT), one(INTEL)
    assert att.code == intel.code == bytes.fromhex("31c00fb60c074883c040483d0000010075f00faee8c3")
    assert (att.origin.detail, intel.origin.detail) == ("AT&T syntax, 64-bit", "Intel syntax, 64-bit")
    assert att.origin.kind is OriginKind.ASSEMBLY
    assert att.source_available and att.notes == ()
    assert one(".intel_syntax noprefix\n" + INTEL).origin.detail == "Intel syntax, 64-bit"


@pytest.mark.parametrize("text", [ATT, INTEL, "\ufeff".strip("\ufeff") + ATT.replace("\n", "\r\n")])
def test_lines_are_those_of_the_file(text: str) -> None:
    routine = one(text, 'some where/my "flush"\\x:1.s')
    assert str(routine.image.lines[routine.entry]) == 'some where/my "flush"\\x:1.s:4'
    assert routine.image.lines[routine.entry + 2].line == 6
    assert one(text, "-").image.lines[routine.entry].file == "<stdin>"


@pytest.mark.parametrize(
    ("text", "intel"),
    [
        ("push rax\npop rbx", True),  # GNU as takes this for AT&T without a complaint
        ("clflush [rax]", True),
        ("mov eax, dword ptr [x]", True),
        ("pushq %rax", False),
        ("# mov eax, [rdi]\npushq %rax", False),
        ("movl $1, x", False),
        ("/* rax rbx rcx", False),
    ],
)
def test_the_syntax_is_told_by_the_operands(text: str, intel: bool) -> None:
    assert looks_intel(text) is intel


def test_intel_syntax_does_not_become_a_reference_to_a_symbol() -> None:
    routine = one("f: push rax\npop rax\nret")
    assert routine.code == b"\x50\x58\xc3"
    assert not [s for s in routine.image.symbols.values() if not s.defined]


def test_a_wrong_guess_is_put_right() -> None:
    routine = one("f: nop\nnop\n.set eax, 5\nmovl $5, table\n.comm table, 4\nret")
    assert routine.code.startswith(b"\x90\x90\xc7\x04\x25")
    assert routine.origin.detail == "AT&T syntax, 64-bit"


def test_32_bit_code_is_recognised() -> None:
    routine = one("f: pushl %ebx\nmovb (%eax), %bl\npopl %ebx\nret")
    assert (routine.image.bits, routine.origin.detail) == (32, "AT&T syntax, 32-bit")
    assert routine.code == bytes.fromhex("538a185bc3")
    # This would assemble in a 64-bit file too, and then be run as what it is not.
    assert one(".code32\nf: movb (%eax), %bl\nret").image.bits == 32
    assert one(".code64\nf: movb (%rax), %bl\nret").image.bits == 64
    with pytest.raises(InputError, match=r"x\.s: 16-bit code, or a mixture"):
        one(".code16\nf: ret")


def test_definitions_are_seen_and_do_not_move_the_lines() -> None:
    routine = one("f: mov $SIZE, %eax\nret", defines={"SIZE": "0x10000"})
    assert routine.code == bytes.fromhex("b800000100c3")
    assert routine.image.lines[routine.entry].line == 1
    with pytest.raises(InputError, match="--define: not a name and a number"):
        one("f: ret", defines={"SIZE": '1\n.incbin "x"'})


def test_the_function_can_be_named() -> None:
    assert one(ATT + "other: ret\n", function="other").code == b"\xc3"
    with pytest.raises(InputError, match=r"x\.s: no function 'l1d_flsh' .nearest of 1: l1d_flush"):
        one(ATT, function="l1d_flsh")


@needs_cc
def test_preprocessor_lines() -> None:
    text = "#define SIZE 4096\n/* a comment */\n#ifdef WANTED\nf: mov $SIZE, %eax\n#endif\n# a comment\nret\n"
    routine = one(text, defines={"WANTED": "1"})
    assert routine.code == bytes.fromhex("b800100000c3")
    assert str(routine.image.lines[routine.entry]) == "x.s:4"
    with pytest.raises(InputError, match=r"^x\.s:1: .*linux/linkage\.h"):
        one("#include <linux/linkage.h>\nret\n")


@pytest.mark.parametrize(
    ("text", "where", "what"),
    [
        ("f: nop\n bogus %eax\n worse %eax", "x.s:2", "no such instruction: `bogus %eax'"),
        ("f: mov eax, [rdi]\n bogus eax", "x.s:2", "no such instruction: `bogus eax'"),
        (".macro m\nm\n.endm\nm", "x.s:2", "macros nested too deeply"),
        (".section .bss\n.skip 1", "x.s", "there is no machine code in it"),
    ],
)
def test_the_first_complaint_is_told_in_one_line(text: str, where: str, what: str) -> None:
    with pytest.raises(InputError) as error:
        one(text)
    assert error.value.where == where
    assert what in error.value.what
    assert "/tmp" not in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    "text",
    [
        'f: .incbin "/etc/passwd"',
        'f: .INCBIN "/etc/passwd"',
        'nop; .include "/etc/passwd"',
        '#define X\n#include "/etc/passwd"\n',
        '#define X\n#inc\\\nlude "/etc/passwd"\n',
        "#define X </etc/passwd>\n#include X\n",
        "#define X\n#  include <../../../../../../../etc/passwd>\n",
    ],
)
def test_no_other_file_is_read(text: str) -> None:
    with pytest.raises(InputError) as error:
        one(text)
    assert "another file" in error.value.what or "no other file is read" in error.value.what


def test_inline_assembly_cannot_read_files_either() -> None:
    with pytest.raises(InputError, match=r"'\.incbin' reads another file"):
        toolchain.compile_c(b'void f(void) { asm(".inc" \n "bin \\"/etc/passwd\\""); }', where="x.c")


@pytest.mark.parametrize(
    "text",
    [
        ".rept 1000000000\nnop\n.endr",
        "f: .skip 0x7fffffff, 1",
        "/*" * 200_000,
        '"' + " " * 500_000,
        "a: " * 100_000,
    ],
    ids=["rept", "skip", "comments", "spaces", "labels"],
)
def test_hostile_text_ends_soon(text: str) -> None:
    start = time.monotonic()
    with pytest.raises(InputError):
        one(text)
    assert time.monotonic() - start < 20


def test_text_beyond_the_limit() -> None:
    with pytest.raises(InputError, match="more than 4 Mi characters"):
        one("nop\n" * (2 << 20))


def test_a_tool_that_takes_too_long_is_ended(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    slow = tmp_path / "as"
    slow.write_text("#!/bin/sh\nsleep 60\n")
    slow.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr(toolchain, "WALL_SECONDS", 0.2)
    start = time.monotonic()
    with pytest.raises(toolchain.TooMuchError, match="as did not finish within"):
        one(ATT)
    assert time.monotonic() - start < 10


def test_without_any_tool(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CC", raising=False)
    with pytest.raises(InputError, match=r"no C compiler found .install gcc or clang, set CC, or give"):
        one(ATT)
    monkeypatch.setenv("CC", "no-such-compiler -m64")
    with pytest.raises(InputError, match="CC names no program that exists"):
        toolchain.compile_c(b"int x;", where="x.c")


@needs_cc
def test_the_c_compiler() -> None:
    code = b"int f(void) { return SIZE; }"
    assert b"\xb8\x07\0\0\0" in toolchain.compile_c(code, where="x.c", defines={"SIZE": "7"})
    with pytest.raises(InputError) as error:
        toolchain.compile_c(b"int f(void)\n{ return SIZE; }", where="x.c")
    assert str(error.value).startswith("x.c:2: 'SIZE' undeclared")
    with pytest.raises(InputError, match=r"--optimize: no such level of optimisation: '9'"):
        toolchain.compile_c(code, where="x.c", optimize="9")
    with pytest.raises(InputError, match="--define: cannot define '-x'"):
        toolchain.compile_c(code, where="x.c", defines={"-x": "1"})
    # About the assembler's own temporary file: no path of ours is shown.
    with pytest.raises(InputError, match=r"^x\.c:1: no such instruction"):
        toolchain.compile_c(b'void f(void) { asm("bogus"); }', where="x.c")


def test_a_remark_that_gnu_as_takes_for_an_instruction() -> None:
    what = "no such instruction: .done. .a ';' of GNU as begins another instruction; .*NASM or MASM, give the object"
    with pytest.raises(InputError, match=what):
        load_assembly("x.s", "flush:\n\tmov al, [rdi]\n\tret ; done\n", LoadOptions())
    # AT&T syntax is not NASM's.
    with pytest.raises(InputError, match=r"no such instruction: .done.$"):
        load_assembly("x.s", "flush:\n\tmovb (%rdi), %al\n\tret ; done\n", LoadOptions())
