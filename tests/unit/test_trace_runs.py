# SPDX-License-Identifier: GPL-2.0-or-later
"""Folding a trace: what is folded can be unfolded again, and what repeats itself becomes one run."""

from __future__ import annotations

import random

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from l1dflush.tracing.model import Arena, ArenaKind, Event, Kind
from l1dflush.tracing.region import Region, RegionKind
from l1dflush.tracing.runs import LONGEST_PERIOD, FoldedRun, fold

STACK = Arena("stack", ArenaKind.STACK, Region(RegionKind.STACK), 8)
ARENAS = (None, STACK, Arena("symbol:pages", ArenaKind.SYMBOL, Region(RegionKind.SYMBOL, ("pages",)), 4096))

events = st.builds(
    Event, st.sampled_from([Kind.LOAD, Kind.STORE]), st.just(0), st.sampled_from(["mov", "push"]),
    st.sampled_from(ARENAS), st.sampled_from([0, 8, 64]), st.sampled_from([4, 8]), st.none(),
)  # fmt: skip


@st.composite
def loops(draw: st.DrawFn) -> list[Event]:
    """Bodies that repeat themselves, some more regularly than others."""
    found: list[Event] = []
    for _ in range(draw(st.integers(0, 3))):
        body = draw(st.lists(events, min_size=1, max_size=LONGEST_PERIOD + 2))
        steps = draw(st.lists(st.sampled_from([0, 64, 64, -8]), min_size=len(body), max_size=len(body)))
        for turn in range(draw(st.integers(1, 5))):
            found += [e._replace(offset=e.offset + step * turn) for e, step in zip(body, steps, strict=True)]
    return found


def unfolded(runs: list[FoldedRun]) -> list[Event]:
    found: list[Event] = []
    at = 0
    while at < len(runs):
        group = [run for run in runs[at:] if run.together == runs[at].together]
        assert len({run.count for run in group}) == 1
        for turn in range(group[0].count):
            found += [run.event._replace(offset=run.event.offset + turn * run.step) for run in group]
        at += len(group)
    return found


@settings(max_examples=150, derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck))
@given(loops())
def test_nothing_is_lost(trace: list[Event]) -> None:
    assert unfolded(fold(trace)) == trace


def load(offset: int, arena: Arena | None = STACK) -> Event:
    return Event(Kind.LOAD, 0, "mov", arena, offset, 8)


def folded(*trace: Event) -> list[tuple[int, int, int]]:
    return [(run.event.offset, run.count, run.step) for run in fold(trace)]


def test_by_hand() -> None:
    assert fold([]) == []
    assert folded(load(0)) == [(0, 1, 0)]
    assert folded(*(load(64 * i) for i in range(9))) == [(0, 9, 64)]
    # An equal memory is the same one; another memory, step or size is another run.
    equal = Arena("stack", ArenaKind.STACK, Region(RegionKind.STACK), 8)
    assert folded(load(0), load(64, equal), load(128)) == [(0, 3, 64)]
    assert folded(load(0), load(64), load(128), load(136)) == [(0, 3, 64), (136, 1, 0)]
    assert folded(load(0), load(64)._replace(size=4)) == [(0, 1, 0), (64, 1, 0)]
    # Two that take turns three times go together; twice they do not.
    turns = [event for i in range(3) for event in (load(0), load(64 * i, None))]
    assert folded(*turns) == [(0, 3, 0), (0, 3, 64)]
    assert len(folded(*turns[:4])) == 4


def by(pc: int, *offsets: int) -> list[Event]:
    return [load(offset)._replace(pc=pc) for offset in offsets]


def test_where_two_runs_meet_the_instruction_says_whose_it_is() -> None:
    # The head of a list, and its links; two heads; a loop behind a loop of another step.
    walk = by(2, *range(0, 640, 64))
    assert folded(*by(1, -32), *walk) == [(-32, 1, 0), (0, 10, 64)]
    assert folded(*by(1, -64, -32), *walk) == [(-64, 2, 32), (0, 10, 64)]
    assert folded(*by(1, 0, 8, 16), *by(2, 24, 88, 152)) == [(0, 3, 8), (24, 3, 64)]
    # One instruction, or an unrolled loop, is one run as before; and without a sign of whose it is it stays so.
    assert folded(*by(2, -32), *walk) == [(-32, 2, 32), (64, 9, 64)]
    assert folded(*(load(64 * i)._replace(pc=i % 4) for i in range(16))) == [(0, 16, 64)]
    assert folded(*by(1, 0, 64), *by(2, 128, 192)) == [(0, 4, 64)]
    assert folded(*by(1, 0), *by(2, 64), *by(3, 200)) == [(0, 2, 64), (200, 1, 0)]


def test_nothing_is_lost_where_instructions_differ() -> None:
    """As :func:`test_nothing_is_lost`, but for the instruction, of which a run has one."""
    for seed in range(300):
        chosen = random.Random(seed)
        trace = [load(chosen.choice([0, 8, 16, 64]) * i)._replace(pc=chosen.randrange(3)) for i in range(seed % 17)]
        assert [one.offset for one in unfolded(fold(trace))] == [one.offset for one in trace]
