# SPDX-License-Identifier: GPL-2.0-or-later
"""One set of a cache, access by access, as a policy has it.

A sequence is written in the usual way: names separated by blanks, each an access to a line. ``A?`` is an access and
asks whether it hits; ``A!`` invalidates the line (``clflush``).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from l1dflush.cache.policy.model import Choice, Policy, State
from l1dflush.errors import InputError

MAX_LENGTH = 10_000
_ITEM = re.compile(r"([^\s?!]{1,16})([?!]?)")
_HINT = "names separated by blanks, such as 'A B C A?' (A? asks whether it hits, A! invalidates)"


class Result(StrEnum):
    """What an item of the sequence did."""

    HIT = "hit"
    MISS = "miss"
    """The line was not cached; it replaced another one."""
    FILL = "fill"
    """The line was not cached; it went into an invalid way."""
    INVALIDATED = "invalidated"
    NOT_CACHED = "not-cached"
    """The line to be invalidated was not there."""


@dataclass(frozen=True, slots=True)
class Item:
    """An access to ``line``; or with ``invalidates`` its invalidation."""

    line: str
    asked: bool = False
    invalidates: bool = False

    def __str__(self) -> str:
        return self.line + ("?" if self.asked else "!" if self.invalidates else "")


@dataclass(frozen=True, slots=True)
class Situation:
    """The set between two accesses: the line in each way (``None``: invalid), the policy's state, and the ways that
    a miss may fill next (several where there is a choice).
    """

    content: tuple[str | None, ...]
    state: State
    next_ways: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Step:
    """One item, and the set after it. ``choices``: all that might have happened, if that is more than one thing;
    ``taken`` is the number of the one that did.
    """

    item: Item
    result: Result
    way: int | None
    evicted: str | None
    choices: tuple[Choice, ...]
    taken: int
    after: Situation


@dataclass(frozen=True, slots=True)
class Run:
    """A whole sequence. ``asked``: how many accesses had a question mark; ``hits``: how many of those hit."""

    start: Situation
    steps: tuple[Step, ...]
    asked: int
    hits: int


def parse_sequence(text: str) -> tuple[Item, ...]:
    """The items of a sequence. Raises :class:`~l1dflush.errors.InputError` for a text that is none."""
    words = text.split()
    if not words:
        raise InputError("the sequence is empty", hint=_HINT)
    if len(words) > MAX_LENGTH:
        raise InputError(f"the sequence has {len(words)} accesses", hint=f"at most {MAX_LENGTH}")
    items = []
    for word in words:
        found = _ITEM.fullmatch(word)
        if found is None or not found[1].isprintable():
            raise InputError(f"'{word[:40]}' is not an access", hint=_HINT)
        items.append(Item(found[1], found[2] == "?", found[2] == "!"))
    return tuple(items)


def example_sequence(ways: int) -> str:
    """A sequence that shows most of what a policy does: fill the set, hit, miss, and see who is left."""
    names = "ABCDEFGHIJKLMNOPQR"
    return " ".join([*names[:ways], "A?", names[ways], "A?", "B?", names[ways + 1], "C?"])


def play(policy: Policy, items: tuple[Item, ...]) -> Run:
    """The items one after the other, from the empty set; a machine that does not say what fills do starts in a full
    set with the lines a, b, c, ...

    Where there is a choice the likeliest is taken, the first of several. Raises
    :class:`~l1dflush.errors.InputError` for an invalidation where nobody knows what a fill does.
    """
    if not policy.has_fills and any(item.invalidates for item in items):
        raise InputError(f"{policy.name} does not say what filling an invalid way does", hint="leave out the '!'")
    content: list[str | None] = [None if policy.has_fills else chr(ord("a") + way) for way in range(policy.ways)]
    state = policy.empty()
    start = situation(policy, content, state)
    steps = []
    told: Counter[bool] = Counter()
    for item in items:
        choices: tuple[Choice, ...] = ()
        way = content.index(item.line) if item.line in content else None
        evicted, taken = None, 0
        if item.invalidates:
            result = Result.NOT_CACHED if way is None else Result.INVALIDATED
            if way is not None:
                content[way] = None
        else:
            if way is not None:
                result, choices = Result.HIT, _hit_choices(policy, state, way)
            elif None in content:
                result = Result.FILL
                choices = policy.fills(state, policy.invalid_way(_invalid(content)))
            else:
                result, choices = Result.MISS, policy.misses(state)
            # max() gives the first of several.
            taken = max(range(len(choices)), key=lambda number: choices[number].chance or 0)
            way, state = choices[taken].way, choices[taken].state
            evicted = content[way] if result is Result.MISS else None
            content[way] = item.line
        if item.asked:
            told[result is Result.HIT] += 1
        several = choices if len({(choice.way, choice.state) for choice in choices}) > 1 else ()
        steps.append(Step(item, result, way, evicted, several, taken, situation(policy, content, state)))
    return Run(start, tuple(steps), told.total(), told[True])


def _hit_choices(policy: Policy, state: State, way: int) -> tuple[Choice, ...]:
    return tuple(Choice(way, following, None) for following in policy.hits(state, way))


def situation(policy: Policy, content: Sequence[str | None], state: State) -> Situation:
    """The set with these lines and this state, and what a miss would do next."""
    invalid = _invalid(content)
    following = (policy.invalid_way(invalid),) if invalid else tuple(c.way for c in policy.misses(state))
    return Situation(tuple(content), state, tuple(dict.fromkeys(following)))


def _invalid(content: Sequence[str | None]) -> list[int]:
    return [way for way, line in enumerate(content) if line is None]
