# SPDX-License-Identifier: GPL-2.0-or-later
"""What a processor keeps is the same each time that it is asked for, until somebody may have changed it."""

from __future__ import annotations

import shutil
from typing import Literal

import pytest
from trace_programs import number_of_paths, traced

from l1dflush.assumption import Assumes, Assumption

pytestmark = pytest.mark.skipif(shutil.which("as") is None, reason="the GNU assembler is not installed")

# What asks for it and sets a flag; whether a call of outside code may change it; what does.
KEPT = {
    "interrupts": ("pushfq; pop %rax; test $0x200,%eax", True, "push %rsi; popfq"),
    "alignment checks": ("pushfq; pop %rax; test $0x40000,%eax", True, "push %rsi; popfq"),
    "cr0": ("mov %cr0,%rax; test $8,%al", True, "mov %rsi,%cr0"),
    "cr4": ("mov %cr4,%rdx; bt $18,%edx; sbb %eax,%eax; test %eax,%eax", True, "mov %rsi,%cr4"),
    "status word": ("smsw %ax; test $8,%al", True, "mov %rsi,%cr0"),
    "selector": ("mov %ds,%eax; test $3,%al", True, "mov %esi,%ds"),
    "pushed selector": ("push %gs; pop %rax; test $3,%al", True, "mov %esi,%gs"),
    "debug register": ("mov %dr2,%rax; test %rax,%rax", True, "mov %rsi,%dr2"),
    "control of debugging": ("mov %dr7,%rax; test $8,%al", True, "mov %rsi,%dr7"),
    "vmread": ("mov $0x4000,%ecx; vmread %rcx,%rax; test $8,%al", True, "vmwrite %rsi,%rcx"),
    "vmread into memory": ("mov $0x6802,%ecx; vmread %rcx,-8(%rsp); testb $8,-8(%rsp)", True, "vmptrld (%rsi)"),
    "gs": ("rdgsbase %rax; test $8,%al", False, "wrgsbase %rsi"),
    "fs": ("rdfsbase %eax; test $8,%al", False, "mov $0xc0000100,%ecx; mov %esi,%eax; mov %esi,%edx; wrmsr"),
    "cpuid": ("mov $7,%eax; xor %ecx,%ecx; cpuid; test $8,%dh", False, "mov $0x122,%ecx; xor %edx,%edx; wrmsr"),
    "size of what is saved": (
        "mov $13,%eax; mov $1,%ecx; cpuid; test $64,%ebx",
        False,
        "mov $0xda0,%ecx; xor %edx,%edx; wrmsr",
    ),
    "checksum": ("mov %edi,%eax; crc32q %r8,%rax; test $8,%al", False, "inc %r8"),
    "MSR": ("mov $0x1a0,%ecx; rdmsr; test $8,%al", True, "mov $0x1a0,%ecx; mov %esi,%eax; mov %esi,%edx; wrmsr"),
    "upper half of an MSR": ("mov $0x10a,%ecx; rdmsr; test $8,%dl", True, "mov %esi,%ecx; wrmsr"),
    "base in an MSR": ("mov $0xc0000101,%ecx; rdmsr; test $8,%dl", False, "wrgsbase %rsi"),
    "other base in an MSR": ("mov $0xc0000102,%ecx; rdmsr; test $8,%al", False, "swapgs"),
    "number of the CPU": ("rdtscp; test $8,%cl", True, "mov $0xc0000103,%ecx; mov %esi,%eax; xor %edx,%edx; wrmsr"),
    "number of the CPU, alone": ("rdpid %rax; test $8,%al", True, "mov %esi,%eax; mov $0xc0000103,%ecx; wrmsr"),
    "address of a fault": ("mov %cr2,%rax; test $8,%al", True, "mov %rsi,%cr2"),
    "status of debugging": ("mov %dr6,%rax; test $8,%al", True, "mov %rsi,%dr6"),
    "saved states": ("xor %ecx,%ecx; xgetbv; test $4,%al", True, "xor %ecx,%ecx; mov %esi,%eax; xsetbv"),
    "keys": ("xor %ecx,%ecx; rdpkru; test $8,%al", True, "xor %ecx,%ecx; xor %edx,%edx; mov %esi,%eax; wrpkru"),
    "task": ("str %eax; test $8,%eax", True, "ltr %si"),
    "local descriptors": ("sldt -2(%rsp); testb $8,-2(%rsp)", True, "lldt %si"),
    "size of a table": ("sgdt -16(%rsp); testb $8,-16(%rsp)", True, "lgdt (%rsi)"),
    "place of a table": ("sidt -16(%rsp); testb $8,-14(%rsp)", True, "lidt (%rsi)"),
    "rounding": ("stmxcsr -8(%rsp); testb $0x20,-7(%rsp)", False, "ldmxcsr (%rsi)"),
    "raised exceptions": ("stmxcsr -8(%rsp); testb $1,-8(%rsp)", True, "divsd (%rsi),%xmm3"),
    "all of MXCSR": ("stmxcsr -8(%rsp); cmpl $0x1f80,-8(%rsp)", True, "vaddps (%rsi),%ymm3,%ymm4"),
    "control of x87": ("fnstcw -8(%rsp); testb $8,-7(%rsp)", False, "fldcw (%rsi)"),
    "status of x87": ("fnstsw %ax; test $8,%ah", True, "fld1"),
    "bits that are gathered": ("pext %rsi,%rdi,%rax; test $8,%al", False, "inc %rdi"),
    "conversion": ("cvttsd2si %xmm1,%eax; test $8,%al", True, "ldmxcsr (%rsi)"),
    "conversion over something": ("cvtsi2sd %edi,%xmm0; movq %xmm0,%rax; test $8,%al", False, "inc %edi"),
    "conversion of memory": ("cvtss2sd (%rdi),%xmm0; movq %xmm0,%rax; test $8,%al", True, "movl $0,(%rdi)"),
    "sum": ("movsd (%rdi),%xmm0; addsd 8(%rdi),%xmm0; movq %xmm0,%rax; test $8,%al", True, "incl 12(%rdi)"),
    "sum by three": ("vaddsd %xmm1,%xmm2,%xmm0; vmovq %xmm0,%rax; test $8,%al", True, "ldmxcsr (%rsi)"),
    "smaller one": ("movaps %xmm2,%xmm0; minsd %xmm1,%xmm0; movd %xmm0,%eax; test $8,%al", True, "movd %esi,%xmm1"),
    "shuffle": ("movdqa %xmm2,%xmm0; pshufb %xmm1,%xmm0; movd %xmm0,%eax; test $8,%al", True, "movd %esi,%xmm1"),
    "shuffle by three": ("vpshufb (%rdi),%ymm2,%ymm0; vmovd %xmm0,%eax; test $8,%al", True, "incb 31(%rdi)"),
    "sums": ("movaps %xmm2,%xmm0; paddd %xmm1,%xmm0; movd %xmm0,%eax; test $8,%al", True, "pinsrd $0,%esi,%xmm2"),
    "mask": ("pmovmskb %xmm0,%eax; test $8,%al", True, "pinsrb $3,%esi,%xmm0"),
    "test": ("vptest %ymm0,%ymm1; setc %al; test %al,%al", True, "vbroadcastss (%rsi),%ymm0"),
    "AES": ("movdqa %xmm2,%xmm0; aesenc %xmm1,%xmm0; movd %xmm0,%eax; test $8,%al", True, "movd %esi,%xmm1"),
    "AES by three": ("vaesdeclast (%rdi),%xmm2,%xmm0; vmovd %xmm0,%eax; test $8,%al", True, "incb 15(%rdi)"),
    "key of AES": ("aeskeygenassist $3,%xmm1,%xmm0; movd %xmm0,%eax; test $8,%al", True, "pinsrb $15,%esi,%xmm1"),
    "carry-less product": (
        "movdqa %xmm2,%xmm0; pclmulqdq $1,%xmm1,%xmm0; movd %xmm0,%eax; test $8,%al",
        True,
        "pinsrb $0,%esi,%xmm1",
    ),
    "writable segment": ("verw %si; setz %al; test %al,%al", True, "lgdt (%rdx)"),
    "readable segment": ("verr (%rdi); setz %al; test %al,%al", True, "incw (%rdi)"),
    "limit of a segment": ("lsl %esi,%eax; setz %al; test %al,%al", True, "movq $0,(%rdx)"),
    "rights of a segment": ("lar %rsi,%rax; setz %al; test %al,%al", True, "lldt %dx"),
    "comparison in x87": ("fcomi %st(1),%st; setb %al; test %al,%al", True, "fld1"),
    "the other way": ("fucomi %st(2),%st; setp %al; test %al,%al", True, "fxrstor (%rsi)"),
    "highest leaf": (
        "xor %eax,%eax; cpuid; bt $3,%eax; sbb %eax,%eax; test %eax,%eax",
        False,
        "mov $0x122,%ecx; xor %edx,%edx; mov %esi,%eax; wrmsr",
    ),
    "leaf without parts": (
        "mov %rdi,%rcx; inc %rdi; mov $1,%eax; cpuid; test $8,%dh",
        False,
        "mov $0xda0,%ecx; xor %edx,%edx; mov %esi,%eax; wrmsr",
    ),
    "comparison": ("ucomisd %xmm1,%xmm0; setp %al; test %al,%al", True, "ldmxcsr (%rsi)"),
}


