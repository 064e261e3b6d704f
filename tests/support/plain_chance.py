# SPDX-License-Identifier: GPL-2.0-or-later
"""The largest chance that an old line is left, the plain way: every start, chosen before anything happens, and from it
every choice, one after the other.

Shares nothing with the prover but the plain policies. Only for very small words.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fractions import Fraction
from functools import lru_cache

from l1dflush.cache.policies import Policy, State, all_states
from l1dflush.proof.prover import ItemKind, Word

OLD = -1
NOBODYS = -2  # brought in by others: neither old nor of the word
INVALID = -3

Content = tuple[int, ...]


def after_invalidations(policy: Policy) -> Iterator[tuple[State, frozenset[int]]]:
    """Every (state, valid ways) that hits, misses and invalidations lead to from the empty set."""
    everything = frozenset(range(policy.ways))
    seen = {(policy.empty(), frozenset[int]())}
    work = list(seen)
    while work:
        state, valid = work.pop()
        reached = [(state, valid - {way}) for way in valid]
        reached += [(after, valid) for way in valid for after in policy.hits(state, way)]
        if valid == everything:
            reached += [(choice.state, valid) for choice in policy.misses(state)]
        else:
            way = policy.invalid_way(everything - valid)
            reached += [(choice.state, valid | {way}) for choice in policy.fills(state, way)]
        for one in reached:
            if one not in seen:
                seen.add(one)
                work.append(one)
    yield from seen


def contents(valid: Iterable[bool], lines: tuple[int, ...], may_be_invalid: bool) -> Iterator[Content]:
    """Everything that the ways may hold: old lines, each of ``lines`` at most once, and invalid ways."""
    ways = list(valid)
    if not ways:
        yield ()
        return
    for rest in contents(ways[:-1], lines, may_be_invalid):
        if not ways[-1]:
            yield (*rest, INVALID)
            continue
        yield from ((*rest, line) for line in (OLD, *lines) if line == OLD or line not in rest)
        if may_be_invalid:
            yield (*rest, INVALID)


def starts(policy: Policy, start: str, cached: tuple[int, ...]) -> Iterator[tuple[State, Content]]:
    if start == "any+invalidations":
        for state, valid in after_invalidations(policy):
            flags = [way in valid for way in range(policy.ways)]
            yield from ((state, content) for content in contents(flags, cached, False))
        return
    for state in all_states(policy):
        flags = [True] * policy.ways
        yield from ((state, content) for content in contents(flags, cached, start == "any+invalid"))


class Game:
    """What the adversary can reach from each start."""

    def __init__(self, policy: Policy, word: Word, touches: int) -> None:
        self.policy, self.word, self.touches = policy, word, touches
        self.lines = sorted({line for line, _ in word})
        self.value = lru_cache(maxsize=None)(self._value)

    def _value(self, state: State, content: Content, item: int, touches: int) -> Fraction:
        if OLD not in content:
            return Fraction(0)
        if item == len(self.word):
            return Fraction(1)
        line, kind = self.word[item]
        options = []
        if kind is ItemKind.FLUSH:
            without = tuple(INVALID if held == line else held for held in content)
            options.append(self.value(state, without, item + 1, touches))
        else:
            options.append(self._access(state, content, line, item + 1, touches))
        if kind is ItemKind.OPTIONAL:
            options.append(self.value(state, content, item + 1, touches))
        if touches:
            for way, held in enumerate(content):
                if held != INVALID:
                    options += [self.value(s, content, item, touches - 1) for s in self.policy.hits(state, way)]
            for brought in (NOBODYS, *(one for one in self.lines if one not in content)):
                options.append(self._miss(state, content, brought, item, touches - 1))
        return max(options)

    def _access(self, state: State, content: Content, line: int, item: int, touches: int) -> Fraction:
        if line in content:
            after = self.policy.hits(state, content.index(line))
            return max(self.value(s, content, item, touches) for s in after)
        return self._miss(state, content, line, item, touches)

    def _miss(self, state: State, content: Content, line: int, item: int, touches: int) -> Fraction:
        invalid = {way for way, held in enumerate(content) if held == INVALID}
        choices = self.policy.fills(state, self.policy.invalid_way(invalid)) if invalid else self.policy.misses(state)
        values = []
        for choice in choices:
            ways = list(content)
            ways[choice.way] = line
            values.append((self.value(choice.state, tuple(ways), item, touches), choice.chance))
        if any(chance is None for _, chance in values):
            return max(value for value, _ in values)
        return sum((value * chance for value, chance in values if chance is not None), Fraction(0))


def largest_chance(
    policy: Policy, word: Word, start: str = "any", touches: int = 0, cold: frozenset[int] = frozenset()
) -> Fraction:
    game = Game(policy, word, touches)
    cached = tuple(line for line in game.lines if line not in cold)
    return max(game.value(state, content, 0, touches) for state, content in starts(policy, start, cached))
