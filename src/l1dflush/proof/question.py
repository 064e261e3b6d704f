# SPDX-License-Identifier: GPL-2.0-or-later
"""What is asked of the compiled prover, and how it is asked: words, policies, limits, and the errors that come back."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from enum import IntEnum
from functools import lru_cache
from typing import Any

from l1dflush import _core
from l1dflush.arguments import MAX_SECONDS, MEMORY, START
from l1dflush.cache.policies import get_policy
from l1dflush.cache.policy.model import Policy
from l1dflush.errors import InputError, UndecidedError
from l1dflush.proof.conditions import Conditions, Start
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


def resolved(policy: str | Policy, ways: int) -> Policy:
    """The plain policy of that name at ``ways`` ways. Raises InputError where there is none."""
    if isinstance(policy, str):
        return _named(policy, ways)
    if policy.ways != ways:
        raise InputError(f"{policy.name} has {policy.ways} ways, not {ways}")
    return policy


def policy_name(policy: str | Policy) -> str:
    """The name of a policy that may be given by its name."""
    return policy if isinstance(policy, str) else policy.name


# By name and ways, so that asking again finds what is known already.
_named = lru_cache(maxsize=256)(get_policy)


def core_question(word: Word, conditions: Conditions, own: Iterable[int]) -> dict[str, Any]:
    """The arguments that the core's questions about a word share. Line ids may be anything; the core counts from 0."""
    renamed = canonical(word)
    mine = set(own)
    cold = {new for (new, _), (line, _) in zip(renamed, word, strict=True) if line not in mine}
    return {
        "lines": [line for line, _ in renamed],
        "kinds": [int(kind) for _, kind in renamed],
        **core_conditions(conditions),
        "cold": sorted(cold) if conditions.start.cold else [],
    }


def core_conditions(conditions: Conditions) -> dict[str, Any]:
    """The arguments for pairwise different accesses, none of whose lines is cached at a cold start."""
    start = conditions.start
    return {"start": core_start(start), "touches": conditions.touches, "cold": start.cold}


def core_start(start: Start) -> str:
    """What the core calls ``start``. Raises ValueError for a steady one."""
    if start.steady:
        raise ValueError(f"the start {start} is about a protocol, not about one word")
    return start.core


def core_limits(limits: Limits) -> dict[str, Any]:
    """As the core takes them."""
    return {"max_states": limits.states, "max_seconds": limits.seconds}


@contextmanager
def told(policy: Policy, limits: Limits) -> Iterator[None]:
    """What the core raises inside, as a person is told."""
    what = f"deciding this for {policy.name} at {policy.ways} ways"
    try:
        yield
    except _core.StateSpaceTooLargeError as error:
        raise UndecidedError(
            "state-space-too-large", f"{what} takes {error}, which is what {limits.memory_text} hold",
            hint=MEMORY.form("SIZE"),
        ) from None  # fmt: skip
    except _core.OutOfTimeError:
        raise UndecidedError("out-of-time", f"{what} takes longer than allowed", hint=MAX_SECONDS.form("N")) from None
    except _core.UnknownFillError:
        raise UndecidedError(
            "unknown-fill", f"{policy.name} does not say what filling an invalid way does", hint=START.form("any")
        ) from None
