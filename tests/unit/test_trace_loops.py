# SPDX-License-Identifier: GPL-2.0-or-later
"""What a loop does on any input is one of the paths of its trace.

The oracle is an emulator that knows nothing of the trace (``program_runs``).
"""

from __future__ import annotations

import shutil

import program_runs
import pytest
import trace_programs as programs
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from path_cover import Traced, why_uncovered
from plain_machine import NotForThisError

from l1dflush.errors import UndecidedError
from l1dflush.routine.load import LoadOptions, load_bytes
from l1dflush.tracing.options import TraceOptions

pytestmark = pytest.mark.skipif(shutil.which("as") is None, reason="the GNU assembler is not installed")
bounded = settings(
    max_examples=60, derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck)
)

PROGRAMS = {
    "the walk": "xor %eax,%eax; 1: movzbl (%rdi,%rax),%ecx; add $64,%eax; cmp $65536,%eax; jne 1b",
    "wide loads": "xor %eax,%eax; 1: mov (%rdi,%rax),%rcx; add $64,%eax; cmp $4096,%eax; jne 1b; mov 9(%rsi),%cl",
    "downwards": "mov $4096,%eax; 1: sub $64,%eax; mov -64(%rdi,%rax),%cl; test %eax,%eax; jne 1b",
    "a pointer to the end": "lea 4096(%rdi),%rax; 1: mov (%rdi),%ecx; add $64,%rdi; cmp %rax,%rdi; jb 1b",
    "nested": (
        "mov $3,%edx; 2: xor %eax,%eax; 1: mov (%rdi,%rax),%cl; add $64,%eax; cmp $512,%eax; jne 1b;dec %edx; jne 2b"
    ),
    "two exits": "mov $40,%eax; 1: mov (%rdi,%rax),%ecx; cmp $7,%eax; je 2f; dec %eax; jne 1b; 2:",
    "what was stored is read later": (
        "mov $8,%ecx; mov %rdi,%rsi; 1: mov %rcx,512(%rsi); mov (%rsi),%rax; add $64,%rsi; dec %ecx; jne 1b;"
        "mov $16,%ecx; 1: mov (%rdi),%rax; add $64,%rdi; dec %ecx; jne 1b; test %rax,%rax; je 2f; mov 5(%rsi),%al; 2:"
    ),
    "a carry that becomes unknown": (
        "xor %eax,%eax; mov $9,%ecx; 1: adc $0,%rax; bt $0,%edi; dec %ecx;"
        "jne 1b; test %rax,%rax; je 2f; mov 5(%rsi),%al; 2:"
    ),
    "a carry that is left behind": (
        "mov $9,%ecx; mov (%rsi),%al; 1: add $8,%rdi; cmp %rdi,%rsi; dec %ecx; jne 1b;"
        "jb 2f; mov 5(%rsi),%al; 2: cmp %rdi,%rsi; jb 3f; nop; 3:"
    ),
    "a loaded value that is used and loaded again": (
        "mov $9,%ecx; 1: mov (%rdi),%rax; mov %rax,%rbx; mov 8(%rdi),%rax;"
        "add $16,%rdi; dec %ecx; jne 1b; mov (%rbx),%al"
    ),
    "out of one section into the next": (
        "lea a(%rip),%rdi; mov $200,%ecx; 1: movzbl (%rdi),%eax; add $64,%rdi; dec %ecx; jne 1b; jmp 2f;"
        '.bss; a: .skip 4096; .section .more,"aw",@nobits; b: .skip 4096;'
        '.section .yet,"aw",@nobits; .skip 70000; .text; 2:'
    ),
    "into initial data": (
        "lea a(%rip),%rdi; mov $32,%ecx; 1: mov (%rdi),%rax; add $8,%rdi; dec %ecx; jne 1b;"
        "test %rax,%rax; je 2f; mov 5(%rsi),%al; jmp 2f; .data; a: .skip 128; .fill 128,1,1; .text; 2:"
    ),
    "a sum": "mov $40,%ecx; xor %edx,%edx; 1: movslq (%rdi),%rax; add %rax,%rdx; add $64,%rdi; dec %ecx; jne 1b;"
    "test %rdx,%rdx; je 2f; mov 5(%rsi),%al; 2:",
    "a sum that is known at first and stored": (
        "mov $40,%ecx; xor %edx,%edx; 1: mov %rdx,(%rsi); add (%rdi),%rdx; add $64,%rdi; dec %ecx; jne 1b;"
        "mov (%rsi),%rax; test %rax,%rax; je 2f; mov 5(%rdi),%al; 2:"
    ),
    "a sum that is an address": (
        "mov $40,%ecx; mov %rsi,%rdx; 1: mov (%rdi),%rax; and $0xf8,%eax; "
        "mov (%rdx),%bl; add %rax,%rdx; add $64,%rdi; dec %ecx; jne 1b"
    ),
    "a sum whose carry counts": (
        "mov $4,%ecx; xor %edx,%edx; 1: lea 1(%rdx),%rbx; add (%rdi),%rdx; adc $0,%rsi; lea 64(%rdi),%rdi; dec %ecx;"
        "jne 1b; test %rsi,%rsi; je 2f; mov 5(%rdi),%al; 2:"
    ),
    "a sum that ends the loop": (
        "mov $9,%ecx; xor %edx,%edx; 1: add (%rdi),%rdx; add $64,%rdi; dec %ecx; je 2f; test %rdx,%rdx; jne 1b; 2:"
    ),
    "a product of what is always the same": (
        "mov $9,%ecx; 1: mov (%rdi),%rax; mov %rsi,%rdx; imul %rsi,%rdx; add $64,%rdi; dec %ecx; jne 1b;"
        "test %rdx,%rdx; je 2f; mov 5(%rsi),%al; 2:"
    ),
    "a loaded value that another takes the place of": (
        "mov $9,%ecx; 1: mov (%rdi),%rsi; mov %rdi,%rsi; add $64,%rdi; dec %ecx; jne 1b; mov 8(%rsi),%al"
    ),
    "many": "mov $2000,%ecx; 1: mov (%rdi),%al; dec %ecx; jne 1b",
}


