# SPDX-License-Identifier: GPL-2.0-or-later
"""Replacement policies by name. What they do is in :mod:`l1dflush.cache.policy`, a module per family."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from l1dflush.cache.policy.bits import BitPlru, Nru
from l1dflush.cache.policy.model import Choice, Deterministic, Policy, State, Symmetric
from l1dflush.cache.policy.order import Bip, Lip, Lru
from l1dflush.cache.policy.pointer import Clock, Fifo
from l1dflush.cache.policy.qlru import SRRIP, Brrip, Qlru, parse_name
from l1dflush.cache.policy.random_way import RandomWay
from l1dflush.cache.policy.shaped_tree import ShapedTree, parse_shape
from l1dflush.cache.policy.tree import LruPlru4, MruPlru4, TreePlru
from l1dflush.errors import InputError

__all__ = [
    "MAX_WAYS", "NAMES", "PUBLISHED_QLRU", "TREE_SHAPES",
    "Choice", "Deterministic", "Policy", "State", "Symmetric",
    "all_policies", "all_states", "canonical_name", "get_policy", "is_defined", "known_policies", "policy_unknown",
]  # fmt: skip

MAX_WAYS = 16

# The policies that a cache whose policy is unknown may have, as far as is proved: see known_policies.
_CLASSIC = ("LRU", "FIFO", "tree-PLRU", "bit-PLRU", "LRU1PLRU4", "LRU2PLRU4", "LRU3PLRU4", "LRU4PLRU4")

PUBLISHED_QLRU = ("QLRU_H00_M1_R2_U1", "QLRU_H11_M1_R0_U0", "QLRU_H11_M1_R1_U2", "QLRU_H00_M1_R0_U1")
"""The QLRU policies found in Intel's caches by measurement (nanoBench, uops.info) or learning."""

TREE_SHAPES = ("2+1", "4+2", "3+3", "8+4", "(4+2)+(4+2)", "(3+3)+(3+3)", "4+4+4")
"""The shapes of trees over 3, 6 and 12 ways."""

_SIMPLE: dict[str, Callable[[int], Policy]] = {
    "LRU": Lru,
    "FIFO": Fifo,
    "LIP": Lip,
    "BIP": Bip,
    "random": RandomWay,
    "tree-PLRU": TreePlru,
    "bit-PLRU": BitPlru,
    "NRU": Nru,
    "CLOCK": Clock,
    "BRRIP": Brrip,
}
_GROUPED: dict[str, tuple[type[LruPlru4] | type[MruPlru4], int]] = {
    f"{kind}{g}PLRU4": (twin, g) for kind, twin in (("LRU", LruPlru4), ("MRU", MruPlru4)) for g in (1, 2, 3, 4)
}

NAMES = (
    "LRU", "FIFO", "LIP", "BIP", "random", "tree-PLRU", *(f"tree-PLRU:{shape}" for shape in TREE_SHAPES),
    *_GROUPED, "bit-PLRU", "NRU", "CLOCK", *PUBLISHED_QLRU, *SRRIP, "BRRIP",
)  # fmt: skip
"""Every policy that has a name of its own. Other tree shapes and QLRU policies follow their grammar."""

_ALIASES = {"plru": "tree-PLRU", "mru": "bit-PLRU", "srrip": "SRRIP-HP", **{name.lower(): name for name in NAMES}}
_HINT = (
    "known: LRU, FIFO, LIP, BIP, random, tree-PLRU, tree-PLRU:SHAPE, LRU<g>PLRU4, MRU<g>PLRU4, bit-PLRU, NRU, "
    "CLOCK, QLRU_Hxy_Mz_Ru_Uw, SRRIP-HP, SRRIP-FP, BRRIP"
)


