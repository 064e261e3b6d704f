# SPDX-License-Identifier: GPL-2.0-or-later
"""The hash of a routine changes when the routine does, and with nothing else.

What it is over is written out by hand for a few small routines; the rest are pairs of routines that differ in one
thing.
"""

from __future__ import annotations

import json
import lzma
import shutil
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest
from kernel_modules import Module, build

from l1dflush.routine import identity
from l1dflush.routine.identity import described, digest
from l1dflush.routine.load import load_bytes
from l1dflush.routine.model import Routine
from l1dflush.routine.options import LoadOptions
from l1dflush.routine.toolchain import assemble
from l1dflush.tracing.abstract import trace

pytestmark = pytest.mark.skipif(shutil.which("as") is None, reason="there is no assembler")

TRIALS = Path(__file__).parents[1] / "data" / "trials" / "inputs"
# Walks over what lies between two addresses.
WALK = """
    .globl flush
    {kind}
flush:
    {first}
    {last}
1:  movzbl (%{r}ax), %ecx
    add $64, %{r}ax
    cmp %{r}dx, %{r}ax
    jb 1b
    lfence
    {more}
    ret
    {size}
"""
KIND, SIZE = ".type flush, @function", ".size flush, . - flush"
BUFFERS = "\n.bss\n.balign 4096\nplace: .skip 65536\nother: .skip 65536\n"


def walk(
    first: str = "lea place(%rip), %rax",
    last: str = "lea place+65536(%rip), %rdx",
    *,
    r: str = "r",
    more: str = "",
    sized: bool = True,
) -> str:
    kind, size = (KIND, SIZE) if sized else ("", "")
    return WALK.format(first=first, last=last, r=r, more=more, kind=kind, size=size)


def routine(text: str | bytes, function: str = "flush", bits: int = 64) -> Routine:
    data = text if isinstance(text, bytes) else assemble(text.encode(), where="x.s", bits=bits)
    (found,) = load_bytes(data, "x.o", LoadOptions(function=function))
    return found


def hashed(text: str | bytes, function: str = "flush", bits: int = 64) -> str:
    return digest(routine(text, function, bits))


def records(text: str, bits: int = 64) -> list[list[object]]:
    return [json.loads(line) for line in described(routine(text, bits=bits))]


# --- what it is over, by hand


def test_a_routine_that_refers_to_nothing() -> None:
    text = ".globl flush\nflush: mov (%rdi), %eax\nret\n.globl other\nother: nop\nret\n"
    wanted = '["routine",1,64]\n["code",0,"8b07c3"]\n'
    assert hashed(text) == sha256(wanted.encode()).hexdigest()


def test_addends_of_their_own_and_addends_in_the_place() -> None:
    """64-bit relocations bring their addend, 32-bit ones have it in the code."""
    wide = (
        ".globl flush\nflush: mov outer+8(%rip), %eax\nmov inner+12(%rip), %ecx\nret\n.data\n.skip 4\ninner: .skip 16\n"
    )
    assert records(wide)[:5] == [
        ["routine", 1, 64],
        ["code", 0, "8b05000000008b0d00000000c3"],
        ["relocation", 2, "R_X86_64_PC32", "outer", 4],
        ["relocation", 8, "R_X86_64_PC32", ".data", 12, "section", 0, 0],
        ["section", 0, ".data", 1, True],
    ]
    narrow = ".globl flush\nflush: mov outer+8, %eax\nmov inner+12, %ecx\nret\n.bss\n.skip 4\ninner: .skip 16\n"
    assert records(narrow, 32) == [
        ["routine", 1, 32],
        ["code", 0, "a1000000008b0d00000000c3"],
        ["relocation", 1, "R_386_32", "outer", 8],
        ["relocation", 7, "R_386_32", ".bss", 16, "section", 0, 0],
        ["section", 0, ".bss", 1, True],
    ]


def test_functions_and_constants_are_told_in_the_order_in_which_they_are_come_to() -> None:
    text = f"""
    .globl flush, helper
helper: mov limit(%rip), %eax
    ret
    .globl flush
    {KIND}
flush: call near
    call helper
    ret
    {SIZE}
near: ret
    .section .rodata
    .type limit, @object
    .size limit, 4
limit: .long 5
    .long 6
"""
    assert records(text) == [
        ["routine", 1, 64],
        ["code", 0, "e800000000e800000000c3"],
        ["goes", 0, "code", 1, 0],
        ["relocation", 6, "R_X86_64_PLT32", "helper", -4, "code", 2, 0],
        ["code", 1, "c3"],
        ["code", 2, "8b0500000000c3"],
        ["relocation", 2, "R_X86_64_PC32", ".rodata", -4, "section", 0, 0],
        ["section", 0, ".rodata", 1, False],
        ["data", 0, 0, "05000000"],
    ]


