# SPDX-License-Identifier: GPL-2.0-or-later
"""Events that are kept folded are the same events: the core's folding, and every question that is asked of the pieces.

The oracle is the plain list of the events.
"""

from __future__ import annotations

import random
import struct

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from l1dflush import _core
from l1dflush.cache.geometry import Geometry
from l1dflush.proof.beginning import beginning, fewest_lines
from l1dflush.proof.words import set_words
from l1dflush.tracing.events import Events
from l1dflush.tracing.model import Arena, ArenaKind, Event, Kind
from l1dflush.tracing.operations import Address, Do, Number, Operation, packed
from l1dflush.tracing.region import Region, RegionKind
from l1dflush.tracing.runs import FoldedRun, fold
from l1dflush.tracing.slots import Part

BUFFER = Arena("buffer", ArenaKind.INPUT, Region(RegionKind.POINTED, ("the buffer",)), 4096)
STACK = Arena("stack", ArenaKind.STACK, Region(RegionKind.STACK), 64)
KINDS = (Kind.LOAD, Kind.STORE, Kind.PREFETCH)


def random_runs(source: random.Random) -> list[tuple[tuple[Event, ...], tuple[int, ...], int]]:
    """Turns of a few loops and some events between."""
    runs = []
    for _ in range(source.randint(1, 5)):
        size = source.randint(1, 4)
        turn = tuple(
            Event(
                source.choice(KINDS), 16 * number, "mov", source.choice((BUFFER, BUFFER, STACK)),
                source.randint(-300, 300), source.choice((1, 4, 8)),
            )
            for number in range(size)
        )  # fmt: skip
        count = source.choice((1, 1, 2, 7, 40))
        steps = tuple(source.choice((0, 1, 8, 32, 64, 64, 96, 4096, -32, -64)) if count > 1 else 0 for _ in turn)
        runs.append((turn, steps, count))
    return runs


def plain(runs: list[tuple[tuple[Event, ...], tuple[int, ...], int]]) -> list[Event]:
    return [
        event._replace(offset=event.offset + number * step)
        for turn, steps, count in runs
        for number in range(count)
        for event, step in zip(turn, steps, strict=True)
    ]


