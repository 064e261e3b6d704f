# SPDX-License-Identifier: GPL-2.0-or-later
"""What an adversary can leave of one cache set: the start is his choice, and so is where a line was cached.

This is not part of the package's prover and shares nothing with it but the plain policies. A way is old, or holds a
line of the word that is not accessed yet, until an access decides it; a line that is not accessed again needs no
name. Every run that is followed here is a run that exists, so a leftover found here is one, whatever was cut short;
only where nothing was cut short is nothing found a proof.
"""

from __future__ import annotations

from functools import lru_cache

from l1dflush.cache.policies import State, all_states, get_policy

UNKNOWN, SPENT = -1, -2
# States that are followed at the same time. Beyond it, those with most left to lose are kept.
MOST_STATES = 600

Set = tuple[State, tuple[int, ...]]


@lru_cache(maxsize=64)
def _starts(name: str, ways: int) -> tuple[State, ...]:
    return tuple(all_states(get_policy(name, ways)))


def canonical(lines: list[int]) -> tuple[int, ...]:
    """The lines named 0, 1, 2, ... as they come, a line accessed twice in a row once."""
    names: dict[int, int] = {}
    word: list[int] = []
    for line in lines:
        name = names.setdefault(line, len(names))
        if not word or word[-1] != name:
            word.append(name)
    return tuple(word)


@lru_cache(maxsize=4096)
def leftovers(name: str, ways: int, word: tuple[int, ...]) -> int:
    """The most old lines that a run was found to leave after these accesses; 0 if none was found to leave any."""
    policy = get_policy(name, ways)
    last = {line: at for at, line in enumerate(word)}
    first = {line: word.index(line) for line in last}
    states: set[Set] = {(start, (UNKNOWN,) * ways) for start in _starts(name, ways)}
    for at, line in enumerate(word):
        label = line if last[line] > at else SPENT
        following: set[Set] = set()
        for state, content in states:
            if line in content:
                way = content.index(line)
                following.add((policy.hit(state, way), (*content[:way], label, *content[way + 1 :])))
                continue
            if first[line] == at:
                for way, held in enumerate(content):
                    if held == UNKNOWN:
                        following.add((policy.hit(state, way), (*content[:way], label, *content[way + 1 :])))
            way = policy.victim(state)
            following.add((policy.fill(state, way, False), (*content[:way], label, *content[way + 1 :])))
        following = {found for found in following if UNKNOWN in found[1]}
        if not following:
            return 0
        if len(following) > MOST_STATES:
            # Sorted as a whole, so that the choice does not depend on the order in a set.
            ordered = sorted(following, key=lambda found: (-found[1].count(UNKNOWN), found))
            following = set(ordered[:MOST_STATES])
        states = following
    return max(content.count(UNKNOWN) for _, content in states)
