"""What a processor keeps is the same each time that it is asked for, until somebody may have changed it."""

from __future__ import annotations

import shutil
from typing import Literal

import pytest
from trace_programs import number_of_paths, traced

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
    "comparison": ("ucomisd %xmm1,%xmm0; setp %al; test %al,%al", True, "ldmxcsr (%rsi)"),
}


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


@pytest.mark.parametrize("name", [name for name, (_, called, _) in KEPT.items() if not called and name != "checksum"])
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
        ("mov %ds,%eax; test $3,%al", "mov %es,%eax; test $3,%al"),
    ],
)  # fmt: skip
def test_another_question_has_another_answer(one: str, other: str) -> None:
    assert number_of_paths(f"{one}; je 1f; {other}; je 1f; nop; 1: ret") == 3


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
    assert (
        "cpuid answers the same each time" in traced("xor %eax,%eax; cpuid; test %ebx,%ebx; je 1f; 1: ret").assumptions
    )
    assert "cpuid answers the same each time" not in traced("xor %eax,%eax; cpuid; ret").assumptions
    assert any("interrupt flag" in text for text in traced("pushf; cli; popf; ret").assumptions)
    assert not any("interrupt flag" in text for text in traced("cli; sti; ret").assumptions)
