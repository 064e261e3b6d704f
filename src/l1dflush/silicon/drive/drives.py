# SPDX-License-Identifier: GPL-2.0-or-later
"""Accesses that bring a set of a real cache into the start of a counterexample, whatever is in it before.

First a sequence leads to one known state (:mod:`l1dflush.silicon.drive.homing`). Then hits and misses, the fewest, lead
to the policy state of the start. Which line is where is then known, and which line plays which part is a matter
of names: the line in the way in which the counterexample has its old line *is* that old line. At last what is invalid
there is invalidated.

The ways need not be the same ones: of a policy that is symmetric only where they stand as seen from its own state
counts. Nothing of this is believed: a drive is played on the plain policy from many random beginnings, and is only
given to anybody if each step of the word does what the counterexample says in all of them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from l1dflush.cache.policies import Policy, State
from l1dflush.errors import UndecidedError
from l1dflush.silicon.drive.homing import Homing, homings
from l1dflush.silicon.drive.plain_set import FLUSH_EVERYTHING, Act, PlainSet, beginnings, missed, only
from l1dflush.silicon.drive.symmetry import symmetry

_CHECKS = 150
_MOST_STATES = 200_000

# A state, and the ways that are invalid.
_Node = tuple[State, tuple[int, ...]]


@dataclass(frozen=True, slots=True)
class Scene:
    """What is to happen: the start, by names of lines (None: an invalid way), and the word that follows. Of each of its
    items the line's name, and whether it is invalidated there. ``watched``: lines whose presence is looked at."""

    policy: Policy
    state: State
    content: tuple[str | None, ...]
    word: tuple[tuple[str, bool], ...]
    watched: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Drive:
    """``acts`` lead to the start, ``word`` follows. ``hits``: what each of its items does (None: an invalidation).

    ``watched``: line numbers by name; ``there``: per watched line, whether it is cached after 0, 1, 2, ... items.
    ``lines``: how many lines there are in all; ``ways``: of the set.
    """

    acts: tuple[Act, ...]
    word: tuple[Act, ...]
    hits: tuple[bool | None, ...]
    watched: dict[str, int]
    there: dict[str, tuple[bool, ...]]
    lines: int
    ways: int


def drive(scene: Scene, seed: int = 1) -> Drive:
    """A drive for ``scene``. Raises UndecidedError, cause ``not-drivable``, with the reason, where none is found."""
    policy = scene.policy
    # Where a policy leaves a choice this says so.
    PlainSet(policy, scene.state, range(policy.ways)).play(map(Act, range(2 * policy.ways)))
    homed, reached = False, False
    for home in homings(policy, seed):
        homed = True
        for candidate in _candidates(scene, home):
            reached = True
            # Lines of somebody else cannot be flushed, only displaced.
            if _true(candidate, scene, seed, others=FLUSH_EVERYTHING not in home.acts):
                return candidate
    what = f"{policy.name} at {policy.ways} ways: "
    if homed and not reached:
        what += "no hits and misses were found that lead to the start of the counterexample"
    elif reached and None in scene.content:
        what += "which of the ways are invalid matters here, and no accesses were found that make that certain"
    else:
        what += "no accesses were found that lead to one known state whatever was before"
    raise UndecidedError("not-drivable", what, hint="another counterexample, such as one of --start any")


def _candidates(scene: Scene, home: Homing) -> Iterator[Drive]:
    policy = scene.policy
    for relative in (False,) if symmetry(policy) is None else (True, False):
        for emptied in (False, True) if policy.has_fills and not relative else (False,):
            there = home.found.copy()
            lines = home.lines
            acts = list(home.acts)
            if emptied:
                acts.append(FLUSH_EVERYTHING)
                there.act(FLUSH_EVERYTHING)
            moves = _moves(there, scene.state, relative)
            if moves is None:
                continue
            for way in moves:
                line = lines if way is None else there.content[way]
                assert line is not None
                lines += way is None
                acts.append(Act(line))
                there.act(acts[-1])
            yield _named(scene, there, acts, lines, relative)