# --- what changes it


def test_the_two_that_were_one() -> None:
    half, whole = ((TRIALS / name).read_text() for name in ("30a-half.s", "30b-whole.s"))
    assert hashed(half, "l1d_flush") != hashed(whole, "l1d_flush")


@pytest.mark.parametrize(
    ("one", "two", "bits"),
    [
        pytest.param(
            walk("mov $place, %eax", "mov $place+32768, %edx", r="e"),
            walk("mov $place, %eax", "mov $place+65536, %edx", r="e"),
            32,
            id="addend in the place",
        ),
        pytest.param(
            walk(), walk("lea other(%rip), %rax", "lea other+65536(%rip), %rdx"), 64, id="place in the section"
        ),
        pytest.param(
            walk("mov one(%rip), %rax", "lea 65536(%rax), %rdx"),
            walk("mov two(%rip), %rax", "lea 65536(%rax), %rdx"),
            64,
            id="outside symbol",
        ),
        pytest.param(
            walk("mov one, %eax", "lea 65536(%eax), %edx", r="e"),
            walk("mov two, %eax", "lea 65536(%eax), %edx", r="e"),
            32,
            id="outside symbol in 32 bits",
        ),
        pytest.param(walk(more="call one"), walk(more="call two"), 64, id="called function"),
        pytest.param(
            walk(more=".byte 0xe8\n.long 0\n.reloc . - 4, R_X86_64_PLT32, one - 4"),
            walk(more=".byte 0xe8\n.long 0\n.reloc . - 4, R_X86_64_PC32, one - 4"),
            64,
            id="type",
        ),
        pytest.param(walk(), walk(more="nop"), 64, id="code"),
    ],
)
@pytest.mark.parametrize("sized", [True, False])
def test_one_difference_in_the_routine(one: str, two: str, bits: int, sized: bool) -> None:
    if not sized:
        one, two = (text.replace(KIND, "").replace(SIZE, "") for text in (one, two))
    assert hashed(one + BUFFERS, bits=bits) != hashed(two + BUFFERS, bits=bits)


def test_the_same_code_of_another_width() -> None:
    assert hashed(".globl flush\nflush: ret", bits=32) != hashed(".globl flush\nflush: ret", bits=64)


HELPER = ".type helper, @function\nhelper: nop\n{}\nret\n.size helper, . - helper\n"


@pytest.mark.parametrize(
    ("more", "behind", "change"),
    [
        pytest.param("call helper", HELPER, ("nop", "cld"), id="helper in the same section"),
        pytest.param("call helper", '.section .text.cold, "ax"\n' + HELPER, ("nop", "cld"), id="helper elsewhere"),
        pytest.param(
            "call helper", "helper: nop\njmp third\n.skip 9\nthird: nop\nret", ("nop\nret", "cld\nret"), id="2 far"
        ),
        pytest.param("jmp helper", HELPER, ("nop", "cld"), id="jump"),
        pytest.param(
            "call *table(%rip)", "helper: nop\nret\n.data\n.quad 0\ntable: .quad helper", ("nop", "cld"), id="table"
        ),
        pytest.param("mov size(%rip), %eax", ".section .rodata\nsize: .long 65536", ("65536", "32768"), id="constant"),
        pytest.param("mov size(%rip), %eax", ".data\nsize: .long 65536", ("65536", "32768"), id="initial value"),
        pytest.param("mov size(%rip), %eax", ".data\n.balign 8\nsize: .quad two", ("two", "six"), id="pointer in data"),
        pytest.param("mov size(%rip), %eax", "size: .long 65536", ("65536", "32768"), id="constant in code"),
        pytest.param("movb $0, slot(%rip)", ".bss\n.balign 64\nslot: .skip 1", ("64", "128"), id="alignment"),
        pytest.param("movb $0, slot(%rip)", ".comm slot, 1, 64", ("64", "128"), id="alignment of a common symbol"),
    ],
)
def test_what_lies_outside_and_is_used(more: str, behind: str, change: tuple[str, str]) -> None:
    behind = behind.format("")
    assert change[0] in behind
    one, two = (
        walk("mov $64, %eax", "mov $65536, %edx", more=more) + text for text in (behind, behind.replace(*change))
    )
    assert hashed(one) != hashed(two)