OPERANDS = {"checksum", "bits that are gathered", "conversion over something"}
"""Whose operands a call changes."""


def asked(name: str, between: str = "nop") -> int:
    """How many paths there are where it is asked twice, and a branch is taken each time."""
    ask, *_ = KEPT[name]
    return number_of_paths(f"{ask}; je 1f; {between}; xor %eax,%eax; {ask}; je 1f; nop; 1: ret")


@pytest.mark.parametrize("name", KEPT)
def test_what_nobody_changed_is_decided_once(name: str) -> None:
    assert asked(name) == 2


@pytest.mark.parametrize("name", [name for name, (_, called, _) in KEPT.items() if called])
def test_a_call_may_have_changed_it(name: str) -> None:
    assert asked(name, "push %rdi; call outside; pop %rdi") == 3


@pytest.mark.parametrize("name", [name for name, (_, called, _) in KEPT.items() if not called and name not in OPERANDS])
def test_a_call_does_not_change_it(name: str) -> None:
    assert asked(name, "call outside") == 2


@pytest.mark.parametrize("name", [name for name, (*_, change) in KEPT.items() if change is not None])
def test_the_routine_may_have_changed_it(name: str) -> None:
    assert asked(name, str(KEPT[name][2])) == 3


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("mov $7,%eax; xor %ecx,%ecx; cpuid; test $8,%dh", "mov $7,%eax; mov $1,%ecx; cpuid; test $8,%dh"),
        ("mov $7,%eax; xor %ecx,%ecx; cpuid; test $8,%dh", "mov $7,%eax; xor %ecx,%ecx; cpuid; test $8,%bh"),
        ("mov $0x4000,%ecx; vmread %rcx,%rax; test $8,%al", "mov $0x4002,%ecx; vmread %rcx,%rax; test $8,%al"),
        ("crc32b %sil,%edi; test $8,%dil", "crc32b %dl,%edi; test $8,%dil"),
        (
            "mov %edi,%eax; mov $5,%cl; crc32b %cl,%eax; test $8,%al",
            "mov %edi,%eax; mov $5,%cx; crc32w %cx,%eax; test $8,%al",
        ),
        ("ucomisd %xmm1,%xmm0; setp %al; test %al,%al", "ucomisd %xmm0,%xmm1; setp %al; test %al,%al"),
        ("ucomisd %xmm1,%xmm0; setp %al; test %al,%al", "ucomiss %xmm1,%xmm0; setp %al; test %al,%al"),
        ("mov %cr0,%rax; test $8,%al", "mov %cr4,%rax; test $8,%al"),
        ("mov $0x1a0,%ecx; rdmsr; test $8,%al", "mov $0x10a,%ecx; rdmsr; test $8,%al"),
        ("mov $0x1a0,%ecx; rdmsr; test $8,%al", "mov $0x1a0,%ecx; rdmsr; test $8,%dl"),
        # Nobody knows which, or it changes by itself: the clock, a counter, a state, and what is loaded by cpuid.
        ("mov %edi,%ecx; rdmsr; test $8,%al", "mov %edi,%ecx; rdmsr; test $8,%al"),
        *((f"mov ${n},%ecx; rdmsr; test $8,%al",) * 2 for n in (0x10, 0xC1, 0xE8, 0x19C, 0x1D9, 0x38F, 0x8B, 0x6E0)),
        ("rdtscp; test $8,%al", "rdtscp; test $8,%al"),
        ("mov $1,%ecx; xgetbv; test $4,%al", "mov $1,%ecx; xgetbv; test $4,%al"),
        ("str %eax; test $8,%al", "sldt %eax; test $8,%al"),
        ("stmxcsr -8(%rsp); testb $1,-8(%rsp)", "stmxcsr -8(%rsp); testb $2,-8(%rsp)"),
        ("cvttsd2si %xmm1,%eax; test $8,%al", "cvtsd2si %xmm1,%eax; test $8,%al"),
        ("cvttsd2si %xmm1,%eax; test $8,%al", "cvttsd2si %xmm2,%eax; test $8,%al"),
        ("cvttss2si %xmm1,%eax; test $8,%al", "cvttss2si %xmm1,%rax; test $8,%al"),
        ("vpshufd $1,%xmm1,%xmm0; vmovd %xmm0,%eax; test $8,%al",
         "vpshufd $2,%xmm1,%xmm0; vmovd %xmm0,%eax; test $8,%al"),
        ("vpaddd %xmm1,%xmm2,%xmm0; vmovd %xmm0,%eax; test $8,%al",
         "vpaddd %xmm1,%xmm2,%xmm0; vpextrq $1,%xmm0,%rax; test $8,%al"),
        ("pmovmskb %xmm0,%eax; test $8,%al", "pmovmskb %xmm0,%eax; test $4,%al"),
        ("mov %ds,%eax; test $3,%al", "mov %es,%eax; test $3,%al"),
        *((f"mov ${n},%eax; inc %ecx; cpuid; bt $3,%eax; sbb %eax,%eax; test %eax,%eax",) * 2 for n in (4, 5, 7, 10)),
        ("verr %si; setz %al; test %al,%al", "verw %si; setz %al; test %al,%al"),
        ("verw %si; setz %al; test %al,%al", "verw %di; setz %al; test %al,%al"),
        ("lar %esi,%eax; setz %al; test %al,%al", "lsl %esi,%eax; setz %al; test %al,%al"),
        ("fcomi %st(1),%st; setb %al; test %al,%al", "fcomi %st(2),%st; setb %al; test %al,%al"),
        ("fcompi %st(1),%st; setb %al; test %al,%al", "fcomi %st(1),%st; setb %al; test %al,%al"),
        ("xor %eax,%eax; cpuid; bt $3,%eax; sbb %eax,%eax; test %eax,%eax",
         "mov $0x80000000,%eax; cpuid; bt $3,%eax; sbb %eax,%eax; test %eax,%eax"),
        ("aesenc %xmm1,%xmm0; movd %xmm0,%eax; test $8,%al", "aesdec %xmm1,%xmm0; movd %xmm0,%eax; test $8,%al"),
        ("movdqa %xmm2,%xmm0; pclmulqdq $1,%xmm1,%xmm0; movd %xmm0,%eax; test $8,%al",
         "movdqa %xmm2,%xmm0; pclmulqdq $16,%xmm1,%xmm0; movd %xmm0,%eax; test $8,%al"),
    ],
)  # fmt: skip
def test_another_question_has_another_answer(one: str, other: str) -> None:
    assert number_of_paths(f"{one}; je 1f; {other}; je 1f; nop; 1: ret") == 3


