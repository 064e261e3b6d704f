# SPDX-License-Identifier: GPL-2.0-or-later
"""All that is known of a CPU, each value with who says so and how certain it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from l1dflush.in_words import in_words
from l1dflush.report.layout import paragraph

if TYPE_CHECKING:
    from collections.abc import Iterator

    from l1dflush.cache.cpus import Certainty, Cpu, CpuidRange

_INDENT = " " * 10


def cpu_lines(cpu: Cpu, width: int) -> list[Text]:
    """The CPU as ``l1dflush cpus NAME`` shows it."""
    also = f"; also {', '.join(cpu.aliases)}" if cpu.aliases else ""
    lines = [Text(cpu.name, "bold"), *paragraph(f"{cpu.title}{also}", width, indent="  ")]
    lines += paragraph(f"{cpu.vendor}, {cpu.isa}, {cpu.year}", width, indent="  ")
    for title, value, certainty, source in _values(cpu):
        lines += [Text(), *paragraph(value, width, first=title.ljust(len(_INDENT)), indent=_INDENT)]
        if source is not None:
            lines += paragraph(f"{in_words(certainty or 'unknown')}: {source}", width, indent=_INDENT)
    for note in cpu.notes:
        lines += [Text(), *paragraph(note, width, indent=_INDENT)]
    return [*lines, Text(), *paragraph(f"'l1dflush verify --cpu {cpu.name} ROUTINE' proves for it.", width)]


def _values(cpu: Cpu) -> Iterator[tuple[str, str, Certainty | None, str | None]]:
    """Titles and values, with how certain each is and who says so."""
    shape = cpu.geometry
    cache = f"{shape.size >> 10} KiB: {shape.ways} ways, {shape.sets} sets, lines of {shape.line} bytes"
    yield "L1D", cache, cpu.geometry_certainty, cpu.geometry_source
    yield "policy", cpu.policy or "unknown", cpu.policy_certainty, cpu.policy_source
    yield "L1TF", "has the bug" if cpu.l1tf_affected else "does not have the bug", cpu.l1tf_certainty, cpu.l1tf_source
    if cpu.models:
        yield "CPUID", "; ".join(map(_signature, cpu.models)), cpu.models_certainty, cpu.models_source
    if cpu.features is not None:
        yield "features", ", ".join(cpu.features) or "none", cpu.features_certainty, cpu.features_source


def _signature(entry: CpuidRange) -> str:
    said = f"family {entry.family:#x}, {_range('model', entry.models)}"
    if entry.steppings is not None:
        said += f", {_range('stepping', entry.steppings)}"
    return said if entry.core is None else f"{said}, the {entry.core} cores"


def _range(what: str, numbers: tuple[int, int]) -> str:
    first, last = numbers
    return f"{what} {first:#x}" if first == last else f"{what}s {first:#x} to {last:#x}"
