"""``l1dflush schema``: what ``--json`` writes, as JSON Schema."""

from __future__ import annotations

from typing import Annotated

import typer

from l1dflush.cli.output import Outcome
from l1dflush.errors import InputError


def register(app: typer.Typer) -> None:
    """Adds the verb."""
    app.command("schema")(schema)


def schema(
    which: Annotated[
        str | None,
        typer.Argument(
            metavar="RESULT",
            help="Which kind of result; a name that there is not lists them.  [default: any]",
            show_default=False,
        ),
    ] = None,
) -> Outcome:
    """Write the JSON Schema of what --json writes."""
    from l1dflush.report.json_report import SCHEMAS, schema_text  # noqa: PLC0415

    if which is not None and which not in SCHEMAS:
        raise InputError(f"no schema is called '{which[:80]}'", hint=f"there are {', '.join(SCHEMAS)}")
    return Outcome(0, schema_text(which))