def test_another_msr_that_is_written_changes_nothing() -> None:
    ask = "mov $0x1a0,%ecx; rdmsr; test $8,%al"
    flush = "mov $0x10b,%ecx; mov $1,%eax; xor %edx,%edx; wrmsr; movq $0,(%rsi)"
    assert number_of_paths(f"{ask}; je 1f; {flush}; {ask}; je 1f; nop; 1: ret") == 2
    ask = "push $0x122; pop %rcx; rdmsr; test $2,%al"
    assert number_of_paths(f"{ask}; je 1f; mov $0x123,%ecx; wrmsr; {ask}; je 1f; nop; 1: ret") == 2


def test_what_was_set_is_known() -> None:
    for change, bit, jumps in (("cli", 9, True), ("sti", 9, False), ("clac", 18, True), ("stac", 18, False)):
        text = f"{change}; pushfq; pop %rax; bt ${bit},%eax; jnc 1f; mov (%rdi),%al; 1: ret"
        (path,) = traced(text).paths
        assert any(event.detail == "mov" for event in path.events) is not jumps, change
    (path,) = traced("clts; mov %cr0,%rax; test $8,%al; je 1f; mov (%rdi),%al; 1: ret").paths
    assert not any(event.detail == "mov" for event in path.events)


def test_bits_that_are_gathered_do_not_fork() -> None:
    for text in ("pext %rsi,%rdx,%rax", "pdep %rsi,%rdx,%rax", "pext (%rsi),%rdx,%rax", "pdep %esi,%edx,%eax"):
        assert number_of_paths(f"{text}; test $8,%al; je 1f; nop; 1: ret") == 2


