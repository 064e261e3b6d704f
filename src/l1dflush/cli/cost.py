# SPDX-License-Identifier: GPL-2.0-or-later
"""``l1dflush cost``: what flushes before VM entries cost a host, by a trace of its VM exits."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

import click

from l1dflush.cli import measure_options, options
from l1dflush.cli.command import argument, verb
from l1dflush.cli.files import write_whole
from l1dflush.cli.output import Outcome, Page
from l1dflush.cli.pictures import check_picture, picture_form
from l1dflush.cli.progress import bar, progress
from l1dflush.cli.values import FILE, POLICY, TEXT_FILE, OneOf, words
from l1dflush.errors import InputError, UndecidedError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from l1dflush.vmentry.cost.count import Counted
    from l1dflush.vmentry.cost.model import CostResult, FlushInfo

_STANDARD_INPUT = "-"
_EXAMPLES = """\b
Examples:
  perf record -a -e kvm:kvm_exit -e kvm:kvm_entry sleep 10
  perf script | l1dflush cost -
  l1dflush cost exits.txt.xz --flush-cost linux-2018=4200ns,planned=490ns
  l1dflush cost exits.csv --costs measured.json --plot cost.svg

Exit status: 0 answered, 1 error, 3 the costs cannot be measured here, 130 interrupted.
"""


class Unit(StrEnum):
    """What ``--time-unit`` takes."""

    S = "s"
    MS = "ms"
    US = "us"
    NS = "ns"


@verb("cost", epilog=_EXAMPLES)
@argument(
    "trace",
    metavar="TRACE",
    type=TEXT_FILE,
    told="Text of perf script or trace-cmd report with kvm:kvm_exit, or CSV (time,reason[,vcpu][,cpu]); gzip, xz and"
    " zstd are unpacked. - for standard input.",
)
@click.option(
    "--flush-cost",
    metavar="NAME=TIME",
    multiple=True,
    help="What a flush takes: linux-2018=4200ns,planned=490ns. Repeatable.",
)
@click.option("--costs", metavar="FILE", type=FILE, help="Take them from what 'measure --json' wrote.")
@click.option("--measure", is_flag=True, help="Measure them here. The default, if they are not given.")
@measure_options.on_cpu
@click.option(
    "--policy",
    metavar="NAME",
    type=POLICY,
    help="The policy that a planned flush is for.  [default: the catalogue's]",
    show_default=False,
)
@click.option(
    "--sensitive",
    metavar="REASON",
    multiple=True,
    help="Exits that always ask for a flush under cond. Repeatable.",
)
@click.option("--harmless", metavar="REASON", multiple=True, help="Exits that ask for none under cond. Repeatable.")
@click.option(
    "--time-unit", type=OneOf(lambda: words(Unit)), default=Unit.S.value, help="What the times in a CSV are in."
)
@click.option("--plot", metavar="FILE", type=FILE, help="Draw the time lost into a file, .svg or .png.")
@options.json
@options.no_color
def cost(
    *,
    trace: str,
    flush_cost: Sequence[str],
    costs: Path | None,
    measure: bool,
    on_cpu: int | None,
    policy: str | None,
    sensitive: Sequence[str],
    harmless: Sequence[str],
    time_unit: Unit,
    plot: Path | None,
    json: bool,
    no_color: bool,
) -> Outcome:
    """Count the flushes that a host does before VM entries under 'cond' and 'always', by exit reason, and the time that
    they take. What cond does after an exit is not always known from the exit: its figure is an interval."""
    if plot is not None:
        check_picture(plot)
    if trace != _STANDARD_INPUT:
        _check_readable(trace)
    from l1dflush.vmentry.cost.answer import costed
    from l1dflush.vmentry.cost.reasons import chosen_rules

    rules = chosen_rules(sensitive, harmless)
    flushes = _flushes(flush_cost, costs, measure, on_cpu, policy)
    counted = _counted(trace, time_unit.value)
    name = "standard input" if trace == _STANDARD_INPUT else Path(trace).name
    result = costed(name, counted, flushes, rules, [*sensitive, *harmless])
    if plot is not None:
        from l1dflush.report.picture.cost import cost_picture

        try:
            with progress("drawing ..."):
                write_whole(plot, cost_picture(result, picture_form(plot)))
        except InputError as error:
            # What was counted is shown all the same.
            return Outcome(1, _text(result, json, no_color), f"no picture: {error}")
    return Outcome(result.exit_status, _text(result, json, no_color))


def _text(result: CostResult, json: bool, no_color: bool) -> str | Page:
    if json:
        return result.to_json()
    from l1dflush.report.terminal.cost import cost_lines

    return Page(lambda width: cost_lines(result, width), no_color)


def _check_readable(path: str) -> None:
    """Raises InputError where the trace surely cannot be read, before anything is measured."""
    from l1dflush.vmentry.cost.stream import opened

    # A pipe has only one reader, and is not opened twice.
    try:
        if Path(path).exists() and not (Path(path).is_file() or Path(path).is_dir()):
            return
    except (OSError, ValueError):
        pass
    with opened(path):
        pass


def _flushes(
    given: Sequence[str], file: Path | None, measure: bool, on_cpu: int | None, policy: str | None
) -> list[FlushInfo]:
    """The costs, those that are given in place of measured ones of the same name, in the order in which they came."""
    from l1dflush.vmentry.cost import flushes as cost_flushes

    for option, there in (("--on-cpu", on_cpu is not None), ("--policy", policy is not None)):
        if there and (given or file) and not measure:
            raise InputError("nothing is measured", where=option, hint="add --measure")
    said = cost_flushes.given_costs(given) if given else {}
    found: dict[str, FlushInfo] = {}
    if measure or not (given or file):
        try:
            with bar("timing flushes", cost_flushes.ROUNDS) as done:
                found |= cost_flushes.measured_costs(on_cpu, policy, done)
        except UndecidedError as error:
            hint = "--flush-cost linux-2018=4200ns,... or --costs FILE give what flushes cost"
            raise error.but(hint=hint) from None
    if file is not None:
        found |= cost_flushes.costs_from_file(file)
    found |= said
    return list(found.values())


def _counted(trace: str, unit: str) -> Counted:
    from l1dflush.vmentry.cost.count import counted
    from l1dflush.vmentry.cost.stream import opened

    with opened(trace) as there:
        if there.size is None:
            with progress("reading the trace ..."):
                return counted(there, unit)
        with bar("reading the trace", there.size) as done:
            return counted(there, unit, done)
