# SPDX-License-Identifier: GPL-2.0-or-later
"""What must not be believed known, equal or decided: small programs in which each mistake would show."""

from __future__ import annotations

import shutil
import time
from typing import Literal

import pytest
from trace_programs import traced

from l1dflush.errors import InputError, UndecidedError
from l1dflush.tracing.model import Kind

pytestmark = pytest.mark.skipif(shutil.which("as") is None, reason="the GNU assembler is not installed")


def outcomes(text: str, bits: Literal[32, 64] = 64) -> set[tuple[bool, ...]]:
    return {tuple(d.taken for d in path.decisions) for path in traced(text, bits).paths}


EITHER = {(False,), (True,)}
# In each of these the last branch may go either way, whatever the first one did.
OPEN = {
    "a shift by zero keeps the flags": "test %rdi,%rdi; mov $1,%eax; shl $32,%eax; je 1f; nop; 1: ret",
    "a rotation keeps the zero flag": "test %rdi,%rdi; mov $1,%eax; rol $1,%eax; je 1f; nop; 1: ret",
    "the carry that is added is not known": (
        "mov %rdi,%rax; clc; adc %rsi,%rax; mov %rdi,%rbx; bt $0,%edx; adc %rsi,%rbx; cmp %rax,%rbx; je 1f; nop; 1: ret"
    ),
    "two upper halves": "mov %rdi,%rax; mov $5,%al; mov %rsi,%rbx; mov $5,%bl; cmp %rax,%rbx; je 1f; nop; 1: ret",
    "xadd leaves two values": "xadd %rsi,%rdi; cmp %rsi,%rdi; je 1f; nop; 1: ret",
    "mulx leaves two values": "mulx %rsi,%rax,%rbx; cmp %rax,%rbx; je 1f; nop; 1: ret",
    "a byte is stored into what was loaded": (
        "mov (%rdi),%rax; movb $1,(%rdi); mov (%rdi),%rbx; cmp %rax,%rbx; je 1f; nop; 1: ret"
    ),
    "half of a stored value is replaced": (
        "mov %rdi,-8(%rsp); movb $0,-8(%rsp); mov -7(%rsp),%eax; mov %rsi,-8(%rsp); movb $0,-8(%rsp);"
        "mov -7(%rsp),%ebx; cmp %rax,%rbx; je 1f; nop; 1: ret"
    ),
    "the upper half of edx stays": "mov %rdi,%rdx; mov $1,%eax; cwd; test %edx,%edx; je 1f; nop; 1: ret",
    "a conditional move of 16 bits": (
        "mov %rdi,%rdx; mov $0,%eax; cmp %eax,%eax; cmove %ax,%dx; test %edx,%edx; je 1f; nop; 1: ret"
    ),
    "the flags at entry": "je 1f; nop; 1: ret",
    "a vector stored over initial data": (
        "movups (%rdi),%xmm0; movups %xmm0,v(%rip); cmpl $1,v(%rip); je 1f; nop; 1: ret; .data; v: .fill 4,4,1"
    ),
    "an outside function wrote a variable": (
        "movl $0,v(%rip); call other; cmpl $0,v(%rip); je 1f; nop; 1: ret; .bss; v: .long 0"
    ),
    "an outside function wrote a local variable": (
        "sub $24,%rsp; movl $0,8(%rsp); lea 8(%rsp),%rdi; call other; cmpl $0,8(%rsp); je 1f; nop; 1: add $24,%rsp; ret"
    ),
    "zeros at first in writable data": (
        "mov v(%rip),%rax; mov v+4(%rip),%ebx; test %ebx,%ebx; je 1f; nop; 1: ret; .data; v: .long 0,0,1,1"
    ),
    "arithmetic in memory": (
        "mov %rdi,-8(%rsp); mov %rdi,-16(%rsp); xorq %rsi,-8(%rsp); mov -8(%rsp),%rax; mov -16(%rsp),%rbx;"
        "cmp %rax,%rbx; je 1f; nop; 1: ret"
    ),
}
# The first branch was not taken: the second may still be.
SECOND = {
    "a count in rcx goes down": "jrcxz 1f; dec %rcx; jrcxz 1f; nop; 1: ret",
    "part of a count": "jrcxz 1f; jecxz 1f; nop; 1: ret",
    "a count in memory goes down": (
        "mov %rdi,-8(%rsp); cmpq $0,-8(%rsp); je 1f; subq $1,-8(%rsp); cmpq $0,-8(%rsp); je 1f; nop; 1: ret"
    ),
    "another carry, the same zero flag": "cmp %rsi,%rdi; ja 1f; bt $1,%edx; ja 1f; nop; 1: ret",
    "another carry, which is not known either": "test %rdi,%rdi; bt $1,%edx; ja 1f; bt $2,%edx; ja 1f; nop; 1: ret",
    "known operands in memory": (
        "movq $5,-8(%rsp); movq $6,-16(%rsp); xor %rdi,-8(%rsp); je 1f; xor %rdi,-16(%rsp); je 1f; nop; 1: ret"
    ),
}


