# SPDX-License-Identifier: GPL-2.0-or-later
"""How many pairwise different accesses a full set needs until no old line is left, the plain way, at 4 ways.

A state is the policy's state and which ways may still hold an old line. A new line either hits one of those (it was
cached all along) or misses; the adversary chooses, chance included. The figures are published ones, and those of
earlier exhaustive searches.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from l1dflush.cache.policies import Policy, State, all_states, get_policy
from l1dflush.cache.policy.machine import parse_machine

LEARNED = Path(__file__).parents[1] / "data" / "learned-policies"


def needs(policy: Policy) -> int | None:
    """The fewest accesses that always suffice; ``None`` if none do."""
    all_ways = frozenset(range(policy.ways))
    layer: frozenset[tuple[State, frozenset[int]]] = frozenset((state, all_ways) for state in all_states(policy))
    seen = set()
    accesses = 0
    while layer:
        if layer in seen:
            return None
        seen.add(layer)
        following = set()
        for state, unknown in layer:
            for way in unknown:
                following |= {(after, unknown - {way}) for after in policy.hits(state, way)}
            following |= {(choice.state, unknown - {choice.way}) for choice in policy.misses(state)}
        layer = frozenset((state, unknown) for state, unknown in following if unknown)
        accesses += 1
    return accesses


@pytest.mark.parametrize(
    ("name", "figure"),
    [
        ("LRU", 4),
        ("tree-PLRU", 5),
        ("LRU1PLRU4", 5),
        ("MRU1PLRU4", 5),
        ("FIFO", 7),
        ("bit-PLRU", 6),
        ("NRU", 7),
        ("SRRIP-HP", 12),
        ("SRRIP-FP", 12),
        ("QLRU_H00_M1_R2_U1", 6),
        ("QLRU_H11_M1_R0_U0", 7),
        ("LIP", None),
        ("BIP", None),
        ("BRRIP", None),
        ("random", None),
    ],
)
def test_needs_at_4_ways(name: str, figure: int | None) -> None:
    assert needs(get_policy(name, 4)) == figure


@pytest.mark.parametrize(
    ("path", "figure"),
    [
        ("simul/plru_4.dot", 5),
        ("hw/skylake_l2.dot", 6),
        ("hw/skylake_l3-w4.dot", 7),
        # From all ages 3 in a full set: one more than from the states that filling a set gives.
        ("simul/srriphp_4.dot", 13),
        ("simul/srripfp_4.dot", 13),
    ],
)
def test_needs_of_learned_machines(path: str, figure: int) -> None:
    assert needs(parse_machine((LEARNED / path).read_text(encoding="utf-8"), path)) == figure
