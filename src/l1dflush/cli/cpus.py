"""``l1dflush cpus``: what is known of which CPU."""

from __future__ import annotations

from typing import TYPE_CHECKING

from l1dflush.cli import options
from l1dflush.cli.command import verb
from l1dflush.cli.listing import as_json, as_table
from l1dflush.cli.output import Outcome

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


@verb("cpus")
@options.cpu_folder
@options.json
@options.no_color
def cpus(*, cpu_folder: Sequence[Path], json: bool, no_color: bool) -> Outcome:
    """List the CPUs: L1D, replacement policy, and how certain that is. --json has the sources."""
    from l1dflush.data.catalogue import load_catalogue

    catalogue = load_catalogue(tuple(cpu_folder))
    if json:
        return as_json("cpus", [_with_sets(cpu.model_dump(mode="json")) for cpu in catalogue])
    rows = [
        [
            cpu.name,
            cpu.title,
            f"{cpu.geometry.size >> 10}K {cpu.geometry.ways}x{cpu.geometry.line}",
            cpu.policy or "unknown",
            cpu.policy_certainty.value if cpu.policy else "",
            "yes" if cpu.l1tf_affected else "no",
        ]
        for cpu in catalogue
    ]
    note = "L1D is size, ways x line. 'l1dflush verify --cpu NAME' proves for one of them."
    titles = ["name", "title", "L1D", "policy", "certainty", "L1TF"]
    return as_table(titles, rows, flexible=(4, 1), no_color=no_color, note=note)


def _with_sets(cpu: dict[str, object]) -> dict[str, object]:
    shape = cpu["geometry"]
    if isinstance(shape, dict):
        cpu["geometry"] = shape | {"sets": shape["size"] // (shape["ways"] * shape["line"])}
    return cpu
