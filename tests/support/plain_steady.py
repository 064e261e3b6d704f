# SPDX-License-Identifier: GPL-2.0-or-later
"""Deciding a protocol the plain way: explicit sets of (policy state, content), and fixpoints as they are defined.

Shares nothing with the prover but the plain policies. Only for very few ways and lines.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from plain_search import Rules, contents, rules, start_states

from l1dflush.cache.policies import State
from l1dflush.proof.prover import ItemKind, Word

OLD, FOREIGN, INVALID = -1, -2, None
Content = tuple[int | None, ...]
Set = tuple[State, Content]


@dataclass(frozen=True)
class Plain:
    """A policy and a protocol."""

    name: str
    ways: int
    words: tuple[Word, ...]
    own: frozenset[int] = frozenset()
    invalidations: bool = False
    touches: int = 0
    # Of each turn the words that it may be; None: one after the other.
    choices: tuple[tuple[int, ...], ...] | None = None
    # What was found already: where a word leads from a set, and what others make of one.
    ends: dict[tuple[Set, int], set[Set]] = field(default_factory=dict, compare=False)
    reached: dict[Set, set[Set]] = field(default_factory=dict, compare=False)

    @property
    def turns(self) -> tuple[tuple[int, ...], ...]:
        return self.choices or tuple((number,) for number in range(len(self.words)))

    @property
    def policy(self) -> Rules:
        return rules(self.name, self.ways)

    @cached_property
    def lines(self) -> tuple[int, ...]:
        return tuple(sorted({line for word in self.words for line, _ in word} | self.own))

    def least(self) -> tuple[int, ...]:
        """The most old lines left at the end of each word, beginning without buffer lines."""
        cold = {
            (state, content)
            for state in start_states(self.name, self.ways)
            for content in contents(self.ways, tuple(sorted(self.own)))
        }
        before = [self.closed(cold), *(set[Set]() for _ in self.turns[1:])]
        left = [0] * len(self.words)
        grown = True
        while grown:
            grown = False
            for turn, numbers in enumerate(self.turns):
                following = before[(turn + 1) % len(self.turns)]
                for number in numbers:
                    after, most = self.flushed(before[turn], number)
                    left[number] = max(left[number], most)
                    grown |= not after <= following
                    following |= after
        return tuple(left)

    def greatest(self) -> tuple[int, ...]:
        """The same for what remains of any first state, after any number of rounds."""
        now = frozenset(self.any())
        rounds = [now]
        left: list[tuple[int, ...]] = []
        while True:
            after, most = self.round(now)
            now = frozenset(after)
            left.append(most)
            if now in rounds:
                # The sequence has come round (where it only shrinks: it does not change any more).
                period = left[rounds.index(now) :]
                return tuple(max(column) for column in zip(*period, strict=True))
            rounds.append(now)

    def any(self) -> Iterator[Set]:
        if not self.invalidations:
            for state in start_states(self.name, self.ways):
                for content in contents(self.ways, self.lines):
                    yield state, content
            return
        for state, valid in self.sets():
            for content in contents(len(valid), self.lines):
                held = iter(content)
                yield state, tuple(next(held) if way in valid else INVALID for way in range(self.ways))

    def sets(self) -> set[tuple[State, frozenset[int]]]:
        """Policy states and valid ways that hits, misses and invalidations lead to from the empty set."""
        found = {(self.policy.empty(), frozenset[int]())}
        work = list(found)
        while work:
            state, valid = work.pop()
            reached = [(after, valid) for way in valid for after in self.policy.hits(state, way)]
            reached += [(state, valid - {way}) for way in valid]
            holes = set(range(self.ways)) - valid
            choices = self.policy.fills(state, self.policy.invalid_way(holes)) if holes else self.policy.misses(state)
            reached += [(choice.state, valid | {choice.way}) for choice in choices]
            work += [following for following in reached if following not in found]
            found.update(reached)
        return found

    def round(self, now: Iterable[Set]) -> tuple[set[Set], tuple[int, ...]]:
        most = [0] * len(self.words)
        for numbers in self.turns:
            ends: set[Set] = set()
            for number in numbers:
                after, left = self.flushed(now, number)
                most[number] = max(most[number], left)
                ends |= after
            now = ends
        return set(now), tuple(most)

    def flushed(self, before: Iterable[Set], number: int) -> tuple[set[Set], int]:
        """The states before the next word, and the most that is left at the end of this one."""
        ends: set[Set] = set()
        for start in before:
            # The sets of one round are those of another.
            if (start, number) not in self.ends:
                self.ends[start, number] = self.played(start, self.words[number])
            ends |= self.ends[start, number]
        most = max((sum(held == OLD for held in content) for _, content in ends), default=0)
        return self.closed({(s, tuple(OLD if held == FOREIGN else held for held in c)) for s, c in ends}), most

    def played(self, start: Set, word: Word) -> set[Set]:
        now = {(start, 0)}
        for line, kind in word:
            self.add_touches(now)
            now = {(after, used) for here, used in now for after in self.item(here, line, kind)}
        self.add_touches(now)
        return {here for here, _ in now}

    def add_touches(self, now: set[tuple[Set, int]]) -> None:
        for _ in range(self.touches):
            for here, used in list(now):
                if used < self.touches:
                    now |= {(after, used + 1) for after in self.touched(here)}

    def item(self, here: Set, line: int, kind: ItemKind) -> Iterator[Set]:
        state, content = here
        if kind is ItemKind.FLUSH:
            yield state, tuple(INVALID if held == line else held for held in content)
            return
        if kind is ItemKind.OPTIONAL:
            yield here
        yield from self.hit(here, content.index(line)) if line in content else self.miss(here, line)

    def touched(self, here: Set) -> Iterator[Set]:
        _, content = here
        for way, held in enumerate(content):
            if held is not INVALID:
                yield from self.hit(here, way)
        for line in (FOREIGN, *self.lines):
            if line == FOREIGN or line not in content:
                yield from self.miss(here, line)

    def hit(self, here: Set, way: int) -> Iterator[Set]:
        state, content = here
        for after in self.policy.hits(state, way):
            yield after, content

    def miss(self, here: Set, line: int) -> Iterator[Set]:
        state, content = here
        holes = [way for way, held in enumerate(content) if held is INVALID]
        choices = self.policy.fills(state, self.policy.invalid_way(holes)) if holes else self.policy.misses(state)
        for choice in choices:
            yield choice.state, (*content[: choice.way], line, *content[choice.way + 1 :])

    def closed(self, sets: set[Set]) -> set[Set]:
        """With all that others make of them between two flushes."""
        found = set(sets)
        work = list(sets)
        while work:
            here = work.pop()
            if here not in self.reached:
                self.reached[here] = set(self.others(here))
            for following in self.reached[here]:
                if following not in found:
                    found.add(following)
                    work.append(following)
        return found

    def others(self, here: Set) -> Iterator[Set]:
        state, content = here
        for way, held in enumerate(content):
            if held == OLD or held in self.own:
                yield from self.hit(here, way)
            if self.invalidations and held is not INVALID:
                yield state, (*content[:way], INVALID, *content[way + 1 :])
        for line in (OLD, *self.own):
            if line == OLD or line not in content:
                yield from self.miss(here, line)


def least_lines(decide: Callable[[Sequence[Word]], int], most: int) -> int | None:
    """The fewest lines of one fixed word that leave nothing, up to ``most``."""
    for lines in range(1, most + 1):
        if decide([tuple((line, ItemKind.ACCESS) for line in range(lines))]) == 0:
            return lines
    return None
