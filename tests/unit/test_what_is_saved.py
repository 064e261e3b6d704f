# SPDX-License-Identifier: GPL-2.0-or-later
"""What is saved on the stack: a register that is pushed as the function was given it, and a return address.

It is taken to stay where a store by an index, or code that is not here, may reach it, which is granted by name.
Whatever else is pushed is a variable, and so is what is saved for who has its own address.
"""

from __future__ import annotations

import shutil

import pytest
from trace_programs import traced

from l1dflush.assumption import Assumes, Assumption

pytestmark = pytest.mark.skipif(shutil.which("as") is None, reason="the GNU assembler is not installed")

END = "; jne 1f; mov (%rcx),%al; 1: ret"
NEAR = "\n        .type near, @function\nnear:   push %rbx; pop %rbx; ret"
OWN = "mov $5,%ebx; push %rbx; "
LOST = {
    # A value of its own.
    "by an index": OWN + "movq $6,(%rsp,%rdx,8); pop %rax; cmp $5,%rax",
    "by an index of 32 bits": OWN + "mov %edx,%edx; movl $6,(%rsp,%rdx,4); pop %rax; cmp $5,%rax",
    "by an array below it": OWN + "sub $32,%rsp; movl $6,(%rsp,%rdx,4); add $32,%rsp; pop %rax; cmp $5,%rax",
    "by a bit": OWN + "bts %rdx,(%rsp); pop %rax; cmp $5,%rax",
    "pushed twice": OWN + "push %rbx; pop %rax; movq $6,(%rsp,%rdx,8); pop %rax; cmp $5,%rax",
    "a frame pointer that was made here": "push %rbp; mov %rsp,%rbp; push %rbp; movq $6,-32(%rbp,%rdx,8); pop %rax; "
    "cmp %rbp,%rax; pop %rbp",
    "in a function that was called": "call 2f; jmp 3f; 2: mov $5,%ebx; push %rbx; movq $6,(%rsp,%rdx,8); pop %rax; "
    "ret; 3: cmp $5,%rax",
    "by who was given its address": OWN + "mov %rsp,%rdi; call f; pop %rax; cmp $5,%rax",
    "by who finds its address": OWN + "mov %rsp,kept(%rip); call f; pop %rax; cmp $5,%rax",
    # What the function was given, but with its own address.
    "by an index to it": "mov %r14,%rcx; push %r14; movq $0,(%rsp,%rdx,8); pop %r14; cmp %r14,%rcx",
    "by an index to another one": "push %rbx; push %r12; movq $0,(%rsp,%rdx,8); cmp %rbx,8(%rsp); lea 16(%rsp),%rsp",
    "by an index to the one above": "push %rbx; push %r12; movb $0,8(%rsp,%rdx); cmp %r12,(%rsp); lea 16(%rsp),%rsp",
    "as registers at entry": "push %rbx; push %r12; mov %rsp,%rdi; call f; cmp %rbx,8(%rsp); lea 16(%rsp),%rsp",
    "as registers that are found": "push %rbx; mov %rsp,kept(%rip); call f; pop %rax; cmp %rbx,%rax",
    "as registers, told in the stack": "push %rbx; mov %rsp,%rax; push %rax; call f; pop %rax; pop %rax; cmp %rbx,%rax",
    # What is saved no longer.
    "by a function that is back": "call near; sub $24,%rsp; mov %rsp,%rdi; call f; cmp %rbx,8(%rsp); lea 24(%rsp),%rsp",
    "and taken back": "push %rbx; pop %rbx; sub $24,%rsp; mov %rsp,%rdi; call f; cmp %rbx,16(%rsp); lea 24(%rsp),%rsp",
    "where the stack had been aligned": "push %rbp; mov %rsp,%rbp; and $-64,%rsp; push %rbx; mov %rbp,%rsp; "
    "and $-64,%rsp; sub $24,%rsp; mov %rsp,%rdi; call f; cmp %rbx,16(%rsp); leave",
}
KEPT = {
    "by an array below it": "push %rbx; sub $32,%rsp; movl $6,(%rsp,%rdx,4); add $32,%rsp; pop %rax; cmp %rbx,%rax",
    "by who was given a variable": "push %rbx; sub $32,%rsp; mov %rsp,%rdi; call f; add $32,%rsp; pop %rax; "
    "cmp %rbx,%rax",
    "by who was given room made by push": "push %rbx; push %rax; mov %rsp,%rdi; call f; pop %rax; pop %rax; "
    "cmp %rbx,%rax",
    "in a function that was called": "mov $5,%ebx; call 2f; jmp 3f; 2: push %rbx; sub $32,%rsp; movl $6,(%rsp,%rdx,4); "
    "add $32,%rsp; pop %rax; ret; 3: cmp $5,%rax",
    "for a function that moved its frame pointer": "push %rbp; mov %rsp,%rbp; call 2f; jmp 3f; 2: push %rbp; "
    "sub $32,%rsp; movl $6,(%rsp,%rdx,4); add $32,%rsp; pop %rax; ret; 3: cmp %rbp,%rax; pop %rbp",
    "where the stack is aligned": "push %rbp; mov %rsp,%rbp; and $-64,%rsp; push %rbx; sub $32,%rsp; "
    "movl $6,(%rsp,%rdx,4); add $32,%rsp; pop %rax; cmp %rbx,%rax; leave",
}
OUT_OF_REACH = {
    "an index that is small": "push %rbx; sub $32,%rsp; and $7,%edx; movl $6,(%rsp,%rdx,4); add $32,%rsp; pop %rax; "
    "cmp %rbx,%rax",
    "a variable with an index that is small": OWN + "sub $32,%rsp; and $7,%edx; movl $6,(%rsp,%rdx,4); add $32,%rsp; "
    "pop %rax; cmp $5,%rax",
    "nobody was given a pointer": OWN + "call f; pop %rax; cmp $5,%rax",
}


@pytest.mark.parametrize("text", LOST.values(), ids=LOST)
def test_a_variable_that_was_pushed_may_be_written(text: str) -> None:
    assert len(traced(f"{text}{END}{NEAR}\n.comm kept, 8, 8").paths) == 2


@pytest.mark.parametrize("text", KEPT.values(), ids=KEPT)
def test_what_is_saved_stays_and_that_is_granted(text: str) -> None:
    trace = traced(f"{text}{END}")
    assert len(trace.paths) == 1
    assert Assumption(Assumes.SAVED_KEPT) in trace.assumptions


@pytest.mark.parametrize("text", OUT_OF_REACH.values(), ids=OUT_OF_REACH)
def test_what_is_out_of_reach_needs_no_grant(text: str) -> None:
    trace = traced(f"{text}{END}")
    assert len(trace.paths) == 1
    assert Assumption(Assumes.SAVED_KEPT) not in trace.assumptions


@pytest.mark.parametrize(
    ("text", "paths"),
    [
        ("mov $5,%ebx; push %ebx; mov %esp,%eax; call f; pop %eax; cmp $5,%eax", 2),
        ("push %esi; push %ebx; movb $5,(%esp,%edx); cmp %esi,4(%esp); lea 8(%esp),%esp", 2),
        ("push %esi; push %ebx; sub $32,%esp; movl $5,(%esp,%edx,4); cmp %esi,36(%esp); lea 40(%esp),%esp", 1),
    ],
)
def test_it_is_so_in_32_bits(text: str, paths: int) -> None:
    trace = traced(f"{text}{END.replace('rcx', 'ecx')}", 32)
    assert len(trace.paths) == paths
    assert Assumption(Assumes.SAVED_KEPT) in trace.assumptions  # the return address, at least
