"""The compiled core: what it offers to Python. Everything here is about ONE cache set.

Policies are named by their canonical names (``LRU``, ``FIFO``, ``tree-PLRU``, ``bit-PLRU``, ``LRU<g>PLRU4``);
an unknown name or a number of ways the policy is not defined at raises ``ValueError``. A policy state is a
list of numbers, the same as the Python twin in :mod:`l1dflush.cache.policies` uses.

A word is given as two lists of equal length: line ids (0 to 2**32 - 1) and kinds (0 access, 1 optional, 2
flush). ``max_states`` limits the states held in memory at the same time (default :data:`DEFAULT_MAX_STATES`);
beyond it :class:`StateSpaceTooLargeError` is raised, and :class:`OutOfTimeError` after ``max_seconds``.
All searches release the GIL and stop at Ctrl-C.

What a state is and why the searches are exact: ``core/prover/state.hpp`` and ``docs/theory.md``.
"""

from collections.abc import Sequence

MAX_WAYS: int
DEFAULT_MAX_STATES: int

class StateSpaceTooLargeError(RuntimeError):
    """More than ``max_states`` states; nothing may be concluded."""

class OutOfTimeError(RuntimeError):
    """More than ``max_seconds``; nothing may be concluded."""

def decide(
    policy: str,
    ways: int,
    lines: Sequence[int],
    kinds: Sequence[int],
    max_states: int | None = None,
    max_seconds: float | None = None,
    *,
    absolute: bool = False,
    merge_repeats: bool = True,
) -> tuple[list[int], int]:
    """The most old lines left after 0, 1, 2, ... items, up to and with the first 0; and the states kept.

    ``absolute`` keeps the policy state as it is instead of seeing the set relative to it,
    ``merge_repeats=False`` plays repeats that change nothing; both are slower and there for comparison.
    """

def distinct(
    policy: str, ways: int, limit: int | None = None, max_states: int | None = None, *, absolute: bool = False
) -> tuple[list[int], bool, bool, int]:
    """The same curve for pairwise different accesses.

    Returns the curve, whether it ended in 0, whether it never will (the search has come round in a circle),
    and the states kept. At most ``limit`` accesses are made.
    """

def witness(
    policy: str,
    ways: int,
    lines: Sequence[int],
    kinds: Sequence[int],
    max_states: int | None = None,
    max_seconds: float | None = None,
    *,
    absolute: bool = False,
    smallest: bool = True,
) -> tuple[list[int], list[int], list[tuple[int, int]]] | None:
    """A start from which an old line is left, or ``None`` if there is none.

    Returns the policy state; for each way the index of the first item of the line in it, or -1 for an old
    line; and for each item what happens (0 miss, 1 hit, 2 dropped, 3 flushed, 4 not cached) and in which way.
    ``smallest``: fewest lines of the word cached at the start, then fewest hits, then most left.
    """

def policy_empty(policy: str, ways: int) -> list[int]:
    """The state of a set in which nothing was ever cached."""

def policy_hit(policy: str, ways: int, state: Sequence[int], way: int) -> list[int]:
    """The state after an access that found its line in ``way``."""

def policy_fill(policy: str, ways: int, state: Sequence[int], way: int) -> list[int]:
    """The state after a miss put its line into ``way``."""

def policy_victim(policy: str, ways: int, state: Sequence[int]) -> int:
    """The way that the next miss in the full set replaces."""

def policy_position(policy: str, ways: int, state: Sequence[int], way: int) -> int:
    """Where ``way`` stands as seen from the policy's own pointers; ``ValueError`` for bit-PLRU, which has
    none.
    """

def policy_start_states(policy: str, ways: int, max_states: int | None = None) -> list[list[int]]:
    """Every state of a full set that was filled from empty."""
