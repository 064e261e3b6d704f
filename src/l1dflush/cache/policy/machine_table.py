# SPDX-License-Identifier: GPL-2.0-or-later
"""Machines as a small table, for people who write one down.

One statement a line, ``#`` starts a comment::

    ways 2
    start a
    a hit 0 -> a
    a hit 1 -> b
    a miss -> 1 b          # a miss in a full set: the way that it replaces, then the next state
    a fill 0 -> a          # an invalid way is filled; all states say this of all ways, or none does
    a fill 1 -> b
    b hit 0 -> a           # several lines for the same input: the adversary chooses, ...
    b hit 0 -> b
    b hit 1 -> b
    b miss -> 0 a 1/4      # ... or misses and fills have chances
    b miss -> 1 a 3/4
    b fill 0 -> a
    b fill 1 -> b

States have any names without blanks.
"""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Protocol

from l1dflush.cache.policy.machine_text import Edge, Start, Statements, Ways, error, way_number
from l1dflush.cache.policy.model import CERTAIN, Choice, Policy

_EDGE = re.compile(
    r"(?P<state>\S+) \s+ (?: (?P<what>hit|fill) \s+ (?P<way>[0-9]+) \s* -> | miss \s* -> \s* (?P<victim>[0-9]+)(?=\s) )"
    r"\s* (?P<target>\S+) (?: \s+ (?P<chance>\S+) )?",
    re.VERBOSE,
)
_CHANCE = re.compile(r"([0-9]{1,9})(?:/([0-9]{1,9}))?")
_HINT = "lines are 'S hit W -> S', 'S miss -> W S' and 'S fill W -> S'"


def read_table(text: str, name: str) -> Statements:
    """What a table says. Raises :class:`~l1dflush.errors.InputError` with the first line that is wrong."""
    for number, whole in enumerate(text.removeprefix("\ufeff").splitlines(), 1):
        line = re.sub(r"(^|\s)#.*", "", whole).strip()
        words = line.split(None, 2)
        if not words:
            continue
        if words[0] in ("ways", "start") and len(words) == 2:
            if words[0] == "start":
                yield Start(number, words[1])
                continue
            if not re.fullmatch(r"[0-9]{1,4}", words[1]) or not 1 <= int(words[1]) <= 16:
                raise error(name, number, f"'{words[1][:20]}' is not a number of ways", "1 to 16")
            yield Ways(number, int(words[1]))
            continue
        found = _EDGE.fullmatch(line)
        if found is None:
            raise error(name, number, f"'{line[:60]}' is not a line of a machine", _HINT)
        chance = None if found["chance"] is None else _chance(name, number, found["chance"])
        way = way_number(name, number, found["way"] or found["victim"])
        if found["what"] == "hit":
            if chance is not None:
                raise error(name, number, "a hit has no chance", "give chances to misses and fills only")
            yield Edge(number, found["state"], "hit", way, found["target"])
        else:
            yield Edge(number, found["state"], "fill" if found["what"] else "miss", way, found["target"], chance)


def _chance(name: str, line: int, text: str) -> Fraction:
    found = _CHANCE.fullmatch(text)
    if found is None or int(found[2] or 1) == 0 or not 0 < Fraction(int(found[1]), int(found[2] or 1)) <= 1:
        raise error(name, line, f"'{text[:20]}' is not a chance", "a fraction such as 1/32, above 0 and at most 1")
    return Fraction(int(found[1]), int(found[2] or 1))


class Machine(Policy, Protocol):
    """A policy with a name for each state; a state is its number."""

    @property
    def states(self) -> tuple[str, ...]:
        """The names."""


def table_text(machine: Machine) -> str:
    """The table of ``machine``: reading it gives the same machine, its states in the same order.

    States whose names a table cannot have are all named anew.
    """
    names = machine.states
    if not all(re.fullmatch(r"[^\s#]\S*", name) for name in names):
        names = tuple(f"s{number}" for number in range(len(names)))
    ways = range(machine.ways)
    lines = [f"ways {machine.ways}", f"start {names[machine.empty()[0]]}"]
    for number, name in enumerate(names):
        state = (number,)
        lines += [f"{name} hit {way} -> {names[to]}" for way in ways for (to,) in machine.hits(state, way)]
        lines += [f"{name} miss -> {c.way} {names[c.state[0]]}{_chance_text(c)}" for c in machine.misses(state)]
        if machine.has_fills:
            lines += [
                f"{name} fill {c.way} -> {names[c.state[0]]}{_chance_text(c)}"
                for way in ways
                for c in machine.fills(state, way)
            ]
    return "\n".join(lines) + "\n"


def _chance_text(choice: Choice) -> str:
    return f" {choice.chance}" if choice.chance not in (None, CERTAIN) else ""
