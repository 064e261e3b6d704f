# SPDX-License-Identifier: GPL-2.0-or-later
"""The options that say which host: this one, an archive that ``gather`` wrote, or a folder."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from l1dflush.cli.values import FILE, FOLDER

if TYPE_CHECKING:
    pass

archive = click.option(
    "--from", "archive", metavar="FILE", type=FILE, help="Another host, from what 'l1dflush gather' wrote there."
)
sysroot = click.option(
    "--sysroot", metavar="DIR", type=FOLDER, help="Another host, from a folder with its /proc, /sys and so on."
)
