# SPDX-License-Identifier: GPL-2.0-or-later
"""``l1dflush routines``: the flushes that are built in."""

from __future__ import annotations

from dataclasses import asdict

from l1dflush.cli import options
from l1dflush.cli.command import verb
from l1dflush.cli.listing import as_json, as_table
from l1dflush.cli.output import Outcome


@verb("routines")
@options.json
@options.no_color
def routines(*, json: bool, no_color: bool) -> Outcome:
    """List the built-in routines."""
    from l1dflush.routine import built_in

    known = [built_in.describe(name) for name in built_in.names()]
    if json:
        return as_json("routines", [asdict(one) for one in known])
    rows = [
        [
            one.name,
            one.title,
            f"{one.buffer_bytes // 1024} KiB",
            f"{one.order}, step {one.step}" + _passes(one.passes),
        ]
        for one in known
    ]
    note = "'l1dflush verify NAME' proves one of them."
    return as_table(["name", "what", "size", "order"], rows, flexible=(1,), no_color=no_color, note=note)


def _passes(passes: int) -> str:
    return "" if passes == 1 else f", {passes} passes"
