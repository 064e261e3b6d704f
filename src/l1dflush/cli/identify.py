# SPDX-License-Identifier: GPL-2.0-or-later
"""``l1dflush identify``: which replacement policy explains this machine's L1D."""

from __future__ import annotations

from typing import TYPE_CHECKING

from l1dflush.cli import measure_options, options
from l1dflush.cli.command import verb
from l1dflush.cli.output import Outcome, Page
from l1dflush.cli.progress import bar, progress

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_EXAMPLES = """\b
Examples:
  l1dflush identify
  l1dflush identify --on-cpu 1 --json

Exit status: 0 one policy explains it, 1 error, 3 none does, or it cannot be measured here, 130 interrupted.
"""


@verb("identify", epilog=_EXAMPLES)
@measure_options.on_cpu
@measure_options.seed
@options.cpu_folder
@options.json
@options.no_color
def identify(*, on_cpu: int | None, seed: int, cpu_folder: Sequence[Path], json: bool, no_color: bool) -> Outcome:
    """Play random sequences of accesses on this machine's L1D, time them, and tell which replacement policy foretells
    their hits and misses. Needs no privileges and works in a virtual machine."""
    with progress("getting ready ..."):
        from l1dflush.host.this_cpu import this_cpu
        from l1dflush.silicon.measure.identify import ROUNDS
        from l1dflush.silicon.measure.identify import identify as measure
        from l1dflush.silicon.measure.results import identified
        from l1dflush.silicon.measure.session import CONTROL_SET, silicon

        known = this_cpu(tuple(cpu_folder))
    with silicon(on_cpu) as there:
        with bar("playing sequences", ROUNDS) as done:
            found = measure(there.region, there.geometry.ways, CONTROL_SET, seed, done)
        result = identified(there, found, known.title, known.policy, seed)
    if json:
        return Outcome(result.exit_status, result.to_json())
    from l1dflush.report.terminal.identify import identify_lines

    return Outcome(result.exit_status, Page(lambda width: identify_lines(result, width), no_color))
