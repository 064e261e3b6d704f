"""From a routine to its trace: every path, within a budget."""

from __future__ import annotations

import time

from l1dflush.routine.model import Routine
from l1dflush.trace.decode import decoder_of
from l1dflush.trace.extent import with_extent
from l1dflush.trace.kernel_sites import feature_name
from l1dflush.trace.loops import IrregularLoopError
from l1dflush.trace.model import Path, Trace
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
    return Trace(with_extent(routine, ran, paths), tuple(paths), tuple(undefined_used), tuple(assumptions), stubs)