def _named(scene: Scene, there: PlainSet, acts: list[Act], lines: int, relative: bool) -> Drive:
    """The drive with names for the lines that are now in the set."""
    numbers: dict[str, int] = {}
    places = _places(scene, there, relative)
    for way, name in enumerate(scene.content):
        line = there.content[places[way]]
        assert line is not None
        if name is None:
            acts.append(Act(line, flush=True))
        else:
            numbers[name] = line
    for name, _ in scene.word:
        if name not in numbers:
            numbers[name] = lines
            lines += 1
    every = [Act(line, flush=True) for line in range(lines)]
    spelled = [one for act in acts for one in (every if act == FLUSH_EVERYTHING else [act])]
    word = tuple(Act(numbers[name], flush) for name, flush in scene.word)
    start = [None if name is None else numbers[name] for name in scene.content]
    watched = {name: numbers[name] for name in scene.watched}
    hits, there_then = _foretold(PlainSet(scene.policy, scene.state, start), word, watched)
    return Drive(tuple(spelled), word, hits, watched, there_then, lines, scene.policy.ways)


def _places(scene: Scene, there: PlainSet, relative: bool) -> list[int]:
    """Which way stands for which way of the start."""
    policy, ways = scene.policy, range(scene.policy.ways)
    seen_by = symmetry(policy) if relative else None
    if seen_by is None:
        return list(ways)
    at = {seen_by.position(there.state, way): way for way in ways}
    return [at[seen_by.position(scene.state, way)] for way in ways]


def _moves(begin: PlainSet, target: State, relative: bool) -> list[int | None] | None:
    """The fewest accesses to a full set in the state ``target``: ways that are hit, None for a miss. None if there are
    no such, as far as was looked."""
    policy = begin.policy
    seen_by = symmetry(policy) if relative else None

    def same(state: State) -> State:
        return state if seen_by is None else seen_by.residue(state)

    first = begin.state, tuple(begin.invalid)
    goal: _Node = same(target), ()
    # How each was first reached: from where, and by which move.
    came: dict[_Node, tuple[_Node, int | None] | None] = {(same(first[0]), first[1]): None}
    work: deque[_Node] = deque([first])
    while work and len(came) < _MOST_STATES:
        state, invalid = work.popleft()
        here = same(state), invalid
        if here == goal:
            return _path(came, here)
        way, after = missed(policy, state, invalid)
        following: list[tuple[int | None, _Node]] = [(None, (after, tuple(one for one in invalid if one != way)))]
        for hit in range(policy.ways):
            if hit not in invalid:
                following.append((hit, (only(policy.hits(state, hit), policy), invalid)))
        for move, node in following:
            key = same(node[0]), node[1]
            if key not in came:
                came[key] = here, move
                work.append(node)
    return None


def _path(came: dict[_Node, tuple[_Node, int | None] | None], end: _Node) -> list[int | None]:
    moves: list[int | None] = []
    step = came[end]
    while step is not None:
        before, move = step
        moves.append(move)
        step = came[before]
    return moves[::-1]


def _foretold(
    begin: PlainSet, word: tuple[Act, ...], watched: dict[str, int]
) -> tuple[tuple[bool | None, ...], dict[str, tuple[bool, ...]]]:
    """What each item of the word does, and which of the watched lines are cached between them."""
    hits: list[bool | None] = []
    there = {name: [line in begin.content] for name, line in watched.items()}
    for act in word:
        hits.append(begin.act(act))
        for name, line in watched.items():
            there[name].append(line in begin.content)
    return tuple(hits), {name: tuple(those) for name, those in there.items()}


def _true(candidate: Drive, scene: Scene, seed: int, *, others: bool) -> bool:
    """Whether it does what it should from many random beginnings."""
    # Other random ones than those that the sequence was found with.
    for found in beginnings(scene.policy, candidate.lines, _CHECKS, seed + 1, others=others):
        found.play(candidate.acts)
        if _foretold(found, candidate.word, candidate.watched) != (candidate.hits, candidate.there):
            return False
    return True
