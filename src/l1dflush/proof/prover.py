"""Questions to the prover: how many old lines can be left in one cache set after a word?

A word is what a routine does in one set, in order. The set is full at the start, its replacement policy in
any state that a full set filled from empty can have, and each way holds an old line or any line of the word
(start ``any``), or is invalid (``any+invalid``); see :mod:`l1dflush.proof.conditions`. The compiled prover looks at
everything that is reachable; nothing here is a sample or a published formula. How it does that, and what a result
does not mean: ``docs/theory.md``.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from enum import IntEnum
from functools import lru_cache
from typing import Any

from l1dflush import _core
from l1dflush.cache.policies import get_policy
from l1dflush.cache.policy.model import Policy
from l1dflush.errors import InputError, UndecidedError
from l1dflush.proof.conditions import ALL_WAYS_VALID, DEFAULT, Conditions, Start
from l1dflush.proof.core_policy import core_policy
from l1dflush.proof.counterexample import Counterexample, Move, Outcomes, from_witness
from l1dflush.proof.limits import Limits


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


UNLIMITED = Limits()


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
    deadline = None if limits.seconds is None else time.monotonic() + limits.seconds
    question = core_question(word, conditions, own)
    try:
        with told(twin, limits):
            curve, states = _core.decide(core_policy(twin), ways, **question, **core_limits(limits))
    except UndecidedError as error:
        if error.cause != "state-space-too-large":
            raise
        # One run that leaves something refutes the word, and looking for a small one is often far cheaper.
        try:
            left = replace(limits, seconds=_left(deadline))
            found = counterexample(twin, ways, word, conditions, own=own, limits=left)
        except (UndecidedError, ValueError):
            raise error from None
        return Outcome(leftovers=len(found.leftovers), states=limits.states, curve=None)
    return Outcome(leftovers=curve[-1], states=states, curve=tuple(curve))


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
    deadline = None if limits.seconds is None else time.monotonic() + limits.seconds
    with told(twin, limits):
        try:
            found = _core.witness(core_policy(twin), ways, **question, **core_limits(limits))
        except _core.StateSpaceTooLargeError:
            left = replace(limits, seconds=_left(deadline))
            found = _core.witness(core_policy(twin), ways, smallest=False, **question, **core_limits(left))
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
    if not conditions.start.cold and _distinct(twin, ALL_WAYS_VALID, None, limits).never:
        return None
    found = _distinct(twin, conditions, None, limits)
    if found.never:
        return None
    enough = len(found.curve) - 1
    at_least = 1 + max((n for n, left in enumerate(found.surely) if left), default=-1)
    if found.curve[-1] > 0 or at_least != enough:
        upper = f"at most {enough}" if found.curve[-1] == 0 else "perhaps never enough"
        raise UndecidedError(
            "bounds-only", f"{policy_name(policy)} at {ways} ways needs at least {at_least} accesses, {upper}"
        )
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
        raise UndecidedError(
            "bounds-only", f"what {policy_name(policy)} at {ways} ways leaves is known from above only"
        )
    return found.curve


def at_most(
    policy: str | Policy, ways: int, conditions: Conditions = DEFAULT, *, limits: Limits = UNLIMITED
) -> tuple[int, ...]:
    """An upper bound of :func:`survivors`, which for most policies is the same. Raises as :func:`decide`."""
    return _distinct(resolved(policy, ways), conditions, None, limits).curve


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
    outcome = decide(twin, ways, word, conditions, own=own, limits=limits)
    if outcome.curve is None or not outcome.proved:
        raise ValueError(f"an old line can be left by this word in a set of {ways} ways with {twin.name}")
    beginning = word[: len(outcome.curve) - 1]
    with told(twin, limits):
        return _core.layers(
            core_policy(twin), ways, **core_question(beginning, conditions, own), **core_limits(limits)
        )  # fmt: skip


def useful_run(policy: str | Policy, ways: int, touches: int) -> int | None:
    """How many accesses in a row of one line can make a difference; None: any number.

    For most policies a hit in the way touched last changes nothing. Each access by others cuts such a row in two.
    """
    twin = resolved(policy, ways)
    repeats = _core.policy_repeat_hits(core_policy(twin), ways)
    return None if repeats < 0 else (1 + repeats) * (1 + touches)


def resolved(policy: str | Policy, ways: int) -> Policy:
    """The plain policy of that name at ``ways`` ways. Raises InputError where there is none."""
    if isinstance(policy, str):
        return _named(policy, ways)
    if policy.ways != ways:
        raise InputError(f"{policy.name} has {policy.ways} ways, not {ways}")
    return policy


@dataclass(frozen=True, slots=True)
class _Distinct:
    """``curve``: the most old lines that can be left; ``surely``: of these so many are certain (0: nothing is known).
    ``never``: it never comes to 0.
    """

    curve: tuple[int, ...]
    surely: tuple[int, ...]
    never: bool


# By name and ways, so that asking again finds what is known already.
_named = lru_cache(maxsize=256)(get_policy)
_known: dict[tuple[Policy, Conditions, int | None, int], _Distinct] = {}


def policy_name(policy: str | Policy) -> str:
    """The name of a policy that may be given by its name."""
    return policy if isinstance(policy, str) else policy.name


def _distinct(policy: Policy, conditions: Conditions, limit: int | None, limits: Limits) -> _Distinct:
    """What pairwise different accesses leave."""
    key = policy, conditions, limit, limits.memory
    if key not in _known:
        start = conditions.start
        with told(policy, limits):
            curve, _ended, never, _states, surely = _core.distinct(
                core_policy(policy), policy.ways, limit,
                start=core_start(start), touches=conditions.touches, cold=start.cold, **core_limits(limits),
            )  # fmt: skip
        _known[key] = _Distinct(tuple(curve), tuple(surely or curve), never)
    return _known[key]


def core_question(word: Word, conditions: Conditions, own: Iterable[int]) -> dict[str, Any]:
    """The arguments that the core's questions about a word share. Line ids may be anything; the core counts from 0."""
    renamed = canonical(word)
    mine = set(own)
    cold = {new for (new, _), (line, _) in zip(renamed, word, strict=True) if line not in mine}
    return {
        "lines": [line for line, _ in renamed],
        "kinds": [int(kind) for _, kind in renamed],
        "start": core_start(conditions.start),
        "touches": conditions.touches,
        "cold": sorted(cold) if conditions.start.cold else [],
    }


