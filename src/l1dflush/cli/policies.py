# SPDX-License-Identifier: GPL-2.0-or-later
"""``l1dflush policies``: the replacement policies, and what one of them does."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from l1dflush.cli import options
from l1dflush.cli.command import argument, verb
from l1dflush.cli.listing import as_table
from l1dflush.cli.output import Outcome, Page
from l1dflush.cli.values import POLICY
from l1dflush.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.text import Text

_NOTE = (
    "'l1dflush policies NAME' draws what one does, access by access. NAME may also be tree-PLRU with another shape, "
    "QLRU_Hxy_Mz_Ru_Uw with other digits (_UMO may follow), or a file with a machine: see 'l1dflush help policies'."
)


@verb("policies")
@argument("name", metavar="[NAME]", required=False, type=POLICY, told="A policy, or a file with a machine.")
@argument(
    "sequence",
    metavar="[SEQUENCE]...",
    nargs=-1,
    told="Accesses to lines, like 'A B C A?'. A? asks whether it hits, A! invalidates the line.",
)
@click.option("--ways", metavar="K", type=int, help="Ways of the set.  [default: 4, or the fewest]")
@options.json
@options.no_color
def policies(*, name: str | None, sequence: Sequence[str], ways: int | None, json: bool, no_color: bool) -> Outcome:
    """List the replacement policies; with NAME, draw what the policy does, access by access, from an empty set."""
    if name is None:
        if ways is not None:
            raise InputError("--ways is about one policy, and there is none", hint="l1dflush policies NAME --ways K")
        return _list(json, no_color)
    from l1dflush.cache.policy.play import example_sequence, parse_sequence, play
    from l1dflush.data.policy_files import policy_named

    policy = policy_named(name, ways)
    run = play(policy, parse_sequence(" ".join(sequence) if sequence else example_sequence(policy.ways)))
    if json:
        from l1dflush.verdict.policies_result import policy_run

        return Outcome(0, policy_run(policy, run).to_json())

    def lines(width: int) -> list[Text]:
        from l1dflush.report.terminal.policy_run import policy_picture

        return policy_picture(policy, run, width)

    return Outcome(0, Page(lines, no_color))


def _list(json: bool, no_color: bool) -> Outcome:
    from l1dflush.verdict.policies_result import policy_list

    listed = policy_list()
    if json:
        return Outcome(0, listed.to_json())
    rows = [[policy.name, _ways(policy.ways), policy.rule] for policy in listed.policies]
    return as_table(["name", "ways", "rule"], rows, flexible=(2,), no_color=no_color, note=_NOTE)


def _ways(ways: tuple[int, ...]) -> str:
    if len(ways) > 2 and ways == tuple(range(ways[0], ways[-1] + 1)):
        return f"{ways[0]}-{ways[-1]}"
    return " ".join(map(str, ways))
