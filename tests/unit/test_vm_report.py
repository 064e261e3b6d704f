# SPDX-License-Identifier: GPL-2.0-or-later
"""What ``vm`` shows a person, of a result made by hand."""

from __future__ import annotations

import pytest

from l1dflush.report.layout import plain
from l1dflush.report.terminal.vm import told, vm_lines
from l1dflush.vmentry.kvm.model import GuestInfo, HostInfo, LoopInfo, NanosecondsInfo, VmResult, VmRow
from l1dflush.vmentry.kvm.names import Ending, ExitReason, Flush
from l1dflush.vmentry.subsystem import Mechanism, Mode


def row(mode: Mode, flush: Flush | None, **changes: object) -> VmRow:
    there: dict[str, object] = {
        "mode": mode,
        "flush": flush,
        "mechanism": None if flush is None else Mechanism.READING,
        "flush_bytes": None if flush is None else 65536,
        "scope": "" if flush is None else "64 KiB are read.",
        "runs": 5,
        "ending": Ending.HALTED,
        "said": "",
        "entries": 1005,
        "flushes": 0 if flush is None else 1005,
        "sensitive": 25,
        "exits": {ExitReason.HALT: 5, ExitReason.PORT: 1000},
        "ports": {"0x10": 20, "0x11": 980},
        "nanoseconds": NanosecondsInfo(low=900, median=1000, high=1100, mean=1234),
        "more": None if flush is None else 4321,
    }
    return VmRow.model_validate(there | changes)


def result(*rows: VmRow, name: str = "demo", status: int = 0) -> VmResult:
    return VmResult(
        tool_version="0",
        host=HostInfo(cpu="Some CPU", on_cpu=3, kernel="6.1", l1tf="Mitigation: PTE Inversion", kernel_flush="cond"),
        guest=GuestInfo(name=name, size=22, sha256="0" * 64, long_mode=True, memory=1 << 20),
        secret_port=0x10,
        rows=rows,
        not_run={Flush.MSR: "there is none"},
        loop=LoopInfo(timed=500, whole=1500),
        exit_status=status,
    )


USUAL = """\
demo: 22 bytes, long mode, 1024 KiB of memory
  on       CPU 3, Some CPU, kernel 6.1, L1TF: Mitigation: PTE Inversion, the
           kernel's own flush: cond

mode    flush               starts  entries  sensitive  flushes
never   none                     5     1005         25        0
always  linux-2018, 64 KiB       5     1005         25     1005
  exits    5 halt, 1000 port; ports: 0x10 20 (with a secret), 0x11 980
  end      it halted

ns an entry  flush               25%  median   75%  mean  more (median)
never        none                900    1000  1100  1234
always       linux-2018, 64 KiB  900    1000  1100  1234          +4321
  loop     the Python loop takes 500 ns of each entry; with the handling of its
           exit it takes 1500 ns
  linux-2018 64 KiB are read.
  msr      not run: there is none

what a flush from user space can and cannot promise
"""


def test_the_report() -> None:
    text = plain(vm_lines(result(row(Mode.NEVER, None), row(Mode.ALWAYS, Flush.LINUX_2018)), 80))
    assert text.startswith(USUAL)
    assert text.count("\n  - ") == 4


@pytest.mark.parametrize("width", [76, 80, 120])
def test_it_fits(width: int) -> None:
    rows = [row(mode, flush) for flush in Flush for mode in (Mode.COND, Mode.ALWAYS)]
    many = {"entries": 10**9, "flushes": 10**9, "sensitive": 10**9, "runs": 10**9}
    rows.append(row(Mode.ALWAYS, Flush.PLANNED, **many))
    lines = vm_lines(result(*rows), width)
    assert max(line.cell_len for line in lines) <= width


def test_the_first_bad_ending_is_told() -> None:
    bad = row(Mode.ALWAYS, Flush.LINUX_2018, ending=Ending.KVM_ERROR, said="at \x1b[1m 0x1")
    there = result(row(Mode.NEVER, None), bad, row(Mode.COND, Flush.LINUX_2018), status=1)
    assert told(there) == "KVM gave up on it (at  [1m 0x1)"


def test_names_are_harmless() -> None:
    text = plain(vm_lines(result(row(Mode.NEVER, None), name="a\x1b[2Jb\n"), 80))
    assert "\x1b" not in text and text.startswith("a [2Jb : 22 bytes")


def test_a_row_that_never_ran() -> None:
    empty = row(Mode.ALWAYS, Flush.LINUX_2018, runs=0, entries=0, nanoseconds=None, more=None, ending=Ending.TIME)
    text = plain(vm_lines(result(row(Mode.NEVER, None), empty, status=1), 80))
    assert "it was stopped at the time limit" in text
