# SPDX-License-Identifier: GPL-2.0-or-later
"""Traces of VM exits: every form is read, block-wise and line-wise alike, and what is broken is told."""

from __future__ import annotations

import gzip
import io
import lzma
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from packing import zstd
from plain_exit_counts import Plain, plain_csv, plain_trace

from l1dflush.errors import InputError
from l1dflush.vmentry.cost import count as cost_count
from l1dflush.vmentry.cost import stream as cost_input
from l1dflush.vmentry.cost.count import Counted, count, counted
from l1dflush.vmentry.cost.exit_trace import Event, Kind, read_line
from l1dflush.vmentry.cost.stream import TraceBytes


def of(data: bytes | str, unit: str = "s") -> Counted:
    content = data.encode() if isinstance(data, str) else data
    return counted(TraceBytes("t", len(content), io.BytesIO(content)), unit)


def exits(found: Counted) -> dict[str, int]:
    return {name: int(n) for name, n in zip(found.reasons.names, found.exits, strict=True) if n}


def requested(found: Counted) -> dict[str, int]:
    return {name: int(n) for name, n in zip(found.reasons.names, found.requested, strict=True) if n}


def same(found: Counted, plain: Plain) -> None:
    assert exits(found) == dict(plain.exits)
    assert requested(found) == {name: n for name, n in plain.requested.items() if n}
    assert (found.entries, found.requests, found.lines.broken) == (plain.entries, plain.requests, plain.broken)
    assert (found.backwards, found.guest) == (plain.backwards, plain.guest)
    assert (found.first, found.last) == (min(plain.times), max(plain.times))
    assert {cpu for cpu, there in enumerate(found.cpus.tolist()) if there} == plain.cpus


# --- one line

PERF_NEW = (
    b"        CPU 0/KVM  4711 [003] 12345.678901:       kvm:kvm_exit: vcpu 0 reason EPT_VIOLATION rip 0x7f info1 0x181"
)
LINES = {
    PERF_NEW: Event(Kind.EXIT, 12345678901000, 3, b"EPT_VIOLATION"),
    b"vm 47 [000]    12.000000001: kvm:kvm_exit: reason HLT rip 0x7f": Event(Kind.EXIT, 12000000001, 0, b"HLT"),
    b"  vm-47  [001]  12.000001: kvm_exit:             reason msr rip 0x1": Event(Kind.EXIT, 12000001000, 1, b"msr"),
    b"  vm-47  [001] d..1. 12.000001: kvm_exit: reason IO_INSTRUCTION rip": Event(
        Kind.EXIT, 12000001000, 1, b"IO_INSTRUCTION"
    ),
    b"vm 47 12.000001: kvm:kvm_exit: rip 0x7f vcpu 3 reason CPUID": Event(Kind.EXIT, 12000001000, -1, b"CPUID"),
    b"vm 47 [2] 12.000001: kvm:kvm_exit: rip 0x7f, reason=CPUID, x": Event(Kind.EXIT, 12000001000, 2, b"CPUID,"),
    b"vm 47 [002] 12.000001: kvm:kvm_entry: vcpu 0, rip 0x7f": Event(Kind.ENTRY, 12000001000, 2),
    b"vm 47 [002] 12.000001: kvm_entry:": Event(Kind.ENTRY, 12000001000, 2),
    b"vm 47 [002] 12.000001: kvm:kvm_userspace_exit: reason KVM_EXIT_IO (2)": Event(Kind.REQUEST, 12000001000, 2),
    b"idle 0 [002] 12.000001: irq_vectors:local_timer_entry: vector=236": Event(Kind.INTERRUPT, 12000001000, 2),
    b"idle 0 [002] 12.000001: sched:sched_switch: prev_comm=a reason=b": Kind.OTHER,
    b"": Kind.OTHER,
    b"cpus=8": Kind.OTHER,
    b"# event : name = kvm:kvm_exit, type = 2": Kind.OTHER,
    b"   ffffffff8103 kvm_exit_handler+0x13": Kind.OTHER,
    b"vm 47 [002] 12.000001: kvm:kvm_exit: rip 0x7f": None,
    b"vm 47 [002] 12.001: kvm:kvm_exit: reason HLT": None,
    b"vm 47 [99999] 12.000001: kvm:kvm_exit: reason HLT": None,
    b"vm 47 [002] 9999999999.000001: kvm:kvm_exit: reason HLT": None,
    b"kvm:kvm_exit: reason HLT": None,
}


