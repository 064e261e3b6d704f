# SPDX-License-Identifier: GPL-2.0-or-later
"""A cache that is run: addresses in, hits and contents out.

A simulation answers "what happens in this run, from an empty cache?"; a proof (:mod:`l1dflush.proof`) answers
"what can happen from any start?". The work is done by the compiled core (``core/simulate``), at about the cost
of reading the addresses from memory. What is modelled and what is not: ``docs/simulator.md``.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from l1dflush import _core
from l1dflush.arguments import GEOMETRY, POLICY, Argument, about, in_python, read, text, whole
from l1dflush.cache.core_policy import core_policy
from l1dflush.cache.geometry import Geometry
from l1dflush.cache.policies import Policy, State, get_policy
from l1dflush.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Addresses = Sequence[int] | NDArray[np.integer[Any]]

_ADDRESSES = Argument("addresses")
_SEED = Argument("seed")
MAX_SETS = 1 << 20


@dataclass(frozen=True, slots=True, eq=False)
class Hits:
    """What came of some accesses.

    ``accesses`` and ``hits`` are counts. ``each`` has one entry per access, true for a hit, if it was asked for.
    """

    accesses: int
    hits: int
    each: NDArray[np.bool_] | None = None

    @property
    def misses(self) -> int:
        """How many accesses did not find their line."""
        return self.accesses - self.hits


class Simulator:
    """One cache, empty at first. It keeps its contents and policy states from call to call.

    ``policy`` is any name that :func:`~l1dflush.cache.policies.canonical_name` knows, or a policy, such as a machine
    that was learned; ``geometry`` may be a text, ``"32K,8,64"`` (size, ways, line). A policy that decides by
    chance draws from SplitMix64, started at ``seed`` (0 to 2**64 - 1), one number for each miss that has a choice:
    the same seed and the same calls give the same run, on every machine. A policy that is not deterministic
    without naming chances is refused.

    Raises :class:`~l1dflush.errors.InputError` for an unknown policy, one that does not fit the geometry or cannot
    be simulated, more than 2**20 sets, or a seed out of range.

    >>> cache = Simulator("LRU", "512,8,64")
    >>> cache.access(range(0, 1024, 64)).misses, cache.access([512, 0]).hits
    (16, 1)
    """

    @in_python()
    def __init__(self, policy: str | Policy, geometry: str | Geometry, *, seed: int = 0) -> None:
        whole(_SEED, seed, 0, (1 << 64) - 1)
        if not isinstance(geometry, Geometry):
            geometry = read(GEOMETRY, Geometry.parse, geometry)
        if geometry.sets > MAX_SETS:
            raise InputError(f"a cache of {geometry.sets} sets", hint=f"up to {MAX_SETS} can be simulated")
        with about(POLICY):
            twin = get_policy(text(POLICY, policy), geometry.ways) if isinstance(policy, str) else policy
        if twin.ways != geometry.ways:
            raise POLICY.refused(f"{twin.name} has {twin.ways} ways, and the cache {geometry.ways}")
        self.policy = twin.name
        self.geometry = geometry
        try:
            self._core = _core.Simulator(core_policy(twin), geometry.ways, geometry.sets, geometry.line, seed=seed)
        except ValueError as error:
            raise InputError(str(error), where=self.policy) from None

    @in_python()
    def access(self, addresses: Addresses, *, each: bool = False) -> Hits:
        """Loads from ``addresses`` (bytes, in this order), each from one line. ``each``: also which of them hit.

        Any sequence or array of whole numbers from 0 up to 2**64; anything else raises InputError. An array of
        ``uint64`` that is contiguous is read in place, others are copied. Other threads run meanwhile; RuntimeError if
        one of them uses this simulator. After Ctrl-C the accesses up to some point have happened; ``reset()`` starts
        again.
        """
        found = _as_array(addresses)
        hit = np.empty(found.shape, dtype=np.bool_) if each else None
        return Hits(len(found), self._core.access(found, hit), hit)

    @property
    def contents(self) -> NDArray[np.int64]:
        """What is cached now: for each set (row) and way (column) the line number, which is address // line size,
        or -1 where the way is invalid. A copy.
        """
        out = np.empty((self.geometry.sets, self.geometry.ways), dtype=np.int64)
        self._core.contents(out)
        return out

    def state(self, set_index: int) -> State:
        """The policy state of a set, as its twin in :mod:`l1dflush.cache.policies` writes it. IndexError if there is
        no such set.
        """
        if not 0 <= set_index < self.geometry.sets:
            raise IndexError(f"set {set_index} of {self.geometry.sets}")
        return tuple(self._core.state(set_index))

    def holds(self, address: int) -> bool:
        """Whether the line of ``address`` is cached. Changes nothing."""
        return self._core.holds(address)

    def flush_line(self, address: int) -> bool:
        """Makes the way that holds the line of ``address`` invalid, as ``clflush`` does; the policy state stays.
        Returns whether there was one.
        """
        return self._core.flush_line(address)

    def flush_all(self) -> None:
        """Makes every way invalid; the policy states stay."""
        self._core.flush_all()

    def reset(self) -> None:
        """Back to the start: empty, policy states and random numbers included."""
        self._core.reset()


def _as_array(addresses: Addresses) -> NDArray[np.uint64]:
    try:
        if isinstance(addresses, np.ndarray | array | range):
            found = np.asarray(addresses)
        else:
            found = np.array([_address(one) for one in addresses], dtype=np.uint64)
    except (TypeError, OverflowError):
        raise _ADDRESSES.refused("these are not whole numbers from 0 up to 2**64") from None
    if found.ndim != 1:
        raise _ADDRESSES.refused(f"they have {found.ndim} dimensions", "a sequence of numbers")
    if found.dtype.kind not in "iu":
        raise _ADDRESSES.refused(f"these are {found.dtype}, not whole numbers")
    if found.dtype.kind == "i" and found.size and found.min() < 0:
        raise _ADDRESSES.refused(f"{found.min()} is negative")
    return np.require(found, dtype=np.uint64, requirements=("C", "A"))


def _address(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise _ADDRESSES.refused(f"{value!r:.40} is not a whole number")
    if not 0 <= value < 1 << 64:
        raise _ADDRESSES.refused(f"{value} is {'negative' if value < 0 else 'not below 2**64'}")
    return int(value)