@settings(max_examples=300, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(st.randoms(use_true_random=False))
def test_pieces_are_the_events(source: random.Random) -> None:
    runs = random_runs(source)
    every, events = plain(runs), Events.folded(runs)
    assert list(events) == every and events == every and len(events) == len(every)
    low, high = sorted(source.randint(0, len(every)) for _ in range(2))
    part = events[low:high]
    assert list(part) == every[low:high]
    loads = part.where(lambda event: event.kind is Kind.LOAD)
    wanted = [(low + at, event) for at, event in enumerate(every[low:high]) if event.kind is Kind.LOAD]
    assert [(loads.position(at), event) for at, event in enumerate(loads)] == wanted
    parted = part.parted(lambda event: event.kind)
    assert set(parted) == {event.kind for event in every[low:high]}
    assert all(
        list(those) == [event for event in every[low:high] if event.kind is kind] for kind, those in parted.items()
    )
    if wanted:
        assert loads[-1] == wanted[-1][1]
        begin, last, end = loads.bounds()
        offsets = [event.offset for _, event in wanted]
        assert (begin, last) == (min(offsets), max(offsets))
        assert end == max(event.offset + event.size for _, event in wanted)
        middle = source.randint(low, high)
        assert list(loads.within(low, middle)) == [event for at, event in wanted if at < middle]
    base = source.choice((0, 24))
    touched = {
        line
        for event in every[low:high]
        for line in range((event.offset + base) // 64, (event.offset + base + event.size - 1) // 64 + 1)
    }
    units = part.units(64, base=base)
    assert {line for first, end in units for line in range(first, end)} == touched and len(units) == len(touched)


@settings(max_examples=100, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(st.randoms(use_true_random=False))
def test_words_are_those_of_the_plain_events(source: random.Random) -> None:
    """Also where only as many accesses in a row to one line are kept as make a difference."""
    runs = random_runs(source)
    every, events = plain(runs), Events.folded(runs)
    geometry = Geometry(source.choice((512, 4096)), 8, 64)
    run = source.choice((1, 2, None))
    size = source.choice((None, 2048))
    keys = frozenset({"buffer"})
    assert set_words(events, keys, geometry, size, run=run) == set_words(every, keys, geometry, size, run=run)


@settings(max_examples=100, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(st.randoms(use_true_random=False))
def test_the_fewest_lines_are_those_of_the_words(source: random.Random) -> None:
    every = [event for event in plain(random_runs(source)) if event.arena is BUFFER]
    keys, geometry, size = frozenset({"buffer"}), Geometry(4096, 8, 64), source.choice((None, 2048))
    if every:
        words = set_words(every, keys, geometry, size)
        assert fewest_lines(every, keys, geometry, size) == min(word.has for word in words)


def test_a_beginning_is_short() -> None:
    geometry = Geometry(32768, 8, 64)
    load = Event(Kind.LOAD, 0, "mov", BUFFER, 0, 1)
    for step, longest in ((1, 65_536 * 64), (32, 65_536 * 2), (64, 65_536), (128, 65_536)):
        events = Events.folded([((load,), (step,), 1 << 28)])
        assert longest // 2 <= len(beginning(events, geometry, 1, 65_536)) <= longest
        assert len(beginning(events, geometry, None, 65_536)) <= 65_536
    short = Events.folded([((load,), (64,), 1000)])
    assert beginning(short, geometry, 1, 65_536) == short


class Walked:
    """Accesses made by the machine in loops that are made up."""

    def __init__(self) -> None:
        self.machine = _core.Machine(64)
        self.base = self.machine.add_base(self.machine.new_symbol(64), 1 << 20, b"")
        self.pointer = Part(self.machine.add_slot(64), 0, 8)
        self.at = self.machine.slot(self.pointer.slot).term


@settings(max_examples=150, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(st.randoms(use_true_random=False))
def test_what_the_machine_folds_is_what_happened(source: random.Random) -> None:
    """Loops of a few accesses with constant steps, some of them broken off or disturbed."""
    walked = Walked()
    counter = Part(walked.machine.add_slot(64), 0, 8)
    program: dict[int, list[Operation]] = {}
    wanted: list[tuple[int, int, int]] = []
    place = 0
    for _ in range(source.randint(1, 4)):
        count = source.choice((1, 2, 3, 4, 20))
        turn = [
            (source.randint(0, 2), source.randint(-99, 99), source.choice((0, 1, 64, -8)))
            for _ in range(source.randint(1, 9))
        ]
        program[place] = [Operation(Do.COPY, counter, Number(0, 8))]
        body: list[Operation] = []
        for kind, start, step in turn:
            moved, at = Part(walked.machine.add_slot(64), 0, 8), Part(walked.machine.add_slot(64), 0, 8)
            body += [
                Operation(Do.MULTIPLY, moved, counter, Number(step & (1 << 64) - 1, 8)),
                Operation(Do.ADD, at, walked.pointer, moved),
                Operation(Do.ADD, at, at, Number(start & (1 << 64) - 1, 8)),
                Operation(Do.ACCESS, None, at, size=1, detail=kind),
            ]
        again = Part(walked.machine.add_slot(8), 0, 1)
        body += [
            Operation(Do.ADD, counter, counter, Number(1, 8)),
            Operation(Do.BELOW, again, counter, Number(count, 8)),
            Operation(Do.JUMP_IF, None, again, Address(walked.base, place + 1, 8)),
        ]
        program[place + 1] = body
        wanted += [(kind, start + n * step, place + 1) for n in range(count) for kind, start, step in turn]
        place += 2
    program[place] = [Operation(Do.LEAVE)]
    (path,) = walked.machine.run(walked.base, 0, lambda _, offset: (1, packed(program[offset])))
    _, events, runs, _, _, _ = path
    kept = list(struct.iter_unpack("<HHIIIqq", events))
    found, first = [], 0
    for turns, period in runs:
        for n in range(turns):
            for kind, _, number, region, _, offset, step in kept[first : first + period]:
                assert region == walked.at
                found.append((kind, offset + n * step, walked.machine.places[number][1]))
        first += period
    assert found == wanted and first == len(kept)
    if count == 20:
        # A long loop is kept as one turn of it, wherever the folding began.
        assert len(kept) <= len(wanted) - 16 * len(turn)


def test_long_runs_are_told_as_short_ones_are() -> None:
    load, other = Event(Kind.LOAD, 0, "mov", BUFFER, 0, 1), Event(Kind.LOAD, 4, "mov", BUFFER, 64, 1)
    own = Event(Kind.STORE, 8, "mov", STACK, -8, 8)
    unrolled = [((load, other), (128, 128), 20_000), ((own,), (0,), 1)]
    assert fold(Events.folded(unrolled)) == [FoldedRun(load, 40_000, 64, 0), FoldedRun(own, 1, 0, 40_000)]
    first = own._replace(detail="push")
    alternating = [((first,), (0,), 1), ((load, own), (64, 0), 20_000)]
    assert fold(Events.folded(alternating)) == [
        FoldedRun(first, 1, 0, 0), FoldedRun(load, 20_000, 64, 1), FoldedRun(own, 20_000, 0, 1),
    ]  # fmt: skip
    for runs in (unrolled, alternating):
        assert fold(Events.folded(runs)) == fold(plain(runs))


def test_the_way_that_is_not_gone_leaves_its_events_and_nothing_else() -> None:
    """A loop over lines, and behind it a branch that nobody decides; with and without a look at the wrong ways."""

    def made() -> tuple[Walked, dict[int, list[Operation]]]:
        walked = Walked()
        at, again, flag = (Part(walked.machine.add_slot(8 * size), 0, size) for size in (8, 1, 1))
        program = {
            0: [Operation(Do.COPY, at, walked.pointer)],
            1: [
                Operation(Do.ACCESS, None, at, size=1, detail=0),
                Operation(Do.ADD, at, at, Number(64, 8)),
                Operation(Do.NOT_EQUAL, again, at, walked.pointer),
                Operation(Do.SUBTRACT, at, at, walked.pointer),
                Operation(Do.BELOW, again, at, Number(640, 8)),
                Operation(Do.ADD, at, at, walked.pointer),
                Operation(Do.JUMP_IF, None, again, Address(walked.base, 1, 8)),
            ],
            2: [
                # On the wrong way from the loop it stores, too, and that must not be seen on the right ones.
                Operation(Do.STORE, None, walked.pointer, Number(7, 1)),
                Operation(Do.BIT_AND, flag, flag, Number(1, 1)),
                Operation(Do.JUMP_IF, None, flag, Address(walked.base, 4, 8)),
            ],
            3: [Operation(Do.ACCESS, None, walked.pointer, size=8, detail=1)],
            4: [Operation(Do.ACCESS, None, walked.pointer, size=4, detail=2), Operation(Do.LEAVE)],
        }
        return walked, program

    def shown(walked: Walked, kept: bytes, runs: list[tuple[int, int]]) -> list[tuple[int, int]]:
        events = struct.iter_unpack("<HHIIIqq", kept)
        return [
            (kind, offset + turn * step)
            for turns, period in runs
            for turn_of in [[next(events) for _ in range(period)]]
            for turn in range(turns)
            for kind, _, _, _, _, offset, step in turn_of
        ]

    paths = []
    for most in (0, 1, 3):
        walked, program = made()
        walked.machine.set_aside(most)
        found = walked.machine.run(walked.base, 0, lambda _, offset, program=program: (1, packed(program[offset])))  # type: ignore[misc]
        paths.append([([d[4] for d in path[0]], shown(walked, path[1], path[2]), path[3]) for path in found])
        asides = [(at, to, shown(walked, kept, runs)) for _, at, _, to, kept, runs in walked.machine.asides]
        if most == 0:
            assert asides == []
            continue
        # Out of the loop in each turn but the last, where it would have gone on; then each side of the other branch.
        out = [one for one in asides if one[:2] == (1, 2)]
        assert len(out) == 9
        assert all(events == ([] if most == 1 else [(1, 0), (2, 0)]) for _, _, events in out)
        (on,) = [events for at, to, events in asides if (at, to) == (1, 1)]
        assert on[0] == (0, 640)
        others = sorted(one for one in asides if one[0] == 2)
        assert others == [(2, 3, [(1, 0)] if most == 1 else [(1, 0), (2, 0)]), (2, 4, [(2, 0)])]
    assert paths[0] == paths[1] == paths[2]
    assert len(paths[0]) == 2
