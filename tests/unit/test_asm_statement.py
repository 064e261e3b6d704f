# SPDX-License-Identifier: GPL-2.0-or-later
"""What an asm statement changes, declares and labels."""

from __future__ import annotations

import shutil

import pytest

from l1dflush.routine.c.asm_statement import changed_registers, named_labels, whole_register
from l1dflush.routine.c.parsing import AsmStatement, facts_of
from l1dflush.routine.c.source import load_c
from l1dflush.routine.c.text import cut
from l1dflush.routine.model import NoteKind
from l1dflush.routine.options import LoadOptions

needs_compiler = pytest.mark.skipif(
    shutil.which("cc") is None and shutil.which("gcc") is None, reason="no C compiler on this machine"
)


def statement(text: str) -> AsmStatement:
    whole = cut(f"void flush(char *p, long n) {{ {text} }}", where="t.c")
    return facts_of(whole, whole.items[0], where="t.c").asm[0]


def undeclared(text: str, optimize: str = "2") -> list[str]:
    source = f"void flush(char *p, long n) {{\n{text}\n}}\n"
    routine = load_c("t.c", source, LoadOptions(optimize=optimize))[0]
    return [note.text for note in routine.notes if note.kind is NoteKind.REGISTER_NOT_DECLARED]


@pytest.mark.parametrize(
    ("code", "changed"),
    [
        ("0fa2", {"rax", "rbx", "rcx", "rdx"}),  # cpuid
        ("f3ac", {"rax", "rcx", "rsi"}),  # rep lodsb
        ("e2fe", {"rcx"}),  # loop
        ("4883c340", {"rbx"}),  # add $64, %rbx
        ("450fb60a", {"r9"}),  # movzbl (%r10), %r9d
        ("c5fd6f06", {"xmm0"}),  # vmovdqa (%rsi), %ymm0
        ("480fb10b", {"rax"}),  # cmpxchg %rcx, (%rbx)
        ("0faee8", set()),  # lfence
        ("3dff000000", set()),  # cmp: the flags need no declaration
        ("530fa25b", {"rax", "rcx", "rdx"}),  # push %rbx; cpuid; pop %rbx
        ("4889df0fa24889fb", {"rax", "rcx", "rdx", "rdi"}),  # %rbx parked in %rdi meanwhile
        ("53", set()),
        ("", set()),
        ("06", set()),  # not an instruction in 64-bit mode
    ],
)
def test_what_machine_code_changes(code: str, changed: set[str]) -> None:
    assert changed_registers(bytes.fromhex(code)) == changed


@pytest.mark.parametrize(
    ("name", "whole"),
    [
        ("eax", "rax"),
        ("%al", "rax"),
        ("r9d", "r9"),
        ("zmm31", "xmm31"),
        ("k3", "k3"),
        ("memory", None),
        ("8(%rsp)", None),
        ("$64", None),
    ],
)
def test_names_of_parts_are_names_of_the_whole(name: str, whole: str | None) -> None:
    assert whole_register(name) == whole


def test_parts_of_a_statement_are_found() -> None:
    found = statement('asm volatile("a " X "b" : "=r"(n), "+m" (*p) : [in] "r" (p + 1) : "rax", "memory");')
    assert [operand.constraint for operand in found.outputs] == ["=r", "+m"]
    assert [(operand.name, operand.value) for operand in found.inputs] == [("in", "p + 1")]
    assert found.clobbers == ("rax", "memory")
    assert found.template_macros == 1
    assert found.extended


@pytest.mark.parametrize(
    ("template", "labels"),
    [
        (r'"1: nop\n\tjmp 1b"', []),
        (r'".Lnext%=: nop\n jmp .Lnext%="', []),
        (r'".Lnext:\n\tnop\n" ".Lagain: nop"', [".Lnext", ".Lagain"]),
        (r'"nop; here: nop"', ["here"]),
        (r'"2: 3: there: nop"', ["there"]),
        (r'"mov %%gs:0, %%rax"', []),
        (r'"nop # no: label\n" "nop /* nor: here */"', []),
        (r'"twice: nop\n twice: nop"', ["twice"]),
        (r'"a" NAME "b: nop"', []),
    ],
)
def test_labels_that_break_when_the_statement_is_there_twice(template: str, labels: list[str]) -> None:
    assert [name for _, name in named_labels(statement(f"asm volatile({template} ::);"))] == labels


@needs_compiler
@pytest.mark.parametrize("optimize", ["0", "2"])
def test_implicit_changes_count(optimize: str) -> None:
    text = 'asm volatile("xor %%eax, %%eax\\n\\tcpuid" ::: "eax", "ecx", "memory");'
    assert undeclared(text, optimize) == ["an asm statement changes rbx and rdx without declaring it"]


@needs_compiler
@pytest.mark.parametrize("optimize", ["0", "2"])
def test_an_input_that_is_changed_is_no_output(optimize: str) -> None:
    text = 'asm volatile("1: movb (%[at]), %%al\\n add $64, %[at]\\n loop 1b" :: [at] "D" (p), "c" (n) : "al");'
    says = "an asm statement changes rcx (the input 'n') and rdi (the input 'at') without declaring it"
    assert undeclared(text, optimize) == [says]


@needs_compiler
@pytest.mark.parametrize(
    "text",
    [
        'asm volatile("1: movb (%0), %%al\\n add $64, %0\\n loop 1b" : "+r" (p), "+c" (n) :: "rax");',
        'asm volatile("add $64, %0" : "=r" (p) : "0" (p) : "memory");',
        'asm volatile("cpuid" : "=a" (n) : "a" (0) : "rbx", "%rcx", "dx");',
        'asm volatile("push %%rbx; cpuid; pop %%rbx" : : : "rax", "rcx", "rdx", "memory");',
        'asm volatile("vmovdqa (%0), %%ymm3" : : "r" (p) : "xmm3", "memory");',
        'asm volatile("lfence" : : : "memory", "cc");',
        'asm goto("cmpb $0, (%0)\\n\\tje %l[out]" : : "r" (p) : "memory" : out); out:;',
    ],
)
def test_nothing_is_said_of_what_is_declared(text: str) -> None:
    assert undeclared(text) == []


@needs_compiler
def test_an_input_in_a_register_that_the_instruction_writes() -> None:
    found = undeclared('asm volatile("cpuid" : : "a" (0) : "ebx", "ecx", "edx");')
    assert found == ["an asm statement changes rax (the input '0') without declaring it"]


@needs_compiler
def test_macros_in_a_template_are_expanded() -> None:
    text = '#define STEP "add $64, %%r11\\n"\nasm volatile("nop\\n" STEP :: : "memory");'
    assert undeclared(text) == ["an asm statement changes r11 without declaring it"]


@needs_compiler
def test_a_statement_that_is_compiled_into_two_places_is_reported_once() -> None:
    source = (
        "static inline __attribute__((always_inline)) void one(const void *p)\n"
        '{ asm volatile("movb (%0), %%al" :: "r" (p) : "memory"); }\n'
        "void flush(char *p) { one(p); one(p + 64); }\n"
    )
    notes = load_c("t.c", source, LoadOptions())[0].notes
    found = [note for note in notes if note.kind is NoteKind.REGISTER_NOT_DECLARED]
    assert [str(note.where) for note in found] == ["t.c:2"]


@needs_compiler
def test_basic_asm_is_looked_at_too() -> None:
    assert undeclared('asm("mov $1, %r11d");') == ["an asm statement changes r11 without declaring it"]
