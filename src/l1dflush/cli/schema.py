# SPDX-License-Identifier: GPL-2.0-or-later
"""``l1dflush schema``: what ``--json`` writes, as JSON Schema."""

from __future__ import annotations

from l1dflush.cli.command import argument, verb
from l1dflush.cli.output import Outcome
from l1dflush.cli.values import RESULT
from l1dflush.errors import InputError


@verb("schema")
@argument(
    "which",
    metavar="[RESULT]",
    required=False,
    type=RESULT,
    told="Which kind of result; an unknown name lists them.  [default: any]",
)
def schema(*, which: str | None) -> Outcome:
    """Write the JSON Schema of what --json writes."""
    from l1dflush.report.schemas import SCHEMAS, schema_text

    if which is not None and which not in SCHEMAS:
        raise InputError(f"no schema is called {which[:80]!r}", hint=f"there are {', '.join(SCHEMAS)}")
    return Outcome(0, schema_text(which))
