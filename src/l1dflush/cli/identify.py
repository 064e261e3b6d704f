"""``l1dflush identify``: which replacement policy explains this machine's L1D."""

from __future__ import annotations

import typer

from l1dflush.cli import options
from l1dflush.cli.measure_options import OnCpu, Seed
from l1dflush.cli.output import Outcome, Page
from l1dflush.cli.progress import bar, progress

_EXAMPLES = """\b
Examples:
  l1dflush identify
  l1dflush identify --on-cpu 1 --json

Exit status: 0 one policy explains it, 1 error, 3 none does, or it cannot be measured here, 130 interrupted.
"""


def register(app: typer.Typer) -> None:
    """Adds the verb."""
    app.command("identify", epilog=_EXAMPLES, short_help="Tell which replacement policy this L1D has.")(identify)


def identify(
    *,
    on_cpu: OnCpu = None,
    seed: Seed = 1,
    cpu_folder: options.CpuFolder = None,
    json: options.Json = False,
    no_color: options.NoColor = False,
) -> Outcome:
    """Play random sequences of accesses on this machine's L1D, time them, and tell which replacement policy foretells
    their hits and misses. Needs no privileges and works in a virtual machine."""
    with progress("getting ready ..."):
        from l1dflush.host.measure.identify import ROUNDS  # noqa: PLC0415
        from l1dflush.host.measure.identify import identify as measure  # noqa: PLC0415
        from l1dflush.host.measure.results import identified  # noqa: PLC0415
        from l1dflush.host.measure.session import CONTROL_SET, silicon  # noqa: PLC0415
        from l1dflush.host.this_cpu import this_cpu  # noqa: PLC0415

        known = this_cpu(tuple(cpu_folder or ()))
    with silicon(on_cpu) as there:
        with bar("playing sequences", ROUNDS) as done:
            found = measure(there.region, there.geometry.ways, CONTROL_SET, seed, done)
        result = identified(there, found, known.title, known.policy, seed)
    if json:
        from l1dflush.report.json_report import json_text  # noqa: PLC0415

        return Outcome(result.exit_status, json_text(result))
    from l1dflush.report.identify import identify_lines  # noqa: PLC0415

    return Outcome(result.exit_status, Page(lambda width: identify_lines(result, width), no_color))
