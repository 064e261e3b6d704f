"""Folding a trace: what is folded can be unfolded again, and what repeats itself becomes one run."""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from l1dflush.trace.model import Arena, ArenaKind, Event, Kind
from l1dflush.trace.runs import LONGEST_PERIOD, FoldedRun, fold

STACK = Arena("stack", ArenaKind.STACK, "the stack", 8)
ARENAS = (None, STACK, Arena("symbol:pages", ArenaKind.SYMBOL, "`pages`", 4096))

events = st.builds(
    Event, st.sampled_from([Kind.LOAD, Kind.STORE]), st.just(0), st.sampled_from(["mov", "push"]),
    st.sampled_from(ARENAS), st.sampled_from([0, 8, 64]), st.sampled_from([4, 8]),
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
    equal = Arena("stack", ArenaKind.STACK, "the stack", 8)
    assert folded(load(0), load(64, equal), load(128)) == [(0, 3, 64)]
    assert folded(load(0), load(64), load(128), load(136)) == [(0, 3, 64), (136, 1, 0)]
    assert folded(load(0), load(64)._replace(size=4)) == [(0, 1, 0), (64, 1, 0)]
    # Two that take turns three times go together; twice they do not.
    turns = [event for i in range(3) for event in (load(0), load(64 * i, None))]
    assert folded(*turns) == [(0, 3, 0), (0, 3, 64)]
    assert len(folded(*turns[:4])) == 4
