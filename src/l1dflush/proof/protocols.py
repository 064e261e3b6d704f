# SPDX-License-Identifier: GPL-2.0-or-later
"""From the traces of flushes in turn to protocols: what all of them do in one set, again and again.

The words are those of :mod:`l1dflush.proof.words`, but with lines that keep their names from one flush to the next: the
same place in the buffer is the same line whichever routine reads it. Everything else lies, in every flush, where it
lay before; each place that it may have is a protocol of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain, product
from math import inf, prod
from typing import NamedTuple

from l1dflush.cache.geometry import Geometry
from l1dflush.errors import UndecidedError
from l1dflush.proof.folded_word import FoldedWord, expanded
from l1dflush.proof.placements import Line
from l1dflush.proof.prover import Word
from l1dflush.proof.words import MAX_WORDS, PlacedWord, placed_words
from l1dflush.tracing.model import Event


@dataclass(frozen=True, slots=True)
class Flushes:
    """The flushes of one turn: the events of each path that one may take, and the keys of the arenas that count as the
    buffer."""

    paths: tuple[tuple[Event, ...], ...]
    buffers: frozenset[str]


@dataclass(frozen=True, slots=True)
class Protocol:
    """What happens in one set, again and again.

    ``turns``: for each turn the numbers of the ``words`` that it may be. ``lines`` names the words' line ids: the turn
    that a line was first seen in, and its place. ``own``, ``set_index`` and ``sets`` are as in
    :class:`l1dflush.proof.words.SetWord`; ``has``: the fewest different buffer lines that a flush surely accesses.
    """

    words: tuple[Word, ...]
    turns: tuple[tuple[int, ...], ...]
    lines: tuple[tuple[int, Line], ...]
    own: frozenset[int]
    set_index: int
    sets: int
    has: int


class _Name(NamedTuple):
    """What a line is called in every flush: which memory it is in, and its offset there in bytes."""

    of_buffer: bool
    memory: str
    offset: int


# Where in a line the buffer begins, and the set.
_Where = tuple[int, int]


@dataclass(frozen=True, slots=True)
class _Alternative:
    """One path's word in one set, at one place of its own lines: the ``names`` and places of its lines in order."""

    word: FoldedWord
    names: tuple[_Name, ...]
    lines: tuple[Line, ...]
    has: int


def protocols(
    turns: Sequence[Flushes],
    geometry: Geometry,
    buffer_size: int | None,
    *,
    run: int | None = 1,
    deadline: float = inf,
) -> list[Protocol]:
    """The different protocols of all sets, shortest first.

    Arguments and errors as for :func:`l1dflush.proof.words.set_words`; also raises UndecidedError if it is not known
    that all flushes have the same buffer.
    """
    alone = len(turns) == 1 and len(turns[0].paths) == 1
    of_turns = [
        [
            _alternatives(events, flushes.buffers, turn, geometry, buffer_size, run, alone, deadline)
            for events in flushes.paths
        ]
        for turn, flushes in enumerate(turns)
    ]
    places = set(of_turns[0][0])
    if any(set(found) != places for found in chain.from_iterable(of_turns)):
        raise UndecidedError("several-buffers", "the flushes do not all begin at the same place of a line")
    found: dict[object, Protocol] = {}
    having: dict[object, set[_Where]] = {}
    for where in sorted(places):
        # One word of each path of each turn.
        choices = [[path[where] for path in paths] for paths in of_turns]
        if len(places) * prod(len(one) for one in chain.from_iterable(choices)) > MAX_WORDS:
            what = "the routines' own lines can lie in too many ways among the sets"
            raise UndecidedError("own-lines-everywhere", what)
        for chosen in product(*(product(*paths) for paths in choices)):
            protocol = _protocol(chosen, where[1])
            key = protocol.words, protocol.turns, protocol.own
            found.setdefault(key, protocol)
            having.setdefault(key, set()).add(where)
    of_phase = {key: _most_of_one_phase(wheres) for key, wheres in having.items()}
    different = [replace(protocol, sets=of_phase[key]) for key, protocol in found.items()]
    return sorted(different, key=lambda one: (sum(map(len, one.words)), one.set_index))


def _most_of_one_phase(wheres: set[_Where]) -> int:
    phases = [phase for phase, _ in wheres]
    return max(map(phases.count, phases))


def _alternatives(
    events: Sequence[Event],
    buffers: frozenset[str],
    turn: int,
    geometry: Geometry,
    buffer_size: int | None,
    run: int | None,
    alone: bool,
    deadline: float,
) -> dict[_Where, list[_Alternative]]:
    """One path's words by the buffer's place in a line and the set."""
    if not alone and len({event.arena.key for event in events if event.arena and event.arena.key in buffers}) > 1:
        raise UndecidedError("several-buffers", "it is not known which of several buffers flushes in turn share")
    found: dict[_Where, dict[object, _Alternative]] = {}
    words = placed_words(events, buffers, geometry, buffer_size, run=run, deadline=deadline)
    for placed in chain.from_iterable(words):
        for index in placed.sets:
            one = _named(placed, placed.lines_of(index), turn, alone)
            found.setdefault((placed.phase, index), {}).setdefault((one.word, one.names), one)
    return {where: list(named.values()) for where, named in found.items()}


def _named(placed: PlacedWord, lines: tuple[Line, ...], turn: int, alone: bool) -> _Alternative:
    names = []
    for number, line in enumerate(lines):
        mine = number not in placed.own
        # Between routines only the buffer is the same memory, whatever each of them calls it.
        memory = line.arena.key if alone else "" if mine else f"{turn}:{line.arena.key}"
        names.append(_Name(mine, memory, line.offset))
    return _Alternative(placed.folded, tuple(names), lines, placed.has)


def _protocol(chosen: Sequence[Sequence[_Alternative]], set_index: int) -> Protocol:
    ids: dict[_Name, int] = {}
    lines: list[tuple[int, Line]] = []
    words: dict[Word, int] = {}
    turns = []
    for turn, alternatives in enumerate(chosen):
        numbers: dict[int, None] = {}
        for one in alternatives:
            for name, line in zip(one.names, one.lines, strict=True):
                if name not in ids:
                    ids[name] = len(ids)
                    lines.append((turn, line))
            word = tuple((ids[one.names[number]], kind) for number, kind in expanded(one.word))
            numbers[words.setdefault(word, len(words))] = None
        turns.append(tuple(numbers))
    own = frozenset(number for name, number in ids.items() if not name.of_buffer)
    has = min(one.has for one in chain.from_iterable(chosen))
    return Protocol(tuple(words), tuple(turns), tuple(lines), own, set_index, 1, has)
