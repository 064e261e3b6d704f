"""``l1dflush trace``: what a routine does to memory, in order."""

from __future__ import annotations

import typer

from l1dflush.cli import options
from l1dflush.cli.output import Outcome, Page
from l1dflush.cli.progress import while_working

_EXAMPLES = """\b
Examples:
  l1dflush trace linux-4.9.120
  l1dflush trace entry.o --function vmx_l1d_flush --json
"""


def register(app: typer.Typer) -> None:
    """Adds the verb."""
    app.command("trace", epilog=_EXAMPLES, short_help="Show what a routine does to memory, in order.")(trace)


def trace(
    *,
    routine: options.Sources,
    function: options.Function = None,
    define: options.Define = None,
    optimize: options.Optimize = options.Level.USUAL,
    bind: options.Bind = None,
    buffer_size: options.BufferSize = None,
    static_key: options.StaticKey = None,
    start: options.From = None,
    until: options.Until = None,
    extent: options.Range = None,
    max_paths: options.MaxPaths = 64,
    max_seconds: options.MaxSeconds = None,
    json: options.Json = False,
    no_color: options.NoColor = False,
) -> Outcome:
    """Show what a routine reads, writes and executes, path by path. --json has every single event."""
    asked = options.input_options(
        function=function,
        define=define,
        optimize=optimize,
        bind=bind,
        buffer_size=buffer_size,
        static_key=static_key,
        start=start,
        until=until,
        extent=extent,
        max_paths=max_paths,
        max_seconds=max_seconds,
    )
    from l1dflush.isolation.judged import trace_of  # noqa: PLC0415

    notes: list[str] = []
    waiting = while_working(f"running {' + '.join(routine)} ...", None if json else "l1dflush.report.trace_text")
    result = trace_of(routine, asked, waiting=waiting, warn=notes.append)
    message = "".join(notes)
    if json:
        from l1dflush.report.json_report import json_text  # noqa: PLC0415

        return Outcome(result.exit_status, json_text(result), message)
    from l1dflush.report.trace_text import trace_lines  # noqa: PLC0415

    return Outcome(result.exit_status, Page(lambda width: trace_lines(result, width), no_color), message)