JUMPS = """
    .pushsection __jump_table, "aw"
    .balign 8
    .long 9b - ., {target} - .
    .quad {key} - . {sense}
    .popsection
"""
SITE = "9: .byte 0x0f, 0x1f, 0x44, 0, 0\n7: nop\n8:"
STATES = ".bss\n.balign 16\nkey: .skip 16\nkey2: .skip 16\n"


def test_where_a_kernel_patches() -> None:
    tables = [
        JUMPS.format(target=target, key=key, sense=sense)
        for target, key, sense in [("8b", "key", ""), ("7b", "key", ""), ("8b", "key2", ""), ("8b", "key", "+ 1")]
    ]
    alternative = '.pushsection .altinstructions, "a"\n.long 7b - ., 7b - .\n.short {}\n.byte 1, 1\n.popsection\n'
    tables += ["", alternative.format(99), alternative.format(100)]
    found = [hashed(walk(more=SITE + table) + STATES) for table in tables]
    assert len(set(found)) == len(found)


# --- what it read beyond what the file tells


def run(text: str) -> str:
    return digest(trace(routine(text)).routine)


ROW = ".type {0}, @object\n.size {0}, {1}\n{0}: .long {2}\n"
POINTED = walk(more="mov $lines, %rdi\nmov 4(%rdi), %ecx") + BUFFERS + ".section .rodata\n" + ROW.format("lines", 4, 7)
BEYOND = {
    "another constant": POINTED + ROW.format("more", 4, "{}") + ROW.format("third", 4, 9),
    "wider than the variable": (
        walk(more="mov lines(%rip), %ecx") + BUFFERS + ".section .rodata\n" + ROW.format("lines", 1, "{} << 8")
    ),
    "an index": (
        walk(more="mov $3, %edi\nmov lines(,%rdi,4), %ecx") + BUFFERS
        + ".data\n" + ROW.format("lines", 4, "1, 2, 3, {}, 5")
    ),
    "behind the code": walk(more="mov $flush, %rdi\nmov behind-flush(%rdi), %ecx") + "behind: .long {}\n" + BUFFERS,
    "where a computed jump leads": (
        walk(more="lea behind(%rip), %rdi\nadd $71, %rdi\njmp *%rdi")
        + "behind: ret\n.skip 70, 0x90\nmov ${}, %eax\nret\n" + BUFFERS
    ),
    "without a relocation": (
        walk(more="lea 1f(%rip), %rdi\nmov 5(%rdi), %ecx\n1:") + ".byte 0\n.long {}, {}, {}\n" + BUFFERS
    ),
}  # fmt: skip


@pytest.mark.parametrize("text", BEYOND.values(), ids=BEYOND)
def test_what_was_read_counts(text: str) -> None:
    one, other = text.replace("{}", "1024"), text.replace("{}", "64")
    assert run(one) == run(one) != run(other)


def test_what_was_not_read_does_not_count() -> None:
    text = BEYOND["another constant"].format(1024)
    assert run(text) == run(text.replace("third: .long 9", "third: .long 8"))
    told = [json.loads(line) for line in described(trace(routine(text)).routine)]
    assert [record for record in told if record[0] == "data"] == [
        ["data", 1, 0, "07000000"],
        ["data", 1, 4, "00040000"],
    ]


def test_where_a_linker_puts_things_does_not_count_where_addresses_are_read() -> None:
    """A pointer behind a variable, and half of one: of these the symbol counts, and not what it came to."""
    rows = ".section .rodata\n" + ROW.format("lines", 4, 7) + "far: .quad {}\n"
    for read in ("mov 4(%rdi), %rcx", "mov 6(%rdi), %cx"):
        text = walk(more=f"mov $lines, %rdi\n{read}") + rows + BUFFERS
        moved = text.replace(".section .rodata", '.section .away, "a"\n.skip 100\n.section .rodata')
        assert run(text.format("outer")) == run(moved.format("outer"))
        assert run(text.format("outer")) != run(text.format("outer+8"))


