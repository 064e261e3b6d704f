"""Words made from the runs of loops against those made event by event, with every place of every piece of memory."""

from __future__ import annotations

import random
import time
from itertools import product

import plain_words
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from trace_programs import traced

from l1dflush.cache.geometry import Geometry
from l1dflush.errors import UndecidedError
from l1dflush.proof.words import SetWord, set_words
from l1dflush.trace.events import Events
from l1dflush.trace.model import Arena, ArenaKind, Event, Kind
from l1dflush.trace.region import Region, RegionKind

BUFFER = Arena("buffer", ArenaKind.INPUT, Region(RegionKind.POINTED, ("the buffer",)), 4096)
SECOND = Arena("second", ArenaKind.SECTION, Region(RegionKind.SECTION, ("another buffer",)), 1024)
STACK = Arena("stack", ArenaKind.STACK, Region(RegionKind.STACK), 8)
OTHERS = (
    Arena("counter", ArenaKind.SYMBOL, Region(RegionKind.SYMBOL, ("a counter",)), 4),
    Arena("table", ArenaKind.SECTION, Region(RegionKind.SECTION, ("a table",)), 32),
    Arena("given", ArenaKind.INPUT, Region(RegionKind.POINTED, ("what is handed in",)), 16, sources=("rsi",)),
)
BUFFERS = frozenset({BUFFER.key, SECOND.key})
KINDS = (Kind.LOAD, Kind.LOAD, Kind.STORE, Kind.PREFETCH, Kind.LINE_FLUSH, Kind.STRING_STORE)
GEOMETRIES = (Geometry(512, 8, 64), Geometry(1024, 4, 64), Geometry(4096, 8, 64), Geometry(256, 4, 16))
Runs = list[tuple[tuple[Event, ...], tuple[int, ...], int]]


def random_runs(source: random.Random) -> Runs:
    """Loops as compilers make them: some events of a turn walk, most stay; some loops come again, moved on."""
    own = source.sample((STACK, *OTHERS), source.choice((0, 1, 1, 2, 3)))
    arenas = (BUFFER, *own, *([SECOND] if source.random() < 0.2 else []))
    restless = 0.5 if source.random() < 0.2 else 0.0
    runs: Runs = []
    for _ in range(source.randint(1, 4)):
        turn, steps = [], []
        for number in range(source.randint(1, 6)):
            arena = source.choice((BUFFER, *arenas))
            size = source.choice((1, 4, 8, 8, 16, 64, 200))
            turn.append(Event(source.choice(KINDS), number, "mov", arena, source.randint(-99, 199), size))
            moves = arena in (BUFFER, SECOND) or source.random() < restless
            steps.append(source.choice((0, 1, 8, 12, 32, 64, 65, 256, -8, -64)) if moves else 0)
        count = source.choice((1, 2, 3, 20, 70))
        run = tuple(turn), tuple(steps) if count > 1 else (0,) * len(turn), count
        if count > 20 or source.random() < 0.5:
            runs.append(run)
            continue
        glue = (Event(Kind.STORE, 99, "mov", source.choice(arenas), 8, 8),), (0,), 1
        for again in range(source.randint(2, 6)):
            moved = tuple(
                event._replace(offset=event.offset + again * count * step)
                for event, step in zip(turn, steps, strict=True)
            )
            runs += [(moved, run[1], count), glue]
    return runs


def check(events: Events, geometry: Geometry, size: int | None, run: int | None, at: int | None = None) -> bool:
    """Whether there are few enough placements for words, which are then those made event by event."""

    def plain(most: int) -> list[SetWord]:
        return plain_words.set_words(events, BUFFERS, geometry, size, aligned_at=at, run=run, most=most)

    try:
        words = set_words(events, BUFFERS, geometry, size, aligned_at=at, run=run)
    except UndecidedError as error:
        with pytest.raises(UndecidedError) as wanted:
            plain(20_000)
        assert wanted.value.cause == error.cause
        return False
    assert words == plain(1_000_000)
    return True