@pytest.mark.parametrize("line", LINES)
def test_a_line(line: bytes) -> None:
    assert read_line(line) == LINES[line]


@pytest.mark.parametrize("line", [line for line, said in LINES.items() if isinstance(said, Event)])
def test_the_same_line_in_a_block(line: bytes) -> None:
    said = LINES[line]
    assert isinstance(said, Event)
    first = b"vm 1 [007] 1.000000: kvm:kvm_exit: reason FIRST rip 0\n"
    found = of(first * 100 + line + b"\n")
    if said.kind is Kind.EXIT:
        assert exits(found) == {"FIRST": 100, said.reason.rstrip(b",").decode(): 1}
    assert found.entries == (said.kind is Kind.ENTRY)
    assert found.requests == (said.kind in (Kind.REQUEST, Kind.INTERRUPT))
    assert found.last == said.time
    assert found.without_cpu == (said.cpu < 0)


# --- many lines, against the plain reader

REASONS = ["HLT", "EPT_VIOLATION", "npf", "MSR_WRITE", "x", "0x4d", "A" * 31, "B" * 32, "C" * 40, "12345678", "1234567"]
HEADS = st.sampled_from(
    ["vm 4711", "  CPU 0/KVM  12", "qemu-system-x86-12", "", "a.b 1.5", "x: y:", "[5 1", "\t", "é 1"]
)
FLAGS = st.sampled_from(["", "d..1. ", ".... ", "[x ", "x] ", "[4] ", "f" * 20 + " "])
ARGS = st.sampled_from(
    [
        "reason {} rip 0x1",
        "vcpu 0 reason {} rip 0x1 info1 0",
        "vcpu 12, reason {} rip 0x1",
        "rip 0x1 reason {} info",
        "reason {}",
        "reason   {} x",
        "vcpu 1234567 reason {} x",
        "no cause",
        "",
        "reasons {} x",
        "vcpu reason {} y",
        "reason {}, reason B rip",
        "x" * 90 + " reason {} y",
    ]
)
EVENTS = st.sampled_from(
    [
        *(["kvm:kvm_exit:", "kvm_exit:", "kvm:kvm_entry:", "kvm_entry:"] * 3),
        "kvm:kvm_userspace_exit:",
        "kvm_exit",
        "irq:irq_handler_entry:",
        "local_timer_entry:",
        "sched:sched_switch:",
        "e" * 40 + ":",
    ]
)
TIMES = st.one_of(
    st.builds(lambda s, f: f"{s}.{f:06d}:", st.integers(0, 99999), st.integers(0, 999999)),
    st.builds(lambda s, f: f"{s}.{f:09d}:", st.integers(0, 99999), st.integers(0, 999999999)),
    st.sampled_from(["9000000000.000000:", "8999999999.999999:", "1.00000:", "12345678901.000000:", "1.2.000000:"]),
)


@st.composite
def trace_lines(draw: st.DrawFn) -> str:
    cpu = draw(st.sampled_from(["", "[000] ", "[001] ", "[001]  ", "[8191] ", "[8192] ", "[123456] ", "[] ", "[1]"]))
    blanks = " " * draw(st.sampled_from([1, 1, 1, 5, 47, 48, 60]))
    args = draw(ARGS).format(draw(st.sampled_from(REASONS)))
    head, flags, time, event = draw(HEADS), draw(FLAGS), draw(TIMES), draw(EVENTS)
    whole = f"{head} {cpu}{flags}{blanks}{time}{blanks}{event}{blanks}{args}"
    return draw(st.sampled_from([whole] * 6 + [whole[:-5], whole + " 2.000000: kvm_exit: reason Q r", "", "noise"]))


SORTED = "".join(f"vm 1 [000] {i}.000000: kvm:kvm_exit: vcpu 0 reason HLT rip 0x{i:x}\n" for i in range(60))


@settings(max_examples=150, deadline=None)
@given(st.lists(trace_lines(), max_size=30), st.sampled_from([500, 3000, 1 << 20]))
def test_counts_are_those_of_a_plain_reader(lines: list[str], block: int) -> None:
    text = SORTED + "".join(f"{line}\n" for line in lines)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cost_input, "BLOCK", block)
        patch.setattr(cost_count, "MOST_BROKEN", 1.0)
        patch.setattr(cost_count, "MOST_BACKWARDS", 1.0)
        found = of(text)
    same(found, plain_trace(text))
    assert found.lines.total == text.count("\n")
    assert found.lines.total == found.lines.others + found.lines.broken + found.events


