# SPDX-License-Identifier: GPL-2.0-or-later
"""Which ways of a policy may be renamed: what it says of itself, or what is found in its machine.

Two states of a machine are alike if renaming the ways turns one into the other. The ways are named by the order in
which misses replace them, if that is every way once; whether states are then alike is found by partition refinement, as
when an automaton is made minimal (Moore, 1956): all states are taken to be alike until they do something else.
"""

from __future__ import annotations

from functools import cache
from typing import cast

from l1dflush.cache.policies import Policy, State
from l1dflush.cache.policy.machine import MachinePolicy
from l1dflush.cache.policy.model import Symmetric

# What one input does to a state: the class that it leads to, and where each way then stands.
_Effect = tuple[int, tuple[int, ...]]
_machines: dict[MachinePolicy, Symmetric | None] = {}


def symmetry(policy: Policy) -> Symmetric | None:
    """Where ways stand in each state; None if nothing is known about it."""
    if _says_so(type(policy)):
        return cast(Symmetric, policy)
    if not isinstance(policy, MachinePolicy):
        return None
    if policy not in _machines:
        _machines[policy] = _of_machine(policy)
    return _machines[policy]


@cache
def _says_so(kind: type) -> bool:
    # Looking a protocol up takes longer than all that is done with the answer.
    return issubclass(kind, Symmetric)


class _Found:
    def __init__(self, orders: dict[State, tuple[int, ...]], classes: dict[State, int]) -> None:
        self._orders = orders
        self._classes = classes

    def position(self, state: State, way: int) -> int:
        return self._orders[state].index(way)

    def residue(self, state: State) -> State:
        return (self._classes[state],)


def _of_machine(machine: MachinePolicy) -> _Found | None:
    states: list[State] = [(number,) for number in range(len(machine.states))]
    ways = range(machine.ways)
    misses = {state: machine.misses(state) for state in states}
    if any(len(choices) > 1 for choices in misses.values()):
        return None
    if any(len(machine.hits(state, way)) > 1 for state in states for way in ways):
        return None
    orders: dict[State, tuple[int, ...]] = {}
    for state in states:
        order, after = [], state
        for _ in ways:
            (choice,) = misses[after]
            order.append(choice.way)
            after = choice.state
        if sorted(order) != list(ways):
            return None
        orders[state] = tuple(order)
    inputs = {state: [misses[state][0].state, *(machine.hit(state, way) for way in orders[state])] for state in states}
    moved = {
        state: [tuple(orders[after].index(way) for way in orders[state]) for after in inputs[state]] for state in states
    }
    classes = dict.fromkeys(states, 0)
    while True:
        numbers: dict[tuple[_Effect, ...], int] = {}
        refined = {}
        for state in states:
            does = tuple((classes[after], to) for after, to in zip(inputs[state], moved[state], strict=True))
            refined[state] = numbers.setdefault(does, len(numbers))
        if len(numbers) == len(set(classes.values())):
            return _Found(orders, refined)
        classes = refined