def check(text: str, seeds: range) -> int:
    """Holds the trace against runs with random inputs at random places; returns how many runs there were."""
    head = "        .text\n        .globl program\n        .type program, @function\nprogram:\n"
    data = programs.elf(f"{head}{text}\n        .text\n        .size program, .-program")
    (routine,) = load_bytes(data, "program.o", LoadOptions(function="program"))
    try:
        found = Traced(routine, TraceOptions(max_paths=256, max_seconds=60))
    except UndecidedError as error:
        assert error.cause == "too-many-paths"
        return 0
    runs = 0
    for seed in seeds:
        try:
            run = program_runs.run(data, seed)
            reasons = why_uncovered(found.paths, found, run)
        except NotForThisError:
            continue
        runs += 1
        assert not reasons, (text, seed, reasons)
    return runs


@pytest.mark.parametrize("text", PROGRAMS.values(), ids=PROGRAMS)
def test_what_a_loop_does_is_a_path(text: str) -> None:
    assert check(f"{text}; ret", range(8)) > 0


BODY = (
    "mov (%rdi),%al", "mov (%rdi),%rax", "movzbl 3(%rdi),%eax", "mov %rcx,(%rsi)", "mov %ecx,256(%rdi)", "add $64,%rdi",
    "add $8,%rsi", "sub $16,%rdi", "add %rcx,%rdx", "adc $0,%rdx", "mov %rdi,%r8", "mov (%rsi),%r9", "mov %r9,%r10",
    "add (%rsi),%rdx", "incq -8(%rsp)", "mov %rdx,-16(%rsp)", "mov -16(%rsp),%r11", "lea 8(%rax),%rbx", "cmp %rdi,%rsi",
    "xor %r9,%r9", "bt $3,%edx", "mov 8(%rsi,%rcx,8),%r9d", "shl %cl,%edx", "and $-64,%rdi", "setc %bl",
    "add %rax,%rdx", "add %r9,%r8", "xor %rax,%r10", "mov %r10,%rbx", "imul %rax,%rdx", "xchg %rax,%r9", "sub %r8,%r8",
    "mov %rdx,%rsi", "mov %al,%bl", "or (%rdi),%r11", "test %rax,%rdx",
)  # fmt: skip


@bounded
@given(
    st.lists(st.sampled_from(BODY), min_size=1, max_size=5),
    st.lists(st.sampled_from(BODY), max_size=3),
    st.integers(3, 12),
    st.booleans(),
)
def test_random_loops(body: list[str], tail: list[str], count: int, twice: bool) -> None:
    loop = f"mov ${count},%ecx; 1: {'; '.join(body)}; dec %ecx; jne 1b;"
    start = "movq $1,-8(%rsp); mov $5,%edx; mov %rdi,%r14; mov %rsi,%r15; clc;"
    end = "; ".join([*tail, "test %rdx,%rdx; je 2f; mov 4096(%r14),%al; 2: jb 3f; mov 4096(%r15),%al; 3: ret"])
    check(f"{start} {loop} {loop if twice else ''} {end}", range(2))