def canonical_name(name: str) -> str:
    """The canonical spelling of a policy name (any case; ``PLRU`` is tree-PLRU, ``MRU`` bit-PLRU, ``SRRIP`` SRRIP-HP).

    Raises :class:`~l1dflush.errors.InputError` for a name that nobody knows.
    """
    wanted = name.strip().lower()
    if found := _ALIASES.get(wanted):
        return found
    if shape := re.fullmatch(r"(?:tree-)?plru:(.*)", wanted, re.DOTALL):
        return f"tree-PLRU:{parse_shape(shape[1])[0]}"
    if wanted.startswith("qlru"):
        return parse_name(name.strip()).name
    raise InputError(f"unknown replacement policy {name[:80]!r}", hint=_HINT)


def get_policy(name: str, ways: int) -> Policy:
    """The policy of that name at ``ways`` ways (1 to 16).

    Raises :class:`~l1dflush.errors.InputError` when the name is unknown or the ways do not fit the policy.
    """
    canonical = canonical_name(name)
    if not 1 <= ways <= MAX_WAYS:
        raise InputError(f"{ways} ways are not supported", hint=f"1 to {MAX_WAYS}")
    if canonical in _GROUPED:
        twin, groups = _GROUPED[canonical]
        if ways != 4 * groups:
            raise InputError(f"{canonical} needs {4 * groups} ways, not {ways}")
        return twin(groups)
    if canonical.startswith("tree-PLRU:"):
        tree = ShapedTree(canonical.removeprefix("tree-PLRU:"))
        if ways != tree.ways:
            raise InputError(f"{canonical} has {tree.ways} ways, not {ways}")
        return tree
    if canonical == "tree-PLRU" and ways & (ways - 1):
        raise InputError(
            f"tree-PLRU needs a power of two of ways, not {ways}", hint="or a shape, such as tree-PLRU:8+4 for 12 ways"
        )
    if canonical in SRRIP:
        return Qlru(parse_name(SRRIP[canonical]), ways, canonical)
    if canonical.startswith("QLRU_"):
        return Qlru(parse_name(canonical), ways)
    return _SIMPLE[canonical](ways)


def known_policies(ways: int) -> tuple[str, ...]:
    """The policies that a cache with ``ways`` ways whose policy is unknown is proved against."""
    return tuple(name for name in _CLASSIC if is_defined(name, ways))


def policy_unknown(whose: str, said: str | None = None) -> str:
    """That the policy of a cache or a CPU is not known: the same words everywhere.

    ``said`` is the name that its source has for it, where that is not a policy but a family of them (``pseudo-LRU``).
    """
    return f"the replacement policy of {whose} is not known{f': its source only says {said}' if said else ''}"


def all_policies(ways: int) -> tuple[str, ...]:
    """The canonical names of all named policies (:data:`NAMES`) that are defined at ``ways`` ways."""
    return tuple(name for name in NAMES if is_defined(name, ways))


def is_defined(name: str, ways: int) -> bool:
    """Whether ``name`` is a policy with that many ways: a CPU file may also have the name of a family of policies."""
    try:
        get_policy(name, ways)
    except InputError:
        return False
    return True


def all_states(policy: Policy) -> Iterator[State]:
    """Every state of a full set that was filled from empty, by plain search: for small numbers of ways.

    Misses fill the invalid ways in the policy's order with any hits on valid ways in between; then any hit and any
    miss. A machine without fills starts in a full set.
    """
    layer = {policy.empty()}
    invalid = set(range(policy.ways)) if policy.has_fills else set()
    while True:
        work = list(layer)
        while work:
            state = work.pop()
            reached = [s for way in range(policy.ways) if way not in invalid for s in policy.hits(state, way)]
            if not invalid:
                reached += [choice.state for choice in policy.misses(state)]
            for following in reached:
                if following not in layer:
                    layer.add(following)
                    work.append(following)
        if not invalid:
            break
        way = policy.invalid_way(invalid)
        invalid.remove(way)
        layer = {choice.state for state in layer for choice in policy.fills(state, way)}
    yield from sorted(layer)
