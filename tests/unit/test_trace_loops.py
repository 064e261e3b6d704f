"""A loop run in one go gives what the same loop gives step by step."""

from __future__ import annotations

import shutil

import pytest
import trace_programs as programs
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from l1dflush.errors import UndecidedError
from l1dflush.trace.abstract import trace
from l1dflush.trace.loops import Loops
from l1dflush.trace.model import Path as TracePath
from l1dflush.trace.options import TraceOptions

pytestmark = pytest.mark.skipif(shutil.which("as") is None, reason="the GNU assembler is not installed")
bounded = settings(
    max_examples=60, derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck)
)

PROGRAMS = {
    "the walk": "xor %eax,%eax; 1: movzbl (%rdi,%rax),%ecx; add $64,%eax; cmp $65536,%eax; jne 1b",
    "wide loads": "xor %eax,%eax; 1: mov (%rdi,%rax),%rcx; add $64,%eax; cmp $4096,%eax; jne 1b; mov (%rcx),%al",
    "downwards": "mov $4096,%eax; 1: sub $64,%eax; mov -64(%rdi,%rax),%cl; test %eax,%eax; jne 1b",
    "a pointer to the end": "lea 4096(%rdi),%rax; 1: mov (%rdi),%ecx; add $64,%rdi; cmp %rax,%rdi; jb 1b",
    "nested": (
        "mov $3,%edx; 2: xor %eax,%eax; 1: mov (%rdi,%rax),%cl; add $64,%eax; cmp $512,%eax; jne 1b;dec %edx; jne 2b"
    ),
    "two exits": "mov $40,%eax; 1: mov (%rdi,%rax),%ecx; cmp $7,%eax; je 2f; dec %eax; jne 1b; 2:",
    "what was stored is read later": (
        "mov $8,%ecx; mov %rdi,%rsi; 1: mov %rcx,512(%rsi); mov (%rsi),%rax; add $64,%rsi; dec %ecx; jne 1b;"
        "mov $16,%ecx; 1: mov (%rdi),%rax; add $64,%rdi; dec %ecx; jne 1b; test %rax,%rax; je 2f; mov (%rdx),%al; 2:"
    ),
    "a carry that becomes unknown": (
        "xor %eax,%eax; mov $9,%ecx; 1: adc $0,%rax; bt $0,%edi; dec %ecx;"
        "jne 1b; test %rax,%rax; je 2f; mov (%rdx),%al; 2:"
    ),
    "a carry that is left behind": (
        "mov $9,%ecx; mov (%rsi),%al; 1: add $8,%rdi; cmp %rdi,%rsi; dec %ecx; jne 1b;"
        "jb 2f; mov (%rdx),%al; 2: cmp %rdi,%rsi; jb 3f; nop; 3:"
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
        "test %rax,%rax; je 2f; mov (%rdx),%al; jmp 2f; .data; a: .skip 128; .fill 128,1,1; .text; 2:"
    ),
    "a sum": "mov $40,%ecx; xor %edx,%edx; 1: movslq (%rdi),%rax; add %rax,%rdx; add $64,%rdi; dec %ecx; jne 1b;"
    "test %rdx,%rdx; je 2f; mov (%rdx),%al; 2:",
    "a sum that is known at first and stored": (
        "mov $40,%ecx; xor %edx,%edx; 1: mov %rdx,(%rsi); add (%rdi),%rdx; add $64,%rdi; dec %ecx; jne 1b;"
        "mov (%rsi),%rax; test %rax,%rax; je 2f; mov (%rax),%al; 2:"
    ),
    "a sum that is an address": (
        "mov $40,%ecx; mov %rsi,%rdx; 1: mov (%rdi),%rax; mov (%rdx),%bl; add %rax,%rdx; add $64,%rdi; dec %ecx; jne 1b"
    ),
    "a sum whose carry counts": (
        "mov $9,%ecx; xor %edx,%edx; 1: lea 1(%rdx),%rbx; add (%rdi),%rdx; adc $0,%rsi; lea 64(%rdi),%rdi; dec %ecx;"
        "jne 1b; test %rsi,%rsi; je 2f; mov (%rbx),%al; 2:"
    ),
    "a sum that ends the loop": (
        "mov $9,%ecx; xor %edx,%edx; 1: add (%rdi),%rdx; add $64,%rdi; dec %ecx; test %rdx,%rdx; jne 1b"
    ),
    "a product of what is always the same": (
        "mov $9,%ecx; 1: mov (%rdi),%rax; mov %rsi,%rdx; imul %rsi,%rdx; add $64,%rdi; dec %ecx; jne 1b;"
        "test %rdx,%rdx; je 2f; mov (%rdx),%al; 2:"
    ),
    "a loaded value that another takes the place of": (
        "mov $9,%ecx; 1: mov (%rdi),%rsi; mov %rdi,%rsi; add $64,%rdi; dec %ecx; jne 1b; mov 8(%rsi),%al"
    ),
    "many": "mov $2000,%ecx; 1: mov (%rdi),%al; dec %ecx; jne 1b",
}


