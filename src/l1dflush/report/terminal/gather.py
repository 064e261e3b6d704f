# SPDX-License-Identifier: GPL-2.0-or-later
"""The result of ``gather`` for a person: what was written, and which facts are missing."""

from __future__ import annotations

from rich.text import Text

from l1dflush.host.reading.host_facts import HostFacts
from l1dflush.report.layout import paragraph, safe


def gather_lines(facts: HostFacts, output: str, size: int, width: int) -> list[Text]:
    """``size``: of the archive ``output``, in bytes."""
    every = list(facts.each())
    unknown = [(name, fact) for name, fact in every if not fact.known]
    lines = paragraph(f"{safe(output)}: {len(every) - len(unknown)} of {len(every)} facts, {size} bytes", width)
    if unknown:
        lines += [Text(), Text("not known")]
    for name, fact in unknown:
        lines += paragraph(f"{name}: {safe(fact.why)}", width, indent="  ")
        lines += paragraph(f"({safe(fact.origin)})", width, indent="    ", style="dim")
    return lines
