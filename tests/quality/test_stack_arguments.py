# SPDX-License-Identifier: GPL-2.0-or-later
"""Arguments on the stack: those of 32-bit code, and of 64-bit code the seventh and those behind it."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any, Literal

import pytest
from flush_programs import judged
from trace_programs import elf, traced

from l1dflush.ending import Verdict
from l1dflush.errors import InputError
from l1dflush.tracing.model import ArenaKind
from l1dflush.verdict.judge import verify
from l1dflush.verdict.options import VerifyOptions
from l1dflush.verdict.verify_result import VerifyResult

pytestmark = pytest.mark.skipif(
    shutil.which("as") is None or shutil.which("gcc") is None, reason="no assembler or compiler"
)

# Pointer and size: by the stack pointer, by a frame pointer, and behind six in registers.
BY_STACK = "mov 4(%esp),%edx; mov 8(%esp),%ecx; xor %eax,%eax; 1: movzbl (%edx,%eax),%ebx; add $64,%eax; cmp %ecx,%eax; jb 1b; lfence; ret"  # noqa: E501
BY_FRAME = "push %ebp; mov %esp,%ebp; mov 8(%ebp),%edx; xor %eax,%eax; mov 12(%ebp),%ecx; 1: movzbl (%edx,%eax),%ebx; add $64,%eax; cmp %ecx,%eax; jne 1b; leave; lfence; ret"  # noqa: E501
BEHIND_SIX = "mov 8(%rsp),%rdx; mov 16(%rsp),%ecx; xor %eax,%eax; 1: movzbl (%rdx,%rax),%edi; add $64,%eax; cmp %ecx,%eax; jb 1b; lfence; ret"  # noqa: E501
# From and to.
RANGE = "mov 4(%esp),%edx; mov 8(%esp),%ecx; 1: movzbl (%edx),%eax; add $64,%edx; cmp %ecx,%edx; jne 1b; lfence; ret"
RANGE_64 = (
    "mov 8(%rsp),%rdx; mov 16(%rsp),%rcx; 1: movzbl (%rdx),%eax; add $64,%rdx; cmp %rcx,%rdx; jne 1b; lfence; ret"
)

SIZES: list[tuple[Literal[32, 64], str]] = [(32, BY_STACK), (32, BY_FRAME), (64, BEHIND_SIX)]
RANGES: list[tuple[Literal[32, 64], str]] = [(32, RANGE), (64, RANGE_64)]


def of_object(folder: Path, text: str, bits: Literal[32, 64], **options: Any) -> VerifyResult:
    """The result for an object file with this function, on Skylake."""
    path = folder / "flush.o"
    path.write_bytes(elf(f".globl f\n.type f,@function\nf: {text}\n.size f,.-f", bits))
    return verify(str(path), VerifyOptions(cpus=("skylake",), **options))


@pytest.mark.parametrize(("bits", "text"), SIZES)
def test_a_size_on_the_stack_can_be_given(bits: Literal[32, 64], text: str, tmp_path: Path) -> None:
    without = of_object(tmp_path, text, bits)
    assert without.cause == "too-many-paths" and "--bind stack_arg2=VALUE" in without.reason
    bind = {"stack_arg1": "buffer", "stack_arg2": "64K"}
    found = of_object(tmp_path, text, bits, bind=bind)
    assert found.verdict is Verdict.PROVED
    assert found.buffer is not None and str(found.buffer.region) == "what `stack_arg1` points to"
    assert of_object(tmp_path, text, bits, bind={"stack_arg2": "0x4000"}).verdict is Verdict.REFUTED


@pytest.mark.parametrize(("bits", "text"), RANGES)
@pytest.mark.parametrize(
    "bind",
    [
        {"stack_arg2": "stack_arg1+65536"},
        {"stack_arg1": "stack_arg2-64K"},
        {"stack_arg1": "buffer", "stack_arg2": "buffer+64K"},
    ],
)
def test_one_may_be_relative_to_another(bits: Literal[32, 64], text: str, bind: dict[str, str], tmp_path: Path) -> None:
    without = of_object(tmp_path, text, bits)
    assert "--bind stack_arg2=stack_arg1+SIZE" in without.reason
    assert of_object(tmp_path, text, bits, bind=bind).verdict is Verdict.PROVED
    short = {name: value.replace("65536", "16384").replace("64K", "16K") for name, value in bind.items()}
    assert of_object(tmp_path, text, bits, bind=short).verdict is Verdict.REFUTED


def test_a_register_may_be_relative_to_one(tmp_path: Path) -> None:
    text = RANGE.replace("mov 8(%esp),%ecx; ", "")
    assert of_object(tmp_path, text, 32, bind={"ecx": "stack_arg1+65536"}).verdict is Verdict.PROVED
    text = RANGE.replace("mov 4(%esp),%edx; ", "")
    assert of_object(tmp_path, text, 32, bind={"stack_arg2": "edx+65536"}).verdict is Verdict.PROVED


EIGHT = """void flush_it({} volatile char *pages, unsigned size)
{{
    for (unsigned i = 0; i < size; i += 64) asm volatile("movb (%0), %%al" :: "r"(pages + i) : "eax", "memory");
    asm volatile("lfence" ::: "memory");
}}
"""


@pytest.mark.parametrize(
    "before",
    [
        "int a, int b, int c, int d, int e, int f,",
        "long a, double x, char *b, float y, int c, int d, int e, int f,",
    ],
)
def test_in_c_they_have_their_names(before: str, tmp_path: Path) -> None:
    text = EIGHT.format(before)
    assert "--bind size=VALUE" in judged(tmp_path, text).reason
    found = judged(tmp_path, text, bind={"size": "65536"})
    assert found.verdict is Verdict.PROVED and found.buffer is not None
    assert str(found.buffer.region) == "what `pages` points to"
    # Half of them are in registers.
    assert judged(tmp_path, EIGHT.format("int a, int b,"), bind={"size": "65536"}).verdict is Verdict.PROVED


@pytest.mark.parametrize(
    ("parameters", "used", "options", "name"),
    [
        ("int a, int b, int c", "b", ["-m32"], "stack_arg2"),
        ("int a, int b, int c, int d, int e", "e", ["-m32"], "stack_arg5"),
        ("int a, int b, int c, int d, int e", "e", ["-m32", "-mregparm=3"], "stack_arg2"),
        ("int a, int b, int c", "b", ["-m32", "-mregparm=3"], "edx"),
        ("int a, int b, int c, int d, int e, int f, int g, int h", "h", [], "stack_arg2"),
    ],
)
def test_which_one_is_meant_a_compiler_says(
    parameters: str, used: str, options: list[str], name: str, tmp_path: Path
) -> None:
    source, target = tmp_path / "which.c", tmp_path / "which.o"
    source.write_text(f'void which({parameters}) {{ if ({used}) asm volatile("nop" ::: "memory"); }}\n')
    subprocess.run(["gcc", "-O1", "-fno-pie", *options, "-c", source, "-o", target], check=True)
    result = verify(str(target), VerifyOptions(function="which", cpus=("skylake",)))
    said = [str(one) for path in result.paths for one in path.decisions]
    assert said and all(f"`{name}`" in text for text in said)


@pytest.mark.parametrize(
    ("text", "paths"),
    [
        # Whoever has its address may change it.
        ("lea 8(%esp),%eax; push %eax; call adjust; add $4,%esp; cmpl $5,8(%esp); jne 1f; nop; 1: ret", 2),
        ("movl $7,8(%esp); cmpl $5,8(%esp); jne 1f; nop; 1: ret", 1),
        ("call adjust; cmpl $5,8(%esp); jne 1f; nop; 1: ret", 1),
        ("cmpl $5,4(%esp); jne 1f; nop; 1: ret", 2),
        # Nothing was said of what lies beside it.
        ("cmpl $5,12(%esp); jne 1f; nop; 1: ret", 2),
        ("cmpw $0,10(%esp); jne 1f; nop; 1: ret", 1),
    ],
)
def test_it_is_what_is_there_at_entry(text: str, paths: int) -> None:
    assert len(traced(text, 32, bind={"stack_arg2": "5"}).paths) == paths


def test_in_64_bits_an_argument_has_eight_bytes() -> None:
    text = "cmpl $0,{}(%rsp); jne 1f; nop; 1: ret"
    assert [len(traced(text.format(at), bind={"stack_arg1": "5"}).paths) for at in (8, 12, 16)] == [1, 1, 2]
    (path, _) = traced("cmpl $0,20(%rsp); jne 1f; nop; 1: ret").paths
    assert [decision.sources for decision in path.decisions] == [("stack_arg2+0x4",)]


def test_what_a_stack_argument_leads_to_is_an_input() -> None:
    (path,) = traced("mov 12(%esp),%eax; mov (%eax),%eax; ret", 32).paths
    arenas = {event.arena for event in path.events if event.arena is not None}
    assert {"what `stack_arg3` points to"} == {str(arena.region) for arena in arenas if arena.kind is ArenaKind.INPUT}


@pytest.mark.parametrize("name", ["stack_arg0", "stack_arg", "stack_arg-1", "stack_arg1000000", "arg1"])
def test_what_is_no_argument_is_refused_with_those_that_there_are(name: str) -> None:
    with pytest.raises(InputError, match="neither a register nor") as error:
        traced("ret", 32, bind={name: "5"})
    assert "stack_arg1" in str(error.value) and "\n" not in str(error.value)


def test_inside_of_a_function_there_are_none(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="'stack_arg1' is neither"):
        of_object(tmp_path, f"nop; {BY_STACK}", 32, start="f+1", bind={"stack_arg1": "5"})


def test_values_have_to_fit(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not fit into 32 bits"):
        of_object(tmp_path, BY_STACK, 32, bind={"stack_arg2": "0x100000000"})
    with pytest.raises(InputError, match="relative to itself"):
        of_object(tmp_path, BY_STACK, 32, bind={"stack_arg2": "stack_arg1", "stack_arg1": "stack_arg2"})


FIRST = """        .globl init
        .type init,@function
