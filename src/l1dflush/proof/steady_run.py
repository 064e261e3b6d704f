# SPDX-License-Identifier: GPL-2.0-or-later
"""A run through several flushes and what others do between them, played on the plain policy.

What the core found is a claim; nothing of it is believed that the plain policy does not do.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum
from itertools import count, product

from l1dflush.cache.policy.model import Policy, State, Symmetric
from l1dflush.proof.conditions import Base, Start
from l1dflush.proof.counterexample import Line, Move, Outcomes, ReplayMismatchError, Step, replay
from l1dflush.proof.prover import Word

ClaimedStep = tuple[int, int, int, int, Sequence[int]]
"""Outcome (of :class:`Outcomes` or :class:`Between`), way, item of the word, line or -1, policy state afterwards."""
ClaimedRun = tuple[Sequence[int], Sequence[int], Sequence[tuple[int, Sequence[ClaimedStep]]], int]
"""Policy state, content (line, -1 for an old line, -2 where invalid), legs (the word's number or -1 for one thing
between, steps), and how many legs lead back to the start."""


class Between(IntEnum):
    """What others did between two flushes."""

    OTHERS_HIT = 7
    """They accessed a line that was cached."""
    OTHERS_MISS = 8
    """They brought a line in."""
    INVALIDATED = 9
    """They made a way invalid."""


@dataclass(frozen=True, slots=True)
class BetweenStep:
    """One thing that others did between two flushes, as it was replayed: like :class:`Step`."""

    line: Line
    outcome: Between
    way: int
    evicted: Line | None
    content: tuple[Line | None, ...]
    policy_state: State


@dataclass(frozen=True, slots=True)
class Flush:
    """One flush of a run: what others did ``before`` it, and the ``steps`` of its word.

    ``word`` is the word's number in the protocol; ``leftovers``: the old lines that are cached at its end.
    """

    before: tuple[BetweenStep, ...]
    word: int
    steps: tuple[Step, ...]
    leftovers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SteadyRun:
    """A concrete run whose last flush leaves old lines. Every value comes from the replay on the plain policy.

    It starts before the first word. ``again``: after so many flushes, and ``again_before`` steps before the next, the
    set is as it was at the start, but for the names of ways and old lines, so that this part may have happened any
    number of times before; 0 for the start ``steady``, where no buffer line is cached at first.
    """

    policy: str
    ways: int
    policy_state: State
    start_text: str
    content: tuple[Line | None, ...]
    flushes: tuple[Flush, ...]
    again: int
    again_before: int

    @property
    def leftovers(self) -> tuple[str, ...]:
        """The old lines cached at the end."""
        return self.flushes[-1].leftovers


def replay_run(
    twin: Policy,
    words: Sequence[Word],
    turns: Sequence[Sequence[int]],
    start: Start,
    own: Collection[int],
    lines: dict[int, int],
    run: ClaimedRun,
) -> SteadyRun:
    """The run that the core found, on the plain policy.

    ``lines``: the ids of the lines by the core's numbers. Raises :class:`ReplayMismatchError` if anything differs.
    """
    policy_state, first, legs, again = run
    state = tuple(policy_state)
    names = _names()
    content: tuple[Line | None, ...] = tuple(
        None if held == -2 else next(names) if held < 0 else lines[held] for held in first
    )
    here = _Set(twin, content, state, frozenset(own), names)
    if start.base is Base.STEADY and not all(isinstance(held, str) or held in own for held in content):
        raise ReplayMismatchError("the run does not start with old lines only")
    if start.base is Base.STEADY_FROM_ANY and again == 0:
        raise ReplayMismatchError("the run does not say how its start comes again")
    before: list[BetweenStep] = []
    flushes: list[Flush] = []
    rounds = rest = 0
    for number, (word, moves) in enumerate(legs):
        if number == again:
            rounds, rest = len(flushes), len(before)
            if again and (not rounds or rounds % len(turns)):
                raise ReplayMismatchError("the run comes back in the middle of a round")
            if again and here.seen() != _Set(twin, content, state, frozenset(own), names).seen():
                raise ReplayMismatchError("the run does not come back to its start")
        if word < 0:
            ((what, way, _, line, after),) = moves
            if what == Between.INVALIDATED and not start.invalidations:
                raise ReplayMismatchError("nobody may invalidate a line")
            before.append(here.between(Between(what), way, None if line < 0 else lines[line], tuple(after)))
            continue
        if word not in turns[len(flushes) % len(turns)]:
            raise ReplayMismatchError(f"word {word} is played out of its turn")
        steps = here.flush(words[word], [
            Move(Outcomes(what), way, item, None if line < 0 else lines[line], tuple(after))
            for what, way, item, line, after in moves
        ])  # fmt: skip
        leftovers = tuple(held for held in here.content if isinstance(held, str))
        flushes.append(Flush(tuple(before), word, steps, leftovers))
        before.clear()
        here.settle(frozenset(lines.values()))
    if not flushes or not flushes[-1].leftovers:
        raise ReplayMismatchError("nothing is left at the end")
    return SteadyRun(twin.name, twin.ways, state, twin.render(state), content, tuple(flushes), rounds, rest)


def _names() -> Iterator[str]:
    """Names for old lines: a, b, ..., z, aa, ab, ..."""
    for length in count(1):
        yield from ("".join(letters) for letters in product("abcdefghijklmnopqrstuvwxyz", repeat=length))


@dataclass(slots=True)
class _Set:
    """The set in the middle of a run."""

    policy: Policy
    content: tuple[Line | None, ...]
    state: State
    own: frozenset[int]
    names: Iterator[str]

    def between(self, what: Between, way: int, line: int | None, after: State) -> BetweenStep:
        """Others do ``what``; ``line`` is the own line that they bring in, None for an old one."""
        content = list(self.content)
        held = content[way]
        came: Line | None = held
        evicted: Line | None = None
        possible: tuple[State, ...]
        if what is Between.INVALIDATED:
            evicted, content[way], possible = held, None, (self.state,)
        elif what is Between.OTHERS_HIT:
            if not isinstance(held, str) and held not in self.own:
                raise ReplayMismatchError(f"others cannot hit way {way}")
            possible = self.policy.hits(self.state, way)
        else:
            came = next(self.names) if line is None else line
            if came in content or (line is not None and line not in self.own):
                raise ReplayMismatchError(f"others cannot bring in line {line}")
            invalid = [number for number, other in enumerate(content) if other is None]
            fills = self.policy.fills(self.state, self.policy.invalid_way(invalid)) if invalid else None
            choices = self.policy.misses(self.state) if fills is None else fills
            possible = tuple(choice.state for choice in choices if choice.way == way)
            evicted, content[way] = held, came
        if after not in possible or came is None:
            raise ReplayMismatchError(f"{what.name} in way {way} is not possible")
        self.content, self.state = tuple(content), after
        return BetweenStep(came, what, way, evicted, self.content, after)

    def flush(self, word: Word, moves: Sequence[Move]) -> tuple[Step, ...]:
        """One flush."""
        steps = tuple(replay(self.policy, word, self.state, self.content, moves))
        if any(step.policy_state != move.state for step, move in zip(steps, moves, strict=True)):
            raise ReplayMismatchError("the policy is in another state than was foretold")
        if steps:
            self.content, self.state = steps[-1].content, steps[-1].policy_state
        return steps

    def settle(self, known: frozenset[int]) -> None:
        """What somebody else brought in during the flush is an old line at the next one."""
        self.content = tuple(
            next(self.names) if isinstance(held, int) and held not in known else held for held in self.content
        )

    def seen(self) -> tuple[object, ...]:
        """The set without the names of old lines, and of ways where they do not matter."""
        content = ["old" if isinstance(held, str) else held for held in self.content]
        if not isinstance(self.policy, Symmetric):
            return *content, self.state
        by_position = {self.policy.position(self.state, way): held for way, held in enumerate(content)}
        return *(by_position[place] for place in range(len(content))), self.policy.residue(self.state)