@pytest.mark.parametrize("text", OPEN.values(), ids=OPEN)
def test_a_branch_on_something_unknown_is_a_fork(text: str) -> None:
    assert outcomes(text) >= EITHER


@pytest.mark.parametrize("text", SECOND.values(), ids=SECOND)
def test_a_decision_is_not_taken_for_another(text: str) -> None:
    assert (False, True) in outcomes(text)


KNOWN = {
    "the carry that is added": (
        "mov %rdi,%rax; clc; adc %rsi,%rax; mov %rdi,%rbx; stc; adc %rsi,%rbx; cmp %rax,%rbx; je 1f; nop; 1: ret"
    ),
    "two low bytes": "mov %rdi,%rax; mov $5,%al; mov %rdi,%rbx; mov $6,%bl; cmp %rax,%rbx; je 1f; nop; 1: ret",
    "two low bytes into known registers": (
        "mov $0,%eax; mov $256,%ebx; mov %dil,%al; mov %dil,%bl; cmp %rax,%rbx; je 1f; nop; 1: ret"
    ),
    "16 bits that are not zero": (
        "mov %rdi,%rdx; mov $1,%eax; cmp %eax,%eax; cmove %ax,%dx; test %edx,%edx; je 1f; nop; 1: ret"
    ),
}


@pytest.mark.parametrize("text", KNOWN.values(), ids=KNOWN)
def test_what_nothing_can_make_equal_is_no_fork(text: str) -> None:
    assert outcomes(text) == {()}


@pytest.mark.parametrize("flags", ["stc", "clc"])
def test_a_known_carry_and_an_unknown_zero_flag(flags: str) -> None:
    """`ja` asks for both: with the carry set it is not taken, else the zero flag decides."""
    assert len(outcomes(f"test %rdi,%rdi; {flags}; ja 1f; nop; 1: ret")) == (1 if flags == "stc" else 2)


def test_a_shift_by_an_unknown_count_keeps_what_was_there() -> None:
    """By zero it keeps the flags of the comparison before it, and these are of different values."""
    text = (
        "mov $3,%eax; mov $1,%edx; cmp %esi,%edx; shl %cl,%eax; je 1f; mov (%rdi),%al;"
        "mov $3,%eax; cmp %r8,%rdx; shl %cl,%eax; je 1f; mov (%rdi),%al; 1: ret"
    )
    loads = ({e.pc for e in path.events if e.kind is Kind.LOAD and e.detail == "mov"} for path in traced(text).paths)
    assert {len(found) for found in loads} == {0, 1, 2}


def test_a_shift_by_a_known_count_makes_the_flags_known() -> None:
    text = "mov $1,%ecx; mov $0,%eax; test %rdi,%rdi; je 1f; shl %cl,%eax; jne 1f; mov (%rsi),%al; 1: ret"
    loads = [[e for e in p.events if e.detail == "mov"] for p in traced(text).paths if not p.decisions[0].taken]
    assert [len(found) for found in loads] == [1]


def test_a_stored_byte_is_still_there_after_a_wide_load() -> None:
    text = "movb $7,(%rdi); mov (%rdi),%rax; cmpb $7,(%rdi); jne 1f; mov (%rsi),%al; 1: ret"
    assert any(
        e.arena and str(e.arena.region).endswith("`rsi` points to") for p in traced(text).paths for e in p.events
    )


