# SPDX-License-Identifier: GPL-2.0-or-later
"""What one item of a word, or one access by somebody else, may do to a set.

A *state* stands for many sets at once. Of each way (or position) it says what it holds:

========  ==========================================================================================
MAYBE     anything but a line that is named elsewhere: an old line, one that no item will touch any more, or a
          line of the word of which nothing is certain yet; or the way is invalid
VALID     the same, but the way is valid
SETTLED   a line that is not old and that no item will touch any more
INVALID   nothing
BROUGHT   a line that somebody else brought in during the word, so that it is not old: one that no item will touch any
          more, or one of the word of which nothing is certain yet
LINE + n  line n of the word
========  ==========================================================================================

It is certain of a line where it is (in the way that is labelled with it, or nowhere) once an item has accessed or
flushed it; or once it was known to be cached and was pushed out: ``gone`` has the lines of which only that makes it
certain. Nothing is certain of all others: one may be in any MAYBE, VALID or BROUGHT way, or nowhere. A cold line is
not in a MAYBE or VALID way.

A state *covers* another if all that the second stands for, the first does, but for lines that are settled in the
second and might be old in the first. Whatever leads to no old line from the first does so from the second.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from l1dflush.cache.policy.model import State as PolicyState
from l1dflush.checking.model import Kind
from l1dflush.checking.views import Holds, Move, View

# The first three so that one covers another if its bits are among the other's.
MAYBE, VALID, SETTLED, INVALID, BROUGHT, LINE = 0b00, 0b01, 0b11, 4, 5, 6
_UNKNOWN = (MAYBE, VALID)


class State(NamedTuple):
    """``holds``: per way or position. ``touches``: how many of the others' accesses are used up."""

    policy: PolicyState
    holds: Holds
    touches: int
    gone: frozenset[int]

    @property
    def may_be_old(self) -> bool:
        """Whether an old line can be in it."""
        return MAYBE in self.holds or VALID in self.holds


class Layer:
    """States, and which others they cover."""

    def __init__(self) -> None:
        # By all that must be the same; then the bits of what may differ, and the touches.
        self._groups: dict[tuple[PolicyState, Holds, frozenset[int]], list[tuple[int, int]]] = {}

    def add(self, state: State) -> None:
        """Adds a state."""
        key, bits = _split(state)
        self._groups.setdefault(key, []).append((bits, state.touches))

    def covering(self, state: State) -> int:
        """How many states here cover ``state``; it covers itself."""
        key, bits = _split(state)
        return sum(known & ~bits == 0 and used <= state.touches for known, used in self._groups.get(key, ()))

    def covers(self, state: State) -> bool:
        """Whether some state here covers ``state``."""
        key, bits = _split(state)
        return any(known & ~bits == 0 and used <= state.touches for known, used in self._groups.get(key, ()))


def _split(state: State) -> tuple[tuple[PolicyState, Holds, frozenset[int]], int]:
    bits = 0
    shape = []
    for what in state.holds:
        bits = bits << 2 | (what if what <= SETTLED else 0)
        shape.append(what if what > SETTLED else MAYBE)
    return (state.policy, tuple(shape), state.gone), bits


@dataclass(frozen=True, slots=True)
class Now:
    """A place in the word: before the item ``line``, ``kind``.

    ``certain``: lines that items accessed or flushed before. ``again``: lines that items after this one touch.
    ``seen``: lines that were touched before and that this item or one after it touches. ``cold``: lines that were not
    cached at the start.
    """

    line: int
    kind: Kind
    certain: frozenset[int]
    again: frozenset[int]
    seen: tuple[int, ...]
    cold: frozenset[int]


class Stepper:
    """All that may happen, in one view. States without an old line are left out."""

    def __init__(self, view: View) -> None:
        self._view = view

    def after_item(self, state: State, now: Now) -> Iterator[State]:
        """After the item."""
        return (to for to in self._item(state, now) if to.may_be_old)

    def after_touch(self, state: State, now: Now) -> Iterator[State]:
        """After an access by somebody else, before the item."""
        used = state._replace(touches=state.touches + 1)
        return (to for to in self._touch(used, now) if to.may_be_old)

    def _item(self, state: State, now: Now) -> Iterator[State]:
        label = LINE + now.line
        found = state.holds.index(label) if label in state.holds else None
        # If nothing is certain the line may be in each of these places.
        places: list[int] = []
        if found is not None:
            places = [found]
        elif now.line not in now.certain and now.line not in state.gone:
            where = (BROUGHT,) if now.line in now.cold else (*_UNKNOWN, BROUGHT)
            places = [place for place, what in enumerate(state.holds) if what in where]
        state_after = state._replace(gone=state.gone - {now.line})
        becomes = label if now.line in now.again else SETTLED

        if now.kind == "prefetch":
            # It may be dropped. Then nothing has happened, but that may have been the last item with this line.
            if now.line in now.again:
                yield state
            else:
                yield state_after if found is None else _holding(state_after, found, SETTLED)
        if now.kind == "flush":
            for place in places:
                yield _holding(state_after, place, INVALID)
            if found is None:
                yield state_after
            return
        for place in places:
            yield from _moved(state_after, place, becomes, self._view.hits(state.policy, place))
        if found is None:
            yield from self._miss(state_after, becomes, now)

    def _touch(self, state: State, now: Now) -> Iterator[State]:
        for place, what in enumerate(state.holds):
            if what != INVALID:
                now_valid = VALID if what == MAYBE else what
                yield from _moved(state, place, now_valid, self._view.hits(state.policy, place))
        yield from self._miss(state, BROUGHT, now)
        # It may also bring in, by name, a line that is certainly not cached and that an item will touch again.
        for line in now.seen:
            if LINE + line not in state.holds and (line in now.certain or line in state.gone):
                yield from self._miss(state._replace(gone=state.gone - {line}), LINE + line, now)

    def _miss(self, state: State, becomes: int, now: Now) -> Iterator[State]:
        """A miss, after which the place that it filled holds ``becomes``."""
        invalid = frozenset(place for place, what in enumerate(state.holds) if what == INVALID)
        perhaps = frozenset(place for place, what in enumerate(state.holds) if what == MAYBE)
        for place, valid in self._view.first_filled(invalid, perhaps):
            holds = tuple(VALID if p in valid else what for p, what in enumerate(state.holds))
            yield from _moved(state._replace(holds=holds), place, becomes, self._view.fills(state.policy, place))
        if invalid:
            return
        full = state._replace(holds=tuple(VALID if what == MAYBE else what for what in state.holds))
        for move in self._view.misses(state.policy):
            line = full.holds[move.place] - LINE
            if line >= 0 and line not in now.certain:
                yield from _moved(full._replace(gone=full.gone | {line}), move.place, becomes, (move,))
            else:
                yield from _moved(full, move.place, becomes, (move,))


def _holding(state: State, place: int, what: int) -> State:
    return state._replace(holds=(*state.holds[:place], what, *state.holds[place + 1 :]))


def _moved(state: State, place: int, what: int, moves: tuple[Move, ...]) -> Iterator[State]:
    """``state`` with ``what`` at ``place``, after each of the ``moves``."""
    holds = (*state.holds[:place], what, *state.holds[place + 1 :])
    for move in moves:
        yield State(move.policy, move.arrange(holds), state.touches, state.gone)