def test_swapgs_twice_is_nothing() -> None:
    text = "movl $0,%gs:8; swapgs; {}; swapgs; cmpl $0,%gs:8; je 1f; nop; 1: ret"
    assert number_of_paths(text.format("nop")) == 1
    # What the other base leads to is other memory, or the same.
    assert number_of_paths(text.format("movl $1,%gs:8")) == 2


@pytest.mark.parametrize("bits", [32, 64])
def test_the_old_way_to_ask_whether_there_is_cpuid(bits: Literal[32, 64]) -> None:
    """The flag ID cannot be changed where there is none: both ways are followed."""
    a, c, q = ("%eax", "%ecx", "l") if bits == 32 else ("%rax", "%rcx", "q")
    text = f"pushf{q}; pop {a}; mov {a},{c}; xor $0x200000,{a}; push {a}; popf{q}; pushf{q}; pop {a}; xor {c},{a}"
    paths = traced(f"{text}; test $0x200000,%eax; je 1f; mov ({a}),{a}; 1: ret", bits).paths
    assert {path.events[-2].detail == "mov" for path in paths} == {True, False}


def test_what_is_taken_for_granted_is_told() -> None:
    assert Assumption(Assumes.CPUID_STAYS) in traced("xor %eax,%eax; cpuid; test %ebx,%ebx; je 1f; 1: ret").assumptions
    assert Assumption(Assumes.CPUID_STAYS) not in traced("xor %eax,%eax; cpuid; ret").assumptions
    told = {
        "MSRs that configure": "mov $0x1a0,%ecx; rdmsr; test $8,%al",
        "IA32_TSC_AUX": "rdtscp; test $8,%cl",
        "reads of cr2": "mov %cr2,%rax; test $8,%al",
        "reads of dr6": "mov %dr6,%rax; test $8,%al",
    }
    for what, text in told.items():
        assert any(what in str(one) for one in traced(f"{text}; je 1f; 1: ret").assumptions), what
        assert not any(what in str(one) for one in traced(f"{text}; 1: ret").assumptions), what
    assert any(one.kind is Assumes.SETS_INTERRUPTS for one in traced("pushf; cli; popf; ret").assumptions)
    assert not any(one.kind is Assumes.SETS_INTERRUPTS for one in traced("cli; sti; ret").assumptions)