@settings(max_examples=150, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(st.randoms(use_true_random=False))
def test_words_are_those_made_event_by_event(source: random.Random) -> None:
    events = Events.folded(random_runs(source))
    if len(events) > 600:
        events = events[: source.randint(100, 600)]
    size, at = source.choice((None, None, 128, 1000)), source.choice((None, None, 40))
    check(events, source.choice(GEOMETRIES), size, source.choice((1, 1, 2, 3, None)), at)


@pytest.mark.parametrize(("step", "own", "geometry"), [*product((1, 8, 24, 64, -4), (1, 2, 3), GEOMETRIES[1:3])])
def test_unoptimised_walks(step: int, own: int, geometry: Geometry) -> None:
    """The counter, the sum and the pointer lie on the stack and in variables."""
    slots = [Event(Kind.LOAD, n, "mov", arena, -8 * n, 8) for n, arena in enumerate((STACK, *OTHERS)[:own])]
    turn = (*slots, Event(Kind.LOAD, 9, "mov", BUFFER, 0, 1), *(one._replace(kind=Kind.STORE) for one in slots))
    steps = tuple(step if event.arena is BUFFER else 0 for event in turn)
    for run in (1, 2, None):
        assert check(Events.folded([(slots and (slots[0],), (0,), 1), (turn, steps, 140)]), geometry, None, run)


def test_an_access_of_many_lines_comes_before_the_next_one() -> None:
    """``fxsave`` writes 512 bytes: eight lines, of which each is in a set of its own or all are in one."""
    save = Event(Kind.STORE, 0, "fxsave", BUFFER, 0, 512)
    events = Events.folded([((save, Event(Kind.LOAD, 1, "mov", BUFFER, 4096, 8)), (0, 0), 1)])
    assert check(events, Geometry(512, 8, 64), None, 1)
    (word,) = set_words(events, BUFFERS, Geometry(512, 8, 64), None)
    assert [line.offset for line in word.lines] == [*range(0, 512, 64), 4096]


LOOPS = {
    "a counter on the stack": """
        movq $0, -8(%rsp)
1:      movq -8(%rsp), %rax
        movzbl (%rdi,%rax), %ecx
        addq $STEP, -8(%rsp)
        cmpq $END, -8(%rsp)
        jb 1b
        ret""",
    "pages, and lines of each; a counter in memory": """
        pushq %rbp
        movq $0, total(%rip)
        xorl %eax, %eax
2:      leaq 4096(%rax), %rdx
1:      movq (%rdi,%rax), %rcx
        addq %rcx, total(%rip)
        movq %rax, -16(%rsp)
        addq $STEP, %rax
        cmpq %rdx, %rax
        jb 1b
        cmpq $END, %rax
        jb 2b
        popq %rbp
        ret
        .comm total, 8, 8""",
}


@pytest.mark.parametrize(("body", "step"), [*product(LOOPS, (32, 64, 128))])
def test_traced_loops(body: str, step: int) -> None:
    (path,) = traced(LOOPS[body].replace("STEP", str(step)).replace("END", str(12288))).paths
    events = Events.of(path.events)
    buffers = frozenset(e.arena.key for e in events.shapes() if e.arena and e.arena.kind is ArenaKind.INPUT)
    assert len(buffers) == 1 and max(piece.turns for piece in events.pieces) > 20
    for geometry in GEOMETRIES[1:3]:
        for run in (1, 2, None):
            words = set_words(events, buffers, geometry, None, run=run)
            assert words == plain_words.set_words(events, buffers, geometry, None, run=run)


def test_a_long_walk_stops_in_time() -> None:
    """However much there is to do: long words, many placements, many pieces."""
    byte = Event(Kind.LOAD, 0, "mov", BUFFER, 0, 1)
    slots = tuple(Event(Kind.LOAD, 1, "mov", arena, offset, 8) for arena in OTHERS[:2] for offset in range(0, 200, 24))
    steps = (1, *(0 for _ in slots))
    nested: Runs = [(((byte._replace(offset=32 * n), *slots)), steps, 20) for n in range(20_000)]
    for runs in ([((byte, *slots), steps, 1 << 22)], nested):
        began = time.process_time()
        with pytest.raises(UndecidedError) as caught:
            set_words(
                Events.folded(runs), BUFFERS, Geometry(32768, 8, 64), None, run=None, deadline=time.monotonic() + 0.2
            )
        assert caught.value.cause == "out-of-time"
        assert time.process_time() - began < 3.0
