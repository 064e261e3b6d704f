# SPDX-License-Identifier: GPL-2.0-or-later
"""Forks miss nothing: every concrete run of a random program is one of the paths of its trace.

The oracle runs the program once for each choice of concrete inputs and knows nothing of unknown values.
"""

from __future__ import annotations

import shutil
from itertools import product

import pytest
import trace_programs as programs
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from thorough import examples

from l1dflush.errors import UndecidedError
from l1dflush.tracing.abstract import trace
from l1dflush.tracing.model import Event, Kind
from l1dflush.tracing.options import TraceOptions

pytestmark = pytest.mark.skipif(shutil.which("as") is None, reason="the GNU assembler is not installed")
bounded = settings(
    max_examples=examples(15, 35),
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)

BUFFER, FLAGS = 0x2000_0000_0000, 0x3000_0000_0000
# Far from where an addition could wrap around: that no memory does is taken for granted.
INPUTS = (1 << 32, (1 << 32) + 1, (1 << 32) + 0x100, 3 << 33)
FLAG_VALUES = (0, 1, 0x80)
REGISTERS = ("rax", "rbx", "rcx", "rdx", "rsi", "r11")
PARTS = {
    "rax": ("al", "ax", "eax", "rax", "ah"),
    "rbx": ("bl", "bx", "ebx", "rbx", "bh"),
    "rcx": ("cl", "cx", "ecx", "rcx", "ch"),
    "rdx": ("dl", "dx", "edx", "rdx", "dh"),
    "rsi": ("sil", "si", "esi", "rsi"),
    "r11": ("r11b", "r11w", "r11d", "r11"),
}
WIDTH = {"b": 0, "w": 1, "l": 2, "q": 3}
CONDITIONS = ("e", "ne", "b", "ae", "a", "be", "l", "ge", "le", "g", "s", "ns")

sizes = st.sampled_from("bwlq")
names = st.sampled_from((*REGISTERS, "rax", "rbx", "rax", "rbx"))
small = st.sampled_from((0, 1, 2, 3, 5, 8, 0x40, -1))
conditions = st.sampled_from(CONDITIONS)
operations = st.sampled_from(("add", "sub", "xor", "and", "or", "adc", "sbb", "cmp", "test"))
high_operations = st.sampled_from(("mov", "add", "xor", "cmp"))
low_bytes = st.sampled_from(("bl", "bh", "al", "cl"))
slots = st.sampled_from((-8, -16, -24, -20, -12, -9))


def part(register: str, size: str) -> str:
    return "%" + PARTS[register][WIDTH[size]]


@st.composite
def instructions(draw: st.DrawFn) -> str:
    size, one, other = draw(sizes), draw(names), draw(names)
    a, b = part(one, size), part(other, size)
    wide, memory = f"%{one}", f"{draw(slots)}(%rsp)"
    number, cc = draw(small), draw(conditions)
    choices = (
        f"mov {a}, {b}",
        f"mov ${number}, {b}",
        f"{draw(operations)} {a}, {b}",
        f"{draw(operations)}{size} ${number}, {b}",
        f"{draw(st.sampled_from(('inc', 'dec', 'neg', 'not')))} {a}",
        f"{draw(st.sampled_from(('shl', 'shr', 'sar', 'rol', 'rcl', 'ror')))} ${number & 0x3F}, {a}",
        f"{draw(st.sampled_from(('shl', 'shr', 'rol', 'rcr')))} %cl, {a}",
        f"set{cc} {part(one, 'b')}",
        f"cmov{cc} {part(one, size if size != 'b' else 'w')}, {part(other, size if size != 'b' else 'w')}",
        f"mov {a}, {memory}",
        f"mov {memory}, {b}",
        f"{draw(st.sampled_from(('add', 'xor', 'sub', 'and')))} {a}, {memory}",
        f"{draw(st.sampled_from(('add', 'sub', 'cmp', 'or')))}{size} ${number}, {memory}",
        f"{draw(st.sampled_from(('inc', 'dec', 'neg', 'not')))}{size} {memory}",
        f"{draw(high_operations)} %ah, %{draw(low_bytes)}",
        f"mov ${number & 0x7F}, %ch",
        f"xchg {a}, {memory}",
        f"xchg {a}, {b}",
        f"xadd {a}, {b}",
        f"lea {draw(small)}({wide}), %{other}",
        f"lea ({wide},%{other}), {part(other, size if size != 'b' else 'l')}",
        f"bt ${abs(number) & 15}, {part(one, 'w' if size == 'b' else size)}",
        "stc",
        "clc",
        "cmc",
        "cwd",
        "cdqe",
        "lahf",
        "mul %rsi",
        f"imul ${number}, {wide}, %{other}",
        f"movzb{'l' if size in 'bw' else size} {part(one, 'b')}, {part(other, 'l' if size in 'bw' else size)}",
        f"movslq {part(one, 'l')}, %{other}",
        f"push {wide}\n        pop %{other}",
        f"mov (%r8), {a}",
        f"mov 1(%r8), {part(one, 'b')}",
        f"cmp{size} ${number}, (%r8)",
        f"movq {wide}, %xmm0\n        movq %xmm0, %{other}",
        f"bswap {wide}",
        "jrcxz 9f\n        mov 5(%r9), %r10b\n9:",
    )
    return draw(st.sampled_from(choices))


