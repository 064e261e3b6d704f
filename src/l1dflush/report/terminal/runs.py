# SPDX-License-Identifier: GPL-2.0-or-later
"""Folded runs of events as text: what a path did, in order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.text import Text

from l1dflush.report.layout import paragraph, safe
from l1dflush.tracing.region import BUFFER, STACK
from l1dflush.verdict.verify_result import BufferInfo, Run

# Kinds that have a place in memory; the others are told by what was executed.
_NOUNS = {
    "load": ("load", "loads"),
    "store": ("store", "stores"),
    "string-store": ("rep store", "rep stores"),
    "non-temporal-store": ("non-temporal store", "non-temporal stores"),
    "prefetch": ("prefetch", "prefetches"),
    "line-flush": ("line flush", "line flushes"),
}


# As many loads as a page has lines.
_WALK = 64


def hex_or_decimal(offset: int) -> str:
    """An offset with its sign: ``+64``."""
    return f"{offset:+d}"


def noun(run: Run) -> str:
    """``1024 loads``, ``cpuid``, ``call to f``."""
    if run.kind in _NOUNS:
        one, many = _NOUNS[run.kind]
        return f"{run.count} {one if run.count == 1 else many}"
    name = {"msr-write": f"write to MSR {run.instruction}", "call": f"call to {run.instruction}"}.get(
        run.kind, run.instruction or run.kind
    )
    if run.kind == "msr-write" and "msr" in run.instruction.lower():
        name = run.instruction
    return name if run.count == 1 else f"{run.count} x {name}"


def describe(run: Run, buffer: BufferInfo | None) -> str:
    """A run in full: ``1024 loads, buffer+0 … +65472, step 64``."""
    if run.kind not in _NOUNS:
        return noun(run)
    region = BUFFER if run.is_in(buffer) else run.region
    text = f"{noun(run)}, {region}{hex_or_decimal(run.first)}"
    if run.count > 1:
        text += f" … {hex_or_decimal(run.last)}, step {run.step}"
    if run.size > 1:
        text += f", {run.size} bytes" + (" each" if run.count > 1 else "")
    return text


def groups(runs: Sequence[Run]) -> Iterator[tuple[Run, ...]]:
    """The runs, those that alternate together as one tuple."""
    group: list[Run] = []
    for run in runs:
        if group and (not run.together or run.together != group[0].together):
            yield tuple(group)
            group = []
        group.append(run)
    if group:
        yield tuple(group)


def summary(runs: Sequence[Run], buffer: BufferInfo | None) -> str:
    """A path in one sentence: buffer accesses and what orders them; own accesses only counted."""
    return walk_text(runs, buffer) + own_text([own_accesses(runs, buffer)])


def own_text(counts: Sequence[int]) -> str:
    """``; 7 to 11 own accesses``: how many accesses of several paths are not to the buffer; empty if none is."""
    low, high = min(counts), max(counts)
    if not high:
        return ""
    return f"; {low if low == high else f'{low} to {high}'} own access{'' if high == 1 else 'es'}"


def own_accesses(runs: Sequence[Run], buffer: BufferInfo | None) -> int:
    """How many accesses are not to the buffer."""
    return sum(run.count for run in runs if run.kind in _NOUNS and not run.is_in(buffer))


def walk_text(runs: Sequence[Run], buffer: BufferInfo | None) -> str:
    """Buffer accesses and what orders them, in one line."""
    parts: list[str] = []
    for group in groups(runs):
        mentioned = [noun(run) for run in group if run.kind not in _NOUNS or run.is_in(buffer)]
        if mentioned:
            parts.append(" alternating with ".join(mentioned))
    return ", ".join(_counted(parts)) or (_in_one_place(runs) if buffer is None else "") or "nothing"


def _in_one_place(runs: Sequence[Run]) -> str:
    """What a loop reads that is as long as a walk and does not move; empty without one."""
    still = [run for run in runs if run.kind == "load" and not run.step and run.count >= _WALK and run.region != STACK]
    if not still:
        return ""
    longest = max(still, key=lambda run: run.count)
    return f"{noun(longest)} of one place ({longest.region}{hex_or_decimal(longest.first)})"


def _counted(parts: Sequence[str]) -> list[str]:
    """Equal neighbours as one: unrolled or irregular code would otherwise fill a page."""
    out: list[tuple[str, int]] = []
    for part in parts:
        if out and out[-1][0] == part:
            out[-1] = part, out[-1][1] + 1
        else:
            out.append((part, 1))
    shown = [part if times == 1 else f"{times} times {part}" for part, times in out]
    return shown if len(shown) <= 12 else [*shown[:9], f"{len(shown) - 11} more", *shown[-2:]]


def run_lines(runs: Sequence[Run], buffer: BufferInfo | None, width: int) -> list[Text]:
    """One line per run, numbered as they came; runs that alternate are joined by a bracket."""
    lines: list[Text] = []
    digits = len(str(len(runs)))
    number = 0
    for group in groups(runs):
        for position, run in enumerate(group):
            number += 1
            mark = " " if len(group) == 1 else "┌" if position == 0 else "└" if position == len(group) - 1 else "│"
            first = f"  {number:>{digits}} {mark} "
            instruction = "" if run.kind not in _NOUNS or not run.instruction else f", {run.instruction}"
            where = f" at {run.where}" if run.where else ""
            text = f"{describe(run, buffer)}{instruction}{where}"
            lines += paragraph(safe(text), width, first=first, indent=" " * len(first))
    return lines
