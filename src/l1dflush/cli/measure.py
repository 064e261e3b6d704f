# SPDX-License-Identifier: GPL-2.0-or-later
"""``l1dflush measure``: what survives a flush on this machine, and what a flush costs."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

import click

from l1dflush.cli import measure_options, options
from l1dflush.cli.command import verb
from l1dflush.cli.files import write_whole
from l1dflush.cli.output import Outcome, Page
from l1dflush.cli.pictures import check_picture, picture_form
from l1dflush.cli.progress import bar, progress
from l1dflush.cli.values import FILE, POLICY, OneOf, words
from l1dflush.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from l1dflush.silicon.measure.costs import Costs
    from l1dflush.silicon.measure.model import MeasureResult
    from l1dflush.silicon.measure.session import Silicon
    from l1dflush.silicon.measure.survivors import Survivors

_PAGE = 4096
_SEED_PAGES = 16
# Beyond the planned flush and Linux's, to see that nothing comes back.
_FURTHER_PAGES = 4
_MOST_PAGES = 48
_INTERRUPTED = "interrupted"
_EXAMPLES = """\b
Examples:
  l1dflush measure                              survivors and costs
  l1dflush measure --what costs --json
  l1dflush measure --policy tree-PLRU --plot survivors.svg

Exit status: 0 measured, 1 error, 3 it cannot be measured here, 130 interrupted.
"""


class What(StrEnum):
    """What ``--what`` takes."""

    ALL = "all"
    SURVIVORS = "survivors"
    COSTS = "costs"


@verb("measure", epilog=_EXAMPLES)
@click.option("--what", type=OneOf(lambda: words(What)), default=What.ALL.value, help="What is measured.")
@click.option(
    "--policy",
    metavar="NAME",
    type=POLICY,
    help="The policy to compare with.  [default: the catalogue's]",
    show_default=False,
)
@measure_options.on_cpu
@measure_options.seed
@options.cpu_folder
@click.option("--plot", metavar="FILE", type=FILE, help="Draw the survivors into a file, .svg or .png.")
@options.json
@options.no_color
def measure(
    *,
    what: What,
    policy: str | None,
    on_cpu: int | None,
    seed: int,
    cpu_folder: Sequence[Path],
    plot: Path | None,
    json: bool,
    no_color: bool,
) -> Outcome:
    """Measure, by the time that loads take, how many old lines survive a flush of 0, 4, 8, ... KiB on this machine,
    beside what policies predict, and what each flush costs. Needs no privileges and works in a virtual machine. It
    proves nothing: 'verify' does."""
    if plot is not None:
        if what is What.COSTS:
            raise InputError("there are no survivors to draw", where="--plot", hint="leave out --what costs")
        check_picture(plot)
    from l1dflush.host.this_cpu import this_cpu

    known = this_cpu(tuple(cpu_folder))
    asked = _policy(policy, known.geometry.ways) if policy else known.policy
    with progress("getting ready ..."):
        from l1dflush.silicon.measure.planned import planned_bytes
        from l1dflush.silicon.measure.session import silicon

        planned = None if asked is None else planned_bytes(asked, known.geometry)

    with silicon(on_cpu) as there:
        result = _measured(there, what, asked, planned, seed, known.title)
    message = _INTERRUPTED if result.interrupted else ""
    if plot is not None and result.survivors:
        from l1dflush.report.picture.measured import survivors_picture

        try:
            with progress("drawing ..."):
                write_whole(plot, survivors_picture(result, picture_form(plot)))
        except InputError as error:
            # What was measured is shown all the same.
            return Outcome(result.exit_status or 1, _text(result, json, no_color), f"no picture: {error}")
    return Outcome(result.exit_status, _text(result, json, no_color), message)


def _text(result: MeasureResult, json: bool, no_color: bool) -> str | Page:
    if json:
        return result.to_json()
    from l1dflush.report.terminal.measure import measure_lines

    return Page(lambda width: measure_lines(result, width), no_color)


def _measured(
    there: Silicon, what: What, policy: str | None, planned: int | None, seed: int, title: str
) -> MeasureResult:
    from l1dflush.cache.policies import all_policies
    from l1dflush.silicon.measure import costs as costing
    from l1dflush.silicon.measure import survivors as surviving
    from l1dflush.silicon.measure.results import measured

    ways = there.geometry.ways
    survivors: Survivors | None = None
    costs: Costs | None = None
    interrupted = False
    try:
        if what is not What.SURVIVORS:
            costs = costing.Costs(there.region, there.geometry.size, costing.variants(planned))
            with bar("timing flushes", costing.ROUNDS) as done:
                costs.play(done=done)
        if what is not What.COSTS:
            pages = max(_SEED_PAGES, 2 * ways, (planned or 0) // _PAGE) + _FURTHER_PAGES
            with bar("looking for survivors", surviving.ROUNDS) as done:
                survivors = surviving.begun(there.region, ways, min(pages, _MOST_PAGES), seed)
                surviving.played(survivors, done=done)
    except KeyboardInterrupt:
        interrupted = True
        if survivors is not None and not survivors.complete:
            survivors = None
        if survivors is None and (costs is None or not costs.trials):
            raise
    return measured(
        there, title, policy, planned, seed, survivors, all_policies(ways),
        [] if costs is None else costs.costs(),
        (survivors.trials if survivors else 0) + (costs.trials if costs else 0),
        (survivors.moved if survivors else 0) + (costs.moved if costs else 0),
        interrupted,
    )  # fmt: skip


def _policy(text: str, ways: int) -> str:
    from l1dflush.cache.policies import get_policy

    try:
        return get_policy(text, ways).name
    except InputError as error:
        raise InputError(error.what, where="--policy", hint=error.hint) from None
