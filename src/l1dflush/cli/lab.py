"""``l1dflush lab``: a host, a guest and the flush between them, on a model machine."""

from __future__ import annotations

from typing import Annotated

import typer

from l1dflush.cli import options
from l1dflush.cli.output import Outcome, Page
from l1dflush.cli.progress import progress
from l1dflush.errors import InputError

_EXAMPLES = """\b
Examples:
  l1dflush lab                                the scenarios that are shipped
  l1dflush lab seed-story
  l1dflush lab twelve-ways --cpu "Ice Lake"
  l1dflush lab my.toml --routine flush.s --json

Exit status: 0 played, 1 error, 3 a routine could not be followed, 130 interrupted.
"""


def register(app: typer.Typer) -> None:
    """Adds the verb."""
    app.command("lab", epilog=_EXAMPLES, short_help="Play what a guest reads, on a model machine.")(lab)


def lab(
    scenario: Annotated[
        str | None,
        typer.Argument(metavar="SCENARIO", help="A scenario's name, or a file.  [default: list them]",
                       show_default=False),
    ] = None,
    *,
    routine: Annotated[
        list[str] | None,
        typer.Option("--routine", metavar="ROUTINE", help="For the sum: a routine, 'planned' or 'msr'. Repeatable."),
    ] = None,
    cpu: Annotated[
        list[str] | None, typer.Option("--cpu", metavar="NAME", help="For the sum: a CPU. Repeatable.")
    ] = None,
    cpu_folder: options.CpuFolder = None,
    alone: Annotated[
        bool, typer.Option("--alone", help="Only what the scenario says, without the sum over all else.")
    ] = False,
    json: options.Json = False,
    no_color: options.NoColor = False,
) -> Outcome:  # fmt: skip
    """Play a scenario: what the host does between VM entries, the flush before each, and what a guest reads through
    L1TF. The sum is over modes, routines, CPUs, SMT and EPT."""
    from l1dflush.vmentry.lab.scenario import read_scenario, shipped  # noqa: PLC0415

    if scenario is None:
        return _listed(shipped(), json, no_color)
    if alone and (routine or cpu):
        raise InputError("with --alone there is no sum that --routine and --cpu could be for", where="--alone")
    from l1dflush.vmentry.lab.runs import Lab, Over  # noqa: PLC0415

    over = Over(tuple(routine or ()), tuple(cpu or ()), tuple(cpu_folder or ()), matrix=not alone)
    result = Lab(read_scenario(scenario), over).result(progress)
    if json:
        from l1dflush.report.json_report import json_text  # noqa: PLC0415

        return Outcome(result.exit_status, json_text(result))
    from l1dflush.report.lab import lab_lines  # noqa: PLC0415

    return Outcome(result.exit_status, Page(lambda width: lab_lines(result, width), no_color))


def _listed(names: list[str], json: bool, no_color: bool) -> Outcome:
    from l1dflush import __version__  # noqa: PLC0415
    from l1dflush.vmentry.lab.model import ScenarioEntry, ScenarioListResult  # noqa: PLC0415
    from l1dflush.vmentry.lab.scenario import read_scenario  # noqa: PLC0415

    entries = tuple(ScenarioEntry(name=name, title=read_scenario(name).file.title) for name in names)
    result = ScenarioListResult(tool_version=__version__, scenarios=entries)
    if json:
        from l1dflush.report.json_report import json_text  # noqa: PLC0415

        return Outcome(0, json_text(result))
    from l1dflush.report.lab import scenario_lines  # noqa: PLC0415

    return Outcome(0, Page(lambda width: scenario_lines(result, width), no_color))
