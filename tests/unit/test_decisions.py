# SPDX-License-Identifier: GPL-2.0-or-later
"""What a path's decisions say, and when two of them are one."""

from __future__ import annotations

import shutil

import pytest
from trace_programs import number_of_paths, traced

from l1dflush.tracing.facts import Relation

pytestmark = pytest.mark.skipif(shutil.which("as") is None, reason="the GNU assembler is not installed")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("test %edi,%edi; jne 1f", "`edi` is not zero"),
        ("test %rdi,%rdi; jne 1f", "`rdi` is not zero"),
        ("test %dh,%dh; jne 1f", "`dh` is not zero"),
        ("cmpl $5,(%rdi); jne 1f", "`[rdi]` is not 0x5"),
        ("movzbl 8(%rdi),%eax; test %al,%al; jne 1f", "`[rdi+0x8]` is not zero"),
        ("mov 8(%rdi),%eax; test %eax,%eax; jne 1f", "`[rdi+0x8]` is not zero"),
        ("test $4,%sil; jne 1f", "bit 2 of `sil` is set"),
        ("or %rsi,%rdi; jne 1f", "`rdi` or `rsi` is not zero"),
        # What is computed from a value is not the value: where it says something of the value it is said of that.
        ("xor $5,%edi; test %edi,%edi; jne 1f", ""),
        ("lea -7(%rsi),%rax; test %rax,%rax; jne 1f", "`rsi` is not 0x7"),
        ("cmp $5,%edi; sete %al; test %al,%al; jne 1f", "`edi` is 0x5"),
        ("neg %edi; cmp $-9,%edi; jne 1f", "`edi` is not 0x9"),
        ("and %rsi,%rdi; test %rdi,%rdi; jne 1f", ""),
        ("add %rsi,%rdi; cmp $8,%rdi; jne 1f", ""),
        ("mov %rdi,(%rsi); addq $1,(%rsi); cmpq $0,(%rsi); jne 1f", "`rdi` is not 0xffffffffffffffff"),
        # The condition that is kept, and only then the number that is made of it.
        ("cmp $6,%edi; sbb %eax,%eax; add %esi,%eax; cmp $9,%eax; je 1f", "`edi` is below 0x6"),
        (
            "cmp $6,%edi; setl %al; movzbl %al,%eax; add %esi,%eax; cmp $9,%eax; je 1f",
            "`edi` is below 0x6 as a signed number",
        ),
        ("bt $3,%edx; jc 1f", "bit 3 of `edx` is set"),
        # What the prelude for C makes of static_cpu_has(), and what only looks like it.
        ("cmpb $0,cpu_has_X86_FEATURE_FLUSH_L1D(%rip); jne 1f", "`X86_FEATURE_FLUSH_L1D` is present"),
        ("cmpb $0,cpu_has_X86_BUG_L1TF(%rip); je 1f", "`X86_BUG_L1TF` is absent"),
        ("cmpb $2,cpu_has_X86_BUG_L1TF(%rip); je 1f", "`cpu_has_X86_BUG_L1TF` is 0x2"),
        ("cmpb $0,cpu_has_room(%rip); jne 1f", "`cpu_has_room` is not zero"),
    ],
)
def test_a_decision_says_only_what_is_true_of_the_value_that_it_names(text: str, said: str) -> None:
    path = next(path for path in traced(f"{text}; nop; 1: ret").paths if path.decisions[0].taken)
    fact = path.decisions[0].fact
    if said:
        assert str(fact) == said
    else:
        assert fact.relation is Relation.BRANCH and fact.instruction.endswith("; jne")


def test_a_value_compared_with_zero_twice_is_decided_once() -> None:
    assert number_of_paths("cmp $0,%edi; je 4f; test %edi,%edi; je 3f; mov (%rsi),%al; 3: ret; 4: ret") == 2
    assert number_of_paths("cmp $0,%rdi; je 4f; test %edi,%edi; je 3f; mov (%rsi),%al; 3: ret; 4: ret") == 3
