"""``l1dflush policies``: the replacement policies, and what one of them does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from l1dflush.cli import options
from l1dflush.cli.listing import as_table
from l1dflush.cli.output import Outcome, Page
from l1dflush.errors import InputError

if TYPE_CHECKING:
    from rich.text import Text

_NOTE = (
    "'l1dflush policies NAME' draws what one does, access by access. NAME may also be tree-PLRU with another shape, "
    "QLRU_Hxy_Mz_Ru_Uw with other digits (_UMO may follow), or a file with a machine: see 'l1dflush help policies'."
)


def register(app: typer.Typer) -> None:
    """Adds the verb."""
    app.command("policies", short_help="List the replacement policies, or draw what one does.")(policies)


def policies(
    name: Annotated[
        str | None,
        typer.Argument(metavar="NAME", help="A policy, or a file with a machine.", show_default=False),
    ] = None,
    sequence: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="SEQUENCE",
            help="Accesses to lines, like 'A B C A?'. A? asks whether it hits, A! invalidates the line.",
            show_default=False,
        ),
    ] = None,
    ways: Annotated[
        int | None, typer.Option("--ways", metavar="K", help="Ways of the set.  [default: 4, or the fewest]")
    ] = None,
    json: options.Json = False,
    no_color: options.NoColor = False,
) -> Outcome:
    """List the replacement policies; with NAME, draw what the policy does, access by access, from an empty set."""
    if name is None:
        if ways is not None:
            raise InputError("--ways is about one policy, and there is none", hint="l1dflush policies NAME --ways K")
        return _list(json, no_color)
    from l1dflush.cache.policy.play import example_sequence, parse_sequence, play  # noqa: PLC0415
    from l1dflush.cli.policy_files import policy_named  # noqa: PLC0415

    policy = policy_named(name, ways)
    run = play(policy, parse_sequence(" ".join(sequence) if sequence else example_sequence(policy.ways)))
    if json:
        from l1dflush.report.json_report import json_text  # noqa: PLC0415
        from l1dflush.verdict.policies import policy_run  # noqa: PLC0415

        return Outcome(0, json_text(policy_run(policy, run)))

    def lines(width: int) -> list[Text]:
        from l1dflush.report.policy_picture import policy_picture  # noqa: PLC0415

        return policy_picture(policy, run, width)

    return Outcome(0, Page(lines, no_color))


def _list(json: bool, no_color: bool) -> Outcome:
    from l1dflush.verdict.policies import policy_list  # noqa: PLC0415

    listed = policy_list()
    if json:
        from l1dflush.report.json_report import json_text  # noqa: PLC0415

        return Outcome(0, json_text(listed))
    rows = [[policy.name, _ways(policy.ways), policy.rule] for policy in listed.policies]
    return as_table(["name", "ways", "rule"], rows, flexible=(2,), no_color=no_color, note=_NOTE)


def _ways(ways: tuple[int, ...]) -> str:
    if len(ways) > 2 and ways == tuple(range(ways[0], ways[-1] + 1)):
        return f"{ways[0]}-{ways[-1]}"
    return " ".join(map(str, ways))
