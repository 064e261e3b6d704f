"""Questions to the prover: how many old lines can be left in one cache set after a word?

A word is what a routine does in one set, in order. The set is full at the start, its replacement policy in
any state that a full set filled from empty can have, and each way holds an old line or any line of the word
(start ``any``). The compiled prover looks at everything that is reachable; nothing here is a sample or a
published formula. How it does that, and what a result does not mean: ``docs/theory.md``.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache

from l1dflush import _core
from l1dflush.cache.policies import get_policy
from l1dflush.errors import UndecidedError
from l1dflush.proof.counterexample import Counterexample, Outcomes, from_witness


class ItemKind(IntEnum):
    """What a word's item does with its line."""

    ACCESS = 0
    """A load or store: brings the line in if it is not cached."""
    OPTIONAL = 1
    """A prefetch: the adversary decides whether it happens; if it does it is an access."""
    FLUSH = 2
    """clflush: if the line is cached its way becomes invalid; the policy is not touched."""


Word = tuple[tuple[int, ItemKind], ...]


def word_of(lines: Iterable[int]) -> Word:
    """The word that accesses ``lines`` in this order."""
    return tuple((line, ItemKind.ACCESS) for line in lines)


def canonical(word: Word) -> Word:
    """``word`` with its lines renamed 0, 1, 2, ... in the order in which they first occur.

    Two sets with the same canonical word have the same verdict: lines differ by name only.
    """
    names: dict[int, int] = {}
    return tuple((names.setdefault(line, len(names)), kind) for line, kind in word)


@dataclass(frozen=True)
class Outcome:
    """The answer for one word.

    ``leftovers``: the most old lines that can be left at the end; 0 means proved. ``states``: how many states
    the search kept, over all steps. ``curve``: the most old lines left after 0, 1, 2, ... items, up to and with
    the first 0 (they can only become fewer); ``None`` if the whole question was too large and the word is refuted
    by a single run: then ``leftovers`` is what that run leaves, and there may be more.
    """

    leftovers: int
    states: int
    curve: tuple[int, ...] | None

    @property
    def proved(self) -> bool:
        """Whether no old line can be left."""
        return self.leftovers == 0


def decide(
    policy: str, ways: int, word: Word, *, max_states: int | None = None, max_seconds: float | None = None
) -> Outcome:
    """How many old lines can be left after ``word``, in the worst case over all starts and choices.

    ``max_states`` limits the states held in memory at the same time (default: about 1 GiB). Raises
    ``InputError`` for a policy that does not exist at ``ways`` ways, and ``UndecidedError`` with cause
    ``state-space-too-large`` or ``out-of-time`` when a limit is exceeded.
    """
    policy = get_policy(policy, ways).name
    deadline = None if max_seconds is None else time.monotonic() + max_seconds
    word = canonical(word)
    lines, kinds = _columns(word)
    try:
        curve, states = _core.decide(policy, ways, lines, kinds, max_states, max_seconds)
    except _core.OutOfTimeError:
        raise _too_long(policy, ways) from None
    except _core.StateSpaceTooLargeError as error:
        # One run that leaves something refutes the word, and looking for a small one is often far cheaper.
        try:
            found = counterexample(policy, ways, word, max_states=max_states, max_seconds=_left(deadline))
        except (UndecidedError, ValueError):
            raise _too_large(policy, ways, error) from None
        return Outcome(leftovers=len(found.leftovers), states=_states_allowed(max_states), curve=None)
    return Outcome(leftovers=curve[-1], states=states, curve=tuple(curve))


def counterexample(
    policy: str, ways: int, word: Word, *, max_states: int | None = None, max_seconds: float | None = None
) -> Counterexample:
    """A start from which ``word`` leaves an old line, step by step; it has been replayed on the plain policy.

    The smallest one: fewest lines of the word cached at the start, then fewest hits, then most old lines
    left. If finding that takes more than ``max_states`` states, any one, with ``smallest`` False. Raises
    ``ValueError`` if no old line can be left, and otherwise as :func:`decide`.
    """
    twin = get_policy(policy, ways)
    renamed = canonical(word)
    lines, kinds = _columns(renamed)
    deadline = None if max_seconds is None else time.monotonic() + max_seconds
    smallest = True
    try:
        try:
            found = _core.witness(twin.name, ways, lines, kinds, max_states, max_seconds)
        except _core.StateSpaceTooLargeError:
            smallest = False
            found = _core.witness(twin.name, ways, lines, kinds, max_states, _left(deadline), smallest=False)
    except _core.StateSpaceTooLargeError as error:
        raise _too_large(twin.name, ways, error) from None
    except _core.OutOfTimeError:
        raise _too_long(twin.name, ways) from None
    if found is None:
        raise ValueError(f"no old line can be left by this word in a set of {ways} ways with {twin.name}")
    start, content, steps = found
    return from_witness(
        twin,
        [(line, int(kind)) for line, kind in word],
        start=tuple(start),
        first_items=content,
        expected=[(Outcomes(what), way) for what, way in steps],
        smallest=smallest,
    )


@lru_cache(maxsize=256)
def needs(policy: str, ways: int) -> int | None:
    """The fewest pairwise different accesses after which no old line can be left; ``None`` if no number is
    enough.

    Raises as :func:`decide`.
    """
    curve, never = _distinct(get_policy(policy, ways).name, ways, None)
    return None if never else len(curve) - 1


def survivors(policy: str, ways: int, limit: int | None = None) -> tuple[int, ...]:
    """The most old lines left after 0, 1, 2, ... pairwise different accesses, up to and with the first 0.

    At most ``limit`` accesses are looked at. Without a limit, a policy that no number of accesses empties is
    followed until it provably repeats itself. Raises as :func:`decide`.
    """
    return _distinct(get_policy(policy, ways).name, ways, limit)[0]


@lru_cache(maxsize=256)
def _distinct(policy: str, ways: int, limit: int | None) -> tuple[tuple[int, ...], bool]:
    try:
        curve, _ended, never, _states = _core.distinct(policy, ways, limit)
    except _core.StateSpaceTooLargeError as error:
        raise _too_large(policy, ways, error) from None
    return tuple(curve), never


def _states_allowed(max_states: int | None) -> int:
    return _core.DEFAULT_MAX_STATES if max_states is None else max_states


def _columns(word: Word) -> tuple[list[int], list[int]]:
    return [line for line, _ in word], [int(kind) for _, kind in word]


def _left(deadline: float | None) -> float | None:
    return None if deadline is None else max(deadline - time.monotonic(), 0.0)


def _too_long(policy: str, ways: int) -> UndecidedError:
    return UndecidedError(
        "out-of-time", f"deciding this for {policy} at {ways} ways takes longer than allowed", hint="--max-seconds N"
    )


def _too_large(policy: str, ways: int, error: RuntimeError) -> UndecidedError:
    return UndecidedError(
        "state-space-too-large",
        f"deciding this for {policy} at {ways} ways takes {error}",
        hint="raise max_states",
    )
