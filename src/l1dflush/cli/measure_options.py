# SPDX-License-Identifier: GPL-2.0-or-later
"""The options that measurements share."""

from __future__ import annotations

import click

from l1dflush.cli.values import Whole

on_cpu = click.option(
    "--on-cpu",
    metavar="N",
    type=Whole(min=0),
    help="The CPU to measure on.  [default: where it runs]",
    show_default=False,
)
seed = click.option("--seed", metavar="N", type=Whole(min=0), default=1, help="For the random choices.")