REFUSED = {
    "unclassified-instruction": (
        ".byte 0x66; jmp 1f; nop; nop; 1: ret",
        "vpgatherdd %ymm0,(%rdi,%ymm1),%ymm2; ret",
        "maskmovdqu %xmm0,%xmm1; ret",
        "hlt",
        "int3",
        "lcall *(%rdi); ret",
        "ljmp *(%rdi)",
        "syscall",
    ),
    "writes-code": ("movb $0x90,program(%rip); ret", "lea program(%rip),%rdi; mov $1,%ecx; rep stosb; ret"),
    "faults": (
        "movabs $0x1000000000000000,%rax; mov (%rax),%bl; ret",
        "movabs $0x800000000000,%rdi; mov %eax,(%rdi); ret",
        "mov $1,%eax; push %rax; movaps 1(%rdi),%xmm0; ret",
    ),
    "jump-into-nowhere": ("mov $1,%eax; jmp *%rax", "push $1; ret", "nop"),
    "return-address-unknown": ("mov %rdi,(%rsp); ret",),
    "indirect-jump": ("jmp *%rdi", "jmp *8(%rdi)"),
}


@pytest.mark.parametrize("cause, text", [(c, t) for c, texts in REFUSED.items() for t in texts])
def test_what_cannot_be_followed_is_named(cause: str, text: str) -> None:
    with pytest.raises(UndecidedError) as caught:
        traced(text)
    assert caught.value.cause == cause


ENDLESS = {
    "a jump to itself": "1: jmp 1b",
    "a short loop": "1: nop; jmp 1b",
    "a loop that reads": "xor %eax,%eax; 1: mov (%rdi),%cl; test %eax,%eax; je 1b",
    "a loop that walks": "xor %eax,%eax; 1: mov (%rdi),%cl; add $64,%rdi; test %eax,%eax; je 1b",
    "a loop that writes": "xor %eax,%eax; 1: mov %al,(%rdi); test %eax,%eax; je 1b",
    "a count down from 2^63": "mov $0x8000000000000000,%rax; 1: dec %rax; jne 1b; ret",
    "recursion": "1: call 1b",
    "a huge count": "mov $-1,%rcx; rep lodsb; ret",
    "a large count": "mov $4000000,%ecx; rep lodsb; ret",
    "a large zero section": "mov v(%rip),%al; 1: jmp 1b; .bss; v: .skip 60000000",
}


@pytest.mark.parametrize("text", ENDLESS.values(), ids=ENDLESS)
def test_the_time_is_kept(text: str) -> None:
    start = time.process_time()
    with pytest.raises(UndecidedError):
        traced(text, max_seconds=0.5)
    assert time.process_time() - start < 4


def test_a_long_list_is_followed() -> None:
    path = traced(".rept 60; mov (%rdi),%rdi; .endr; ret").paths[0]
    arenas = [event.arena.key for event in path.events if event.arena and event.detail == "mov"]
    assert len(set(arenas)) == 60
    assert all(len(key) < 100 for key in arenas)


@pytest.mark.parametrize(
    ("bits", "address"), [(32, 0x8010_0000), (64, 0x8010_0000), (64, 0x1000_8000_0000), (64, -0x7F00_0000_0000)]
)
def test_no_known_address_is_where_unknown_memory_is(bits: Literal[32, 64], address: int) -> None:
    """Nothing of ours lies anywhere; the upper half is as good as the lower one."""
    at, pointer = ("%rcx", "%rdi") if bits == 64 else ("%ecx", "%eax")
    number = f"0x{address & ((1 << bits) - 1):x}"
    found = traced(f"mov ${number},{at}; movb $1,({at}); mov ({pointer}),%dl; test %dl,%dl; je 1f; nop; 1: ret", bits)
    assert len(found.paths) == 2
    names = {str(e.arena.region) for e in found.paths[0].events if e.detail == "mov" and e.arena}
    assert names == {"absolute addresses", f"what `{pointer[1:]}` points to"}


@pytest.mark.parametrize("far", [5 << 30, (1 << 46) + 64])
def test_how_far_behind_a_pointer_something_is_does_not_matter(far: int) -> None:
    path = traced(f"mov ${far},%rax; mov (%rdi,%rax),%al; ret").paths[0]
    places = [(str(e.arena.region), e.offset) for e in path.events if e.arena and e.detail == "mov"]
    assert places == [("what `rdi` points to", far)]


