# SPDX-License-Identifier: GPL-2.0-or-later
"""``--max-seconds`` is for everything that is asked about a routine, and not for each part of it."""

from __future__ import annotations

import random
import time
from itertools import pairwise
from pathlib import Path
from unittest import mock

import pytest

from l1dflush.cache.geometry import Geometry
from l1dflush.errors import UndecidedError
from l1dflush.proof.words import set_words
from l1dflush.routine import identity
from l1dflush.routine.elf.intervals import Intervals
from l1dflush.tracing.events import Events
from l1dflush.tracing.model import Arena, ArenaKind, Event, Kind
from l1dflush.tracing.region import Region, RegionKind
from l1dflush.verdict import judge
from l1dflush.verdict.options import VerifyOptions
from l1dflush.verdict.walk import PAGE, fill_start

ARENA = Arena("input:rdi", ArenaKind.INPUT, Region(RegionKind.POINTED, ("rdi",)), 4096)
LOOP = """
\t.globl l1d_flush
\t.type l1d_flush, @function
l1d_flush:
\txor %eax, %eax
1:\tmovzbl (%rdi,%rax), %ecx
\tSECOND
\tadd $STEP, %rax
\tcmp $END, %rax
\tjb 1b
\tlfence
\tret
\t.size l1d_flush, . - l1d_flush
"""
# Processor time; besides the limit, what is begun already is finished, and the machine may be busy.
MOST_SECONDS = 10.0


def load(offset: int) -> Event:
    return Event(Kind.LOAD, 0x10, "mov", ARENA, offset, 4)


@pytest.mark.parametrize(
    ("step", "end", "second"),
    [(4160, 1 << 30, "nop"), (128, 1 << 28, "nop"), (64, 1 << 26, "movzbl (%rsi,%rax), %ecx"), (0, 1, "nop")],
)
def test_time_for_everything(tmp_path: Path, step: int, end: int, second: str) -> None:
    file = tmp_path / "f.s"
    file.write_text(LOOP.replace("STEP", str(step)).replace("END", str(end)).replace("SECOND", second))
    began = time.process_time()
    result = judge.verify(str(file), VerifyOptions(max_seconds=0.5))
    assert result.verdict == "UNDECIDED"
    assert time.process_time() - began < MOST_SECONDS


def test_reads_in_no_order_are_looked_through_in_time(tmp_path: Path) -> None:
    file = tmp_path / "f.s"
    body = "imul $1103515245, %edx, %edx; add $12345, %edx; mov %edx, %esi; and $0xfffc0, %esi; mov (%rdi,%rsi), %ecx"
    file.write_text(LOOP.replace("SECOND", body).replace("STEP", "1").replace("END", "300000"))
    began = time.process_time()
    result = judge.verify(str(file), VerifyOptions(max_seconds=2))
    # Where it ends depends on the machine.
    assert result.verdict == "UNDECIDED" and result.cause in ("budget", "out-of-time")
    assert time.process_time() - began < MOST_SECONDS


@pytest.mark.parametrize("more", ["", "mov %ecx, -8(%rsp)"])
def test_a_routine_is_hashed_once_where_no_name_decides_anything(tmp_path: Path, more: str) -> None:
    """What a routine leads to may be much, and hashing it takes longer than all the rest."""
    file = tmp_path / "loop.S"
    file.write_text(LOOP.replace("SECOND", more).replace("STEP", "64").replace("END", "65536"))
    with mock.patch.object(identity, "described", side_effect=identity.described) as described:
        judge.verify(str(file), VerifyOptions(cpus=("skylake",)))
    assert described.call_count == 1


def test_words_are_made_in_time() -> None:
    turn = tuple(load(64 * number) for number in range(3))
    events = Events.folded([(turn, (4096 * 3,) * 3, 100_000)])
    with pytest.raises(UndecidedError, match="takes too long") as error:
        set_words(events, frozenset({ARENA.key}), Geometry(32768, 8, 64), None, deadline=time.monotonic() - 1)
    assert error.value.cause == "out-of-time"


@pytest.mark.parametrize("step", [128, -4096])
@pytest.mark.parametrize("moves_by", [0, 320, 8256])
def test_units_of_many_short_loops_are_put_together_once(step: int, moves_by: int) -> None:
    """As of a loop in a loop: else it would take the square of their number."""
    events = Events.folded(
        [((load(at),), (step,), 3) for outer in range(200) for at in (outer * moves_by, outer * moves_by + 37)]
    )
    touched = {(event.offset + byte) // 64 for event in events for byte in range(event.size)}
    with mock.patch.object(Intervals, "united", autospec=True, side_effect=Intervals.united) as united:
        found = {unit for low, high in events.units(64) for unit in range(low, high)}
    assert found == touched and united.call_count == 1


@pytest.mark.parametrize("seed", range(60))
def test_units_far_apart(seed: int) -> None:
    """The units that a loop touches, and where its fill begins, are those of the events one by one."""
    rng = random.Random(seed)
    runs = []
    for _ in range(rng.randint(1, 3)):
        each = rng.randint(1, 3)
        steps = tuple(rng.choice([-1, 1]) * rng.choice([0, 8, 64, 65, 128, 4096, 5000, 8192]) for _ in range(each))
        runs.append((tuple(load(rng.randrange(-(1 << 15), 1 << 15)) for _ in range(each)), steps, rng.randint(1, 9)))
    events = Events.folded(runs)
    for size, base, whole in ((64, 0, True), (64, 13, True), (4096, 0, False)):
        expected = set()
        for event in list(events):
            low = (event.offset + base) // size
            high = (event.offset + base + (event.size - 1 if whole else 0)) // size
            expected |= set(range(low, high + 1))
        found = events.units(size, base=base, whole=whole)
        assert {unit for low, high in found for unit in range(low, high)} == expected
        pieces = list(found)
        assert all(end < start for (_, end), (start, _) in pairwise(pieces))
    pages: set[int] = set()
    start = 0
    for index, event in enumerate(list(events)):
        if event.offset // PAGE in pages:
            start = 0 if index == 1 else index
            break
        pages.add(event.offset // PAGE)
    assert fill_start(events) == start
