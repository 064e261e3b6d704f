# SPDX-License-Identifier: GPL-2.0-or-later
"""Words against a plain builder: every place of every piece of memory, byte by byte, nothing merged or skipped."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from l1dflush.cache.geometry import Geometry
from l1dflush.cache.policies import all_states, get_policy, known_policies
from l1dflush.errors import UndecidedError
from l1dflush.proof.prover import ItemKind, Word, canonical
from l1dflush.proof.words import set_words
from l1dflush.tracing.model import Arena, ArenaKind, Event, Kind
from l1dflush.tracing.region import Region, RegionKind

bounded = settings(
    max_examples=80, derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck)
)
KINDS = {
    Kind.LOAD: ItemKind.ACCESS,
    Kind.STORE: ItemKind.ACCESS,
    Kind.PREFETCH: ItemKind.OPTIONAL,
    Kind.LINE_FLUSH: ItemKind.FLUSH,
}
BUFFER = Arena("buffer", ArenaKind.INPUT, Region(RegionKind.POINTED, ("buffer",)), 8, sources=("p",))
SECOND = Arena("second", ArenaKind.SECTION, Region(RegionKind.SECTION, ("second",)), 8)
STACK = Arena("stack", ArenaKind.STACK, Region(RegionKind.STACK), 8)
ONE = Arena("one", ArenaKind.INPUT, Region(RegionKind.POINTED, ("one",)), 8, sources=("a",))
OTHER = Arena("other", ArenaKind.INPUT, Region(RegionKind.POINTED, ("other",)), 8, sources=("b",))
SMALL = Geometry(64, 2, 16)
LINE, SETS = SMALL.line, SMALL.sets
WAY = LINE * SETS


def load(arena: Arena, offset: int, size: int = 8, kind: Kind = Kind.LOAD) -> Event:
    return Event(kind, 0, "mov", arena, offset, size)


def plain_words(events: list[Event], buffers: set[Arena], size: int | None) -> set[Word]:
    """Every arena is put at every address it may have; then the accesses of each set are written down.

    The stack and the buffers are far from everything. Other arenas are far from each other or side by side.
    """
    arenas = list(dict.fromkeys(event.arena for event in events if event.arena))
    own = [arena for arena in arenas if arena not in buffers and arena is not STACK]
    extent = {
        arena: (
            min(e.offset for e in events if e.arena == arena),
            max(e.offset + e.size for e in events if e.arena == arena),
        )
        for arena in own
    }
    found: set[Word] = set()
    for bases in product(*([0] if a is BUFFER else range(0, WAY, a.alignment) for a in arenas)):
        far = {
            arena: (number + 1) * 0x10000 + base for number, (arena, base) in enumerate(zip(arenas, bases, strict=True))
        }
        placements = [far]
        for one, other in product(own, own):
            if one != other:
                # `other` begins where `one` ends, or up to a line behind.
                for base in range(
                    far[one] + extent[one][1] - extent[other][0], far[one] + extent[one][1] - extent[other][0] + LINE
                ):
                    if base % other.alignment == 0:
                        placements.append(far | {other: base})
        for placed in placements:
            found |= words_of(events, placed, buffers, size)
    return found


def words_of(events: list[Event], placed: dict[Arena, int], buffers: set[Arena], size: int | None) -> set[Word]:
    found = set()
    for index in range(SETS):
        items: list[tuple[int, ItemKind, bool]] = []
        for event in events:
            if event.arena is None:
                continue
            base = placed[event.arena]
            start = base + event.offset
            for line in dict.fromkeys(at // LINE for at in range(start, start + event.size)):
                if line % SETS == index:
                    bytes_of_line = range(line * LINE - base, line * LINE - base + LINE)
                    inside = event.arena in buffers and (size is None or any(0 <= at < size for at in bytes_of_line))
                    items.append((line, KINDS[event.kind], inside))
        while items and not items[0][2]:
            items.pop(0)
        while items and not items[-1][2]:
            items.pop()
        word: list[tuple[int, ItemKind]] = []
        for line, kind, _ in items:
            if not (word and word[-1] == (line, kind) and kind is ItemKind.ACCESS):
                word.append((line, kind))
        found.add(canonical(tuple(word)))
    return found


def events_on(*arenas: Arena) -> st.SearchStrategy[list[Event]]:
    event = st.builds(
        load,
        st.sampled_from(arenas),
        st.sampled_from((0, 8, 16, 24, 32, 48, 64)),
        st.sampled_from((1, 8, 8, 16)),
        st.sampled_from((Kind.LOAD, Kind.LOAD, Kind.STORE, Kind.PREFETCH, Kind.LINE_FLUSH)),
    )
    return st.lists(event, min_size=1, max_size=7)


def built(events: list[Event], buffers: set[Arena], size: int | None = None) -> set[Word]:
    return {found.word for found in set_words(events, frozenset(b.key for b in buffers), SMALL, size)}


@bounded
@given(events_on(BUFFER, STACK))
def test_the_stack_lies_anywhere(events: list[Event]) -> None:
    events = [load(BUFFER, 0), *events]
    assert built(events, {BUFFER}) == plain_words(events, {BUFFER}, None)


@bounded
@given(events_on(BUFFER, ONE, OTHER))
def test_two_own_pieces_may_share_a_line(events: list[Event]) -> None:
    events = [load(BUFFER, 0), *events, load(BUFFER, 96)]
    words, plain = built(events, {BUFFER}), plain_words(events, {BUFFER}, None)
    # Own accesses outside the walk count for nothing here, but in the plain builder they say how long a piece is.
    assert plain <= words


@bounded
@given(events_on(BUFFER, SECOND))
def test_two_buffers_lie_anywhere_relative_to_each_other(events: list[Event]) -> None:
    events = [load(BUFFER, 0), *events]
    assert built(events, {BUFFER, SECOND}) == plain_words(events, {BUFFER, SECOND}, None)


@bounded
@given(events_on(BUFFER), st.integers(1, 70))
def test_a_line_that_holds_some_of_the_buffer_is_the_buffers(events: list[Event], size: int) -> None:
    events = [load(BUFFER, 0, 1), *events, load(BUFFER, 0, 1)]
    # What lies behind may be anywhere for all that is known; where it really lies is one of the places.
    assert plain_words(events, {BUFFER}, size) <= built(events, {BUFFER}, size)


def test_without_any_access_all_sets_are_empty() -> None:
    (found,) = set_words([load(STACK, 0)], frozenset({"buffer"}), SMALL, None)
    assert (found.word, found.sets, found.has) == ((), 2, 0)
    assert all(f.word == () for f in set_words([load(BUFFER, 64)], frozenset({"buffer"}), SMALL, 16))


def test_a_load_across_a_line_border_is_two() -> None:
    words = {f.set_index: f.word for f in set_words([load(BUFFER, 12)], frozenset({"buffer"}), SMALL, None)}
    assert list(words.values()) == [((0, ItemKind.ACCESS),)]
    assert [f.sets for f in set_words([load(BUFFER, 12)], frozenset({"buffer"}), SMALL, None)] == [2]


def test_memory_that_may_be_the_same_is_refused() -> None:
    again = Arena("again", ArenaKind.INPUT, Region(RegionKind.POINTED, ("p, read again",)), 8, sources=("p",))
    for buffers in (frozenset({"buffer"}), frozenset({"buffer", "again"})):
        with pytest.raises(UndecidedError) as caught:
            set_words([load(BUFFER, 0), load(again, 0), load(BUFFER, 64)], buffers, SMALL, None)
        assert caught.value.cause == "memory-may-overlap"


def test_what_is_computed_from_a_segments_base_may_be_any_of_its_memory() -> None:
    """Two places there are two, as two variables are."""
    here, there = (
        Arena(f"gs:{name}", ArenaKind.SEGMENT, Region(RegionKind.SEGMENT, (name,)), 8)
        for name in ("", "external:counter")
    )
    computed = Arena("term:7", ArenaKind.INPUT, Region(RegionKind.COMPUTED, ("gs", "q")), 1, sources=("gs", "q"))
    other = Arena("term:8", ArenaKind.INPUT, Region(RegionKind.COMPUTED, ("fs", "q")), 1, sources=("fs", "r"))
    for pair, refused in (((here, there), False), ((here, computed), True), ((here, other), False)):
        events = [load(BUFFER, 0), *(load(one, 0) for one in pair), load(BUFFER, 64)]
        try:
            set_words(events, frozenset({"buffer"}), SMALL, None)
        except UndecidedError as error:
            assert refused and error.cause == "memory-may-overlap"
        else:
            assert not refused


def test_too_many_places() -> None:
    arenas = [Arena(f"s{n}", ArenaKind.SECTION, Region(RegionKind.SECTION, ("s",)), 1) for n in range(4)]
    with pytest.raises(UndecidedError, match="ways"):
        set_words([load(a, 0) for a in arenas], frozenset(a.key for a in arenas), SMALL, None)


@pytest.mark.parametrize("ways", [2, 4])
def test_a_second_touch_changes_nothing(ways: int) -> None:
    """What lets consecutive accesses to a line count as one; a policy for which this fails needs all of them."""
    for name in known_policies(ways):
        policy = get_policy(name, ways)
        for number, state in enumerate(all_states(policy)):
            if number > 2000:
                break
            for way in range(ways):
                touched = (policy.hit(state, way), policy.fill(state, policy.victim(state), False))
                for at, after in zip((way, policy.victim(state)), touched, strict=True):
                    assert policy.hit(after, at) == after