def forget_body(loops: Loops, pc: int) -> int:
    loops._body = []
    return pc


def run(text: str, monkeypatch: pytest.MonkeyPatch, steps: bool) -> list[TracePath] | str:
    routine = programs.function(text)
    with monkeypatch.context() as patch:
        if steps:
            patch.setattr(Loops, "run_ahead", forget_body)
        try:
            return list(trace(routine, TraceOptions(max_seconds=60)).paths)
        except UndecidedError as error:
            return error.cause


def check(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    fast, slow = run(text, monkeypatch, False), run(text, monkeypatch, True)
    assert isinstance(fast, str) == isinstance(slow, str)
    if isinstance(fast, str) or isinstance(slow, str):
        return
    assert len(fast) == len(slow)
    for one, other in zip(fast, slow, strict=True):
        assert [d.taken for d in one.decisions] == [d.taken for d in other.decisions]
        assert len(one.events) == len(other.events)
        for event, expected in zip(one.events, other.events, strict=True):
            # The name of memory that a value loaded in a loop points to tells how it was found.
            assert event._replace(arena=None) == expected._replace(arena=None)
            if event.arena != expected.arena:
                assert event.arena and expected.arena and event.arena.key.startswith("unknown:")


@pytest.mark.parametrize("text", PROGRAMS.values(), ids=PROGRAMS)
def test_one_go_is_step_by_step(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    check(f"{text}; ret", monkeypatch)


BODY = (
    "mov (%rdi),%al", "mov (%rdi),%rax", "movzbl 3(%rdi),%eax", "mov %rcx,(%rsi)", "mov %ecx,256(%rdi)", "add $64,%rdi",
    "add $8,%rsi", "sub $16,%rdi", "add %rcx,%rdx", "adc $0,%rdx", "mov %rdi,%r8", "mov (%rsi),%r9", "mov %r9,%r10",
    "add (%rsi),%rdx", "incq -8(%rsp)", "mov %rdx,-16(%rsp)", "mov -16(%rsp),%r11", "lea 8(%rax),%rbx", "cmp %rdi,%rsi",
    "xor %r9,%r9", "bt $3,%edx", "mov 8(%rsi,%rcx,8),%r9d", "shl %cl,%edx", "and $-64,%rdi", "setc %bl",
    "add %rax,%rdx", "add %r9,%r8", "xor %rax,%r10", "mov %r10,%rbx", "imul %rax,%rdx", "xchg %rax,%r9", "sub %r8,%r8",
    "mov %rdx,%rsi", "mov %al,%bl", "or (%rdi),%r11", "test %rax,%rdx",
)  # fmt: skip


@pytest.fixture(scope="module")
def patches() -> pytest.MonkeyPatch:
    return pytest.MonkeyPatch()


@bounded
@given(
    st.lists(st.sampled_from(BODY), min_size=1, max_size=5),
    st.lists(st.sampled_from(BODY), max_size=3),
    st.integers(3, 12),
    st.booleans(),
)
def test_random_loops(patches: pytest.MonkeyPatch, body: list[str], tail: list[str], count: int, twice: bool) -> None:
    loop = f"mov ${count},%ecx; 1: {'; '.join(body)}; dec %ecx; jne 1b;"
    start = "movq $1,-8(%rsp); mov $5,%edx; clc;"
    end = "; ".join([*tail, "test %rdx,%rdx; je 2f; mov (%r9),%al; 2: jb 3f; mov (%r10),%al; 3: ret"])
    check(f"{start} {loop} {loop if twice else ''} {end}", patches)
