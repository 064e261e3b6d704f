"""Deciding a word the plain way: every policy state, every content, every choice, one run after the other.

Shares nothing with the prover but the plain policies. Only for very small words.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from itertools import product

from l1dflush.cache.policies import Policy, State, all_states, get_policy
from l1dflush.proof.prover import ItemKind, Word

OLD = -1
INVALID = None


@lru_cache(maxsize=64)
def start_states(name: str, ways: int) -> tuple[State, ...]:
    return tuple(all_states(get_policy(name, ways)))


def contents(ways: int, lines: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
    """Every content: an old line or a line of the word in each way, each line at most once."""
    if ways == 0:
        yield ()
        return
    for rest in contents(ways - 1, lines):
        for line in (OLD, *lines):
            if line == OLD or line not in rest:
                yield (*rest, line)


def play(
    policy: Policy, state: State, content: tuple[int, ...], word: Word, takes: tuple[bool, ...]
) -> tuple[int, int]:
    """Hits and old lines left."""
    ways: list[int | None] = list(content)
    hits = 0
    for (line, kind), taken in zip(word, takes, strict=True):
        if not taken:
            continue
        if kind is ItemKind.FLUSH:
            ways = [INVALID if held == line else held for held in ways]
        elif line in ways:
            hits += 1
            state = policy.hit(state, ways.index(line))
        else:
            invalid = [way for way, held in enumerate(ways) if held is INVALID]
            way = min(invalid) if invalid else policy.victim(state)
            ways[way] = line
            state = policy.fill(state, way, bool(invalid))
    return hits, sum(held == OLD for held in ways)


def runs(name: str, ways: int, word: Word) -> Iterator[tuple[int, int, int]]:
    """(lines of the word cached at the start, hits, old lines left) of every run."""
    policy = get_policy(name, ways)
    lines = tuple(sorted({line for line, _ in word}))
    choices = [(False, True) if kind is ItemKind.OPTIONAL else (True,) for _, kind in word]
    for content in contents(ways, lines):
        cached = sum(held != OLD for held in content)
        for state in start_states(name, ways):
            for takes in product(*choices):
                hits, left = play(policy, state, content, word, takes)
                yield cached, hits, left


def most_left(name: str, ways: int, word: Word) -> int:
    return max(left for _, _, left in runs(name, ways, word))


def smallest(name: str, ways: int, word: Word) -> tuple[int, int, int] | None:
    """Fewest cached, then fewest hits, then most left, of the runs that leave something."""
    found = [(cached, hits, -left) for cached, hits, left in runs(name, ways, word) if left]
    if not found:
        return None
    cached, hits, left = min(found)
    return cached, hits, -left