init:   testb $1,{at}(%{stack})
        je 1f
        movl $1,ready
1:      ret
        .size init,.-init
        .comm ready,4,4
"""


@pytest.mark.parametrize(
    ("bits", "at", "name"),
    [(32, 4, "stack_arg1"), (32, 12, "stack_arg3"), (64, 8, "stack_arg1"), (64, 28, "stack_arg3+0x4")],
)
def test_those_of_what_runs_first_are_its_own(bits: Literal[32, 64], at: int, name: str, tmp_path: Path) -> None:
    path = tmp_path / "flush.o"
    register = "esp" if bits == 32 else "rsp"
    walk = BY_STACK if bits == 32 else BEHIND_SIX
    text = f".globl f\n.type f,@function\nf: {walk}\n.size f,.-f\n{FIRST.format(at=at, stack=register)}"
    path.write_bytes(elf(text, bits))
    options = VerifyOptions(cpus=("skylake",), function="f", run_first=("init",), bind={"stack_arg2": "64K"})
    result = verify(str(path), options)
    assert result.verdict is Verdict.PROVED and result.buffer is not None
    assert str(result.buffer.region) == "what `stack_arg1` points to"
    said = {str(one) for path in result.paths for one in path.decisions}
    assert said and all(f"`{name} of init`" in text for text in said)
