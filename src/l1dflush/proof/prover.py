# SPDX-License-Identifier: GPL-2.0-or-later
"""Questions to the prover: how many old lines can be left in one cache set after a word?

A word is what a routine does in one set, in order. The set is full at the start, its replacement policy in
any state that a full set filled from empty can have, and each way holds an old line or any line of the word
(start ``any``), or is invalid (``any+invalid``); see :mod:`l1dflush.proof.conditions`. The compiled prover looks at
everything that is reachable; nothing here is a sample or a published formula. How it does that, and what a result
does not mean: ``docs/theory.md``.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from l1dflush import _core
from l1dflush.arguments import MAX_SECONDS
from l1dflush.cache.core_policy import core_policy
from l1dflush.cache.policy.model import Policy
from l1dflush.errors import UndecidedError
from l1dflush.proof.bounds import comes_to_0, empties, from_above, stretches
from l1dflush.proof.conditions import ALL_WAYS_VALID, DEFAULT, Conditions
from l1dflush.proof.counterexample import Counterexample, Move, Outcomes, from_witness
from l1dflush.proof.limits import UNLIMITED, Limits
from l1dflush.proof.question import (
    ItemKind,
    Word,
    canonical,
    core_conditions,
    core_limits,
    core_question,
    policy_name,
    resolved,
    told,
    word_of,
)

__all__ = [
    "UNLIMITED",
    "ItemKind",
    "Outcome",
    "PlainState",
    "Word",
    "at_most",
    "canonical",
    "counterexample",
    "decide",
    "layers",
    "needs",
    "policy_name",
    "resolved",
    "survivors",
    "useful_run",
    "word_of",
]


@dataclass(frozen=True)
class Outcome:
    """The answer for one word.

    ``leftovers``: the most old lines that can be left at the end; 0 means proved. ``states``: how many states
    the search kept, over all steps. ``curve``: the most old lines left after 0, 1, 2, ... items, up to and with
    the first 0 (they can only become fewer); ``None`` if the whole question was too large. Then the word is proved by
    an upper bound, so that ``leftovers`` is 0 and what is left on the way is not known; or it is refuted by a single
    run, from a start with all ways valid or any other: ``leftovers`` is what that run leaves, and there may be more
    (``at_least``).
    """

    leftovers: int
    states: int
    curve: tuple[int, ...] | None

    @property
    def proved(self) -> bool:
        """Whether no old line can be left."""
        return self.leftovers == 0

    @property
    def at_least(self) -> bool:
        """Whether more than ``leftovers`` old lines may be left."""
        return self.curve is None and not self.proved


# Up to so many ways a policy has few enough states to ask what exactly a word leaves before a bound is tried.
_FEW_WAYS = 8
# Shares of the time: for a run that refutes a word, and for the worst one when there is a run.
_FOR_A_RUN, _FOR_THE_WORST = 0.25, 0.5


def decide(
    policy: str | Policy,
    ways: int,
    word: Word,
    conditions: Conditions = DEFAULT,
    *,
    own: Iterable[int] = (),
    limits: Limits = UNLIMITED,
) -> Outcome:
    """How many old lines can be left after ``word``, in the worst case over all starts and choices.

    ``own``: the lines of the word that are not the buffer's; only where no buffer line is cached at the start they
    are told apart. Raises ``InputError`` for a policy that does not exist at ``ways`` ways, ``ValueError`` for a
    steady start (see :mod:`l1dflush.proof.steady`), and ``UndecidedError`` with cause ``state-space-too-large``,
    ``out-of-time`` or ``unknown-fill``.
    """
    twin = resolved(policy, ways)
    own = frozenset(own)
    known = _known_curve(twin, word, conditions, own, limits)
    if known is not None:
        return Outcome(leftovers=known[-1], states=0, curve=known)
    bounded = Outcome(leftovers=0, states=0, curve=None)
    # The other way round all the time may be gone before it turns out that it is not enough.
    if ways > _FEW_WAYS and empties(twin, word, conditions, own, limits):
        return bounded
    left = limits.running()
    run = _a_run(twin, word, conditions, own, limits)
    # With a run that refutes the word, what is left at worst is worth half of the time: more questions may follow.
    allowed = left() if run is None else left().part(_FOR_THE_WORST)
    try:
        curve, states = _searched(twin, word, conditions, own, allowed)
    except UndecidedError as error:
        if error.cause not in ("state-space-too-large", "out-of-time"):
            raise
        if run is not None:
            return Outcome(leftovers=len(run.leftovers), states=limits.states, curve=None)
        if ways <= _FEW_WAYS and empties(twin, word, conditions, own, limits):
            return bounded
        if error.cause == "out-of-time":
            raise
        # One run that leaves something refutes the word, and looking for a small one is often far cheaper.
        try:
            found = counterexample(twin, ways, word, conditions, own=own, limits=left())
        except (UndecidedError, ValueError):
            raise error from None
        return Outcome(leftovers=len(found.leftovers), states=limits.states, curve=None)
    return Outcome(leftovers=curve[-1], states=states, curve=tuple(curve))


def _a_run(
    policy: Policy, word: Word, conditions: Conditions, own: Collection[int], limits: Limits
) -> Counterexample | None:
    """A run that refutes the word, where time is limited and one is found soon. All ways are valid at its start, and
    such starts are asked about first: most words that leave something do so from one of them, and with invalid ways
    the search takes ten times as long or more."""
    if limits.seconds is None:
        return None
    try:
        few = limits.part(_FOR_A_RUN)
        return counterexample(policy, policy.ways, word, conditions.with_all_ways_valid(), own=own, limits=few)
    except (UndecidedError, ValueError):
        return None


def _known_curve(
    policy: Policy, word: Word, conditions: Conditions, own: Collection[int], limits: Limits
) -> tuple[int, ...] | None:
    """What a word of pairwise different accesses leaves, if somebody has asked about such words before."""
    found = _known.get((policy, conditions, None, limits.memory))
    first, _longest = stretches(word, own if conditions.start.cold else ())
    if found is None or found.surely != found.curve or first < len(word):
        return None
    if found.curve[-1] == 0 or len(word) < len(found.curve):
        return found.curve[: len(word) + 1]
    # Once the same states have come again, nothing changes any more.
    return found.curve + (found.curve[-1],) * (len(word) + 1 - len(found.curve)) if found.never else None


def _searched(
    policy: Policy, word: Word, conditions: Conditions, own: Iterable[int], limits: Limits
) -> tuple[list[int], int]:
    """The exact curve, and the states kept."""
    question = core_question(word, conditions, own)
    with told(policy, limits):
        return _core.decide(core_policy(policy), policy.ways, **question, **core_limits(limits))


def counterexample(
    policy: str | Policy,
    ways: int,
    word: Word,
    conditions: Conditions = DEFAULT,
    *,
    own: Iterable[int] = (),
    limits: Limits = UNLIMITED,
) -> Counterexample:
    """A start from which ``word`` leaves an old line, step by step; it has been replayed on the plain policy.

    The smallest one: fewest lines of the word cached at the start, then fewest hits, then most old lines
    left, then fewest touches. If finding that takes more than the memory allowed, any one, with ``smallest``
    False. Raises ``ValueError`` if no old line can be left, and otherwise as :func:`decide`.
    """
    twin = resolved(policy, ways)
    question = core_question(word, conditions, own)
    left = limits.running()
    with told(twin, limits):
        try:
            found = _core.witness(core_policy(twin), ways, **question, **core_limits(limits))
        except _core.StateSpaceTooLargeError:
            found = _core.witness(core_policy(twin), ways, smallest=False, **question, **core_limits(left()))
    if found is None:
        raise ValueError(f"no old line can be left by this word in a set of {ways} ways with {twin.name}")
    start, content, steps, smallest = found
    return from_witness(
        twin,
        [(line, int(kind)) for line, kind in word],
        start=tuple(start),
        first_items=content,
        moves=[
            Move(Outcomes(what), way, item, None if line < 0 else word[line][0], tuple(state))
            for what, way, item, line, state in steps
        ],
        smallest=smallest,
    )


def needs(
    policy: str | Policy, ways: int, conditions: Conditions = DEFAULT, *, limits: Limits = UNLIMITED
) -> int | None:
    """The fewest pairwise different accesses after which no old line can be left; ``None`` if no number is
    enough.

    Raises as :func:`decide`.
    """
    twin = resolved(policy, ways)
    # What a full set can hold on to for ever, every other start can but the cold one.
    may_hold_on = not conditions.start.cold and not comes_to_0(twin, conditions, limits)
    if may_hold_on and _distinct(twin, ALL_WAYS_VALID, None, limits).never:
        return None
    found = _distinct(twin, conditions, None, limits)
    if found.never:
        return None
    enough = len(found.curve) - 1
    at_least = 1 + max((n for n, left in enumerate(found.surely) if left), default=-1)
    if found.curve[-1] > 0 or at_least != enough:
        upper = f"at most {enough}" if found.curve[-1] == 0 else "perhaps never enough"
        raise found.undecided(f"{policy_name(policy)} at {ways} ways needs at least {at_least} accesses, {upper}")
    return enough


def survivors(
    policy: str | Policy,
    ways: int,
    conditions: Conditions = DEFAULT,
    *,
    limit: int | None = None,
    limits: Limits = UNLIMITED,
) -> tuple[int, ...]:
    """The most old lines left after 0, 1, 2, ... pairwise different accesses, up to and with the first 0.

    At most ``limit`` accesses are looked at. Without a limit, a policy that no number of accesses empties is
    followed until it provably repeats itself. Raises as :func:`decide`, and ``UndecidedError`` with cause
    ``bounds-only`` where only bounds are known: see :func:`at_most`.
    """
    found = _distinct(resolved(policy, ways), conditions, limit, limits)
    if found.surely != found.curve:
        raise found.undecided(f"what {policy_name(policy)} at {ways} ways leaves is known from above only")
    return found.curve


def at_most(
    policy: str | Policy, ways: int, conditions: Conditions = DEFAULT, *, limits: Limits = UNLIMITED
) -> tuple[int, ...]:
    """An upper bound of :func:`survivors`, which for most policies is the same. Raises as :func:`decide`.

    It takes less than a second where :func:`survivors` may know bounds only.
    """
    twin = resolved(policy, ways)
    bound = from_above(twin, conditions, limits) if ways > _FEW_WAYS else None
    return _distinct(twin, conditions, None, limits).curve if bound is None else bound


# The policy's numbers, what each way holds, the touches used, the lines that are gone: see _core.layers.
PlainState = tuple[list[int], list[int], int, list[int]]


def layers(
    policy: str | Policy,
    ways: int,
    word: Word,
    conditions: Conditions = DEFAULT,
    *,
    own: Iterable[int] = (),
    limits: Limits = UNLIMITED,
) -> tuple[bool, list[list[PlainState] | None]]:
    """The states that are kept before each item of the shortest beginning of ``word`` that leaves nothing, and an
    empty list; and whether they are seen by position. ``None`` stands for the same as before.

    Raises ``ValueError`` if an old line can be left, and otherwise as :func:`decide`.
    """
    twin = resolved(policy, ways)
    curve, _states = _searched(twin, word, conditions, own, limits)
    if curve[-1]:
        raise ValueError(f"an old line can be left by this word in a set of {ways} ways with {twin.name}")
    beginning = core_question(word[: len(curve) - 1], conditions, own)
    with told(twin, limits):
        return _core.layers(core_policy(twin), ways, **beginning, **core_limits(limits))


def useful_run(policy: str | Policy, ways: int, touches: int) -> int | None:
    """How many accesses in a row of one line can make a difference; None: any number.

    For most policies a hit in the way touched last changes nothing. Each access by others cuts such a row in two.
    """
    twin = resolved(policy, ways)
    repeats = _core.policy_repeat_hits(core_policy(twin), ways)
    return None if repeats < 0 else (1 + repeats) * (1 + touches)


@dataclass(frozen=True, slots=True)
class _Distinct:
    """``curve``: the most old lines that can be left; ``surely``: of these so many are certain (0: nothing is known).
    ``never``: it never comes to 0. ``stopped``: the seconds after which the search for more that is certain was
    stopped; None if it was not.
    """

    curve: tuple[int, ...]
    surely: tuple[int, ...]
    never: bool
    stopped: float | None

    def undecided(self, what: str) -> UndecidedError:
        """The error that says that these bounds are not enough."""
        if self.stopped is None:
            return UndecidedError("bounds-only", what)
        return UndecidedError("out-of-time", f"{what}; more takes longer than allowed", hint=MAX_SECONDS.form("N"))


_known: dict[tuple[Policy, Conditions, int | None, int], _Distinct] = {}


def _distinct(policy: Policy, conditions: Conditions, limit: int | None, limits: Limits) -> _Distinct:
    """What pairwise different accesses leave."""
    key = policy, conditions, limit, limits.memory
    known = _known.get(key)
    allowed = math.inf if limits.seconds is None else limits.seconds
    if known is None or (known.stopped is not None and known.stopped < allowed):
        with told(policy, limits):
            curve, _ended, never, _states, surely, stopped = _core.distinct(
                core_policy(policy), policy.ways, limit, **core_conditions(conditions), **core_limits(limits)
            )
        known = _Distinct(tuple(curve), tuple(surely or curve), never, allowed if stopped else None)
        _known[key] = known
    return known
