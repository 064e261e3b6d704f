# SPDX-License-Identifier: GPL-2.0-or-later
"""A sign of life on standard error while something takes longer than a moment."""

from __future__ import annotations

import importlib
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from l1dflush.cli.output import no_escapes, stderr_is_terminal

if TYPE_CHECKING:
    from rich.status import Status

DELAY_SECONDS = 1.0


@contextmanager
def progress(what: str) -> Iterator[None]:
    """Shows ``what`` and a spinner after a second, if standard error is a terminal; removes it in the end. Without
    colour it is a plain line, which stays."""
    if not stderr_is_terminal():
        yield
        return
    lock = threading.Lock()
    shown: list[Status] = []
    over = False

    def say() -> None:
        with lock:
            if not over:
                _say(what)

    def show() -> None:
        from rich.console import Console
        from rich.text import Text

        status = Console(stderr=True).status(Text(what), spinner="line")
        with lock:
            if not over:
                status.start()
                shown.append(status)

    timer = threading.Timer(DELAY_SECONDS, say if no_escapes() else show)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        with lock:
            over = True
            for status in shown:
                status.stop()


@contextmanager
def while_working(what: str, module: str | None) -> Iterator[None]:
    """While a child process works: a sign of life, and ``module``, which will show its answer, is imported."""
    with progress(what):
        if module is not None:
            importlib.import_module(module)
        yield


@contextmanager
def bar(what: str, total: int) -> Iterator[Callable[[int], None]]:
    """A bar on standard error, if that is a terminal; the function it gives hears how much of ``total`` is done.
    Without colour it is a plain line."""
    if not stderr_is_terminal() or no_escapes():
        if stderr_is_terminal():
            _say(f"{what} ...")
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f}%"))
    with Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True), transient=True) as shown:
        task = shown.add_task(what, total=total)
        yield lambda done: shown.update(task, completed=done)


def _say(what: str) -> None:
    sys.stderr.write(f"{what}\n")
    sys.stderr.flush()
