# SPDX-License-Identifier: GPL-2.0-or-later
"""What code that is not here may change of the stack: all of it once it has a pointer into it, but what is saved.

In each of these the last branch depends on memory that the function called may have written, so that both ways are
paths; in the others it may not have.
"""

from __future__ import annotations

import shutil

import pytest
from trace_programs import traced

from l1dflush.assumption import Assumes, Assumption

pytestmark = pytest.mark.skipif(shutil.which("as") is None, reason="the GNU assembler is not installed")

END = "; jne 1f; mov (%rsi),%al; 1: ret"
REACHED = {
    "below the pointer": "sub $24,%rsp; movl $1,(%rsp); lea 8(%rsp),%rdi; call f; mov (%rsp),%ecx; add $24,%rsp",
    "far above it": "sub $8200,%rsp; movl $1,8192(%rsp); mov %rsp,%rdi; call f; mov 8192(%rsp),%ecx; add $8200,%rsp",
    "through an index": "sub $24,%rsp; movl $1,(%rsp); lea (%rsp,%rdx,4),%rdi; call f; mov (%rsp),%ecx; add $24,%rsp",
    "made room for by push": "mov $1,%eax; push %rax; mov %rsp,%rdi; call f; pop %rcx",
    "where another function pushed": "call near; sub $24,%rsp; movl $1,16(%rsp); mov %rsp,%rdi; call f; "
    "mov 16(%rsp),%ecx; add $24,%rsp",
    "below the stack pointer": "movl $1,-64(%rsp); call f; mov -64(%rsp),%ecx",
    "through what it returned": "sub $24,%rsp; mov %rsp,%rdi; call f; movl $1,8(%rsp); movl $0,(%rax); "
    "mov 8(%rsp),%ecx; add $24,%rsp",
    "given away before": "sub $24,%rsp; mov %rsp,%rdi; call f; movl $1,8(%rsp); call f; mov 8(%rsp),%ecx; add $24,%rsp",
    "through another register": "sub $24,%rsp; movl $1,8(%rsp); mov %rsp,%rax; call f; mov 8(%rsp),%ecx; add $24,%rsp",
    "through the stack": "sub $24,%rsp; movl $1,8(%rsp); mov %rsp,(%rsp); call f; mov 8(%rsp),%ecx; add $24,%rsp",
}
OUT_OF_REACH = {
    "no pointer was given": "sub $24,%rsp; movl $1,(%rsp); call f; mov (%rsp),%ecx; add $24,%rsp",
    "a register that is given back": "push %rbx; mov $1,%ebx; sub $16,%rsp; mov %rsp,%rdi; call f; mov %ebx,%ecx; "
    "add $16,%rsp; pop %rbx",
}
NEAR = "\n        .type near, @function\nnear:   push %rbx; pop %rbx; ret"


@pytest.mark.parametrize("text", REACHED.values(), ids=REACHED)
def test_what_was_in_reach_is_unknown(text: str) -> None:
    assert len(traced(f"{text}; cmp $1,%ecx{END}{NEAR}").paths) == 2


@pytest.mark.parametrize("text", OUT_OF_REACH.values(), ids=OUT_OF_REACH)
def test_what_was_not_is_known(text: str) -> None:
    assert len(traced(f"{text}; cmp $1,%ecx{END}{NEAR}").paths) == 1


@pytest.mark.parametrize("aligned", ["and $-64,%rsp", "and $-16,%rsp", "sub $8,%rsp"])
def test_a_frame_that_is_aligned_by_itself_comes_back(aligned: str) -> None:
    """The return address lies so far from what nobody knows, and stays."""
    (path,) = traced(f"push %rbp; mov %rsp,%rbp; {aligned}; sub $64,%rsp; mov %rsp,%rdi; call f; leave; ret").paths
    assert path.events[-1].detail == "ret"


@pytest.mark.parametrize("size", ["4095", "64"])
def test_an_error_number_is_no_object_that_wraps(size: str) -> None:
    """What is in the last page is tested, and what is pointed to is walked if it is elsewhere."""
    walk = "xor %eax,%eax; 2: mov (%rsi,%rax),%cl; add $64,%eax; cmp $65536,%eax; jb 2b; ret"
    assert len(traced(f"cmp $-{size},%rsi; jae 1f; mov (%rsi),%eax; {walk}; 1: mov (%rdi),%al; ret").paths) == 2


NOP = ".byte 0x0f,0x1f,0x44,0,0"
KEYS = """
        .data
key:    .quad 0, 0
other:  .quad 0, 0
        .section __jump_table,"aw"
        .long 11b-., 12b-.
        .quad key-.
        .long 21b-., 22b-.
        .quad {0}-."""


@pytest.mark.parametrize(
    ("between", "second", "paths", "granted"),
    [
        ("call f", "key", 2, True),
        ("call *%rdx", "key", 2, True),
        ("call f", "other", 4, True),
        ("nop", "key", 2, False),
    ],
)
def test_a_key_that_a_call_leaves_alone_is_granted(between: str, second: str, paths: int, granted: bool) -> None:
    first = f"11: {NOP}; mov $1,%ebx; jmp 3f; 12: mov $2,%ebx; 3: {between}"
    then = f"21: {NOP}; mov $1,%ecx; jmp 4f; 22: mov $2,%ecx; 4: nop"
    trace = traced(f"push %rbx; {first}; {then}; pop %rbx; ret{KEYS.format(second)}")
    assert len(trace.paths) == paths
    assert (Assumption(Assumes.KEYS_STAY) in trace.assumptions) == granted
