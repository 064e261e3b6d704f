# SPDX-License-Identifier: GPL-2.0-or-later
"""That two names of variables are two places, where that was used.

No file says where an outside symbol lies, and it may be another name of a variable that has one here or elsewhere (a
linker script's ``jiffies = jiffies_64``). It is taken for a place of its own, so that a store by one name leaves alone
what was read or written by another: where a routine relies on that it is told by these names.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from l1dflush.assumption import Assumes, Assumption
from l1dflush.tracing.events import Events
from l1dflush.tracing.linkers_choice import is_linkers
from l1dflush.tracing.model import STORES, TOUCHES, Arena, ArenaKind, Kind, Path

_MOST_TOLD = 6


def relied_on(paths: Iterable[Path]) -> list[Assumption]:
    """What is taken for granted: of each two names, or of all of them where they are many."""
    pairs: dict[tuple[str, str], None] = {}
    seen: set[tuple[tuple[Kind, str, bool], ...]] = set()
    for path in paths:
        order = tuple(_accesses(path))
        if order not in seen:
            seen.add(order)
            pairs |= dict.fromkeys(_pairs(order))
    if len(pairs) > _MOST_TOLD:
        return [Assumption(Assumes.DIFFERENT_PLACES, tuple(sorted({name for pair in pairs for name in pair})))]
    return [Assumption(Assumes.TWO_PLACES, pair) for pair in sorted(pairs)]


def _accesses(path: Path) -> Iterator[tuple[Kind, str, bool]]:
    """The accesses to variables in order: what each is, the variable's name, and whether it is an outside one. What a
    loop does is there twice."""
    for piece in (*Events.of(path.before).pieces, *Events.of(path.events).pieces):
        turn = [
            (event.kind, _name(event.arena), event.arena.kind is ArenaKind.SYMBOL)
            for event in piece.events
            if event.arena is not None and event.kind in TOUCHES and _is_variable(event.arena)
        ]
        yield from turn * min(piece.turns, 2)


def _name(arena: Arena) -> str:
    return f"`{arena.region}`" if arena.kind is ArenaKind.SYMBOL else str(arena.region)


def _is_variable(arena: Arena) -> bool:
    if arena.kind is ArenaKind.SYMBOL:
        return not is_linkers(arena.key.removeprefix("external:"))
    return arena.kind is ArenaKind.SECTION


def _pairs(order: Iterable[tuple[Kind, str, bool]]) -> Iterator[tuple[str, str]]:
    """The names of which one was accessed, then the other one written, and then the first one read."""
    outside: dict[str, bool] = {}
    # By the name of what was accessed: what was written since.
    written: dict[str, set[str]] = {}
    for kind, name, is_outside in order:
        if kind not in STORES:
            for other in written.get(name, ()):
                if is_outside or outside[other]:
                    yield min(name, other), max(name, other)
        else:
            for other, since in written.items():
                if other != name:
                    since.add(name)
        outside[name] = is_outside
        written.setdefault(name, set())