@settings(max_examples=80, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 10**7), st.sampled_from(REASONS), st.integers(0, 4), st.sampled_from([0, 1, 8191])),
        min_size=1,
        max_size=60,
    ),
    st.sampled_from([1, 2, 3, 4]),
    st.sampled_from(["s", "ms", "us", "ns"]),
    st.sampled_from(["\n", "\r\n"]),
    st.lists(st.sampled_from(["x,HLT", "1,", "# 1,HLT", "", "1.5.5,HLT,1,1", '"2","HLT"', " 3 , HLT ,1"]), max_size=2),
)
def test_csv_counts_are_those_of_a_plain_reader(
    rows: list[tuple[int, str, int, int]], width: int, unit: str, end: str, odd: list[str]
) -> None:
    fields = [[f"{t}.{t % 1000:03d}" if width % 2 else str(t), r, str(v), str(c)] for t, r, v, c in rows]
    lines = [",".join(line[: max(width, 2)]) for line in fields] + odd
    text = "".join(f"{line}{end}" for line in lines)
    scale = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}[unit]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cost_count, "MOST_BROKEN", 1.0)
        patch.setattr(cost_count, "MOST_BACKWARDS", 1.0)
        found = of(text, unit)
    same(found, plain_csv(text, ["time", "reason", "vcpu", "cpu"], scale))


def test_times_in_a_block_are_exact() -> None:
    found = of("0.000000001,A\n" * 2 + "8999999999.999999999,A\n")
    assert (found.first, found.last) == (1, 8_999_999_999_999_999_999)


# --- csv


def test_named_columns_in_any_order() -> None:
    found = of("# mine\ncpu,Exit_Reason,pid,timestamp\n3,HLT,77,1.5\n3,CPUID,77,2.5\n")
    assert exits(found) == {"HLT": 1, "CPUID": 1}
    assert (found.first, found.last) == (1_500_000_000, 2_500_000_000)
    assert found.cpus[3]
    assert (found.lines.total, found.lines.others, found.lines.broken) == (4, 2, 0)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("cpu,reason\n1,HLT\n", "no columns 'time'"),
        ("time,time,reason\n1,2,HLT\n", "2 columns 'time'"),
        ("when,what\n1,HLT\n", "no trace of VM exits"),
    ],
)
def test_columns_that_are_missing(text: str, told: str) -> None:
    with pytest.raises(InputError, match=told):
        of(text)


# --- what is not in order

GOOD = b"vm 1 [000] 1.000000: kvm:kvm_exit: vcpu 0 reason HLT rip 0x1\n"


def test_a_last_line_without_an_end() -> None:
    cut = of(GOOD * 3 + b"vm 1 [000] 2.000000: kvm:kvm_exit: vcpu 0 reason EPT_VIOL")
    assert (exits(cut), cut.lines.cut, cut.lines.broken) == ({"HLT": 3}, True, 0)
    whole = of(GOOD * 3 + GOOD[:-1])
    assert (exits(whole), whole.lines.cut) == ({"HLT": 4}, False)
    assert exits(of("1,HLT\n2,CPUID")) == {"HLT": 1, "CPUID": 1}
    assert of("1,HLT\n2,CP").lines.cut


@pytest.mark.parametrize(
    ("line", "lost"),
    [
        (b"CPU:3 [LOST 123 EVENTS]", 123),
        (b"CPU:2 [45 EVENTS DROPPED]", 45),
        (b"vm 1 [000] 1.000000: PERF_RECORD_LOST lost 7", 7),
        (b"LOST 9 events", 9),
        (b"vm 1 [000] 1.000000: sched:sched_switch: lost=5", 0),
    ],
)
def test_lost_events(line: bytes, lost: int) -> None:
    assert of(GOOD + line + b"\n" + GOOD).lines.lost == lost


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"", "it is empty"),
        (b"hello\nworld\n", "no trace of VM exits"),
        (b"\0\0\0", "not text"),
        (b"PERFILE2abc", "perf script -i FILE"),
        (b"\x17\x08\x44tracing6", "trace-cmd report FILE"),
        (b"vm 1 [000] 1.000000: sched:sched_switch: x\n", "there is no VM exit in it"),
        (GOOD.replace(b"exit", b"entry"), "only 1 entries"),
        (GOOD[:-20], "it breaks off in the first"),
        (GOOD + GOOD.replace(b"reason", b"?"), "1 of 2 lines .* cannot be read, the first is line 2"),
        (b"".join(GOOD.replace(b" 1.", b" %d." % (100 - i)) for i in range(9)), "not sorted by time: 8 of 9"),
        (b"9,A\n8,A\n7,A\n", "not sorted by time: 2 of 3"),
        (b"1,HLT\nx,HLT\n", "a broken trace"),
        (b"".join(b"1,R%d\n" % i for i in range(1001)), "more than 1000 different exit reasons"),
        (b"BZh91AY", "compressed with bzip2"),
        (b"\x1f\x8bnothing", "damaged gzip data"),
        (b"x" * 300_000, "it is not text"),
    ],
)
def test_what_is_no_trace(data: bytes, told: str) -> None:
    with pytest.raises(InputError, match=told) as error:
        of(data)
    assert str(error.value).startswith("t: ")