@pytest.mark.parametrize("last", ["mov $5, %eax", "test %eax, %eax\njz 8f\nnop\n8:"])
def test_code_behind_a_size_that_is_too_small_is_the_routines(last: str) -> None:
    whole = walk(more=last) + ".type next, @function\nnext: nop\nret\n" + BUFFERS
    short = whole.replace(SIZE, "").replace("lea place+65536", f"{SIZE}\nlea place+65536")
    assert len(routine(short).code) == 7
    assert trace(routine(short)).routine.code == trace(routine(whole)).routine.code == routine(whole).code
    assert run(short) == hashed(whole)


def test_where_the_next_function_begins_the_routine_ends() -> None:
    text = walk().replace("ret", "nop").replace(SIZE, SIZE + "\n.type next, @function\nnext: nop\nret") + BUFFERS
    assert trace(routine(text)).routine.code == routine(text).code


# --- what does not change it


@pytest.mark.parametrize("sized", [True, False])
def test_other_functions_of_the_file(sized: bool) -> None:
    """Before, between and behind; they move what the routine calls without a relocation."""
    text = walk(more="call near\njmp away", sized=sized)
    near, away = "near: nop\nret\n", '.section .text.away, "ax"\n{}away: nop\ncall near\nret\n'
    filler = ".globl {0}\n.type {0}, @function\n{0}: mov $1, %eax\ncall {0}\n.skip {1}\nret\n.size {0}, . - {0}\n"
    plain = text + near + away.format("") + BUFFERS
    crowded = (
        filler.format("a", 5) + text + filler.format("b", 300) + near + away.format(filler.format("c", 4)) + BUFFERS
    )
    if not sized:
        crowded = crowded.replace(".type", "#").replace(".size", "#")
    assert hashed(plain) == hashed(crowded)
    assert routine(plain).entry != routine(crowded).entry


def test_the_order_of_sections() -> None:
    before = ".section .rodata\nlimit: .quad 1\n.data\nstate: .quad 2\n.text\n"
    after = ".data\nstate: .quad 2\n.section .rodata\nlimit: .quad 1\n.text\n"
    text = walk(more="mov limit(%rip), %eax\nmov state(%rip), %ecx")
    assert hashed(before + text + BUFFERS) == hashed(".bss\n.text\n" + after + text + BUFFERS)


@pytest.mark.parametrize("bits", [64, 32])
def test_a_module_with_other_functions_and_sections_in_another_order(bits: int) -> None:
    module = Module(bits=bits, sized=True)  # type: ignore[arg-type]
    one = hashed(build(module), module.name)
    assert hashed(build(replace(module, padding=6)), module.name) == one
    assert hashed(build(replace(module, reordered=True)), module.name) == one
    assert hashed(build(replace(module, likely=False)), module.name) != one
    assert hashed(lzma.compress(build(module), check=lzma.CHECK_CRC32), module.name) == one


def test_source_and_object() -> None:
    text = walk() + BUFFERS
    (of_source,) = load_bytes(text.encode(), "x.s", LoadOptions())
    assert digest(of_source) == hashed(text)


def test_a_routine_that_leads_everywhere_has_the_hash_of_its_file(monkeypatch: pytest.MonkeyPatch) -> None:
    text = walk(more="call helper") + HELPER.format("") + "other_one: ret\n" + BUFFERS
    small = hashed(text)
    monkeypatch.setattr(identity, "MAX_CODE", 30)
    found = {hashed(text), hashed(text.replace("nop", "cld")), hashed(text.replace("+65536", "+32768")), small}
    assert len(found) == 4
    assert json.loads(described(routine(text))[0])[0] == "file"


def test_what_is_too_much_is_not_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    def decoded(*_: object, **__: object) -> None:
        raise AssertionError("it was decoded")

    monkeypatch.setattr(identity, "MAX_CODE", 30)
    monkeypatch.setattr(identity._Description, "_decoded", decoded)
    assert json.loads(described(routine(walk(more="nop;" * 30) + BUFFERS))[0])[0] == "file"


def test_the_end_of_a_part() -> None:
    text = walk(more="stop: nop") + BUFFERS
    data = assemble(text.encode(), where="x.s")
    wholes = [
        digest(load_bytes(data, "x.o", LoadOptions(function="flush", until=until))[0]) for until in ((), ("stop",))
    ]
    assert wholes[0] != wholes[1]
