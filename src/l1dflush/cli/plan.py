# SPDX-License-Identifier: GPL-2.0-or-later
"""``l1dflush plan``: the cheapest flush that is provably enough, and code for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from l1dflush import arguments
from l1dflush.cli import options, proof_options
from l1dflush.cli.command import verb
from l1dflush.cli.output import Outcome, Page
from l1dflush.cli.progress import progress
from l1dflush.cli.values import CPU, POLICY, OneOf, words

if TYPE_CHECKING:
    from collections.abc import Sequence
    from enum import StrEnum
    from pathlib import Path

    from l1dflush.planning.find import Goal
    from l1dflush.planning.form import Form
    from l1dflush.planning.model import PlanResult

# For each assumption that might save something.
_SECONDS_SAVING = 5.0
_EXAMPLES = """\b
Examples:
  l1dflush plan --cpu skylake                      how many loads are enough
  l1dflush plan --cpu "Ice Lake" --emit c          a function in C
  l1dflush plan --cpu skylake --start steady --emit asm
  l1dflush plan --cpu skylake --emit kernel        C for Linux
  l1dflush plan --policy FIFO --geometry 32K,8,64 --goal buffer

Exit status: 0 a plan, 1 error, 2 no number of accesses is enough, 3 undecided, 130 interrupted.
"""


def _goals() -> dict[str, StrEnum]:
    from l1dflush.planning.find import Goal

    return words(Goal)


def _forms() -> dict[str, StrEnum]:
    from l1dflush.planning.form import Form

    return words(Form)


@verb("plan", epilog=_EXAMPLES)
@click.option("--cpu", metavar="NAME", type=CPU, help="A CPU (see 'l1dflush cpus').")
@options.cpu_folder
@click.option("--policy", metavar="NAME", type=POLICY, help="A policy, or a file with a machine.")
@proof_options.geometry
@proof_options.host
@proof_options.start
@proof_options.touches
@click.option(
    "--goal",
    type=OneOf(_goals),
    default="loads",
    help="What is to be small: the pairwise different loads, the word with repeats, or the buffer.",
)
@click.option("--emit", type=OneOf(_forms), help="Write code, which is proved before.")
@proof_options.memory
@options.max_seconds
@options.json
@options.no_color
def plan(
    *,
    cpu: str | None,
    cpu_folder: Sequence[Path],
    policy: str | None,
    geometry: str | None,
    host: bool,
    start: str | None,
    touches: int,
    goal: Goal,
    emit: Form | None,
    memory: str | None,
    max_seconds: float | None,
    json: bool,
    no_color: bool,
) -> Outcome:
    """Find the fewest loads that are provably enough to empty the L1D, say what each further assumption would save,
    and write code for it."""
    limit, prover_memory = arguments.seconds(max_seconds), arguments.memory(memory)
    from l1dflush.requests.caches import one_cache

    asked = one_cache(
        cpu=cpu, cpu_folder=cpu_folder, policy=policy, geometry=geometry, host=host, start=start, touches=touches
    )

    from l1dflush.planning.planned import planned
    from l1dflush.proof.limits import Limits

    limits = Limits(prover_memory, limit)
    with progress(f"planning for {asked.policy.name} at {asked.policy.ways} ways ..."):
        # Whoever wants code has read the report before.
        saving = None if emit is not None else Limits(prover_memory, _SECONDS_SAVING)
        made = planned(asked, goal, limits, saving)
    result = made.result
    if emit is not None and made.walk is not None:
        from l1dflush.sandbox.proved_plan import with_code

        result = with_code(made, made.walk, asked, emit, limits, progress)
    return Outcome(result.exit_status, _text(result, json, no_color))


def _text(result: PlanResult, json: bool, no_color: bool) -> str | Page:
    if json:
        return result.to_json()
    if result.code is not None:
        return result.code
    from l1dflush.report.terminal.plan import plan_lines

    return Page(lambda width: plan_lines(result, width), no_color)
