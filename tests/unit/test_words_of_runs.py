# SPDX-License-Identifier: GPL-2.0-or-later
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
from word_runs import BUFFER, BUFFERS, GEOMETRIES, OTHERS, STACK, Runs, check, check_random

from l1dflush.cache.geometry import Geometry
from l1dflush.errors import UndecidedError
from l1dflush.proof.words import set_words
from l1dflush.tracing.events import Events
from l1dflush.tracing.model import ArenaKind, Event, Kind


@settings(max_examples=150, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(st.randoms(use_true_random=False))
def test_words_are_those_made_event_by_event(source: random.Random) -> None:
    check_random(source)


@pytest.mark.parametrize(("step", "own", "geometry"), [*product((1, 8, 24, 64, -4), (1, 2, 3), GEOMETRIES[1:3])])
def test_unoptimised_walks(step: int, own: int, geometry: Geometry) -> None:
    """The counter, the sum and the pointer lie on the stack and in variables."""
    slots = [Event(Kind.LOAD, n, "mov", arena, -8 * n, 8) for n, arena in enumerate((STACK, *OTHERS)[:own])]
    turn = (*slots, Event(Kind.LOAD, 9, "mov", BUFFER, 0, 1), *(one._replace(kind=Kind.STORE) for one in slots))
    steps = tuple(step if event.arena is BUFFER else 0 for event in turn)
    for run in (1, 2, None):
        assert check(Events.folded([(slots and (slots[0],), (0,), 1), (turn, steps, 140)]), geometry, None, run)


@pytest.mark.parametrize("run", [1, 2, 3])
@pytest.mark.parametrize(
    ("start", "step", "size", "buffer_size"),
    [
        pytest.param(24, 1, 200, None, id="several-lines-in-one-set"),
        pytest.param(24, -8, 80, None, id="several-lines-in-one-set-downwards"),
        pytest.param(-57, 1, 4, 1000, id="a-line-before-the-buffer-which-may-be-in-any-set"),
        pytest.param(90, 1, 8, 128, id="a-line-behind-the-buffer-which-may-be-in-any-set"),
        pytest.param(160, -4, 8, 128, id="from-behind-the-buffer-downwards"),
    ],
)
def test_accesses_in_a_row_that_touch_two_lines_of_a_set_by_turns(
    start: int, step: int, size: int, buffer_size: int | None, run: int
) -> None:
    """Of accesses to one line in a row a few stand for all; these are in no row, though the loop does nothing else."""
    walk = Event(Kind.LOAD, 0, "mov", BUFFER, start, size)
    events = Events.folded([((walk,), (step,), 70)])
    for geometry in (Geometry(256, 4, 16), Geometry(512, 8, 64), Geometry(4096, 8, 64)):
        assert check(events, geometry, buffer_size, run)


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
