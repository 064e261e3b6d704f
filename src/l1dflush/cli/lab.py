# SPDX-License-Identifier: GPL-2.0-or-later
"""``l1dflush lab``: a host, a guest and the flush between them, on a model machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from l1dflush.cli import options
from l1dflush.cli.command import argument, verb
from l1dflush.cli.output import Outcome, Page
from l1dflush.cli.progress import progress
from l1dflush.cli.values import CPU, SCENARIO, SUM_ROUTINE
from l1dflush.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_EXAMPLES = """\b
Examples:
  l1dflush lab                                the scenarios that are shipped
  l1dflush lab linux-2018
  l1dflush lab twelve-ways --cpu "Ice Lake"
  l1dflush lab my.toml --routine flush.s --json

Exit status: 0 played, 1 error, 3 a routine could not be followed, 130 interrupted.
"""


@verb("lab", epilog=_EXAMPLES)
@argument(
    "scenario",
    metavar="[SCENARIO]",
    required=False,
    type=SCENARIO,
    told="A scenario's name, or a file.  [default: list them]",
)
@click.option(
    "--routine",
    metavar="ROUTINE",
    multiple=True,
    type=SUM_ROUTINE,
    help="For the sum: a routine, 'planned' or 'msr'. Repeatable.",
)
@click.option("--cpu", metavar="NAME", multiple=True, type=CPU, help="For the sum: a CPU. Repeatable.")
@options.cpu_folder
@click.option("--alone", is_flag=True, help="Only what the scenario says, without the sum over all else.")
@options.json
@options.no_color
def lab(
    *,
    scenario: str | None,
    routine: Sequence[str],
    cpu: Sequence[str],
    cpu_folder: Sequence[Path],
    alone: bool,
    json: bool,
    no_color: bool,
) -> Outcome:
    """Play a scenario: what the host does between VM entries, the flush before each, and what a guest reads through
    L1TF. The sum is over modes, routines, CPUs, SMT and EPT."""
    from l1dflush.vmentry.lab.scenario import read_scenario, shipped

    if scenario is None:
        return _listed(shipped(), json, no_color)
    if alone and (routine or cpu):
        raise InputError("with --alone there is no sum that --routine and --cpu could be for", where="--alone")
    from l1dflush.vmentry.lab.runs import Lab, Over

    over = Over(tuple(routine), tuple(cpu), tuple(cpu_folder), matrix=not alone)
    result = Lab(read_scenario(scenario), over).result(progress)
    if json:
        return Outcome(result.exit_status, result.to_json())
    from l1dflush.report.terminal.lab import lab_lines

    return Outcome(result.exit_status, Page(lambda width: lab_lines(result, width), no_color))


def _listed(names: list[str], json: bool, no_color: bool) -> Outcome:
    from l1dflush import __version__
    from l1dflush.vmentry.lab.model import ScenarioEntry, ScenarioListResult
    from l1dflush.vmentry.lab.scenario import read_scenario

    entries = tuple(ScenarioEntry(name=name, title=read_scenario(name).file.title) for name in names)
    result = ScenarioListResult(tool_version=__version__, scenarios=entries)
    if json:
        return Outcome(0, result.to_json())
    from l1dflush.report.terminal.lab import scenario_lines

    return Outcome(0, Page(lambda width: scenario_lines(result, width), no_color))
