# SPDX-License-Identifier: GPL-2.0-or-later
"""``l1dflush size``: how many accesses empty a set."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from l1dflush import arguments
from l1dflush.cli import options, proof_options
from l1dflush.cli.command import verb
from l1dflush.cli.files import write_whole
from l1dflush.cli.output import Outcome, Page
from l1dflush.cli.pictures import check_picture, picture_form
from l1dflush.cli.progress import progress
from l1dflush.cli.values import CPU, FILE, NUMBER, POLICY
from l1dflush.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from l1dflush.verdict.size.result import SizeResult

# A table has many questions, and one of them that has no quick answer must not keep the others.
_SECONDS_ALONE = 10.0
_SECONDS_EACH = 2.0

_EXAMPLES = """\b
Examples:
  l1dflush size                                  all policies, 4 to 16 ways
  l1dflush size --policy tree-PLRU --ways 8      one of them, with its curve
  l1dflush size --cpu skylake --cpu "Ice Lake"   the same for CPUs
  l1dflush size --host --touches 1               for this machine
  l1dflush size --policy random --geometry 32K,8,64 --chance 2^-20
  l1dflush size --policy LRU --policy FIFO --ways 8 --plot curves.svg
"""


@verb("size", epilog=_EXAMPLES)
@click.option(
    "--policy", metavar="NAME", multiple=True, type=POLICY, help="A policy, or a file with a machine. Repeatable."
)
@click.option("--ways", metavar="K", multiple=True, type=int, help="Ways of the set. Repeatable.")
@click.option("--cpu", metavar="NAME", multiple=True, type=CPU, help="A CPU (see 'l1dflush cpus'). Repeatable.")
@options.cpu_folder
@proof_options.geometry
@proof_options.host
@proof_options.start
@proof_options.touches
@click.option(
    "--chance",
    metavar="CHANCE",
    help="For randomised policies: accesses after which an old line stays with a chance below this, like 2^-20 or"
    " 1e-6.",
)
@proof_options.memory
@click.option(
    "--max-seconds",
    metavar="N",
    type=NUMBER,
    help="Time limit for each question, in seconds.  [default: 10 for one, 2 for several]",
    show_default=False,
)
@click.option("--plot", metavar="FILE", type=FILE, help="Draw the curves into a file, .svg or .png.")
@options.json
@options.no_color
def size(
    *,
    policy: Sequence[str],
    ways: Sequence[int],
    cpu: Sequence[str],
    cpu_folder: Sequence[Path],
    geometry: str | None,
    host: bool,
    start: str | None,
    touches: int,
    chance: str | None,
    memory: str | None,
    max_seconds: float | None,
    plot: Path | None,
    json: bool,
    no_color: bool,
) -> Outcome:
    """Tell the fewest pairwise different accesses that empty a set, whatever it holds at the start."""
    limit = None if max_seconds is None else arguments.seconds(max_seconds)
    prover_memory = arguments.memory(memory)
    from l1dflush.requests.caches import Wanted, allowed_chance, questions

    fraction = allowed_chance(chance)
    wanted = Wanted(tuple(policy), tuple(ways), tuple(cpu), geometry, host, tuple(cpu_folder))
    asked = questions(wanted, start, touches)
    if asked[0].conditions.start.steady:
        _refuse_with_steady({"--plot": plot is not None, "--chance": chance is not None})
    if plot is not None:
        _check_plot(plot, len(asked))
    one = len(asked) == 1 and asked[0].certainty != "unknown"

    from l1dflush.proof.limits import Limits
    from l1dflush.verdict.size.cells import sizes

    limits = Limits(prover_memory, limit or (_SECONDS_ALONE if one else _SECONDS_EACH))
    result = sizes(asked, limits, fraction, one=one, working=progress)
    text = _text(result, json, no_color)
    if plot is not None:
        try:
            _write_plot(result, plot)
        except InputError as error:
            # What was computed is shown all the same.
            return Outcome(result.exit_status or 1, text, f"no picture: {error}")
    return Outcome(result.exit_status, text)


def _refuse_with_steady(given: dict[str, bool]) -> None:
    for option in (option for option, there in given.items() if there):
        raise InputError(f"{option} and a steady start exclude each other", hint="its answer is one number per cell")


def _text(result: SizeResult, json: bool, no_color: bool) -> str | Page:
    if json:
        return result.to_json()
    from l1dflush.report.terminal.size import size_lines

    return Page(lambda width: size_lines(result, width), no_color)


def _check_plot(path: Path, cells: int) -> None:
    """Raises InputError where nothing could be drawn, before anything is computed."""
    from l1dflush.report.picture.survivors import MOST_CURVES

    check_picture(path)
    if cells > MOST_CURVES:
        hint = f"at most {MOST_CURVES}: --policy and --ways say which"
        raise InputError(f"{cells} curves in one picture cannot be told apart", where="--plot", hint=hint)


def _write_plot(result: SizeResult, path: Path) -> None:
    from l1dflush.report.picture.survivors import curves_picture

    with progress("drawing ..."):
        write_whole(path, curves_picture(result, picture_form(path)))
