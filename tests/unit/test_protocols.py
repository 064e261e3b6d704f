# SPDX-License-Identifier: GPL-2.0-or-later
"""What flushes in turn do in one set: lines keep their names, and everything else its place."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_words import BUFFER, ONE, SMALL, STACK, bounded, load

from l1dflush.errors import UndecidedError
from l1dflush.proof.protocols import Flushes, Protocol, protocols
from l1dflush.proof.prover import ItemKind, canonical
from l1dflush.proof.words import set_words
from l1dflush.tracing.model import Arena, ArenaKind, Event, Kind
from l1dflush.tracing.region import Region, RegionKind

OTHER_NAME = Arena("elsewhere", ArenaKind.INPUT, Region(RegionKind.POINTED, ("elsewhere",)), 8, sources=("q",))
WAY = SMALL.line * SMALL.sets


def flushes(*paths: list[Event], buffer: Arena = BUFFER) -> Flushes:
    return Flushes(tuple(tuple(path) for path in paths), frozenset({buffer.key}))


def walk(*offsets: int, buffer: Arena = BUFFER) -> list[Event]:
    return [load(buffer, offset) for offset in offsets]


def in_set(found: list[Protocol], index: int) -> Protocol:
    (one,) = [protocol for protocol in found if protocol.set_index == index]
    return one


def lines(protocol: Protocol) -> list[list[int]]:
    """The line ids of each word."""
    return [[line for line, _ in word] for word in protocol.words]


events = st.lists(
    st.builds(load, st.sampled_from([BUFFER, BUFFER, STACK, ONE]), st.integers(0, 2 * WAY), st.sampled_from([1, 8])),
    max_size=6,
)


@settings(bounded, max_examples=40)
@given(path=events)
def test_one_routine_alone_has_the_words_that_it_has_in_any_case(path: list[Event]) -> None:
    expected = {(found.word, found.own, found.has) for found in set_words(path, frozenset({BUFFER.key}), SMALL, None)}
    found = protocols([flushes(path)], SMALL, None)
    assert all(protocol.turns == ((0,),) for protocol in found)
    assert {(canonical(protocol.words[0]), protocol.own, protocol.has) for protocol in found} == expected


def test_the_same_place_of_the_buffer_is_the_same_line_in_every_turn() -> None:
    forwards = walk(0, WAY, 2 * WAY)
    backwards = walk(2 * WAY, WAY, 0)
    (found,) = [one for one in protocols([flushes(forwards), flushes(backwards)], SMALL, None) if one.has]
    assert lines(found) == [[0, 1, 2], [2, 1, 0]]
    assert found.turns == ((0,), (1,))
    assert [(turn, line.offset) for turn, line in found.lines] == [(0, 0), (0, WAY), (0, 2 * WAY)]


def test_the_buffer_may_have_another_name_in_another_routine() -> None:
    second = walk(WAY, 0, buffer=OTHER_NAME)
    found = protocols([flushes(walk(0, WAY)), flushes(second, buffer=OTHER_NAME)], SMALL, None)
    assert lines(in_set(found, 0)) == [[0, 1], [1, 0]]


def test_paths_are_alternatives_of_one_turn() -> None:
    found = in_set(protocols([flushes(walk(0, WAY), walk(WAY, 0)), flushes(walk(0))], SMALL, None), 0)
    assert found.turns == ((0, 1), (2,))
    assert lines(found) == [[0, 1], [1, 0], [0]]
    assert found.has == 1


def test_paths_that_do_the_same_in_a_set_are_one_there() -> None:
    found = protocols([flushes(walk(0, SMALL.line), walk(0, WAY + SMALL.line))], SMALL, None)
    assert in_set(found, 0).turns == ((0,),)
    assert in_set(found, 1).turns == ((0, 1),)


def test_sets_with_the_same_protocol_are_one() -> None:
    (found,) = protocols([flushes(walk(*range(0, 2 * WAY, SMALL.line)))], SMALL, None)
    assert found.sets == SMALL.sets


def test_what_is_not_the_buffer_lies_where_it_lay_before() -> None:
    path = [load(BUFFER, 0), load(STACK, -8), load(BUFFER, WAY)]
    found = protocols([flushes(path)], SMALL, None)
    with_own = [one for one in found if one.own]
    assert [lines(one) for one in with_own] == [[[0, 1, 2]]]
    assert [one.own for one in with_own] == [frozenset({1})]
    # The stack of one routine is not that of another.
    both = protocols([flushes(path), flushes(path)], SMALL, None)
    assert sorted((len(one.own), len(one.words)) for one in both if one.has) == [(0, 1), (1, 2), (1, 2), (2, 2)]


def test_two_buffers_in_turn_are_not_known_to_be_the_same() -> None:
    second = Arena("second", ArenaKind.INPUT, Region(RegionKind.POINTED, ("second",)), 4096, sources=("r",))
    both = Flushes(((load(BUFFER, 0), load(second, 0)),), frozenset({BUFFER.key, second.key}))
    with pytest.raises(UndecidedError, match="which of several buffers"):
        protocols([both, flushes(walk(0))], SMALL, None)


def test_prefetches_and_flushes_stay_what_they_are() -> None:
    path = [load(BUFFER, 0, kind=Kind.PREFETCH), load(BUFFER, 0, kind=Kind.LINE_FLUSH)]
    found = in_set(protocols([flushes(path)], SMALL, None), 0)
    assert [kind for _, kind in found.words[0]] == [ItemKind.OPTIONAL, ItemKind.FLUSH]
    assert found.has == 0
