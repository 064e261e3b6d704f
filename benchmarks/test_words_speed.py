# SPDX-License-Identifier: GPL-2.0-or-later
"""How long it takes to make words of a trace: what unoptimised code does to its own memory in every turn of a walk."""

from __future__ import annotations

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from l1dflush.cache.geometry import Geometry
from l1dflush.proof.words import set_words
from l1dflush.tracing.events import Events
from l1dflush.tracing.model import Arena, ArenaKind, Event, Kind
from l1dflush.tracing.region import Region, RegionKind

BUFFER = Arena("input:rdi", ArenaKind.INPUT, Region(RegionKind.POINTED, ("rdi",)), 4096)
STACK = Arena("stack", ArenaKind.STACK, Region(RegionKind.STACK), 8)
SUM = Arena("symbol:sum", ArenaKind.SYMBOL, Region(RegionKind.SYMBOL, ("sum",)), 8)
L1D = Geometry(32768, 8, 64)


def turn(*own: Event) -> tuple[Event, ...]:
    return (*own, Event(Kind.LOAD, 0, "mov", BUFFER, 0, 1), *(one._replace(kind=Kind.STORE) for one in own))


SLOTS = tuple(Event(Kind.LOAD, 0, "mov", STACK, offset, 8) for offset in (-24, -32, -48))
VARIABLE = Event(Kind.LOAD, 0, "mov", SUM, 0, 8)


def loop(
    events: tuple[Event, ...], step: int, turns: int, at: int = 0
) -> tuple[tuple[Event, ...], tuple[int, ...], int]:
    """A run of turns in which the buffer moves on."""
    moved = tuple(one._replace(offset=one.offset + at) if one.arena is BUFFER else one for one in events)
    return moved, tuple(step if one.arena is BUFFER else 0 for one in events), turns


GLUE = (SLOTS[0],), (0,), 1
CASES = {
    "64 KiB by bytes, slots": [loop(turn(*SLOTS), 1, 65536)],
    "256 KiB by bytes, slots": [loop(turn(*SLOTS), 1, 262144)],
    "64 KiB by words, slots and a variable": [loop(turn(*SLOTS, VARIABLE), 8, 8192)],
    "64 KiB, a loop for each line": [
        part for line in range(1024) for part in (loop(turn(*SLOTS, VARIABLE), 8, 8, 64 * line), GLUE)
    ],
    "16 MiB by lines": [loop(turn(), 64, 1 << 18)],
}


@pytest.mark.parametrize("case", CASES)
def test_words(benchmark: BenchmarkFixture, case: str) -> None:
    events = Events.folded(CASES[case])
    words = benchmark.pedantic(set_words, (events, frozenset({BUFFER.key}), L1D, None), rounds=3)
    # Each set gets as many lines.
    lines = {"64 KiB": 1024, "256 KiB": 4096, "16 MiB": 1 << 18}[" ".join(case.replace(",", "").split()[:2])]
    assert {word.has for word in words} == {lines // L1D.sets}
    benchmark.extra_info["events"] = len(events)
