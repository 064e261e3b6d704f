# SPDX-License-Identifier: GPL-2.0-or-later
"""A pointer into the stack that goes through what is not followed and comes back may be that pointer again.

Each routine puts 0 into its frame, stores 1 through what came back, and reads the buffer if that is in the frame then.
On a processor it is if the pointer came back as it was, so there has to be a path that reads. Where nothing leads to
the stack there has to be one that does not, and if what came back is made of nothing else that is the only one."""

from __future__ import annotations

import pytest

from l1dflush.routine.load import load_bytes
from l1dflush.routine.options import LoadOptions
from l1dflush.tracing.abstract import trace

TO_MSR = """mov {0}, %rax
\tmov %rax, %rdx
\tshr $32, %rdx
\tmov $0x174, %ecx
\twrmsr
\trdmsr
\tshl $32, %rdx
\tor %rdx, %rax"""
WAYS = {
    "as a double": "cvtsi2sd {0}, %xmm0\n\tcvttsd2si %xmm0, %rax",
    "as a double by way of memory": "mov {0}, 8(%rsp)\n\tcvtsi2sdq 8(%rsp), %xmm1\n\tcvtsd2si %xmm1, %rax",
    "in the x87": "mov {0}, 8(%rsp)\n\tfildll 8(%rsp)\n\tfistpll 24(%rsp)\n\tmov 24(%rsp), %rax",
    "in a debug register": "mov {0}, %dr0\n\tmov %dr0, %rax",
    "in another": "mov {0}, %dr3\n\tmov %dr3, %rax",
    "in CR2": "mov {0}, %cr2\n\tmov %cr2, %rax",
    "in an MSR": TO_MSR,
}


def reading(way: str, pointer: str) -> set[bool]:
    """Whether the buffer is read, on each path."""
    text = (
        "\t.globl f\nf:\n\tsub $64, %rsp\n\tmovq $0, 16(%rsp)\n"
        f"\t{way.format(pointer)}\n\tmovq $1, 16(%rax)\n\tmov 16(%rsp), %rcx\n\ttest %rcx, %rcx\n\tjz 1f\n"
        "\tmovzbl (%rbx), %ecx\n1:\tadd $64, %rsp\n\tret\n"
    )
    (routine,) = load_bytes(text.encode(), "f.s", LoadOptions())
    return {any(event.detail == "movzx" for event in path.events) for path in trace(routine).paths}


@pytest.mark.parametrize("way", WAYS)
def test_it_may_be_the_pointer_again(way: str) -> None:
    assert True in reading(WAYS[way], "%rsp")
    assert False in reading(WAYS[way], "%rdi")


@pytest.mark.parametrize("way", ["as a double", "in the x87", "in a debug register", "in an MSR"])
def test_what_is_not_made_of_the_stack_does_not_lead_there(way: str) -> None:
    assert reading(WAYS[way], "%rdi") == {False}
