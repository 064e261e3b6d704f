# SPDX-License-Identifier: GPL-2.0-or-later
"""C source: functions with inline assembly, or plain loops, become routines.

What is given need not compile by itself. A function that may be a flush is cut out together with what it
needs of the text, put behind a prelude of usual names, and compiled by the system's compiler; the machine
code is what the rest works on. What only the source shows goes along as notes.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from l1dflush.arguments import FUNCTION
from l1dflush.errors import InputError
from l1dflush.place import Place
from l1dflush.routine.c.compiling import compile_function, not_compiled
from l1dflush.routine.c.text import Item, blank_opaque, cut
from l1dflush.routine.c.unit import CIndex
from l1dflush.routine.elf.symbol_table import speaks_of_flush
from l1dflush.routine.model import LeftOut, LeftOutKind, NoteKind, Origin, OriginKind, Routine, SourceNote
from l1dflush.routine.options import LoadOptions
from l1dflush.routine.toolchain import TooMuchError

# Each costs two runs of the compiler.
_MAX_TRIED = 16
_PATIENCE = 20.0  # seconds
_MAX_RANKED = 2000
_CALL_DEPTH = 4
# A loop of plain C reads only with one of these: a compiler drops what nobody uses.
_READS = re.compile(r"\bvolatile\b|\bREAD_ONCE\b|\bACCESS_ONCE\b|\breadb\b|\basm\b")
_LOOKED_AT = 1 << 20


@dataclass(frozen=True, slots=True)
class Candidate:
    """A function that may be a flush. ``rank``: 2 with an asm statement, 1 with a loop, 0 with neither, the
    functions it calls included. ``named``: its name speaks of a flush, or the user asked for it."""

    function: Item
    rank: int
    named: bool


def looks_like_c(text: str) -> bool:
    """Whether ``text`` holds the definition of a C function."""
    if "{" not in text or "\0" in text:
        return False
    return next(cut(text[:_LOOKED_AT], where="").functions, None) is not None


def load_c(source: str, text: str, options: LoadOptions) -> list[Routine]:
    """The routines of the C text that the user knows as ``source``: the function ``options.function``, or
    those that may be a flush, in the order of the text.

    Raises :class:`InputError`: nothing that could be a flush; names that the text does not define, all of
    them; the compiler's first error, at the user's line; no compiler.
    """
    file = "<stdin>" if source == "-" else source
    try:
        index = CIndex.of(cut(text.replace("\r\n", "\n"), where=file), file)
        candidates = find_candidates(index, list(index.text.functions), options.function)
        context = blank_opaque(index.text.text)
        return compile_candidates(index, candidates, options, Origin(OriginKind.C, source), context)
    except RecursionError:
        raise InputError("nested too deeply", where=file) from None


def find_candidates(index: CIndex, functions: list[Item], wanted: str | None) -> list[Candidate]:
    """Those of ``functions`` that may be a flush, or the one called ``wanted``.

    Names that speak of a flush come first: of these the ones with a loop or an asm statement, else all.
    Without such names, all functions with a loop or an asm statement, else all. Raises :class:`InputError`
    when there is none, or none called ``wanted``.
    """
    by_name = {item.name: item for item in reversed(functions)}
    if wanted is not None:
        if wanted not in by_name:
            names = ", ".join(sorted(by_name)[:20])
            hint = f"the functions here: {names}" if names else "no function is defined here"
            raise InputError(f"no function '{wanted}'", where=index.source, hint=hint)
        return [Candidate(by_name[wanted], _rank(index, by_name[wanted]), named=True)]
    if not by_name:
        raise InputError("no C function is defined here", where=index.source)
    items = sorted(by_name.values(), key=lambda item: item.start)
    named = [item for item in items if speaks_of_flush(item.name)]
    ranked = [Candidate(item, _rank(index, item), named=bool(named)) for item in (named or items)[:_MAX_RANKED]]
    return [candidate for candidate in ranked if candidate.rank] or ranked


def _rank(index: CIndex, function: Item) -> int:
    """See :class:`Candidate`."""
    best = 0
    todo = [(function, 0)]
    seen: set[str] = set()
    while todo and best < 2:
        item, depth = todo.pop()
        if item.name in seen:
            continue
        seen.add(item.name)
        facts = index.facts(item)
        best = max(best, 2 if facts.asm else 1 if facts.loops else 0)
        if depth < _CALL_DEPTH:
            todo += ((called, depth + 1) for name in facts.calls for called in index.by_name.get(name, ()))
    return best


def compile_candidates(
    index: CIndex, candidates: list[Candidate], options: LoadOptions, origin: Origin, context: str
) -> list[Routine]:
    """The routines of those ``candidates`` that compile; ``context`` is the blanked text that shows what
    happens to the buffer.

    Raises the first :class:`InputError` of the likeliest candidates if none of them compiles: that a less
    likely one does would only hide what is missing. Each routine has a list of the candidates that are none.
    """
    routines: list[Routine] = []
    reached = -1
    failures: list[tuple[Candidate, InputError]] = []
    started = time.monotonic()
    tried = _worth_trying(candidates)
    for candidate in tried:
        try:
            routines.append(compile_function(index, candidate.function, options, origin, context))
            reached = max(reached, candidate.rank)
        except InputError as error:
            failures.append((candidate, error))
            if isinstance(error, TooMuchError) or time.monotonic() - started > _PATIENCE:
                raise
    best = max((candidate.rank for candidate, _ in failures), default=-1)
    if best > reached:
        raise next(error for candidate, error in failures if candidate.rank == best)
    missing = [
        *not_compiled(index, {candidate.function.name: error for candidate, error in failures}),
        *_not_tried(index, [candidate for candidate in candidates if candidate not in tried]),
    ]
    doubts = () if options.function is not None else tuple(_doubts(index, failures, routines))
    return [
        replace(routine, left_out=(*routine.left_out, *missing), notes=(*routine.notes, *doubts))
        for routine in routines
    ]


def _doubts(
    index: CIndex, failures: Sequence[tuple[Candidate, InputError]], routines: Sequence[Routine]
) -> Iterator[SourceNote]:
    """What looks like a walk by itself, is called like a flush as much as those that compile, and does not compile."""
    known = {routine.name for routine in routines}
    for candidate, error in failures:
        function, facts = candidate.function, index.facts(candidate.function)
        reads = _READS.search(index.text.code, function.body, function.end) is not None
        walks = bool(facts.asm) or (facts.loops and reads)
        as_much = max((_likeness(name) for name in known), default=0) <= _likeness(function.name)
        if walks and as_much and not facts.calls & known:
            text = f"{function.name} may be the flush as well, and does not compile: {error.what}"
            yield SourceNote(NoteKind.ANOTHER_WALK_UNDECIDED, text, error.place)


def _likeness(name: str) -> int:
    """How much a name is that of a flush of the L1D."""
    return 2 if "l1d" in name.lower() or "l1tf" in name.lower() else 1 if speaks_of_flush(name) else 0


def _not_tried(index: CIndex, candidates: Sequence[Candidate]) -> Iterator[LeftOut]:
    for candidate in candidates:
        name, line = candidate.function.name, index.text.line(candidate.function.start)
        reason = f"not looked at: {_MAX_TRIED} others are as likely a flush ({FUNCTION.given(name)} takes it)"
        yield LeftOut(LeftOutKind.FUNCTION, name, (), reason, Place(index.source, line))


def _worth_trying(candidates: Sequence[Candidate]) -> list[Candidate]:
    """The likeliest candidates, in the order of the text."""
    likeliest = sorted(candidates, key=lambda candidate: -candidate.rank)[:_MAX_TRIED]
    return [candidate for candidate in candidates if candidate in likeliest]
