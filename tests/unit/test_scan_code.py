# SPDX-License-Identifier: GPL-2.0-or-later
"""Which functions of a large file are worth a trace: what looks like a walk, without running it."""

from __future__ import annotations

import shutil
from typing import Literal

import pytest
from trace_programs import function

from l1dflush.tracing.scan import scan

pytestmark = pytest.mark.skipif(shutil.which("as") is None, reason="the GNU assembler is not installed")

WALKS = {
    "by an index": "xor %eax,%eax; 1: movzbl (%rdi,%rax),%ecx; add $64,%rax; cmp $65536,%rax; jne 1b",
    "by a pointer": "lea 65536(%rdi),%rax; 1: mov (%rdi),%cl; add $64,%rdi; cmp %rax,%rdi; jne 1b",
    "downwards": "mov $65472,%eax; 1: mov (%rdi,%rax),%cl; sub $64,%eax; jns 1b",
    "by pages": "1: mov (%rsi,%rax),%cl; add $4096,%eax; cmp %eax,%edi; jne 1b",
    "a counter on the stack": "movl $0,-4(%rbp); jmp 2f; 1: mov -4(%rbp),%eax; movslq %eax,%rdx; mov -24(%rbp),%rax;"
    "add %rdx,%rax; movzbl (%rax),%eax; addl $64,-4(%rbp); 2: cmpl $65535,-4(%rbp); jle 1b",
    "a counter that is loaded and stored": "1: mov -4(%rbp),%eax; mov (%rbx,%rax),%cl; mov -4(%rbp),%eax;"
    "add $64,%eax; mov %eax,-4(%rbp); cmp $65536,%eax; jne 1b",
    "an address that is computed first": "1: lea (%rdi,%rax),%rdx; mov (%rdx),%cl;"
    "lea 64(%rax),%rax; cmp %rsi,%rax; jne 1b",
    "all the way around": "xor %eax,%eax; 1: movzwl %ax,%ecx; mov (%rdi,%rcx),%cl; add $64,%eax; cmp $0,%ax; jne 1b",
    "rows in a loop": "2: xor %eax,%eax; 1: mov (%rdi,%rax),%cl; add $64,%eax; cmp $4032,%eax; jle 1b; add $4096,%rdi;"
    "cmp %rsi,%rdi; jne 2b",
}  # fmt: skip
OTHERS = {
    "a small table": "mov $0x800,%edx; 1: mov %edx,%eax; shr $3,%eax; mov (%rdi,%rax),%rcx;"
    "add $64,%edx; cmp $0x900,%edx; jne 1b",
    "what only stores": "1: mov %cl,(%rdi); add $64,%rdi; cmp %rsi,%rdi; jne 1b",
    "what does not read there": "1: mov (%rdx),%cl; add $64,%rdi; cmp %rsi,%rdi; jne 1b",
    "a flag bit that is added": "1: mov (%rax),%cl; add $0x400000,%rax; cmp %rsi,%rax; jne 1b",
    "a pointer that is made anew": "1: mov (%rbx),%rax; add $64,%rax; mov (%rax),%ecx;"
    "add $8,%rbx; test %ecx,%ecx; jne 1b",
    "a pointer that a call gives": "1: call made; add $64,%rax; mov (%rax),%ecx; test %ecx,%ecx; jne 1b",
}  # fmt: skip


def likely(text: str, bits: Literal[32, 64] = 64) -> bool:
    routine = function(f"{text}; ret", bits)
    found = scan(routine.image, [routine.entry])
    return routine.entry in found.likely & found.reading


@pytest.mark.parametrize("text", WALKS.values(), ids=WALKS)
def test_a_walk(text: str) -> None:
    assert likely(text)


@pytest.mark.parametrize("text", OTHERS.values(), ids=OTHERS)
def test_no_walk(text: str) -> None:
    assert not likely(text)


def test_the_way_back_from_a_part_that_was_moved_out_is_no_loop() -> None:
    far = "nop\n" * 300
    assert not likely(f"1: mov (%rdi),%cl; {far} mov (%rdi),%cl; add $64,%rdi; jmp 1b")
    assert likely("1: mov (%rdi),%cl; cmp %rsi,%rdi; je 2f; add $64,%rdi; jmp 1b; 2:")


def test_a_fixed_place_is_not_walked() -> None:
    """An address is a number in 32-bit code."""
    fixed = "1: mov 0x2064,%eax; {}; add $4096,%edx; test %eax,%eax; jne 1b"
    routine = function(fixed.format("mov %ecx,(%edx)") + "; ret", 32)
    assert routine.entry not in scan(routine.image, [routine.entry]).reading
    assert likely(fixed.format("mov (%edx),%ecx"), 32)
