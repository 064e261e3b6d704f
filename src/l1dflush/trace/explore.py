"""From a routine to its trace: every path, within a budget."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import replace

from l1dflush.routine.model import Image, Routine
from l1dflush.trace.decode import decoder_of
from l1dflush.trace.kernel_sites import feature_name
from l1dflush.trace.loops import IrregularLoopError
from l1dflush.trace.model import ArenaKind, Kind, Path, Trace
from l1dflush.trace.options import TraceOptions
from l1dflush.trace.path import PathRun, too_many_paths


def trace(routine: Routine, options: TraceOptions | None = None) -> Trace:
    """Runs ``routine`` on the emulated CPU along every path; deterministic.

    A path is run from the beginning each time: its decisions are a script, and each decision that a run
    makes beyond its script leaves the other outcome to be run later.

    Raises UndecidedError for what cannot be followed (an instruction nobody classified, a jump into nowhere,
    a loop that does not end within the budget, more than ``max_paths`` paths), InputError for a ``bind`` that
    names nothing.
    """
    options = options or TraceOptions()
    deadline = time.monotonic() + options.max_seconds
    decoder = decoder_of(routine.image.bits)
    irregular: set[int] = set()
    paths: list[Path] = []
    undefined_used: dict[str, None] = {}
    assumptions: dict[str, None] = {}
    stubs: dict[str, str] = {}
    as_shipped: dict[int, None] = {}
    ran: dict[tuple[int, int], None] = {}
    scripts: list[tuple[bool, ...]] = [()]
    while scripts:
        script = scripts.pop()
        run = PathRun(routine, options, decoder, script, irregular, deadline)
        try:
            path = run.run()
        except IrregularLoopError as loop:
            irregular.add(loop.head)
            scripts.append(script)
            continue
        finally:
            run.state.machine.close()
        paths.append(path)
        undefined_used.update(run.state.undefined_used)
        assumptions.update(run.state.memory.assumptions)
        stubs.update(run.stubs)
        ran.update(dict.fromkeys(run.ran))
        as_shipped.update(run.as_shipped)
        scripts.extend((*run.outcomes[:i], True) for i in range(len(run.outcomes) - 1, len(script) - 1, -1))
        if len(paths) + len(scripts) > options.max_paths:
            last = path.decisions[-1]
            raise too_many_paths(options.max_paths, last.sources, last.pc, run.state.pointers)
    if as_shipped:
        names = ", ".join(feature_name(feature).removeprefix("CPU feature ") for feature in sorted(as_shipped))
        assumptions.setdefault(f"code is as shipped, whatever a kernel patches into it for CPU features {names}")
    code = _pieces(ran)
    routine = replace(routine, end=_end(routine, code), used=(*code, *_pieces(_reads(routine.image, paths))))
    return Trace(routine, tuple(paths), tuple(undefined_used), tuple(assumptions), stubs)


def _reads(image: Image, paths: Iterable[Path]) -> Iterable[tuple[int, int]]:
    """What of the sections of ``image`` the paths read: address to end of each read, in order, once."""
    bases = {f"section:{section.address:x}": section.address for section in image.sections}
    loads = (event for path in paths for event in path.events if event.kind is Kind.LOAD)
    found = dict.fromkeys(
        (event.arena.key, event.offset, event.size)
        for event in loads
        if event.arena is not None and event.arena.kind is ArenaKind.SECTION
    )
    return ((bases[key] + offset, bases[key] + offset + size) for key, offset, size in found)


def _pieces(intervals: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """``intervals``, from start to end, where they touch made one; in the order in which each was first come to."""
    order = {interval: number for number, interval in enumerate(intervals)}
    pieces: list[tuple[int, int, int]] = []
    for (start, end), number in sorted(order.items()):
        if pieces and start <= pieces[-1][1]:
            first, last, before = pieces.pop()
            pieces.append((first, max(last, end), min(before, number)))
        else:
            pieces.append((start, end, number))
    return [(start, end) for start, end, _ in sorted(pieces, key=lambda piece: piece[2])]


def _end(routine: Routine, code: Iterable[tuple[int, int]]) -> int | None:
    """The end of ``routine``, or, where its symbol's size is too small, of the ``code`` that was run behind it."""
    end = routine.end
    if end is None:
        return None
    symbols = routine.image.symbols.values()
    limit = min((s.address for s in symbols if s.function and s.defined and s.address >= end), default=None)
    behind = max((last for start, last in code if start <= end < last), default=end)
    return behind if limit is None else min(behind, limit)
