# SPDX-License-Identifier: GPL-2.0-or-later
"""What 20,000 entries of a real guest cost, without a flush and with each, and what the loop takes of that."""

from __future__ import annotations

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from l1dflush import _core
from l1dflush.errors import KvmUnavailableError
from l1dflush.silicon.flush_plan import Request
from l1dflush.vmentry.kvm import session as kvm_session
from l1dflush.vmentry.kvm.guest_code import demo
from l1dflush.vmentry.kvm.model import VmResult
from l1dflush.vmentry.kvm.names import Flush
from l1dflush.vmentry.kvm.session import Asked
from l1dflush.vmentry.kvm.vm import Kvm
from l1dflush.vmentry.subsystem import Mode

ENTRIES = 20_000


@pytest.fixture(autouse=True)
def _needs_kvm() -> None:
    if not _core.NATIVE:
        pytest.skip("no native flush for this machine")
    try:
        with Kvm() as kvm, kvm.vm(1 << 16):
            pass
    except KvmUnavailableError as error:
        pytest.skip(str(error))


@pytest.mark.parametrize("flush", [Flush.LINUX_2018, Flush.PLANNED, Flush.STEADY])
def test_entries_with_a_flush(flush: Flush, benchmark: BenchmarkFixture) -> None:
    """As many without a flush, in turn, are part of the time."""
    request = Request(policy="tree-PLRU", geometry="32K,8,64")
    asked = Asked(demo(), (Mode.ALWAYS,), (flush,), entries=ENTRIES, seconds=600, request=request)
    result: VmResult = benchmark.pedantic(kvm_session.run, (asked,), rounds=3)
    without, with_flush = result.rows
    assert without.nanoseconds is not None and with_flush.nanoseconds is not None
    assert without.entries == with_flush.entries == with_flush.flushes == ENTRIES
    benchmark.extra_info.update(
        nanoseconds_without=without.nanoseconds.median,
        nanoseconds_with=with_flush.nanoseconds.median,
        loop_nanoseconds=result.loop.timed,
        whole_loop_nanoseconds=result.loop.whole,
    )
    # One flush more is what makes the difference.
    assert with_flush.more is not None and with_flush.more > 0
