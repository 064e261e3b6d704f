# SPDX-License-Identifier: GPL-2.0-or-later
"""How long it takes to trace a flush.

Each benchmark says how many instructions it ran; operations are what the machine makes of these."""

from __future__ import annotations

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from l1dflush.routine.built_in import load_built_in
from l1dflush.routine.load import load_bytes
from l1dflush.routine.model import Routine
from l1dflush.routine.options import LoadOptions
from l1dflush.tracing.abstract import trace
from l1dflush.tracing.lift import Lifter

BYTES = 72  # of an operation, as the core has it
HEAD = "\t.globl l1d_flush\n\t.type l1d_flush, @function\nl1d_flush:\n\txor %eax, %eax\n\txor %edx, %edx\n1:\t"
TAIL = "\n\tcmp $65536, %eax\n\tjb 1b\n\tlfence\n\tret\n\t.size l1d_flush, . - l1d_flush\n"
LOOPS = {
    "byte by byte": ("movzbl (%rdi,%rax), %ecx\n\tinc %eax", 65536),
    # Each turn makes a new value.
    "added up": ("add (%rdi,%rax), %rdx\n\tadd $64, %eax", 1024),
    "xor and rotate": ("xor (%rdi,%rax), %rdx\n\trol $5, %rdx\n\tadd $64, %eax", 1024),
}


def operations(routine: Routine) -> int:
    """How many operations the abstract machine makes of a routine's loop, for a turn: of all but its first two and last
    two instructions."""
    lifter = Lifter(routine.image)
    section = routine.image.section_at(routine.entry)
    assert section is not None
    base, at = lifter.bases.of_section(section), routine.entry - section.address
    made = []
    while at < len(section.data):
        length, packed = lifter.lift(base, at)
        made.append(len(packed) // BYTES)
        at += length
    return sum(made[2:-2])


def test_long_walk(benchmark: BenchmarkFixture) -> None:
    """16 MiB in steps of 32 bytes: a counter over an unknown base. It should be 20 million operations a second."""
    turns = (16 << 20) // 32
    text = f"{HEAD}movzbl (%rdi,%rax), %ecx\n\tadd $32, %rax{TAIL}".replace("$65536, %eax", f"${16 << 20}, %eax")
    (routine,) = load_bytes(text.encode(), "f.s", LoadOptions())
    (path,) = benchmark.pedantic(trace, (routine,), rounds=3, warmup_rounds=1).paths
    assert len(path.events) == turns + 2
    benchmark.extra_info["operations a second"] = int(operations(routine) * turns / benchmark.stats.stats.median)


@pytest.mark.parametrize("body", ["added up", "xor and rotate"])
def test_long_sum(benchmark: BenchmarkFixture, body: str) -> None:
    """6.4 MB in steps of 64 bytes, of which each makes new values. It should be 4 million operations a second."""
    turn, turns = LOOPS[body][0], 100_000
    text = f"{HEAD}{turn}{TAIL}".replace("$65536, %eax", f"${64 * turns}, %eax")
    (routine,) = load_bytes(text.encode(), "f.s", LoadOptions())
    (path,) = benchmark.pedantic(trace, (routine,), rounds=3, warmup_rounds=1).paths
    assert len(path.events) == turns + 2
    benchmark.extra_info["operations a second"] = int(operations(routine) * turns / benchmark.stats.stats.median)


def test_kernel_loop(benchmark: BenchmarkFixture) -> None:
    """The loop of Linux 4.9.120: 16 loads of warm-up and 1024 of fill. It should stay below 2 ms."""
    routine = load_built_in("linux-4.9.120")
    (path,) = benchmark(trace, routine).paths
    assert len(path.events) == 1045


@pytest.mark.parametrize("body", LOOPS)
def test_loop(benchmark: BenchmarkFixture, body: str) -> None:
    turn, turns = LOOPS[body]
    (routine,) = load_bytes(f"{HEAD}{turn}{TAIL}".encode(), "f.s", LoadOptions())
    (path,) = benchmark(trace, routine).paths
    # The fence and the return address beside the loads.
    assert len(path.events) == turns + 2
    benchmark.extra_info["instructions"] = path.instructions
    benchmark.extra_info["operations a second"] = int(operations(routine) * turns / benchmark.stats.stats.median)
