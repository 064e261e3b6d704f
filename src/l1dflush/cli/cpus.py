# SPDX-License-Identifier: GPL-2.0-or-later
"""``l1dflush cpus``: what is known of which CPU."""

from __future__ import annotations

from typing import TYPE_CHECKING

from l1dflush.cli import options
from l1dflush.cli.command import argument, verb
from l1dflush.cli.listing import as_json, as_table
from l1dflush.cli.output import Outcome, Page
from l1dflush.cli.values import CPU
from l1dflush.in_words import in_words

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_EXAMPLES = """\b
Examples:
  l1dflush cpus
  l1dflush cpus "Ice Lake"                all that is known of it
  l1dflush cpus --cpu-folder ./my-cpus    with files of your own
"""


@verb("cpus", epilog=_EXAMPLES)
@argument("name", metavar="[NAME]", required=False, type=CPU, told="All that is known of this CPU, with the sources.")
@options.cpu_folder
@options.json
@options.no_color
def cpus(*, name: str | None, cpu_folder: Sequence[Path], json: bool, no_color: bool) -> Outcome:
    """List the CPUs: L1D, replacement policy, and how certain that is; or tell all that is known of one, with who says
    so. --json has the sources of all."""
    from l1dflush.data.catalogue import load_catalogue

    catalogue = load_catalogue(tuple(cpu_folder))
    one = None if name is None else catalogue.get(name)
    if json:
        known = catalogue if one is None else (one,)
        return as_json("cpus", [_with_sets(cpu.model_dump(mode="json")) for cpu in known])
    if one is not None:
        from l1dflush.report.terminal.cpu import cpu_lines

        return Outcome(0, Page(lambda width: cpu_lines(one, width), no_color))
    rows = [
        [
            cpu.name,
            cpu.title,
            f"{cpu.geometry.size >> 10}K {cpu.geometry.ways}x{cpu.geometry.line}",
            cpu.policy or "unknown",
            in_words(cpu.policy_certainty) if cpu.policy else "",
            "yes" if cpu.l1tf_affected else "no",
        ]
        for cpu in catalogue
    ]
    note = "L1D is size, ways x line. 'l1dflush cpus NAME' has the sources; 'l1dflush verify --cpu NAME' proves for it."
    titles = ["name", "title", "L1D", "policy", "certainty", "L1TF"]
    return as_table(titles, rows, flexible=(4, 1), no_color=no_color, note=note)


def _with_sets(cpu: dict[str, object]) -> dict[str, object]:
    shape = cpu["geometry"]
    if isinstance(shape, dict):
        cpu["geometry"] = shape | {"sets": shape["size"] // (shape["ways"] * shape["line"])}
    return cpu
