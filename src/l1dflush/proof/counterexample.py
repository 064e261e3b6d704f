"""A start from which old lines are left, step by step, and its replay on the plain policy.

The prover names a start and the choices of the adversary. :func:`replay` then plays the word from there on
the plain Python policy, which decides hits, victims and evictions by itself. Only what comes out of that is
ever shown; if it is not what the prover said, one of the two is wrong and :class:`ReplayMismatchError` is
raised.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum

from l1dflush.cache.policies import Policy, State


class Outcomes(IntEnum):
    """What one item of a word did."""

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


Line = int | str
"""A line of the word (its id), or an old line ('a', 'b', ...)."""

_ACCESS, _OPTIONAL, _FLUSH = 0, 1, 2


class ReplayMismatchError(AssertionError):
    """The compiled prover and the plain policy disagree: an error in this program, never a finding."""


@dataclass(frozen=True)
class Step:
    """One item of the word. ``way`` is None where no way was involved; ``evicted`` is what was pushed out, if
    anything.

    ``kind``: 0 access, 1 optional, 2 flush. ``content``: the line in each way afterwards, None where invalid.
    """

    line: int
    kind: int
    outcome: Outcomes
    way: int | None
    evicted: Line | None
    content: tuple[Line | None, ...]
    policy_state: State


@dataclass(frozen=True)
class Counterexample:
    """A concrete start and run that leaves old lines. Every value comes from the replay.

    ``policy_state`` is the start state as the policy of :mod:`l1dflush.cache.policies` writes it
    (``start_text``: for a person); ``content`` the line in each way at the start; ``leftovers`` the old lines
    still cached at the end. ``smallest``: no start with fewer lines of the word cached, and none with as many
    and fewer hits, leaves anything.
    """

    policy: str
    ways: int
    policy_state: State
    start_text: str
    content: tuple[Line, ...]
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


def replay(
    policy: Policy,
    word: Sequence[tuple[int, int]],
    policy_state: State,
    content: Sequence[Line],
    dropped: Iterable[int] = (),
) -> tuple[Step, ...]:
    """Play ``word`` (line id and kind: 0 access, 1 optional, 2 flush) from a start.

    ``dropped``: the indices of the optional items that do not happen. Nothing but the start, the word and
    these is given: what hits and what is evicted is the policy's own doing. Raises ``ValueError`` where the policy
    has a choice.
    """
    left_out = frozenset(dropped)
    ways: list[Line | None] = list(content)
    state = policy_state
    steps = []
    for index, (line, kind) in enumerate(word):
        way = ways.index(line) if line in ways else None
        evicted: Line | None = None
        if kind == _OPTIONAL and index in left_out:
            outcome, way = Outcomes.DROPPED, None
        elif kind == _FLUSH:
            outcome = Outcomes.NOT_CACHED if way is None else Outcomes.FLUSHED
            if way is not None:
                evicted, ways[way] = line, None
        elif way is not None:
            outcome, state = Outcomes.HIT, policy.hit(state, way)
        else:
            outcome = Outcomes.MISS
            invalid = [number for number, held in enumerate(ways) if held is None]
            filled = policy.fills(state, policy.invalid_way(invalid)) if invalid else policy.misses(state)
            if len(filled) > 1:
                raise ValueError(f"item {index}: {policy.name} has a choice here")
            way, state = filled[0].way, filled[0].state
            evicted, ways[way] = ways[way], line
        steps.append(Step(line, kind, outcome, way, evicted, tuple(ways), state))
    return tuple(steps)


def from_witness(
    policy: Policy,
    word: Sequence[tuple[int, int]],
    *,
    start: State,
    first_items: Sequence[int],
    expected: Sequence[tuple[Outcomes, int]],
    smallest: bool,
) -> Counterexample:
    """The counterexample that the prover found, replayed.

    ``first_items``: per way the index of the first item of the line in it, or -1 for an old line.
    ``expected``: what the prover says happens at each item, and in which way. Raises
    :class:`ReplayMismatchError` if the replay differs in any step or if nothing is left at its end.
    """
    names = iter("abcdefghijklmnop")
    content: tuple[Line, ...] = tuple(next(names) if item < 0 else word[item][0] for item in first_items)
    dropped = [index for index, (outcome, _) in enumerate(expected) if outcome is Outcomes.DROPPED]
    steps = replay(policy, word, start, content, dropped)
    if len(steps) != len(expected):
        raise ReplayMismatchError(f"{len(expected)} steps were expected and {len(steps)} happened")
    for index, (step, (outcome, way)) in enumerate(zip(steps, expected, strict=True)):
        if step.outcome is not outcome or (step.way is not None and step.way != way):
            raise ReplayMismatchError(
                f"item {index}: expected {outcome.name} in way {way}, got {step.outcome.name} in way {step.way}"
            )
    last = steps[-1].content if steps else content
    leftovers = tuple(line for line in last if isinstance(line, str))
    if not leftovers:
        raise ReplayMismatchError("nothing is left at the end")
    return Counterexample(
        policy=policy.name,
        ways=policy.ways,
        policy_state=start,
        start_text=policy.render(start),
        content=content,
        steps=steps,
        leftovers=leftovers,
        smallest=smallest,
    )
