# SPDX-License-Identifier: GPL-2.0-or-later
"""Results in a notebook: the report that people get at a terminal, as HTML."""

from __future__ import annotations

from collections.abc import Callable
from io import StringIO
from typing import Any

from rich.console import Console
from rich.text import Text

from l1dflush.checking.result import CheckResult
from l1dflush.document import Document
from l1dflush.host.status.model import StatusResult, WhatIfHostResult
from l1dflush.planning.model import PlanResult
from l1dflush.report.terminal.check import check_lines
from l1dflush.report.terminal.comparison import comparison_lines
from l1dflush.report.terminal.plan import plan_lines
from l1dflush.report.terminal.status import status_lines
from l1dflush.report.terminal.trace import trace_lines
from l1dflush.report.terminal.verify import verify_lines
from l1dflush.report.terminal.what_if_host import what_if_host_lines
from l1dflush.verdict.compare.result import ComparisonResult
from l1dflush.verdict.verify_result import TraceResult, VerifyResult

_WIDTH = 100
_LINES: dict[type[Document], Callable[[Any, int], list[Text]]] = {
    VerifyResult: verify_lines,
    TraceResult: trace_lines,
    ComparisonResult: comparison_lines,
    CheckResult: check_lines,
    PlanResult: plan_lines,
    StatusResult: status_lines,
    WhatIfHostResult: what_if_host_lines,
}


def html(result: Document) -> str | None:
    """A result as a piece of HTML; ``None`` for one without a report of its own."""
    lines = next((make for kind, make in _LINES.items() if isinstance(result, kind)), None)
    if lines is None:
        return None
    console = Console(record=True, file=StringIO(), width=_WIDTH, color_system="standard", force_terminal=True)
    for line in lines(result, _WIDTH):
        console.print(line, soft_wrap=True)
    return console.export_html(inline_styles=True, code_format='<pre style="line-height:1.2">{code}</pre>')