def test_a_register_of_the_other_mode_cannot_be_bound() -> None:
    with pytest.raises(InputError, match="r8"):
        traced("ret", 32, bind={"r8": "1"})


def test_a_bound_variable_survives_an_outside_call() -> None:
    text = "call other; cmpl $5,v(%rip); jne 1f; mov (%rsi),%al; 1: ret; .bss; .globl v; v: .long 0; .size v,4"
    assert [len(path.decisions) for path in traced(text, bind={"v": "5"}).paths] == [0]


KINDS = {
    "clflush (%rdi)": [Kind.LINE_FLUSH],
    "prefetcht0 (%rdi)": [Kind.PREFETCH],
    "mov (%rdi),%al": [Kind.LOAD],
    "movups (%rdi),%xmm0": [Kind.LOAD],
    "movups %xmm0,(%rdi)": [Kind.STORE],
    "vmovdqu64 (%rdi),%zmm0": [Kind.LOAD],
    "push %rax; pop %rax": [Kind.STORE, Kind.LOAD],
    "push (%rdi); pop %rax": [Kind.LOAD, Kind.STORE, Kind.LOAD],
    "lock incl (%rdi)": [Kind.LOAD, Kind.STORE],
    "xchg %rax,(%rdi)": [Kind.LOAD, Kind.STORE],
    "cmpxchg %rbx,(%rdi)": [Kind.LOAD, Kind.STORE],
    "cmp $0,%rsi; cmove (%rdi),%rax": [Kind.LOAD],
    "mov %rsp,%rsi; mov $2,%ecx; rep movsb": [Kind.LOAD, Kind.STRING_STORE] * 2,
    "std; mov $2,%ecx; rep stosb; cld": [Kind.STRING_STORE] * 2,
    "lfence": [Kind.FENCE],
    "cpuid": [Kind.SERIALISE],
    "wbinvd": [Kind.FLUSH_ALL],
    "mov $0x10b,%ecx; mov $1,%eax; xor %edx,%edx; wrmsr": [Kind.MSR_WRITE],
    "lea 64(%rdi),%rax; nopl (%rdi)": [],
}


@pytest.mark.parametrize("text", KINDS)
def test_kinds(text: str) -> None:
    path = traced(f"{text}; ret").paths[0]
    assert [event.kind for event in path.events if event.detail != "ret"] == KINDS[text]


@pytest.mark.parametrize(
    ("text", "bits"),
    [
        (".reloc ., R_X86_64_32, outside; nop; nop; nop; nop; ret", 64),
        (".reloc ., R_X86_64_PC32, outside; lea 64(%rdi),%rax; ret", 64),
        ("1: mov outside(%rip),%eax; .reloc 1b+1, R_X86_64_PC32, outside; ret", 64),
        ("1: movl $0x12345678,0x100(%rdi); .reloc 1b+4, R_X86_64_32, outside; ret", 64),
        ("1: mov $5,%eax; .reloc 1b+2, R_X86_64_32S, outside; nop; ret", 64),
        (".reloc ., R_386_32, outside; nop; nop; nop; nop; ret", 32),
        ("jmp 1f+1; 1: movl $outside,%eax; ret", 32),
    ],
)
def test_code_that_a_relocation_wrote_is_not_run(text: str, bits: int) -> None:
    """What such an instruction is depends on where things were put: elsewhere it is another one."""
    with pytest.raises(UndecidedError) as error:
        traced(text, bits)
    assert error.value.cause == "relocation"


@pytest.mark.parametrize(
    ("text", "bits"),
    [
        ("mov outside(%rip),%eax; movl $outside,outside+4(%rip); movb $1,outside(%rip); ret", 64),
        ("movabs $outside,%rax; movabs outside,%al; mov outside(,%rdi),%eax; vmovdqa outside(%rip),%ymm0; ret", 64),
        ("push $outside; pop %rax; call outside; mov %gs:outside(%rip),%al; jmp outside", 64),
        ("mov outside,%al; movl $outside,outside+4; mov $outside,%edx; call outside; jmp outside", 32),
    ],
)
def test_a_relocation_may_be_any_number_of_an_instruction(text: str, bits: int) -> None:
    assert traced(text, bits).paths
