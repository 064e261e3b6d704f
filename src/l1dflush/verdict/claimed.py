# SPDX-License-Identifier: GPL-2.0-or-later
"""The words of a routine in full, as a certificate has them: what the proof is about, without a proof.

Nothing is left out that makes no difference to some policy: the words depend on the routine and the cache alone.
"""

from __future__ import annotations

from collections.abc import Sequence

from l1dflush.cache.geometry import Geometry
from l1dflush.checking.model import Item
from l1dflush.document import Document
from l1dflush.errors import UndecidedError
from l1dflush.proof.words import SetWord, set_words
from l1dflush.routine.identity import digest
from l1dflush.routine.load import load
from l1dflush.verdict.options import VerifyOptions
from l1dflush.verdict.part import judged_part
from l1dflush.verdict.places import Places
from l1dflush.verdict.select import select
from l1dflush.verdict.set_words import KINDS
from l1dflush.verdict.walk import find_buffer, walk_of


class ClaimedWord(Document):
    """A word: its items, the lines that are not cached at the start, and how many sets have it at most."""

    items: tuple[Item, ...]
    cold: tuple[int, ...]
    sets: int


class ClaimedWords(Document):
    """The words of a routine for each cache that was asked about."""

    routine: str
    sha256: str
    caches: tuple[tuple[ClaimedWord, ...], ...]


def words_of(source: str | Sequence[str], options: VerifyOptions, geometries: Sequence[Geometry]) -> ClaimedWords:
    """All words of the paths that walk the buffer, for each geometry.

    Raises InputError and UndecidedError: also where a walk does something that is not in its words.
    """
    trace = select(load(source, options.load_options()), options)
    buffer = find_buffer(trace, options.bind.items())
    walking = tuple(path for path in trace.paths if buffer is not None and walk_of(path, buffer))
    if buffer is None or not walking:
        raise UndecidedError("no-software-walk", "no path reads a buffer, so that there are no words")
    parts = [judged_part(path, buffer, Places(trace.routine.image, buffer)) for path in walking]
    for part in parts:
        if part.more is not None:
            raise UndecidedError(part.more.cause, f"a certificate has words only, but {part.more.what}")
    # Paths that differ only in what they do before or after the walk are one.
    distinct = dict.fromkeys(tuple(part.events) for part in parts)
    caches = []
    for geometry in geometries:
        found: dict[tuple[tuple[Item, ...], tuple[int, ...]], int] = {}
        for events in distinct:
            for one in set_words(events, buffer.arenas, geometry, options.buffer_size, run=None):
                key = tuple((line, KINDS[kind]) for line, kind in one.word), _cold(one, options)
                found[key] = max(found.get(key, 0), one.sets)
        caches.append(tuple(ClaimedWord(items=items, cold=cold, sets=n) for (items, cold), n in found.items()))
    return ClaimedWords(routine=trace.routine.name, sha256=digest(trace.routine), caches=tuple(caches))


def _cold(word: SetWord, options: VerifyOptions) -> tuple[int, ...]:
    """The lines that are certainly not cached at the start."""
    if not options.conditions.start.cold:
        return ()
    return tuple(sorted({line for line, _ in word.word} - word.own))