def core_start(start: Start) -> str:
    """What the core calls ``start``. Raises ValueError for a steady one."""
    if start.steady:
        raise ValueError(f"the start {start} is about a protocol, not about one word")
    return start.core


def core_limits(limits: Limits) -> dict[str, Any]:
    """As the core takes them."""
    return {"max_states": limits.states, "max_seconds": limits.seconds}


def _left(deadline: float | None) -> float | None:
    return None if deadline is None else max(deadline - time.monotonic(), 0.0)


@contextmanager
def told(policy: Policy, limits: Limits) -> Iterator[None]:
    """What the core raises inside, as a person is told."""
    what = f"deciding this for {policy.name} at {policy.ways} ways"
    try:
        yield
    except _core.StateSpaceTooLargeError as error:
        raise UndecidedError(
            "state-space-too-large", f"{what} takes {error}, which is what {limits.memory >> 20} MiB hold",
            hint="--memory SIZE",
        ) from None  # fmt: skip
    except _core.OutOfTimeError:
        raise UndecidedError("out-of-time", f"{what} takes longer than allowed", hint="--max-seconds N") from None
    except _core.UnknownFillError:
        raise UndecidedError(
            "unknown-fill", f"{policy.name} does not say what filling an invalid way does", hint="--start any"
        ) from None
