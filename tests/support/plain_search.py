# SPDX-License-Identifier: GPL-2.0-or-later
"""Deciding a word the plain way: every policy state, every content, every choice, one set of states after the other.

Shares nothing with the prover but the plain policies. Nothing is left open: each way holds a certain line, or none.
Only for very small words.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cache, lru_cache
from typing import NamedTuple

from l1dflush.cache.policies import all_states, get_policy
from l1dflush.cache.policy.model import Policy, State
from l1dflush.proof.conditions import ALL_WAYS_VALID, Base, Conditions, Start
from l1dflush.proof.prover import ItemKind, Word

OLD = -1
FOREIGN = -2
INVALID = None

Content = tuple[int | None, ...]


class Run(NamedTuple):
    """Where a run has come to, and what it cost: word lines cached at the start, hits, touches."""

    state: State
    content: Content
    cached: int
    hits: int
    touches: int


@lru_cache(maxsize=64)
def start_states(name: str, ways: int) -> tuple[State, ...]:
    return tuple(all_states(get_policy(name, ways)))


@lru_cache(maxsize=64)
def states_with_validity(name: str, ways: int) -> tuple[tuple[State, tuple[bool, ...]], ...]:
    """All that hits, misses and invalidations lead to from the empty set."""
    policy = get_policy(name, ways)
    first = (policy.empty(), (False,) * ways)
    seen, work = {first}, [first]
    while work:
        state, valid = work.pop()
        reached = []
        for way in range(ways):
            if valid[way]:
                reached += [(after, valid) for after in policy.hits(state, way)]
                reached.append((state, (*valid[:way], False, *valid[way + 1 :])))
        invalid = [way for way in range(ways) if not valid[way]]
        if invalid:
            way = policy.invalid_way(invalid)
            filled = (*valid[:way], True, *valid[way + 1 :])
            reached += [(choice.state, filled) for choice in policy.fills(state, way)]
        else:
            reached += [(choice.state, valid) for choice in policy.misses(state)]
        for one in reached:
            if one not in seen:
                seen.add(one)
                work.append(one)
    return tuple(sorted(seen))


def contents(ways: int, lines: tuple[int | None, ...]) -> Iterator[Content]:
    """Every content: an old line or one of ``lines`` in each way, each line at most once (INVALID any number)."""
    if ways == 0:
        yield ()
        return
    for rest in contents(ways - 1, lines):
        for line in (OLD, *lines):
            if line in (OLD, INVALID) or line not in rest:
                yield (*rest, line)


def starts(name: str, ways: int, word: Word, start: Start, counted: bool = True) -> Iterator[Run]:
    lines: tuple[int | None, ...] = tuple(sorted({line for line, _ in word})) if not start.cold else ()
    if start.invalidations:
        for state, valid in states_with_validity(name, ways):
            for held in contents(sum(valid), lines):
                values = iter(held)
                content = tuple(next(values) if one else INVALID for one in valid)
                yield Run(state, content, cached_in(content) if counted else 0, 0, 0)
        return
    if start.base is Base.ANY_INVALID:
        lines = (*lines, INVALID)
    for content in contents(ways, lines):
        cached = cached_in(content) if counted else 0
        for state in start_states(name, ways):
            yield Run(state, content, cached, 0, 0)


def cached_in(content: Content) -> int:
    """How many lines of the word are cached."""
    return sum(line not in (OLD, INVALID) for line in content)


class Rules:
    """A policy whose answers are kept: the same state is asked about with every content."""

    def __init__(self, policy: Policy) -> None:
        self.hits = cache(policy.hits)
        self.misses = cache(policy.misses)
        self.fills = cache(policy.fills)
        self.invalid_way = policy.invalid_way
        self.empty = policy.empty


@lru_cache(maxsize=64)
def rules(name: str, ways: int) -> Rules:
    return Rules(get_policy(name, ways))


def placed(policy: Rules, run: Run, line: int) -> Iterator[Run]:
    """A miss brings ``line`` in."""
    content = run.content
    invalid = [way for way, held in enumerate(content) if held is INVALID] if INVALID in content else []
    for choice in policy.fills(run.state, policy.invalid_way(invalid)) if invalid else policy.misses(run.state):
        after = (*content[: choice.way], line, *content[choice.way + 1 :])
        yield Run(choice.state, after, run.cached, run.hits, run.touches)


def touched(policy: Rules, run: Run, lines: tuple[int, ...]) -> Iterator[Run]:
    """Somebody else's access: a hit on any valid way, or a miss of anything but an old line."""
    more = run._replace(touches=run.touches + 1)
    for way, held in enumerate(run.content):
        if held is not INVALID:
            for state in policy.hits(run.state, way):
                yield Run(state, run.content, run.cached, run.hits, more.touches)
    for line in (FOREIGN, *lines):
        if line == FOREIGN or line not in run.content:
            yield from placed(policy, more, line)


def done(policy: Rules, run: Run, line: int, kind: ItemKind, counted: bool) -> Iterator[Run]:
    if kind is ItemKind.OPTIONAL:
        yield run
    content = run.content
    if kind is ItemKind.FLUSH:
        yield run._replace(content=tuple(INVALID if held == line else held for held in content))
    elif line in content:
        for state in policy.hits(run.state, content.index(line)):
            yield Run(state, content, run.cached, run.hits + counted, run.touches)
    else:
        yield from placed(policy, run, line)


def runs(name: str, ways: int, word: Word, conditions: Conditions, counted: bool = True) -> set[Run]:
    """The ends of all runs that leave an old line. Not ``counted``: the numbers of lines cached and of hits stay 0."""
    policy = rules(name, ways)
    lines = tuple(sorted({line for line, _ in word}))

    def kept(some: Iterable[Run]) -> set[Run]:
        # Nothing brings an old line back.
        return {run for run in some if OLD in run.content}

    layer = kept(starts(name, ways, word, conditions.start, counted))
    for line, kind in word:
        for _ in range(conditions.touches):
            layer |= kept(
                after for run in layer if run.touches < conditions.touches for after in touched(policy, run, lines)
            )
        layer = kept(after for run in layer for after in done(policy, run, line, kind, counted))
    return layer


def most_left(name: str, ways: int, word: Word, conditions: Conditions = ALL_WAYS_VALID) -> int:
    left = (run.content.count(OLD) for run in runs(name, ways, word, conditions, counted=False))
    return max(left, default=0)


def smallest(name: str, ways: int, word: Word, conditions: Conditions = ALL_WAYS_VALID) -> tuple[int, int, int] | None:
    """Fewest cached, then fewest hits, then most left, of the runs that leave something."""
    found = [(run.cached, run.hits, -run.content.count(OLD)) for run in runs(name, ways, word, conditions)]
    if not found:
        return None
    cached, hits, left = min(found)
    return cached, hits, -left
