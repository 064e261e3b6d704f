# SPDX-License-Identifier: GPL-2.0-or-later
"""Machines from files: what was learned from real caches, what a person writes, and what is wrong with others."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from itertools import product
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from l1dflush import _core
from l1dflush.cache.core_policy import core_policy
from l1dflush.cache.policies import Choice, Policy, State, all_policies, all_states, get_policy
from l1dflush.cache.policy import machine, machine_table
from l1dflush.cache.policy.machine import MachinePolicy, parse_machine
from l1dflush.errors import InputError

LEARNED = Path(__file__).parents[1] / "data" / "learned-policies"


def learned(path: str) -> MachinePolicy:
    return parse_machine((LEARNED / path).read_text(encoding="utf-8"), path)


def lockstep(ours: Policy, start: State, theirs: Policy) -> dict[State, State] | None:
    """Which state of ``theirs`` goes with which of ``ours``, or nothing where they ever differ."""
    same = {theirs.empty(): start}
    work = [theirs.empty()]
    while work:
        there = work.pop()
        here = same[there]
        try:
            (a,), (b,) = theirs.misses(there), ours.misses(here)
        except ValueError:  # a state without a victim, which no set can be in
            return None
        if a.way != b.way:
            return None
        hits = [(theirs.hit(there, way), ours.hit(here, way)) for way in range(ours.ways)]
        for next_there, next_here in [(a.state, b.state), *hits]:
            if next_there not in same:
                same[next_there] = next_here
                work.append(next_there)
            elif same[next_there] != next_here:
                return None
    return same


def states_to_try(policy: Policy) -> Iterator[State]:
    """More than a full set can have, where a simulator may have started somewhere else."""
    if policy.render(policy.empty()).startswith("ages"):
        return product(range(4), repeat=policy.ways)
    return all_states(policy)


@pytest.mark.parametrize(
    ("path", "name", "start"),
    [
        # Learned from silicon, starting wherever the learner had brought the cache.
        ("hw/haswell_l1.dot", "tree-PLRU", (0,) * 7),
        ("hw/haswell_l2.dot", "tree-PLRU", (0,) * 7),
        ("hw/skylake_l1.dot", "tree-PLRU", (0,) * 7),
        ("hw/kabylake_l1.dot", "tree-PLRU", (0,) * 7),
        ("hw/skylake_l2.dot", "QLRU_H00_M1_R2_U1", (3, 3, 3, 0)),
        ("hw/skylake_l3-w4.dot", "QLRU_H11_M1_R0_U0", (3, 3, 3, 3)),
        ("hw/kabylake_l3-w4.dot", "QLRU_H11_M1_R0_U0", (3, 3, 3, 3)),
        # Learned from simulators.
        ("simul/lru_4.dot", "LRU", (3, 2, 1, 0)),
        ("simul/fifo_4.dot", "FIFO", (0,)),
        ("simul/plru_4.dot", "tree-PLRU", (0, 0, 0)),
        ("simul/mru_4.dot", "bit-PLRU", (0, 0, 0, 1)),
        ("simul/lip_4.dot", "LIP", (3, 2, 1, 0)),
        ("simul/srriphp_4.dot", "SRRIP-HP", (3, 3, 3, 3)),
        ("simul/srripfp_4.dot", "SRRIP-FP", (3, 3, 3, 3)),
    ],
)
def test_a_learned_machine_is_one_of_ours_from_exactly_one_start(path: str, name: str, start: State) -> None:
    """Lockstep over every state and input: the same victims for ever."""
    theirs = learned(path)
    ours = get_policy(name, theirs.ways)
    matches = {state: same for state in states_to_try(ours) if (same := lockstep(ours, state, theirs)) is not None}
    assert list(matches) == [start]
    assert len(matches[start]) == len(set(matches[start].values())) == len(theirs.states)
    reachable = set(all_states(ours))
    if name.startswith("SRRIP"):
        # These started in a full set whose ages were all 3, which filling a set never gives.
        assert start not in reachable and reachable < set(matches[start].values())
    else:
        assert set(matches[start].values()) == reachable


def test_plip_is_none_of_ours() -> None:
    theirs = learned("simul/plip_4.dot")
    for name in all_policies(4):
        ours = get_policy(name, 4)
        if len(ours.misses(next(all_states(ours)))) == 1:
            assert all(lockstep(ours, state, theirs) is None for state in states_to_try(ours)), name


def dot_of(policy: Policy, fills: bool) -> str:
    """The policy as a learner would write it, from the empty set (with ``fills``) or from some full one."""
    start = policy.empty() if fills else next(all_states(policy))
    names = {start: "s0"}
    lines = []
    work = [start]

    def name(state: State) -> str:
        if state not in names:
            names[state] = f"s{len(names)}"
            work.append(state)
        return names[state]

    while work:
        state = work.pop()
        edges = [(f"h({way}) / _", policy.hit(state, way)) for way in range(policy.ways)]
        edges += [(f"m() / {miss.way}", miss.state) for miss in policy.misses(state)]
        if fills:
            edges += [(f"f({w}) / _", fill.state) for w in range(policy.ways) for fill in policy.fills(state, w)]
        lines += [f'\t{name(state)} -> {name(after)} [label="{label}"];' for label, after in edges]
    return "digraph g {\n\n" + "\n".join(lines) + '\n__start0 [label="" shape="none"];\n__start0 -> s0;\n\n}\n'


GENERATED = [
    (name, ways) for ways in (1, 2, 3, 4) for name in all_policies(ways) if name not in ("BIP", "BRRIP", "random")
]


@pytest.mark.parametrize(("name", "ways"), [*GENERATED, ("tree-PLRU", 8), ("CLOCK", 6), ("MRU2PLRU4", 8)])
@pytest.mark.parametrize("fills", [False, True], ids=["full", "fills"])
def test_a_policy_written_as_dot_comes_back(name: str, ways: int, fills: bool) -> None:
    policy = get_policy(name, ways)
    back = parse_machine(dot_of(policy, fills), "back.dot")
    assert (back.name, back.ways, back.has_fills, back.deterministic) == ("back.dot", ways, fills, True)
    start = policy.empty() if fills else next(all_states(policy))
    same = lockstep(policy, start, back)
    assert same is not None
    if fills:
        for there, here in same.items():
            for way in range(ways):
                (ours,), (theirs,) = policy.fills(here, way), back.fills(there, way)
                assert (theirs.way, theirs.chance) == (way, 1)
                assert same.get(theirs.state, ours.state) == ours.state
    if not fills or "R2" not in name:
        states = _core.policy_start_states(core_policy(back), ways)
        assert {same[tuple(state)] for state in states} == set(all_states(policy))


TABLE = """
# Two ways.
ways 2
start a
a hit 0 -> a
a hit 1 -> b
a miss -> 1 b          # replaces way 1
a fill 0 -> a
a fill 1 -> b
b miss -> 0 a 1/4
b miss->1 a 3/4
b hit 0->a
b hit 0 -> b
b hit 0 -> b
b hit 1 -> b
b fill 0 -> a 1
b fill 1 -> b
"""


def test_a_table_says_what_may_happen() -> None:
    policy = parse_machine(TABLE, "mine.txt")
    a, b = (0,), (1,)
    assert (policy.name, policy.ways, policy.rule) == ("mine.txt", 2, "a machine of 2 states from a file")
    assert (policy.empty(), policy.has_fills, policy.deterministic) == (a, True, False)
    assert policy.misses(a) == (Choice(1, b, Fraction(1)),)
    assert policy.misses(b) == (Choice(0, a, Fraction(1, 4)), Choice(1, a, Fraction(3, 4)))
    assert policy.hits(b, 0) == (a, b)
    assert policy.hit(a, 1) == b
    with pytest.raises(ValueError, match="several states may follow a hit in way 0 of state b"):
        policy.hit(b, 0)
    assert policy.fills(b, 0) == (Choice(0, a, Fraction(1)),)
    assert policy.invalid_way({1, 0}) == 0
    assert policy.render(b) == "state b"


def test_the_documented_table_is_one() -> None:
    text = (machine_table.__doc__ or "").split("::")[1].split("States have")[0]
    documented = parse_machine(text, "doc")
    assert (documented.ways, documented.states, documented.has_fills) == (2, ("a", "b"), True)


def test_without_chances_the_adversary_chooses() -> None:
    policy = parse_machine(
        "ways 1\nstart a\na hit 0 -> a\na miss -> 0 a\na miss -> 0 b\nb hit 0 -> a\nb miss -> 0 b", "x"
    )
    assert policy.misses((0,)) == (Choice(0, (0,), None), Choice(0, (1,), None))
    assert _core.policy_misses(core_policy(policy), 1, [0]) == [(0, [0], (1, 0)), (0, [1], (1, 0))]
    assert not policy.has_fills
    with pytest.raises(ValueError, match="does not say what filling"):
        policy.fills((0,), 0)
    with pytest.raises(ValueError, match="does not say what filling"):
        _core.policy_fills(core_policy(policy), 1, [0], 0)


@pytest.mark.parametrize(
    "text",
    [
        'digraph g{a->a[label="h(0)/_"];a->a[label="m()/0"];__start0->a;}',
        'strict digraph {\n# a comment\n/* and\nanother */ node [shape=circle, color=red]; rankdir=LR\n'
        '"a" [label="the \\"first\\" one"]\n"a" -> a:n:w [color=red, label = " h( 0 ) / _ "] // hit\n'
        'a -> "a" [label="m() / 0"; weight=3][style=bold]\n__start0 [label="" shape=none] __start0 -> a }',
        'Digraph "x" {a -> a [Label="H(0) / _"] a -> a [LABEL="M() / 0"] "__start0" -> "a" [len=1.5]}',
        "ways 1\nstart a\na hit 0 -> a\na miss -> 0 a",
        "\ufeff# first\n\n  start   a # here\nways 1\n a  hit  0  ->  a\na miss ->0 a",
    ],
    ids=["dense", "full of dot", "any case", "table", "spaced table"],
)  # fmt: skip
def test_spelling_makes_no_difference(text: str) -> None:
    policy = parse_machine(text, "x")
    assert policy.ways == 1
    assert policy.states[policy.empty()[0]] == "a"
    assert policy.hits(policy.empty(), 0) == (policy.empty(),)


OK = "ways 1\nstart a\na hit 0 -> a\na miss -> 0 a\n"
DOT = 'digraph {{\na -> a [label="h(0) / _"]\na -> a [label="m() / 0"]\n__start0 -> a\n{}\n}}'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "x: it does not say in which state the machine starts (add a line 'start STATE')"),
        ("start a", "x: it says nothing about hits and misses ('l1dflush help policies' has an example)"),
        ("start a\na hit 0 -> a\na miss -> 0 a",
         "x: it does not say how many ways there are (add a line such as 'ways 4')"),
        ("ways 17\n", "x:1: '17' is not a number of ways (1 to 16)"),
        ("ways 0\n", "x:1: '0' is not a number of ways (1 to 16)"),
        ("ways many\n", "x:1: 'many' is not a number of ways (1 to 16)"),
        (OK + "ways 1", "x:5: a second 'ways' (line 1 has one already)"),
        (OK + "start b", "x:5: a second 'start' (line 2 has one already)"),
        (OK + "a hits 0 -> a", "x:5: 'a hits 0 -> a' is not a line of a machine (lines are 'S hit W -> S', "),
        (OK + "a hit 1 -> a", "x:5: way 1 is out of range (ways are numbered 0 to 0)"),
        (OK + "a miss -> 3 a", "x:5: way 3 is out of range (ways are numbered 0 to 0)"),
        (OK + "a hit 99999999999999999999999 -> a",
         "x:5: way 99999999999999999999 is out of range (ways are numbered 0 to 15)"),
        (OK + "a miss -> 0 b", "x:5: state b has no edges (is its name right?)"),
        ("ways 1\nstart b\na hit 0 -> a\na miss -> 0 a\n", "x:2: state b has no edges (is its name right?)"),
        (OK + "a hit 0 -> a 1/2", "x:5: a hit has no chance (give chances to misses and fills only)"),
        (OK + "a miss -> 0 a 3/2", "x:5: '3/2' is not a chance (a fraction such as 1/32, above 0 and at most 1)"),
        (OK + "a miss -> 0 a 1/0", "x:5: '1/0' is not a chance"),
        (OK + "a miss -> 0 a half", "x:5: 'half' is not a chance"),
        (OK + "a miss -> 0 a 1/2", "x:4: the chances of a miss in state a are not given on every line"),
        (OK.replace("0 a\n", "0 a 1/3\n") + "a miss -> 0 a 1/3",
         "x:4: the chances of a miss in state a add up to 2/3 (they have to add up to 1, or none is given)"),
        (OK + "b hit 0 -> a", "x:5: state b does not say what a miss does (add 'b miss -> WAY STATE')"),
        (OK + "b miss -> 0 a", "x:5: state b does not say what a hit in way 0 does (add 'b hit 0 -> STATE')"),
        (OK + "b hit 0 -> a\nb miss -> 0 a\nb fill 0 -> a",
         "x:3: state a does not say what a fill in way 0 does (add 'a fill 0 -> STATE')"),
        (DOT.format("a -> b"), "x:5: the edge from a to b has no label (labels are h(w) / _, m() / v and f(w) / _)"),
        (DOT.format('a -> a [label="m(0) / _"]'), "x:5: 'm(0) / _' is not a label of a machine"),
        (DOT.format('a -> a [label="m() / 4"]'), "x:5: way 4 is out of range (ways are numbered 0 to 0)"),
        (DOT.format('a -> b [label="m() / 0"]'), "x:5: state b has no edges"),
        (DOT.format('a -> a [label="h(1) / _"]\nb -> b [label="m() / 1"]'),
         "x:6: state b does not say what a hit in way 0 does (add an edge with the label \"h(0) / _\")"),
        (DOT.format("b -> ["), "x:5: a name is missing (before '[')"),
        (DOT.format("subgraph s { }"), "x:5: a machine has no subgraphs"),
        (DOT.format("a -- b"), "x:5: a name is missing (before '-')"),
        (DOT.format("__start1 -> a"), "x:5: a second 'start' (line 4 has one already)"),
        (DOT.format('b [label="'), "a name is missing"),
        (DOT.format("}\ndigraph {"), "x:6: nothing follows the graph"),
        ("digraph g {", "x:1: a name is missing (at the end)"),
        ("digraph {}", "x: it does not say in which state the machine starts (add __start0 -> STATE)"),
        ("digraph " + "a:" * 5000, "a name is missing (at the end)"),
        ("\x00\x01", "is not a line of a machine"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_with_its_line(text: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_machine(text, "x")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_machine_has_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "MAX_STATES", 3)
    states = "".join(f"s{i} hit 0 -> s0\ns{i} miss -> 0 s0\n" for i in range(4))
    with pytest.raises(InputError, match=r"x:9: the machine has too many states \(at most 3\)"):
        parse_machine("ways 1\nstart s0\n" + states, "x")
    monkeypatch.setattr(machine, "MAX_BYTES", 10)
    with pytest.raises(InputError, match="too large for a machine"):
        parse_machine(OK, "x")


@st.composite
def machines(draw: st.DrawFn) -> str:
    """A table of a complete machine, with choices and chances."""
    ways, count = draw(st.integers(1, 3)), draw(st.integers(1, 4))
    state = st.integers(0, count - 1)
    fills = draw(st.booleans())
    lines = [f"ways {ways}", f"start s{draw(state)}"]

    def some(prefix: str, outcome: st.SearchStrategy[str], chances: bool) -> None:
        outcomes = draw(st.lists(outcome, min_size=1, max_size=3, unique=True))
        with_chances = chances and draw(st.booleans())
        lines.extend(f"{prefix} -> {o}" + (f" 1/{len(outcomes)}" if with_chances else "") for o in outcomes)

    for number in range(count):
        for way in range(ways):
            some(f"s{number} hit {way}", st.builds("s{}".format, state), False)
            if fills:
                some(f"s{number} fill {way}", st.builds("s{}".format, state), True)
        some(f"s{number} miss", st.builds("{} s{}".format, st.integers(0, ways - 1), state), True)
    return "\n".join(lines)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(machines())
@example(TABLE)
def test_the_compiled_machine_is_the_plain_one(text: str) -> None:
    policy = parse_machine(text, "x")
    core, ways = core_policy(policy), policy.ways
    assert isinstance(core, _core.Mealy)
    assert (core.ways, core.has_fills) == (ways, policy.has_fills)
    assert tuple(_core.policy_empty(core, ways)) == policy.empty()

    def fraction(chance: tuple[int, int]) -> Fraction | None:
        return Fraction(*chance) if chance[1] else None

    for number in range(len(policy.states)):
        state = (number,)
        misses = [Choice(way, tuple(to), fraction(c)) for way, to, c in _core.policy_misses(core, ways, state)]
        assert misses == list(policy.misses(state))
        for way in range(ways):
            assert [tuple(to) for to in _core.policy_hits(core, ways, state, way)] == list(policy.hits(state, way))
            if policy.has_fills:
                fills = [Choice(way, tuple(to), fraction(c)) for to, c in _core.policy_fills(core, ways, state, way)]
                assert fills == list(policy.fills(state, way))
    assert sorted(tuple(state) for state in _core.policy_start_states(core, ways)) == list(all_states(policy))


PIECES = [
    *TABLE.split(),
    *DOT.split(),
    "\n",
    " ",
    '"',
    "\\",
    "/*",
    "//",
    "#",
    "[",
    ";",
    "h(0) / _",
    "m() / 1",
    "f(1)/",
    "a:b",
    "\x00",
    "é",
]


@settings(max_examples=300, deadline=None, derandomize=True)
@given(
    st.one_of(
        st.text(),
        st.lists(st.sampled_from(PIECES)).map(" ".join),
        st.lists(st.sampled_from(PIECES)).map(lambda pieces: "digraph { " + " ".join(pieces)),
        st.builds(lambda text, at, piece: text[: at % len(text)] + piece + text[at % len(text) + 1 :],
                  st.sampled_from([TABLE, DOT.format("")]), st.integers(0, 500), st.sampled_from(PIECES)),
    )
)  # fmt: skip
def test_any_text_is_a_machine_or_one_error(text: str) -> None:
    try:
        policy = parse_machine(text, "x")
    except InputError as caught:
        assert str(caught).isprintable()
        assert str(caught).startswith("x")
    else:
        assert _core.policy_start_states(core_policy(policy), policy.ways)


def test_the_core_takes_no_broken_machine() -> None:
    good = {"ways": 1, "states": 1, "start": 0, "hits": [(0, 0, 0)], "misses": [(0, 0, 0, 1, 1)]}
    assert _core.policy_start_states(_core.Mealy(**good), 1) == [[0]]
    for change, message in [
        ({"ways": 17}, "1 to 16 ways"),
        ({"states": 0}, "1 to 1000000 states"),
        ({"start": 1}, "start is not a state"),
        ({"hits": []}, "incomplete"),
        ({"misses": []}, "incomplete"),
        ({"hits": [(0, 1, 0)]}, "no such way"),
        ({"hits": [(0, 0, 1)]}, "no such state"),
        ({"misses": [(0, 1, 0, 1, 1)]}, "no such way"),
        ({"ways": 2, "hits": [(0, 0, 0), (0, 1, 0)], "fills": [(0, 1, 0, 1, 1)]}, "incomplete"),
    ]:
        with pytest.raises(ValueError, match=message):
            _core.Mealy(**(good | change))
    with pytest.raises(ValueError, match="another number of ways"):
        _core.policy_empty(_core.Mealy(**good), 2)
