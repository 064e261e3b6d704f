# SPDX-License-Identifier: GPL-2.0-or-later
"""The only place that writes: standard output gets the result and nothing else, standard error the rest."""

from __future__ import annotations

import contextlib
import os
import select
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TextIO

from l1dflush.errors import one_line

if TYPE_CHECKING:
    from rich.text import Text

DEFAULT_WIDTH = 80
# Longer lines are no longer easy to read; whoever sets COLUMNS may have them.
_WIDEST_TERMINAL = 120
_ASCII = str.maketrans({"█": "#", "…": "...", "─": "-", "│": "|", "━": "=", "•": "*"} | dict.fromkeys("└┌┐┘┬┴", "+"))


@dataclass(frozen=True, slots=True)
class Page:
    """Lines for people: ``make`` gives them for a width."""

    make: Callable[[int], list[Text]]
    no_color: bool = False


@dataclass(frozen=True, slots=True)
class Steps:
    """A page in parts, which a person at a terminal sees one after the other: ``make`` gives them for a width."""

    make: Callable[[int], Iterable[list[Text]]]
    no_color: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a verb hands to :mod:`l1dflush.cli.main`: the exit status, the result for standard output (text, bytes,
    or a page that is still to be fitted to it), and one line for standard error."""

    status: int
    text: str | bytes | Page | Steps = ""
    message: str = ""


def fitted(outcome: Outcome) -> Outcome:
    """The outcome with its page made into text, for standard output as it is. Steps are shown, if anybody watches."""
    if isinstance(outcome.text, Steps):
        return _stepped(outcome, outcome.text)
    if isinstance(outcome.text, str | bytes):
        return outcome
    return Outcome(outcome.status, _rendered(outcome.text), outcome.message)


def write(outcome: Outcome) -> int:
    """Writes an outcome; returns the exit status, which is 1 when the result could not be written."""
    status = outcome.status
    text = fitted(outcome).text
    if not isinstance(text, str | bytes):
        raise TypeError("a page was not made into text")
    if text:
        problem = _write(sys.stdout, text)
        if problem is not None:
            status = 1
            _write(sys.stderr, f"l1dflush: cannot write the result: {one_line(problem)}\n")
    if outcome.message:
        _write(sys.stderr, f"l1dflush: {outcome.message}\n")
    return status


def _write(stream: TextIO | None, text: str | bytes) -> str | None:
    """Writes all of ``text``; what went wrong, or None. A reader that went away is nothing wrong."""
    if stream is None:
        return "it is closed"
    try:
        _write_all(stream, text)
    except BrokenPipeError:
        _give_up(stream)
    except OSError as error:
        _give_up(stream)
        return error.strerror or str(error)
    except ValueError as error:
        return str(error)
    return None


def _write_all(stream: TextIO, text: str | bytes) -> None:
    """Raises OSError and ValueError. Not through the stream's buffer if it has a file: a write that waits for a reader
    and is interrupted by a signal loses there what did not fit, without an error (CPython 3.11)."""
    stream.flush()
    try:
        file = stream.fileno()
    except (OSError, ValueError):
        if isinstance(text, bytes):
            stream.buffer.write(text)
        else:
            stream.write(_encodable(stream, text))
        stream.flush()
        return
    data = text if isinstance(text, bytes) else _encodable(stream, text).encode(stream.encoding, "replace")
    rest = memoryview(data)
    while rest:
        try:
            rest = rest[os.write(file, rest) :]
        except BlockingIOError:
            # Whoever has the other end made it so.
            select.select([], [file], [])


def _stepped(outcome: Outcome, steps: Steps) -> Outcome:
    from l1dflush.cli import stepping

    def page(part: list[Text]) -> str:
        return _encodable(sys.stdout, _rendered(Page(lambda _: part, steps.no_color)))

    parts = map(page, steps.make(output_width()))
    if not stepping.interactive():
        return Outcome(outcome.status, "".join(parts), outcome.message)
    stepping.show(parts)
    return Outcome(outcome.status, "", outcome.message)


def _encodable(stream: TextIO, text: str) -> str:
    encoding = getattr(stream, "encoding", None) or "utf-8"
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return text.translate(_ASCII).encode(encoding, "replace").decode(encoding)
    return text


def _give_up(stream: TextIO) -> None:
    """Makes the interpreter's own flush at its end succeed: it would complain about the same error again."""
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


def plain_text(page: Page, width: int = DEFAULT_WIDTH) -> str:
    """A page without colour."""
    return "".join(f"{line.plain.rstrip()}\n" for line in page.make(width))


def _rendered(page: Page) -> str:
    width = output_width()
    if not wants_color(page.no_color):
        return plain_text(page, width)
    lines = page.make(width)
    from io import StringIO

    from rich.console import Console

    file = StringIO()
    console = Console(
        file=file,
        force_terminal=True,
        color_system="standard",
        width=width,
        no_color=False,
        legacy_windows=False,
    )
    for line in lines:
        console.print(line, soft_wrap=True, highlight=False)
    return file.getvalue()


def wants_color(no_color: bool) -> bool:
    """Colour is for terminals, and for people who have not said no (https://no-color.org)."""
    return not (no_color or no_escapes()) and _is_terminal(sys.stdout)


def no_escapes() -> bool:
    """Whether the surroundings say that nothing but text is wanted: :func:`l1dflush.cli.main.run` makes --no-color one
    of them."""
    return bool(os.environ.get("NO_COLOR")) or os.environ.get("TERM") in ("dumb", "unknown")


def output_width() -> int:
    """COLUMNS if it is set, else the terminal's width, else 80."""
    from l1dflush.report.layout import MIN_WIDTH

    columns = os.environ.get("COLUMNS", "")
    if columns.isascii() and columns.isdigit() and 0 < int(columns) < 10_000:
        return max(int(columns), MIN_WIDTH)
    width = DEFAULT_WIDTH
    if sys.stdout is not None and _is_terminal(sys.stdout):
        with contextlib.suppress(OSError, ValueError):
            width = os.get_terminal_size(sys.stdout.fileno()).columns or DEFAULT_WIDTH
    return min(max(width, MIN_WIDTH), _WIDEST_TERMINAL)


def _is_terminal(stream: TextIO | None) -> bool:
    try:
        return stream is not None and stream.isatty()
    except ValueError:
        return False


def stderr_is_terminal() -> bool:
    """Whether somebody may be watching."""
    return _is_terminal(sys.stderr)
