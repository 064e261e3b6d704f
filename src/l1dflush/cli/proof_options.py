# SPDX-License-Identifier: GPL-2.0-or-later
"""The options that say what a proof is about and what it may take."""

from __future__ import annotations

import click

from l1dflush.cli.values import ROUTINE, Whole
from l1dflush.requests.routine import MOST_TOUCHES

geometry = click.option("--geometry", metavar="SIZE,WAYS,LINE", help="A cache, like 32K,8,64.")
host = click.option("--host", is_flag=True, help="The L1D of this machine.")
start = click.option(
    "--start",
    metavar="START",
    help="What a set may hold at the start: any, any+invalid, cold, or steady or steady-from-any (flushes again and"
    " again); each also with +invalidations.  [default: any+invalid]",
    show_default=False,
)
then = click.option(
    "--then",
    metavar="ROUTINE",
    multiple=True,
    type=ROUTINE,
    help="With a steady start: this routine flushes next, in turn. Repeatable.",
)
touches = click.option(
    "--touches",
    metavar="N",
    type=Whole(0, MOST_TOUCHES),
    default=0,
    help="Accesses by others to a set during the flush.",
)
memory = click.option(
    "--memory", metavar="SIZE", help="Memory limit of the prover, like 512M.  [default: 2G]", show_default=False
)
