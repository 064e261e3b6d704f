# SPDX-License-Identifier: GPL-2.0-or-later
"""Ten million VM exits counted, in each form: how long it takes, and that the memory stays what it was.

The trace is made while it is read, so that it needs no disk. At most 30 s of the processor's time are wanted, the
making included.
"""

from __future__ import annotations

import resource
import time

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from l1dflush.vmentry.cost.count import Counted, counted
from l1dflush.vmentry.cost.stream import TraceBytes

EXITS = 10_000_000
IN_A_PIECE = 2_000
MOST_SECONDS = 30.0
MOST_KIB = 200 << 10
REASONS = ("MSR_WRITE", "EXTERNAL_INTERRUPT", "HLT", "EPT_MISCONFIG", "IO_INSTRUCTION", "EPT_VIOLATION", "VMCALL")
_SECOND = b"@@@@@@"


def line(form: str, number: int) -> str:
    """The lines of one exit, and of the entry after it where the form has one."""
    cpu, reason = number % 8, REASONS[number * 7919 % len(REASONS)]
    at, after = (f"{_SECOND.decode()}.{number * 100 + step:06d}" for step in (0, 40))
    if form == "csv":
        return f"{at},{reason},{cpu},{cpu}\n"
    if form == "trace-cmd":
        return f"     CPU-{cpu}-4711  [{cpu:03d}] {at}: kvm_exit:       reason {reason} rip 0xffffffff81a0 info 0 0\n"
    head = f"       CPU {cpu}/KVM  4711 [{cpu:03d}]"
    numbers = "info1 0x0000000000000181 info2 0x0000000000000000 intr_info 0x00000000 error_code 0x00000000"
    return (
        f"{head} {at}:         kvm:kvm_exit: vcpu {cpu} reason {reason} rip 0xffffffff81a01004 {numbers}\n"
        f"{head} {after}:        kvm:kvm_entry: vcpu {cpu}, rip 0xffffffff81a01006\n"
    )


class Endless:
    """A file that repeats a piece of a trace, each time a second later, until there were enough exits."""

    def __init__(self, form: str, exits: int) -> None:
        self._piece = "".join(line(form, number) for number in range(IN_A_PIECE)).encode()
        self._pieces = exits // IN_A_PIECE
        self._at = 0
        self.bytes = len(self._piece) * self._pieces

    def read(self, _: int) -> bytes:
        """The next piece; nothing after the last."""
        if self._at == self._pieces:
            return b""
        self._at += 1
        return self._piece.replace(_SECOND, b"%06d" % (100_000 + self._at))


@pytest.mark.parametrize("form", ["perf", "trace-cmd", "csv"])
def test_ten_million_exits(form: str, benchmark: BenchmarkFixture) -> None:
    counted(TraceBytes("warm", None, Endless(form, 100_000)))  # type: ignore[arg-type]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    trace = Endless(form, EXITS)

    def work() -> Counted:
        return counted(TraceBytes(form, None, trace))  # type: ignore[arg-type]

    begun = time.process_time()
    found = benchmark.pedantic(work, rounds=1, iterations=1)
    seconds = time.process_time() - begun
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    benchmark.extra_info |= {"mebibytes": trace.bytes >> 20, "grown_kib": grown, "cpu_seconds": round(seconds, 1)}
    assert int(found.exits.sum()) == EXITS
    assert found.lines.broken == found.backwards == 0
    assert grown < MOST_KIB
    assert seconds <= MOST_SECONDS
