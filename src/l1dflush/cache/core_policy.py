# SPDX-License-Identifier: GPL-2.0-or-later
"""A policy as the compiled core takes it: by name, or as the tables of a machine."""

from __future__ import annotations

from functools import lru_cache

from l1dflush import _core
from l1dflush.cache.policy.machine import MachinePolicy
from l1dflush.cache.policy.model import Choice, Policy


def core_policy(policy: Policy) -> str | _core.Mealy:
    """What the functions of :mod:`l1dflush._core` take for ``policy``."""
    return _compiled(policy) if isinstance(policy, MachinePolicy) else policy.name


@lru_cache(maxsize=8)
def _compiled(machine: MachinePolicy) -> _core.Mealy:
    """The tables of ``machine``; they are remembered because a large one takes seconds."""

    def edge(number: int, choice: Choice) -> tuple[int, int, int, int, int]:
        # A denominator of 0: the adversary chooses.
        n, d = (1, 0) if choice.chance is None else (choice.chance.numerator, choice.chance.denominator)
        return number, choice.way, choice.state[0], n, d

    states, ways = range(len(machine.states)), range(machine.ways)
    return _core.Mealy(
        machine.ways,
        len(states),
        machine.empty()[0],
        [(s, way, to) for s in states for way in ways for (to,) in machine.hits((s,), way)],
        [edge(s, choice) for s in states for choice in machine.misses((s,))],
        [edge(s, choice) for s in states for way in ways for choice in machine.fills((s,), way)]
        if machine.has_fills
        else [],
    )