def test_a_little_disorder_is_told_and_bearable() -> None:
    lines = [GOOD.replace(b" 1.", b" %d." % i) for i in range(40)]
    lines[10], lines[11] = lines[11], lines[10]
    assert of(b"".join(lines)).backwards == 1


def test_an_endless_line_costs_no_memory() -> None:
    found = of(GOOD * 100 + b"kvm_exit" * 500_000 + b"\n" + GOOD)
    assert (exits(found), found.lines.broken) == ({"HLT": 101}, 1)


# --- compressed


@pytest.mark.parametrize("pack", [gzip.compress, lzma.compress, zstd.compress])
def test_compressed_traces(pack: object) -> None:
    data = GOOD * 50_000
    packed: bytes = pack(data)  # type: ignore[operator]
    assert exits(of(packed)) == {"HLT": 50_000}
    assert exits(of(packed + packed)) == {"HLT": 100_000}
    blocks = [len(block) for block in TraceBytes("t", None, io.BytesIO(packed)).blocks()]
    assert sum(blocks) == len(data)
    assert max(blocks) <= 2 * cost_input.BLOCK


def test_compressed_and_cut() -> None:
    packed = gzip.compress(b"".join(GOOD.replace(b"0x1", b"%x" % (i * i)) for i in range(50_000)))
    found = of(packed[: len(packed) // 2])
    assert found.lines.cut
    assert 0 < exits(found)["HLT"] < 50_000


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    cases = (tmp_path, "this is a directory"), (tmp_path / "no", "No such file"), (Path("a\0b"), "null byte")
    for path, told in cases:
        with pytest.raises(InputError, match=told):
            count(str(path))


# --- damaged

MARKS = [
    b"\n", b" ", b",", b".", b":", b"[", b"]", b"9", b"kvm_exit:", b"reason ", b"\r", b"\t", b"\xff", b"\0", b" " * 70,
]  # fmt: skip
WHOLE = [
    b"".join(PERF_NEW.replace(b"12345", b"%d" % i) + b"\n" + GOOD.replace(b"exit", b"entry") for i in range(20)),
    b"".join(b"%d.5,HLT,0,1\n" % i for i in range(60)),
    b"cpu,reason,time\n" + b"1,CPUID,5.25\n" * 40,
]


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from(WHOLE),
    st.lists(st.tuples(st.floats(0, 1), st.sampled_from([0, 1, 40]), st.sampled_from(MARKS)), max_size=25),
    st.sampled_from([None, gzip.compress, lzma.compress]),
)
def test_damage_is_an_error_or_a_count_whatever_the_blocks(
    data: bytes, damages: list[tuple[float, int, bytes]], pack: object
) -> None:
    damaged = bytearray(data)
    for where, length, mark in damages:
        at = int(where * len(damaged))
        damaged[at : at + length] = mark
    whole = pack(bytes(damaged)) if callable(pack) else bytes(damaged)
    counts = []
    for block in (300, 1 << 20):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(cost_input, "BLOCK", block)
            patch.setattr(cost_count, "MOST_BROKEN", 1.0)
            patch.setattr(cost_count, "MOST_BACKWARDS", 1.0)
            try:
                found = of(whole)
            except InputError:
                continue
        counts.append((exits(found), found.entries, found.lines.broken, found.backwards, found.guest))
    # Which form it is may depend on how much of it is looked at.
    if len(counts) == 2 and b"\0" not in damaged:
        assert counts[0] == counts[1]
