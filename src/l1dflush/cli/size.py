"""``l1dflush size``: how many accesses empty a set."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from l1dflush.cli import options, proof_options
from l1dflush.cli.files import write_whole
from l1dflush.cli.output import Outcome, Page
from l1dflush.cli.pictures import check_picture, picture_form
from l1dflush.cli.progress import progress
from l1dflush.errors import InputError

if TYPE_CHECKING:
    from l1dflush.verdict.size_model import SizeResult

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


def register(app: typer.Typer) -> None:
    """Adds the verb."""
    app.command("size", epilog=_EXAMPLES, short_help="Tell how many accesses empty a set.")(size)


def size(
    *,
    policy: Annotated[
        list[str] | None,
        typer.Option("--policy", metavar="NAME", help="A policy, or a file with a machine. Repeatable."),
    ] = None,
    ways: Annotated[list[int] | None, typer.Option("--ways", metavar="K", help="Ways of the set. Repeatable.")] = None,
    cpu: Annotated[
        list[str] | None, typer.Option("--cpu", metavar="NAME", help="A CPU (see 'l1dflush cpus'). Repeatable.")
    ] = None,
    cpu_folder: options.CpuFolder = None,
    geometry: proof_options.CacheGeometry = None,
    host: proof_options.Host = False,
    start: proof_options.Start = None,
    touches: proof_options.Touches = 0,
    chance: Annotated[
        str | None,
        typer.Option(
            "--chance",
            metavar="CHANCE",
            help="Of policies that throw dice: accesses after which an old line stays with a chance below this, like"
            " 2^-20 or 1e-6.",
        ),
    ] = None,
    memory: proof_options.Memory = None,
    max_seconds: Annotated[
        float | None,
        typer.Option(
            "--max-seconds", metavar="N", help="Give up after so long, each.  [default: 10 for one, 2 for several]",
            show_default=False,
        ),
    ] = None,
    plot: Annotated[
        Path | None, typer.Option("--plot", metavar="FILE", help="Draw the curves into a file, .svg or .png.")
    ] = None,
    json: options.Json = False,
    no_color: options.NoColor = False,
) -> Outcome:  # fmt: skip
    """Tell the fewest pairwise different accesses that empty a set, whatever it holds at the start."""
    limit = None if max_seconds is None else options.seconds(max_seconds)
    prover_memory = proof_options.memory(memory)
    from l1dflush.cli.size_questions import Wanted, allowed_chance, questions  # noqa: PLC0415

    fraction = allowed_chance(chance)
    wanted = Wanted(tuple(policy or ()), tuple(ways or ()), tuple(cpu or ()), geometry, host, tuple(cpu_folder or ()))
    asked = questions(wanted, start, touches)
    if asked[0].conditions.start.steady:
        _refuse_with_steady({"--plot": plot is not None, "--chance": chance is not None})
    if plot is not None:
        _check_plot(plot, len(asked))
    one = len(asked) == 1 and asked[0].certainty != "unknown"

    from l1dflush.proof.limits import Limits  # noqa: PLC0415
    from l1dflush.verdict.sizes import sizes  # noqa: PLC0415

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
        from l1dflush.report.json_report import json_text  # noqa: PLC0415

        return json_text(result)
    from l1dflush.report.sizes import size_lines  # noqa: PLC0415

    return Page(lambda width: size_lines(result, width), no_color)


def _check_plot(path: Path, cells: int) -> None:
    """Raises InputError where nothing could be drawn, before anything is computed."""
    from l1dflush.report.plot import MOST_CURVES  # noqa: PLC0415

    check_picture(path)
    if cells > MOST_CURVES:
        hint = f"at most {MOST_CURVES}: --policy and --ways say which"
        raise InputError(f"{cells} curves in one picture cannot be told apart", where="--plot", hint=hint)


def _write_plot(result: SizeResult, path: Path) -> None:
    from l1dflush.report.plot import curves_picture  # noqa: PLC0415

    with progress("drawing ..."):
        write_whole(path, curves_picture(result, picture_form(path)))