@st.composite
def texts(draw: st.DrawFn) -> str:
    """Straight code with forward branches, each of which jumps over a load from the buffer."""
    lines = ["mov %r12, %rax", "mov %r13, %rbx", "mov %r14, %rcx", "mov $7, %edx", "mov %r12, %rsi", "mov $0, %r11d"]
    lines += ["mov %rdx, -8(%rsp)", "mov %rbx, -16(%rsp)", "mov %rax, -24(%rsp)"]
    # Few different instructions, so that the same one meets the same value again, or almost the same.
    pool = st.sampled_from(draw(st.lists(instructions(), min_size=2, max_size=5)))
    compare = st.sampled_from(
        ("", "", f"cmp %{draw(names)}, %{draw(names)}", f"cmpq ${draw(small)}, {draw(slots)}(%rsp)", "cmp %rax, %rbx")
    )
    for number in range(draw(st.integers(1, 5))):
        lines += [*draw(st.lists(pool, min_size=1, max_size=4)), draw(compare)]
        lines += [f"j{draw(conditions)} {number + 1}f", f"mov {64 * number}(%r9), %r10b", f"{number + 1}:"]
    return "\n".join([*lines, "ret"])


def of_buffer(events: tuple[Event, ...]) -> tuple[tuple[int, int], ...]:
    return tuple(
        (e.pc, e.offset) for e in events if e.kind is Kind.LOAD and e.arena and e.arena.region.names == ("r9",)
    )


def check(text: str) -> None:
    routine = programs.function(text)
    try:
        paths = {of_buffer(path.events) for path in trace(routine, TraceOptions(max_paths=200, max_seconds=2)).paths}
    except UndecidedError:
        return
    for r12, r13, r14, flag in product(INPUTS, INPUTS[:2], INPUTS, FLAG_VALUES):
        registers = {"r12": r12, "r13": r13, "r14": r14, "r8": FLAGS, "r9": BUFFER}
        memory = {BUFFER: bytes(0x1000), FLAGS: bytes((flag, flag ^ 1)) + bytes(6)}
        done = programs.run(routine, registers, memory)
        seen = tuple((pc, at - BUFFER) for pc, at, _, _ in done if BUFFER <= at < BUFFER + 0x1000)
        assert seen in paths, (text, registers, flag)


@bounded
@given(texts())
def test_every_concrete_run_is_a_path(text: str) -> None:
    check(text)


@pytest.mark.parametrize("most", [1 << 64, 10**30])
def test_any_number_of_paths_may_be_allowed(most: int) -> None:
    assert len(programs.traced("test %rdi, %rdi; je 1f; nop; 1: ret", max_paths=most).paths) == 2
