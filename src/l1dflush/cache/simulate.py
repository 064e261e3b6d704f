"""A cache that is run: addresses in, hits and contents out.

A simulation answers "what happens in this run, from an empty cache?"; a proof (:mod:`l1dflush.proof`) answers
"what can happen from any start?". The work is done by the compiled core (``core/simulate``), at about the cost
of reading the addresses from memory. What is modelled and what is not: ``docs/simulator.md``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from l1dflush import _core
from l1dflush.cache.policies import State, canonical_name
from l1dflush.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from l1dflush.cache.geometry import Geometry

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

    ``policy`` is any name that :func:`~l1dflush.cache.policies.canonical_name` knows. A policy that decides by
    chance draws from SplitMix64, started at ``seed`` (0 to 2**64 - 1), one number for each miss that has a choice:
    the same seed and the same calls give the same run, on every machine. A policy that is not deterministic
    without naming chances is refused.

    Raises :class:`~l1dflush.errors.InputError` for an unknown policy, one that does not fit the geometry or cannot
    be simulated, more than 2**20 sets, or a seed out of range.
    """

    def __init__(self, policy: str, geometry: Geometry, *, seed: int = 0) -> None:
        if not 0 <= seed < 1 << 64:
            raise InputError(f"a seed of {seed}", hint="0 to 2**64 - 1")
        if geometry.sets > MAX_SETS:
            raise InputError(f"a cache of {geometry.sets} sets", hint=f"up to {MAX_SETS} can be simulated")
        self.policy = canonical_name(policy)
        self.geometry = geometry
        try:
            self._core = _core.Simulator(self.policy, geometry.ways, geometry.sets, geometry.line, seed=seed)
        except ValueError as error:
            raise InputError(str(error), where=self.policy) from None

    def access(self, addresses: NDArray[np.uint64], *, each: bool = False) -> Hits:
        """Loads from ``addresses`` (bytes, in this order), each from one line. ``each``: also which of them hit.

        The array is read in place: one dimension, ``uint64``, contiguous; anything else raises TypeError (another
        type) or ValueError (another layout). Other threads run meanwhile; RuntimeError if one of them uses this
        simulator. After Ctrl-C the accesses up to some point have happened; ``reset()`` starts again.
        """
        _check(addresses)
        hit = np.empty(addresses.shape, dtype=np.bool_) if each else None
        return Hits(len(addresses), self._core.access(addresses, hit), hit)

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


def _check(addresses: Any) -> None:
    """Says in words what the core would refuse with a list of overloads."""
    if not isinstance(addresses, np.ndarray):
        raise TypeError(f"addresses are a NumPy array of uint64, not {type(addresses).__name__}")
    if addresses.dtype != np.uint64:
        raise TypeError(f"addresses are a NumPy array of uint64, not of {addresses.dtype}")
    if addresses.ndim != 1:
        raise ValueError(f"addresses have one dimension, not {addresses.ndim}")
    if not (addresses.flags.c_contiguous and addresses.flags.aligned):
        raise ValueError("addresses are contiguous and aligned (numpy.ascontiguousarray makes a copy that is)")
