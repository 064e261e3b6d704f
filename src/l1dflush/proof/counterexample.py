# SPDX-License-Identifier: GPL-2.0-or-later
"""A start from which old lines are left, step by step, and its replay on the plain policy.

The prover names a start and the choices of the adversary. :func:`replay` then plays the word from there on
the plain Python policy, which decides hits, victims and evictions by itself and refuses what cannot happen. Only
what comes out of that is ever shown; if it is not what the prover said, one of the two is wrong and
:class:`ReplayMismatchError` is raised.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import TypeVar

from l1dflush.cache.policy.model import Policy, State


class Outcomes(IntEnum):
    """What one item of a word, or one access by others, did."""

    MISS = 0
    """The line was not cached and is now in ``way``."""
    HIT = 1
    """The line was cached, in ``way``."""
    DROPPED = 2
    """The prefetch did not happen."""
    FLUSHED = 3
    """The line was cached and its way is now invalid."""
    NOT_CACHED = 4
    """The line to be flushed was not cached."""
    TOUCH_HIT = 5
    """Somebody else's access hit ``way``."""
    TOUCH_MISS = 6
    """Somebody else's access missed; its line is now in ``way``."""


TOUCHES = (Outcomes.TOUCH_HIT, Outcomes.TOUCH_MISS)

Line = int | str
"""A line of the word (its id, 0 or more), of somebody else (-1, -2, ...), or an old line ('a', 'b', ...)."""

_ACCESS, _OPTIONAL, _FLUSH = 0, 1, 2

_T = TypeVar("_T")


class ReplayMismatchError(AssertionError):
    """The compiled prover and the plain policy disagree: an error in this program, never a finding."""


