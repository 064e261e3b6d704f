# SPDX-License-Identifier: GPL-2.0-or-later
"""Instructions that no walk needs, before one, in one and behind one: they do not end the trace, and what they come to
decides only what it can decide."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from flush_programs import WALK, function, judged

from l1dflush.cache.geometry import Geometry
from l1dflush.ending import Verdict
from l1dflush.verdict.judge import verify
from l1dflush.verdict.options import VerifyOptions

pytestmark = pytest.mark.skipif(shutil.which("as") is None, reason="the GNU assembler is not installed")

SHORT = WALK.replace("65536", "8192")
PROVED, REFUTED, UNDECIDED = Verdict.PROVED, Verdict.REFUTED, Verdict.UNDECIDED
SCAN = "mov %rdi,%r8; {}; mov %r8,%rdi"
STRINGS = '.section .rodata; greeting: .asciz "hello"; request: .asciz "help!!"; .text'


def branching(before: str, jump: str, otherwise: str = SHORT) -> str:
    """A function that walks, and where it jumps does something else."""
    return function(f"{before}; {jump} 5f", WALK, "lfence; ret", "5:", otherwise, "lfence")


# Nothing that they come to can matter.
BEFORE = (
    "xor %eax,%eax; mov $-1,%rcx; repne scasb", "mov %rdx,%rcx; repe scasl", "mov $7,%ecx; repe cmpsb", "cmpsq",
    "mov %rdx,%rcx; std; repne cmpsw; cld", "addr32 repne scasb", "mov %rdx,%rbx; xlat", "addr32 xlat %gs:(%ebx)",
    "lsl %esi,%eax", "lar (%rsi),%rdx", "fxsave (%rsi)", "fxrstor64 (%rsi)", "xsave (%rsi)", "xsaveopt64 (%rsi)",
    "xsavec (%rsi)", "xsaves64 (%rsi)", "xrstor64 (%rsi)", "xrstors (%rsi)", "fnsave (%rsi)", "frstor (%rsi)",
    "fnstenv (%rsi)", "fldenv (%rsi)", "aesenc %xmm1,%xmm2", "aesdec (%rsi),%xmm2", "aesenclast %xmm1,%xmm2",
    "aesdeclast %xmm1,%xmm2", "aesimc %xmm1,%xmm2", "aeskeygenassist $3,%xmm1,%xmm2", "pclmulqdq $1,%xmm1,%xmm2",
    "vaesenc %xmm1,%xmm2,%xmm3", "vaesdeclast (%rsi),%xmm2,%xmm3", "vaesimc %xmm1,%xmm2",
    "vaeskeygenassist $3,%xmm1,%xmm2", "vpclmulqdq $17,%xmm1,%xmm2,%xmm3", "mov %rbp,%r9; enter $16,$2; leave",
    "vtestps %xmm0,%xmm1", "vcvtph2ps %xmm0,%xmm1", "vfmaddsub132pd %ymm0,%ymm1,%ymm2", "mpsadbw $3,%xmm0,%xmm1",
    "vstmxcsr -8(%rsp); vldmxcsr -8(%rsp)", "cldemote (%rdi)", "in $0x80,%al", "outl %eax,(%dx)",
)  # fmt: skip


@pytest.mark.parametrize("text", BEFORE)
def test_what_stands_before_a_walk_does_not_matter(text: str, tmp_path: Path) -> None:
    saved = f"push %rbx; push %rdi; {text}; pop %rdi; pop %rbx"
    assert judged(tmp_path, function(saved, WALK, "lfence")).verdict is PROVED
    assert judged(tmp_path, function(saved, SHORT, "lfence")).verdict is REFUTED


# The same of 32-bit mode.
BEFORE_32 = (
    "daa", "aas", "aam", "aad $7", "arpl %ax,(%esi)", "bound %eax,(%esi)", "jcxz 7f; 7:", "repe cmpsl",
    "addr16 repne scasb", "lsl %ax,%cx", "fxsave (%esi)", "frstor (%esi)", "pclmulqdq $1,%xmm1,%xmm2",
    "enter $8,$3; leave",
)  # fmt: skip


@pytest.mark.parametrize("text", BEFORE_32)
def test_so_in_32_bit_code(text: str, tmp_path: Path) -> None:
    saved = f"push %esi; mov 8(%esp),%edi; push %edi; {text}; pop %edi; pop %esi"
    for walk, verdict in ((WALK, PROVED), (SHORT, REFUTED)):
        code = function(saved, walk.replace("%rdi,%rax", "%edi,%eax"), "lfence")
        file = tmp_path / "flush.o"
        subprocess.run(["as", "--32", "-o", file, "-"], input=code, text=True, check=True)
        assert verify(str(file), VerifyOptions(cpus=("skylake",))).verdict is verdict


# What decides a branch to a short walk, and what the verdict is.
DECIDES = {
    "nobody knows whether it is there": (SCAN.format("mov $10,%ecx; repne scasb"), "jne", UNDECIDED),
    "nor whether two are the same": (SCAN.format("mov $7,%ecx; repe cmpsb"), "jne", UNDECIDED),
    "the last one is compared": (SCAN.format("mov $1,%ecx; repne scasb"), "jne", REFUTED),
    "so is the only one": (SCAN.format("cmpsw"), "jb", REFUTED),
    "none is": (SCAN.format("xor %ecx,%ecx; cmp %ecx,%ecx; repne scasb"), "jne", PROVED),
    "fewer are left": (SCAN.format("mov $10,%ecx; repne scasb") + "; cmp $9,%ecx", "ja", PROVED),
    "of a count that nobody knows": (SCAN.format("mov %rdx,%rcx; repne scasq") + "; cmp %rdx,%rcx", "ja", PROVED),
    "some are left only where one was found": (
        SCAN.format("mov $10,%ecx; repne scasb") + "; setne %al; test %ecx,%ecx; setne %dl; test %al,%dl", "jnz",
        PROVED),
    "or where one is another": (
        SCAN.format("mov $10,%ecx; repe cmpsl") + "; sete %al; test %ecx,%ecx; setne %dl; test %al,%dl", "jnz", PROVED),
    "the pointer says the same": (
        "mov %rdi,%r8; mov $10,%ecx; repne scasb; mov %rdi,%rax; sub %r8,%rax; add %rcx,%rax; mov %r8,%rdi; "
        "cmp $10,%rax", "jne", PROVED),
    "downwards, too": (
        "mov %rdi,%r8; mov $10,%ecx; std; repne scasw; cld; mov %r8,%rax; sub %rdi,%rax; shr $1,%rax; add %rcx,%rax; "
        "mov %r8,%rdi; cmp $10,%rax", "jne", PROVED),
    "what is equal is not below": (
        SCAN.format("mov $10,%ecx; repne scasb") + "; setb %al; sete %dl; test %al,%dl", "jnz", PROVED),
    "from a table": ("mov %rsi,%rbx; mov %dl,%al; xlat; mov %al,%cl; mov %dl,%al; xlat; cmp %al,%cl", "jne", PROVED),
    "from another table": ("mov %rsi,%rbx; xlat; mov %al,%cl; mov %dl,%al; xlat; cmp %al,%cl", "jne", REFUTED),
    "a limit": ("lsl %esi,%eax", "jnz", REFUTED),
    "access rights": ("xor %eax,%eax; lar %esi,%eax; test %al,%al", "jnz", PROVED),
    "other flags than ZF": ("stc; verw %si", "jnc", PROVED),
    "what fxsave leaves alone": ("movl $5,464(%rsi); fxsave (%rsi); cmpl $5,464(%rsi)", "jne", PROVED),
    "what it stores": ("movl $5,160(%rsi); fxsave (%rsi); cmpl $5,160(%rsi)", "jne", UNDECIDED),
    "what fxrstor loads": ("fxrstor (%rsi); movd %xmm0,%eax; test %eax,%eax", "jnz", UNDECIDED),
    "other memory than xsave's": ("movl $5,(%rdx); xsave (%rsi); cmpl $5,(%rdx)", "jne", PROVED),
    "an order of two numbers, twice": (
        "fcomi %st(1),%st; setb %al; fucomi %st(1),%st; setb %cl; cmp %al,%cl", "jne", PROVED),
    "before one is popped": (
        "fucomi %st(2),%st; setp %al; fcomip %st(2),%st; setp %cl; cmp %al,%cl", "jne", PROVED),
    "behind another number": (
        "fcomi %st(1),%st; setb %al; fldl (%rsi); fcomi %st(1),%st; setb %cl; cmp %al,%cl", "jne", UNDECIDED),
    "a number of x87 and itself": ("fcomi %st,%st", "jne", PROVED),
    "a limit, twice": ("xor %eax,%eax; xor %ecx,%ecx; lsl %esi,%eax; lsl %esi,%ecx; cmp %eax,%ecx", "jne", PROVED),
    "whether one may write, twice": ("verw %si; setz %al; verw %si; setz %cl; cmp %al,%cl", "jne", PROVED),
    "behind another table": ("verw %si; setz %al; lgdt (%rdx); verw %si; setz %cl; cmp %al,%cl", "jne", REFUTED),
    "a block of AES, twice": (
        "movq %rsi,%xmm0; movq %rsi,%xmm2; aesenc %xmm1,%xmm0; aesenc %xmm1,%xmm2; pxor %xmm0,%xmm2; "
        "ptest %xmm2,%xmm2", "jnz", UNDECIDED),
    "its lower half": (
        "movq %rsi,%xmm0; movq %rsi,%xmm2; aesenc %xmm1,%xmm0; aesenc %xmm1,%xmm2; pxor %xmm0,%xmm2; "
        "movq %xmm2,%rax; test %rax,%rax", "jnz", PROVED),
    "another one": (
        "movq %rsi,%xmm0; movq %rsi,%xmm2; aesenc %xmm1,%xmm0; aesdec %xmm1,%xmm2; pxor %xmm0,%xmm2; "
        "movq %xmm2,%rax; test %rax,%rax", "jnz", UNDECIDED),
    "a number and itself": ("vucomisd %xmm2,%xmm2", "jne", PROVED),
    "which may be none": ("ucomisd %xmm2,%xmm2", "jp", UNDECIDED),
    "above the clock": ("rdtsc; shr $32,%rax", "jnz", PROVED),
    "above its upper half": ("rdtsc; shr $32,%rdx", "jnz", PROVED),
    "above a counter": ("xor %ecx,%ecx; rdpmc; shr $32,%rdx", "jnz", PROVED),
    "the clock": ("rdtsc; test $1,%al", "jnz", REFUTED),
    "the clock, twice": (
        "rdtsc; shl $32,%rdx; or %rdx,%rax; mov %rax,%r8; rdtsc; shl $32,%rdx; or %rdx,%rax; cmp %r8,%rax", "jb",
        UNDECIDED),
    "the clock's lower half, twice": ("rdtsc; mov %eax,%r8d; rdtsc; cmp %r8d,%eax", "jb", REFUTED),
    "time that passed": (
        "rdtsc; shl $32,%rdx; or %rdx,%rax; mov %rax,%r8; rdtsc; shl $32,%rdx; or %rdx,%rax; sub %r8,%rax; "
        "cmp $1000,%rax", "ja", REFUTED),
    "random numbers have no zero flag": ("rdrand %rax", "jz", PROVED),
    "nor a sign": ("rdseed %eax", "js", PROVED),
    "there may be none": ("rdrand %ecx", "jnc", REFUTED),
    "no leaf": ("push %rbx; xor %eax,%eax; cpuid; pop %rbx; test %eax,%eax", "jz", PROVED),
    "not many": ("push %rbx; xor %eax,%eax; cpuid; pop %rbx; cmp $7,%eax", "jb", REFUTED),
    "no extended leaf": ("push %rbx; mov $0x80000000,%eax; cpuid; pop %rbx; test %eax,%eax", "jns", PROVED),
    "protected mode": ("smsw %eax; test $1,%al", "jz", PROVED),
    "the same in memory": ("smsw -8(%rsp); testb $1,-8(%rsp)", "jz", PROVED),
    "paging": ("mov %cr0,%rax; test %eax,%eax", "jns", PROVED),
    "nothing above CR0": ("mov %cr0,%rax; shr $32,%rax", "jnz", PROVED),
    "the kind of coprocessor": ("mov %cr0,%rax; test $0x10,%al", "jz", PROVED),
    "caching": ("mov %cr0,%rax; bt $30,%eax", "jc", REFUTED),
    "above an address": ("mov %cr3,%rax; bt $60,%rax", "jc", PROVED),
    "in an address": ("mov %cr3,%rax; bt $51,%rax", "jc", REFUTED),
    "long mode": ("mov $0xc0000080,%ecx; rdmsr; test $0x400,%eax", "jz", PROVED),
    "its upper half": ("mov $0xc0000080,%ecx; rdmsr; test %edx,%edx", "jnz", PROVED),
    "pages that are not executed": ("mov $0xc0000080,%ecx; rdmsr; test $0x800,%eax", "jz", REFUTED),
    "another register's bit": ("mov $0x1a0,%ecx; rdmsr; test $0x400,%eax", "jz", REFUTED),
    "a bit of x87's control": ("fnstcw -8(%rsp); testb $0x40,-8(%rsp)", "jz", PROVED),
    "its upper bits": ("fldcw (%rsi); fnstcw -8(%rsp); testw $0xe080,-8(%rsp)", "jnz", PROVED),
    "its precision": ("fnstcw -8(%rsp); testw $0x100,-8(%rsp)", "jz", REFUTED),
    "long entries": ("mov %cr4,%rax; bt $5,%eax", "jnc", PROVED),
    "other bits of CR4": ("mov %cr4,%rax; bt $4,%eax", "jnc", REFUTED),
    "priorities of tasks": ("mov %cr8,%rax; cmp $15,%rax", "ja", PROVED),
    "a bit of DR7 that is set": ("mov %dr7,%rax; test $0x400,%eax", "jz", PROVED),
    "one of DR6 that is not": ("mov %dr6,%rax; test $0x1000,%eax", "jnz", PROVED),
    "one that may be": ("mov %dr6,%rax; test $0x2000,%eax", "jnz", REFUTED),
    "a task switch": ("smsw %ax; test $8,%al", "jz", REFUTED),
    "a reserved flag": ("lahf; test $2,%ah", "jz", PROVED),
    "two that are not set": ("lahf; test $0x28,%ah", "jnz", PROVED),
    "in what is pushed": ("pushf; pop %rax; test $0x8028,%eax", "jnz", PROVED),
    "an adjust flag that was set": (
        "mov %esi,%eax; sahf; lahf; mov %ah,%cl; mov %esi,%eax; sahf; lahf; cmp %ah,%cl", "jne", UNDECIDED),
    "a saved state of x87": ("xor %ecx,%ecx; xgetbv; test $1,%al", "jz", PROVED),
    "a base that is not an address": (
        "rdfsbase %rax; sar $56,%rax; inc %rax; cmp $1,%rax", "ja", PROVED),
    "another one's": ("rdgsbase %rax; mov %rax,%rcx; shl $7,%rcx; sar $7,%rcx; cmp %rax,%rcx", "jne", PROVED),
    "a base of 57 bits": ("rdfsbase %rax; sar $55,%rax; inc %rax; cmp $1,%rax", "ja", REFUTED),
    "a base in an MSR": ("mov $0xc0000102,%ecx; rdmsr; sar $24,%edx; inc %edx; cmp $1,%edx", "ja", PROVED),
    "behind swapgs": ("swapgs; rdgsbase %rax; sar $60,%rax; inc %rax; cmp $1,%rax", "ja", PROVED),
    "where system calls go": ("mov $0xc0000082,%ecx; rdmsr; sar $24,%edx; inc %edx; cmp $1,%edx", "ja", PROVED),
    "or went": ("mov $0x176,%ecx; rdmsr; sar $26,%edx; inc %edx; cmp $1,%edx", "ja", PROVED),
    "with 57 bits": ("mov $0x175,%ecx; rdmsr; sar $23,%edx; inc %edx; cmp $1,%edx", "ja", REFUTED),
    "an MSR of selectors": ("mov $0xc0000081,%ecx; rdmsr; sar $24,%edx; inc %edx; cmp $1,%edx", "ja", REFUTED),
    "where a table begins": (
        "sidt -16(%rsp); mov -14(%rsp),%rax; sar $56,%rax; inc %rax; cmp $1,%rax", "ja", PROVED),
    "the other one": (
        "sgdt -16(%rsp); mov -14(%rsp),%rax; mov %rax,%rcx; shl $7,%rcx; sar $7,%rcx; cmp %rax,%rcx", "jne", PROVED),
    "one that has 57 bits": (
        "sgdt -16(%rsp); mov -14(%rsp),%rax; sar $55,%rax; inc %rax; cmp $1,%rax", "ja", REFUTED),
    "whatever was put into cr2": ("mov %cr2,%rax; sar $56,%rax; inc %rax; cmp $1,%rax", "ja", REFUTED),
    "no code segment": ("mov %cs,%eax; cmp $3,%eax", "jbe", PROVED),
    "another code segment": ("mov %cs,%eax; cmp $0x10,%eax", "jne", REFUTED),
    "no stack segment": ("mov %ss,%eax; test $0xfffc,%eax", "jz", REFUTED),
    "two privileges": ("mov %ss,%eax; mov %cs,%ecx; xor %ecx,%eax; test $3,%al", "jnz", REFUTED),
    "two segments": ("mov %ss,%eax; mov %cs,%ecx; xor %ecx,%eax; test $4,%al", "jnz", REFUTED),
    "no privilege": ("mov %cs,%eax; test $3,%al", "jnz", REFUTED),
    "no privilege where it is needed": ("mov %cr0,%rax; mov %cs,%eax; test $3,%al", "jnz", PROVED),
    "nor for another": ("lidt (%rdx); mov %cs,%ecx; test $2,%cl", "jnz", PROVED),
    "no task": ("str %eax; cmp $3,%ax", "jbe", PROVED),
    "a task of its own table": ("str -2(%rsp); testb $4,-2(%rsp)", "jnz", PROVED),
    "another task": ("str %eax; cmp $0x40,%eax", "jne", REFUTED),
    "no table of its own": ("sldt %eax; test %eax,%eax", "jz", REFUTED),
    "a table in itself": ("sldt %eax; test $4,%al", "jnz", PROVED),
    "the rights of nothing": ("mov $3,%eax; lar %eax,%ecx", "jz", PROVED),
    "the limit of nothing": ("and $3,%esi; lsl %esi,%eax", "jz", PROVED),
    "the limit of the first of its own": ("mov $4,%eax; lsl %ax,%cx", "jz", REFUTED),
    "a limit without rights": ("lar %esi,%eax; setz %cl; lsl %esi,%edx; setz %dl; cmp %cl,%dl", "ja", PROVED),
    "rights without a limit": ("lsl %esi,%edx; setz %dl; lar %esi,%eax; setz %cl; cmp %dl,%cl", "ja", REFUTED),
    "rights of a segment without a limit": (
        "lar %esi,%eax; setz %dl; bt $12,%eax; setc %cl; and %cl,%dl; lsl %esi,%eax; setnz %cl; test %cl,%dl", "jnz",
        PROVED),
    "reading what has no limit": ("verr %si; setz %cl; lsl %esi,%edx; setz %dl; cmp %dl,%cl", "ja", PROVED),
    "writing what is not read": ("verw %si; setz %cl; verr %si; setz %dl; cmp %dl,%cl", "ja", PROVED),
    "reading what is not written": ("verr %si; setz %cl; verw %si; setz %dl; cmp %dl,%cl", "ja", REFUTED),
    "another segment's": ("lar %esi,%eax; setz %cl; lsl %edx,%r8d; setz %dl; cmp %cl,%dl", "ja", REFUTED),
    "code that is not read": ("mov %cs,%eax; verr %ax", "jnz", REFUTED),
    "a limit of half a page": (
        "xor %eax,%eax; lsl %esi,%eax; cmp $0xfffff,%eax; seta %cl; not %eax; test $0xfff,%eax; setnz %dl; "
        "test %cl,%dl", "jnz", PROVED),
    "a small one": ("mov $7,%eax; lsl %esi,%eax; not %eax; test $0xfff,%eax", "jz", REFUTED),
    "no SSE2": ("push %rbx; mov $1,%eax; cpuid; pop %rbx; bt $26,%edx", "jnc", PROVED),
    "no FXSR": ("push %rbx; mov $1,%eax; cpuid; pop %rbx; test $0x1000000,%edx", "jz", PROVED),
    "two threads": ("push %rbx; mov $1,%eax; cpuid; pop %rbx; bt $28,%edx", "jnc", REFUTED),
    "no 64-bit mode": ("push %rbx; mov $0x80000001,%eax; cpuid; pop %rbx; test $0x20000000,%edx", "jz", PROVED),
    "no large pages": ("push %rbx; mov $0x80000001,%eax; cpuid; pop %rbx; bt $26,%edx", "jnc", REFUTED),
    "no size of addresses": ("push %rbx; mov $0x80000000,%eax; cpuid; pop %rbx; cmp $0x80000008,%eax", "jb", PROVED),
    "nothing above it": ("push %rbx; mov $0x80000000,%eax; cpuid; pop %rbx; cmp $0x80000009,%eax", "jb", REFUTED),
    "a saved state of AVX": ("xor %ecx,%ecx; xgetbv; test $4,%al", "jz", REFUTED),
}  # fmt: skip


@pytest.mark.parametrize("name", DECIDES)
def test_what_decides_is_what_can_be(name: str, tmp_path: Path) -> None:
    before, jump, verdict = DECIDES[name]
    assert judged(tmp_path, branching(before, jump)).verdict is verdict
    # Whatever it is where both ways walk, or neither does.
    assert judged(tmp_path, branching(before, jump, WALK.replace("9", "8"))).verdict is PROVED


@pytest.mark.parametrize("before", [SCAN.format("mov $7,%ecx; repe cmpsb"), "fxrstor (%rsi); ptest %xmm0,%xmm0"])
def test_where_all_ways_are_short_it_is_refuted(before: str, tmp_path: Path) -> None:
    text = function(f"{before}; jne 5f", SHORT, "lfence; ret", "5:", SHORT, "lfence")
    assert judged(tmp_path, text).verdict is REFUTED


@pytest.mark.parametrize(
    "before",
    [
        "lea greeting(%rip),%rsi; lea request(%rip),%rdi; mov $6,%ecx; repe cmpsb; cmp $2,%ecx",
        "lea greeting(%rip),%rdi; mov $-1,%rcx; xor %eax,%eax; repne scasb; cmp $-7,%rcx",
        "lea request+5(%rip),%rdi; mov $'e',%al; mov %rdx,%rcx; or $8,%rcx; mov $8,%ecx; std; repne scasb; cld; "
        "cmp $3,%ecx",
    ],
)
def test_strings_that_are_known_are_followed(before: str, tmp_path: Path) -> None:
    text = branching(SCAN.format(before), "jne") + STRINGS
    assert judged(tmp_path, text).verdict is PROVED


# A walk from register to register with something between two lines.
BETWEEN = "mov %rdi,%r8; mov $1024,%r9d; 9: movzbl (%r8),%eax; {}; add $64,%r8; dec %r9d; jnz 9b; lfence"


def test_between_two_lines_it_is_told_what_is_touched(tmp_path: Path) -> None:
    known = judged(
        tmp_path,
        function(BETWEEN.format("lea -64(%rsp),%rdi; mov $3,%ecx; repne scasb")),
        policy="LRU",
        geometry=Geometry(32768, 8, 64),
    )
    assert known.verdict is PROVED
    unknown = judged(tmp_path, function(BETWEEN.format("mov %rsi,%rdi; mov $-1,%rcx; repne scasb")))
    assert (unknown.verdict, unknown.rows[0].cause) == (UNDECIDED, "outside-call")
    assert "which lines `repne scasb` touches" in unknown.reason
    assert not unknown.outside
    for text in ("clwb (%r8)", "cldemote -64(%r8)"):
        between = judged(tmp_path, function(BETWEEN.format(text)), cpus=("skylake-sp",))
        assert between.rows[0].cause == "outside-call" and text.split()[0] in between.reason
        assert judged(tmp_path, function(text, WALK), cpus=("skylake-sp",)).verdict is PROVED
    extended = judged(tmp_path, function(BETWEEN.format("xsave (%rsi)")))
    assert extended.verdict is UNDECIDED and "`xsave`" in extended.reason


def test_a_pointer_into_the_stack_comes_back_from_saved_state(tmp_path: Path) -> None:
    """What is loaded by it may be what lies there, and what is stored by it may change that."""
    for saves in ("fxsave (%rsi); mov 160(%rsi),%rax", "xsave (%rsi); mov 160(%rsi),%rax"):
        text = f"movq $5,-8(%rsp); lea -8(%rsp),%rcx; movq %rcx,%xmm0; {saves}; movq $6,(%rax); cmpq $5,-8(%rsp)"
        assert judged(tmp_path, branching(text, "jne")).verdict is not PROVED
    text = "movq $5,-8(%rsp); lea -8(%rsp),%rcx; mov %rcx,160(%rsi); fxrstor (%rsi); movq %xmm0,%rax; movq $6,(%rax)"
    assert judged(tmp_path, branching(f"{text}; cmpq $5,-8(%rsp)", "jne")).verdict is not PROVED
