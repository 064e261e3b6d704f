# SPDX-License-Identifier: GPL-2.0-or-later
"""Policies that were learned or written down: Mealy machines from files.

A state of such a policy is one number, the state's place in the file. Several edges for the same input are a choice:
by chance where the file gives chances, else the adversary's. A file need not say what filling an invalid way does;
then its machine can be asked about full sets only.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from fractions import Fraction
from itertools import chain

from l1dflush.cache.policy.machine_dot import is_dot, read_dot
from l1dflush.cache.policy.machine_table import read_table
from l1dflush.cache.policy.machine_text import Edge, Start, Statements, Ways, error
from l1dflush.cache.policy.model import CERTAIN, Choice, Picture, State
from l1dflush.errors import InputError

MAX_STATES = 1_000_000
MAX_BYTES = 64 << 20
_MAX_WAYS = 16

# (way, next state, chance)
_Outcome = tuple[int, int, Fraction | None]


class MachinePolicy:
    """A machine; see :func:`parse_machine`, which checks what it is made of.

    ``hits`` and ``fills`` have a row per state and in it an entry per way, ``misses`` an entry per state.
    """

    def __init__(
        self,
        name: str,
        states: Sequence[str],
        start: int,
        hits: Sequence[Sequence[tuple[int, ...]]],
        misses: Sequence[tuple[_Outcome, ...]],
        fills: Sequence[Sequence[tuple[_Outcome, ...]]] | None,
    ) -> None:
        self.name = name
        self.ways = len(hits[0])
        self.states = tuple(states)
        self.rule = f"a machine of {len(states)} states from a file"
        self.has_fills = fills is not None
        self._start, self._hits, self._misses, self._fills = start, hits, misses, fills

    @property
    def deterministic(self) -> bool:
        """Whether it never has a choice."""
        filled = chain.from_iterable(self._fills or ())
        hit = chain.from_iterable(self._hits)
        return all(len(outcomes) == 1 for outcomes in chain(self._misses, filled, hit))

    def empty(self) -> State:
        return (self._start,)

    def hit(self, state: State, way: int) -> State:
        following = self.hits(state, way)
        if len(following) > 1:
            raise ValueError(f"several states may follow a hit in way {way} of state {self.states[state[0]]}")
        return following[0]

    def hits(self, state: State, way: int) -> tuple[State, ...]:
        return tuple((target,) for target in self._hits[state[0]][way])

    def misses(self, state: State) -> tuple[Choice, ...]:
        return tuple(Choice(way, (target,), chance) for way, target, chance in self._misses[state[0]])

    def fills(self, state: State, way: int) -> tuple[Choice, ...]:
        if self._fills is None:
            raise ValueError(f"{self.name} does not say what filling an invalid way does")
        return tuple(Choice(to, (target,), chance) for to, target, chance in self._fills[state[0]][way])

    def invalid_way(self, invalid: Collection[int]) -> int:
        return min(invalid)

    def picture(self, state: State) -> Picture:
        return Picture()

    def render(self, state: State) -> str:
        return f"state {self.states[state[0]]}"


def parse_machine(text: str, name: str) -> MachinePolicy:
    """The machine that a file says: Graphviz dot, or the table of :mod:`l1dflush.cache.policy.machine_table`.

    ``name`` is the file's, for the policy and for messages. Raises :class:`~l1dflush.errors.InputError`, with the
    line, for anything that is not a complete machine of at most :data:`MAX_STATES` states.
    """
    if len(text) > MAX_BYTES:
        raise InputError("the file is too large for a machine", where=name, hint=f"at most {MAX_BYTES >> 20} MiB")
    dot = is_dot(text)
    return _Builder(name, dot).build(read_dot(text, name) if dot else read_table(text, name))


class _Builder:
    def __init__(self, name: str, dot: bool) -> None:
        self.name = name
        self.dot = dot
        self.start: Start | None = None
        self.ways: Ways | None = None
        self.numbers: dict[str, int] = {}
        self.first_line: list[int] = []
        self.targets: dict[str, int] = {}
        # What the file says of each input of each state: the edges with it. A miss is at way 0 here.
        self.said: dict[tuple[int, str, int], list[Edge]] = {}

    def build(self, statements: Statements) -> MachinePolicy:
        for statement in statements:
            if isinstance(statement, Edge):
                self.edge(statement)
                continue
            what, before = ("start", self.start) if isinstance(statement, Start) else ("ways", self.ways)
            if before is not None:
                raise error(self.name, statement.line, f"a second '{what}'", f"line {before.line} has one already")
            if isinstance(statement, Start):
                self.start = statement
            else:
                self.ways = statement
        if self.start is None:
            hint = "__start0 -> STATE" if self.dot else "a line 'start STATE'"
            raise error(self.name, 0, "it does not say in which state the machine starts", f"add {hint}")
        ways = self.number_of_ways()
        for target, line in chain(self.targets.items(), [(self.start.state, self.start.line)]):
            if target not in self.numbers:
                raise error(self.name, line, f"state {target[:40]} has no edges", "is its name right?")
        states = range(len(self.numbers))
        names = list(self.numbers)
        hits = [[self.hit_outcomes(names, s, way) for way in range(ways)] for s in states]
        misses = [self.outcomes(names, s, "miss", 0) for s in states]
        fills = None
        if any(what == "fill" for _, what, _ in self.said):
            fills = [[self.outcomes(names, s, "fill", way) for way in range(ways)] for s in states]
        return MachinePolicy(self.name, names, self.numbers[self.start.state], hits, misses, fills)

    def edge(self, edge: Edge) -> None:
        number = self.numbers.setdefault(edge.state, len(self.numbers))
        if number == len(self.first_line):
            self.first_line.append(edge.line)
            if number == MAX_STATES:
                raise error(self.name, edge.line, "the machine has too many states", f"at most {MAX_STATES}")
        self.targets.setdefault(edge.target, edge.line)
        self.said.setdefault((number, edge.what, 0 if edge.what == "miss" else edge.way), []).append(edge)

    def number_of_ways(self) -> int:
        if not self.said:
            raise error(
                self.name, 0, "it says nothing about hits and misses", "'l1dflush help policies' has an example"
            )
        if self.ways is None and not self.dot:
            raise error(self.name, 0, "it does not say how many ways there are", "add a line such as 'ways 4'")
        most = max((way for _, what, way in self.said if what == "hit"), default=0) + 1
        ways = self.ways.ways if self.ways is not None else min(most, _MAX_WAYS)
        for edges in self.said.values():
            for edge in edges:
                if edge.way >= ways:
                    hint = f"ways are numbered 0 to {ways - 1}"
                    raise error(self.name, edge.line, f"way {edge.way} is out of range", hint)
        return ways

    def hit_outcomes(self, names: Sequence[str], state: int, way: int) -> tuple[int, ...]:
        return tuple(target for _, target, _ in self.outcomes(names, state, "hit", way))

    def outcomes(self, names: Sequence[str], state: int, what: str, way: int) -> tuple[_Outcome, ...]:
        edges = self.said.get((state, what, way))
        if edges is None:
            raise self.incomplete(names[state], self.first_line[state], what, way)
        given = [edge.chance for edge in edges if edge.chance is not None]
        if given and (len(given) < len(edges) or sum(given) != 1):
            total = f"add up to {sum(given)}" if len(given) == len(edges) else "are not given on every line"
            text = f"the chances of a {what} in state {names[state][:40]} {total}"
            raise error(self.name, edges[0].line, text, "they have to add up to 1, or none is given")
        found = [(edge.way, self.numbers[edge.target], edge.chance) for edge in edges]
        if not given:
            found = list(dict.fromkeys(found))
        return ((found[0][0], found[0][1], CERTAIN),) if len(found) == 1 else tuple(found)

    def incomplete(self, state: str, line: int, what: str, way: int) -> InputError:
        does = "a miss does" if what == "miss" else f"a {what} in way {way} does"
        if self.dot:
            hint = 'an edge with the label "' + ("m() / WAY" if what == "miss" else f"{what[0]}({way}) / _") + '"'
        else:
            hint = f"'{state[:40]} {what} -> WAY STATE'" if what == "miss" else f"'{state[:40]} {what} {way} -> STATE'"
        return error(self.name, line, f"state {state[:40]} does not say what {does}", f"add {hint}")