@dataclass(frozen=True, slots=True)
class Move:
    """One step of a run as it is foretold: an item of the word, or an access by others before the item ``item``.

    ``way`` is where it happens and ``state`` the policy state afterwards, which matter where the policy leaves a
    choice; ``line`` is the line that an access by others brings in (None: one that the word never touches).
    """

    outcome: Outcomes
    way: int
    item: int
    line: Line | None
    state: State


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a run as it was replayed.

    ``way`` is None where no way was involved; ``evicted`` is what was pushed out, if anything. ``content``: the
    line in each way afterwards, None where invalid.
    """

    line: Line
    outcome: Outcomes
    way: int | None
    evicted: Line | None
    content: tuple[Line | None, ...]
    policy_state: State


@dataclass(frozen=True, slots=True)
class Counterexample:
    """A concrete start and run that leaves old lines. Every value comes from the replay.

    ``policy_state`` is the start state as the policy of :mod:`l1dflush.cache.policies` writes it
    (``start_text``: for a person); ``content`` the line in each way at the start, None where invalid;
    ``leftovers`` the old lines still cached at the end. ``smallest``: no start with fewer lines of the word
    cached, and none with as many and fewer hits, leaves anything.
    """

    policy: str
    ways: int
    policy_state: State
    start_text: str
    content: tuple[Line | None, ...]
    steps: tuple[Step, ...]
    leftovers: tuple[str, ...]
    smallest: bool

    @property
    def cached_at_start(self) -> int:
        """How many lines of the word are cached at the start."""
        return sum(isinstance(line, int) for line in self.content)

    @property
    def hits(self) -> int:
        """How many items hit."""
        return sum(step.outcome is Outcomes.HIT for step in self.steps)

    @property
    def touches(self) -> int:
        """How many accesses by others there are."""
        return sum(step.outcome in TOUCHES for step in self.steps)


def replay(
    policy: Policy,
    word: Sequence[tuple[int, int]],
    policy_state: State,
    content: Sequence[Line | None],
    moves: Sequence[Move],
) -> Iterator[Step]:
    """Play ``word`` (line id and kind: 0 access, 1 optional, 2 flush) from a start, as ``moves`` foretell.

    What hits, what is evicted and what the policy does is the policy's own doing. Raises
    :class:`ReplayMismatchError` at the first move that cannot happen or happens otherwise.
    """
    ways = list(content)
    state = policy_state
    item = 0
    foreign = 0
    for number, move in enumerate(moves):
        touches = move.outcome in TOUCHES
        # Others may touch the set behind the last item as well.
        if item + (not touches) > len(word) or move.item != item:
            raise ReplayMismatchError(f"move {number} is for item {move.item}, and item {item} is next")
        if move.outcome is Outcomes.TOUCH_HIT:
            held = ways[move.way]
            if held is None:
                raise ReplayMismatchError(f"move {number}: way {move.way} is invalid and cannot be hit")
            line = held
        elif touches:
            foreign -= 1
            line = foreign if move.line is None else move.line
        else:
            line = word[item][0]
        step = _step(policy, ways, state, line, _ACCESS if touches else word[item][1], move)
        if step.outcome is not move.outcome or (step.way is not None and step.way != move.way):
            raise ReplayMismatchError(
                f"item {item}: expected {move.outcome.name} in way {move.way},"
                f" got {step.outcome.name} in way {step.way}"
            )
        ways, state = list(step.content), step.policy_state
        item += 0 if touches else 1
        yield step
    if item != len(word):
        raise ReplayMismatchError(f"{len(word)} items were expected and {item} happened")


def _step(policy: Policy, ways: list[Line | None], state: State, line: Line, kind: int, move: Move) -> Step:
    """What ``line`` does to the set."""
    way = ways.index(line) if line in ways else None
    touches = move.outcome in TOUCHES
    evicted: Line | None = None
    after = list(ways)
    if kind == _OPTIONAL and move.outcome is Outcomes.DROPPED:
        outcome, way = Outcomes.DROPPED, None
    elif kind == _FLUSH:
        outcome = Outcomes.NOT_CACHED if way is None else Outcomes.FLUSHED
        if way is not None:
            evicted, after[way] = line, None
    elif way is not None:
        outcome = Outcomes.TOUCH_HIT if touches else Outcomes.HIT
        state = _one_of({s: s for s in policy.hits(state, way)}, move.state)
    else:
        outcome = Outcomes.TOUCH_MISS if touches else Outcomes.MISS
        invalid = [number for number, held in enumerate(ways) if held is None]
        choices = policy.fills(state, policy.invalid_way(invalid)) if invalid else policy.misses(state)
        way, state = _one_of({(c.way, c.state): (c.way, c.state) for c in choices}, (move.way, move.state))
        evicted, after[way] = after[way], line
    return Step(line, outcome, way, evicted, tuple(after), state)


def _one_of(possible: dict[_T, _T], wanted: _T) -> _T:
    """What is foretold, if it is possible; else anything that is, for the message."""
    return possible.get(wanted, next(iter(possible.values())))


def from_witness(
    policy: Policy,
    word: Sequence[tuple[int, int]],
    *,
    start: State,
    first_items: Sequence[int],
    moves: Sequence[Move],
    smallest: bool,
) -> Counterexample:
    """The counterexample that the prover found, replayed.

    ``first_items``: per way the index of the first item of the line in it, -1 for an old line, -2 if it is
    invalid. ``moves``: what the prover says happens. Raises :class:`ReplayMismatchError` if the replay differs in
    any step or if nothing is left at its end.
    """
    names = iter("abcdefghijklmnop")
    content: list[Line | None] = []
    for item in first_items:
        content.append(None if item == -2 else next(names) if item < 0 else word[item][0])
    steps = tuple(replay(policy, word, start, content, moves))
    if steps and steps[-1].policy_state != moves[-1].state:
        raise ReplayMismatchError("the policy ends in another state than was foretold")
    leftovers = tuple(line for line in (steps[-1].content if steps else content) if isinstance(line, str))
    if not leftovers:
        raise ReplayMismatchError("nothing is left at the end")
    return Counterexample(
        policy=policy.name,
        ways=policy.ways,
        policy_state=start,
        start_text=policy.render(start),
        content=tuple(content),
        steps=steps,
        leftovers=leftovers,
        smallest=smallest,
    )
