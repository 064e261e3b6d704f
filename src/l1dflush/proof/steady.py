"""The same flushes again and again: what is left in one cache set, whatever happens between them?

A protocol is a list of words, one per flush, that are played in turn for ever; where a flush may take several paths,
its turn has several words, and it is any of them each time. Between two flushes others access the
set as they like: they hit old lines and bring old lines in, and lines of the protocol that are not the buffer's
(``own``) are accessed at any time as well. Nobody else touches a buffer line. With ``+invalidations`` others may also
make any way invalid, at any time between two flushes.

- ``steady``: no buffer line is cached before the first flush; asked is about everything that this leads to.
- ``steady-from-any``: the first state is any; asked is about what may still be there after any number of rounds.

Why the search is exact: ``core/prover/steady.hpp`` and ``docs/theory.md``.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from itertools import count, product

from l1dflush import _core
from l1dflush.cache.policy.model import Policy, State, Symmetric
from l1dflush.errors import UndecidedError
from l1dflush.proof.conditions import Base, Conditions, Start
from l1dflush.proof.core_policy import core_policy
from l1dflush.proof.counterexample import Line, Move, Outcomes, ReplayMismatchError, Step, replay
from l1dflush.proof.limits import Limits
from l1dflush.proof.prover import UNLIMITED, ItemKind, Word, decide, needs, resolved, told, word_of

_Step = tuple[int, int, int, int, list[int]]
_Run = tuple[list[int], list[int], list[tuple[int, list[_Step]]], int]

# A state takes 20 or 28 bytes, and its places in the table up to 12.
BYTES_PER_STATE = 40


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

    It starts before the first word. ``again``: after so many flushes (and some of what others do before the next) the
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

    @property
    def leftovers(self) -> tuple[str, ...]:
        """The old lines cached at the end."""
        return self.flushes[-1].leftovers


@dataclass(frozen=True, slots=True)
class SteadyOutcome:
    """The answer for one protocol.

    ``leftovers``: the most old lines that can be left at the end of any flush, 0 means proved; ``per_word``: at the
    end of each word. ``exact``: False if the memory allowed, or being asked for the verdict only, ended the search at a
    run that leaves something; there may be more. ``rounds``: how many rounds the search took (0: none were needed);
    ``states``: those held at its end. ``counterexample``: a run to the most that is left.
    """

    leftovers: int
    per_word: tuple[int, ...]
    rounds: int
    states: int
    exact: bool
    counterexample: SteadyRun | None

    @property
    def proved(self) -> bool:
        """Whether no old line can be left."""
        return self.leftovers == 0


def decide_protocol(
    policy: str | Policy,
    ways: int,
    words: Sequence[Word],
    start: Start,
    *,
    turns: Sequence[Sequence[int]] | None = None,
    own: Collection[int] = (),
    touches: int = 0,
    verdict: bool = False,
    limits: Limits = UNLIMITED,
) -> SteadyOutcome:
    """How many old lines can be left at the end of any of ``words``, played in turn again and again.

    Line ids are shared between the words. ``turns``: for each turn the numbers of the words that it may be; by default
    the first word, then the second, and so on. ``own``: those of lines that are not the buffer's. ``touches``: how
    often others may access the set during one flush; what they bring in then is an old line at the next one.
    ``verdict``: anything left is enough, however much.

    Raises ``InputError`` for a policy that does not exist at ``ways`` ways, ``ValueError`` for a start that is not
    steady or an empty protocol, and ``UndecidedError`` with cause ``state-space-too-large``, ``out-of-time`` or
    ``unknown-fill``.
    """
    if not start.steady:
        raise ValueError(f"the start {start} is about one word, not about a protocol")
    if turns is None:
        turns = [[number] for number in range(len(words))]
    if not turns or not all(turns):
        raise ValueError("a protocol has a word")
    twin = resolved(policy, ways)
    deadline = None if limits.seconds is None else time.monotonic() + limits.seconds
    enough = _enough(twin, words, start, touches, limits)
    if not any(enough):
        return SteadyOutcome(0, enough, 0, 0, exact=True, counterexample=None)
    names: dict[int, int] = {}
    played = [[(names.setdefault(line, len(names)), int(kind)) for line, kind in word] for word in words]
    with told(twin, limits):
        per_word, exact, rounds, states, run = _core.steady(
            core_policy(twin), ways, played,
            turns=[list(numbers) for numbers in turns],
            # An own line that no word touches is as good as an old one.
            lines=len(names), own=sorted({names[line] for line in own if line in names}),
            from_any=start.base is Base.STEADY_FROM_ANY, invalidations=start.invalidations, touches=touches,
            enough=enough, verdict=verdict, max_states=max(limits.memory // BYTES_PER_STATE, 1),
            max_seconds=_left(deadline),
        )  # fmt: skip
    found = (
        None
        if run is None
        else _replayed(twin, words, turns, start, own, {new: line for line, new in names.items()}, run)
    )
    return SteadyOutcome(
        leftovers=max(per_word),
        per_word=tuple(per_word),
        rounds=rounds,
        states=states,
        exact=exact and not (verdict and any(per_word)),
        counterexample=found,
    )


def least_lines(policy: str | Policy, ways: int, start: Start, limits: Limits = UNLIMITED) -> int | None:
    """The fewest distinct lines that leave nothing when they are accessed in one fixed order, again and again.

    ``None`` if no number does. Raises as :func:`decide_protocol`, and ``UndecidedError`` with cause
    ``no-bound-on-lines`` for ``steady-from-any`` where no number of distinct lines is enough from any start and
    fewer than twice the ways are not enough here.
    """
    twin = resolved(policy, ways)
    deadline = None if limits.seconds is None else time.monotonic() + limits.seconds
    # The first flush of ``steady`` finds none of its lines cached.
    least = 1
    if start.base is Base.STEADY:
        alone = needs(twin, ways, Conditions(Start(Base.COLD, start.invalidations)), limits=limits)
        if alone is None:
            return None
        least = alone
    # So many are enough wherever they start.
    most = needs(twin, ways, Conditions(Start(Base.ANY, start.invalidations)), limits=limits)
    for lines in range(least, 2 * ways if most is None else most):
        word = word_of(range(lines))
        left = replace(limits, seconds=_left(deadline))
        if decide_protocol(twin, ways, [word], start, verdict=True, limits=left).proved:
            return lines
    if most is None:
        raise UndecidedError(
            "no-bound-on-lines", f"no number of lines is known after which {twin.name} need not be asked about more"
        )
    return most


def _left(deadline: float | None) -> float | None:
    return None if deadline is None else max(deadline - time.monotonic(), 0.0)


def _enough(twin: Policy, words: Sequence[Word], start: Start, touches: int, limits: Limits) -> tuple[int, ...]:
    """What each word leaves at most, wherever it starts: a far simpler question."""
    flushes = any(kind is ItemKind.FLUSH for word in words for _, kind in word)
    anywhere = Start(Base.ANY, start.invalidations or flushes)
    most = []
    for word in words:
        try:
            outcome = decide(twin, twin.ways, word, Conditions(anywhere, touches), limits=limits)
            # Without a curve it is what one run leaves, and there may be more.
            most.append(twin.ways if outcome.curve is None else outcome.leftovers)
        except UndecidedError as error:
            if error.cause != "state-space-too-large":
                raise
            most.append(twin.ways)
    return tuple(most)


def _replayed(
    twin: Policy,
    words: Sequence[Word],
    turns: Sequence[Sequence[int]],
    start: Start,
    own: Collection[int],
    lines: dict[int, int],
    run: _Run,
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
    rounds = 0
    for number, (word, moves) in enumerate(legs):
        if number == again:
            rounds = len(flushes)
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
    return SteadyRun(twin.name, twin.ways, state, twin.render(state), content, tuple(flushes), rounds)


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
