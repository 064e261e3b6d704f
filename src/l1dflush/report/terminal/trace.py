# SPDX-License-Identifier: GPL-2.0-or-later
"""The result of ``trace`` for a person at a terminal: the numbers in the head, then each path, folded."""

from __future__ import annotations

from rich.text import Text

from l1dflush.report.layout import paragraph
from l1dflush.report.terminal.left_out import left_out_lines
from l1dflush.report.terminal.runs import run_lines
from l1dflush.report.terminal.verify import buffer_lines, first_lines, routine_lines
from l1dflush.verdict.verify_result import TracePath, TraceResult


def trace_lines(result: TraceResult, width: int) -> list[Text]:
    """The whole report."""
    lines = routine_lines(result.routine, width) + first_lines(result.routine, width)
    lines += buffer_lines(result.buffer, width)
    told = left_out_lines(result.left_out, width)
    if told:
        lines += [Text(), *told]
    for number, path in enumerate(result.paths, 1):
        lines += [Text(), *_path_lines(path, result, number, width)]
    return lines


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _path_lines(path: TracePath, result: TraceResult, number: int, width: int) -> list[Text]:
    of = f" {number} of {len(result.paths)}" if len(result.paths) > 1 else ""
    events = sum(run.count for run in path.runs)
    head = f"path{of}: {_count(events, 'event')} in {_count(len(path.runs), 'run')}, {path.instructions} instructions"
    lines = paragraph(head, width, style="bold")
    if path.decisions:
        lines += paragraph(
            f"if {' and '.join(map(str, path.decisions))}", width, first="  ", indent="    ", style="dim"
        )
    if path.before:
        lines += paragraph("before it:", width, first="  ", indent="    ")
        lines += run_lines(path.before, result.buffer, width)
        lines += paragraph("then:", width, first="  ", indent="    ")
    lines += run_lines(path.runs, result.buffer, width)
    if path.end:
        lines += paragraph(f"ends with {path.end}", width, first="  ", indent="    ")
    return lines
