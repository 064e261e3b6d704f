# SPDX-License-Identifier: GPL-2.0-or-later
"""Ctrl-C, from the entry point to the last byte of the result.

Python raises KeyboardInterrupt wherever it happens to be. Inside an import, or where a library makes a schema, that
becomes some other error or is lost with a traceback on standard error. So the command line has a handler of its own,
which knows how far it is: while the program is being loaded it ends at once; while a verb works the interrupt is raised
and remembered, whatever becomes of it; while the answer is being written it gives the writing a second. This module
imports nothing that takes time.
"""

from __future__ import annotations

import os
import signal
import sys

TYPE_CHECKING = False  # without `typing`, which takes long
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType
    from typing import Any, NoReturn

STATUS = 130
MESSAGE = "interrupted"
# How long whoever reads the result has left to do so.
_SECONDS_TO_WRITE = 1.0
# How soon an interrupt that got lost comes again.
_AGAIN_SECONDS = 0.02

_LOADING, _WORKING, _WRITING, _WRITTEN = range(4)
_phase = _WORKING
_seen = False


def install(so_far: Callable[..., object] = signal.default_int_handler) -> None:
    """From here on an interrupt ends the program at once, until :func:`working`. ``so_far`` is the handler that there
    is: interrupts that whoever started the program has switched off stay so."""
    global _phase  # noqa: PLW0603 (there is one process, and signals are its own)
    if signal.getsignal(signal.SIGINT) is so_far:
        _phase = _LOADING
        signal.signal(signal.SIGINT, _interrupted)
        signal.signal(signal.SIGALRM, _interrupted)
        sys.unraisablehook = _lost


def working() -> None:
    """From here on an interrupt is raised as KeyboardInterrupt."""
    global _phase  # noqa: PLW0603 (as above)
    _phase = _WORKING


def seen() -> bool:
    """Whether an interrupt was raised since :func:`install`: an error that comes then is most likely its echo."""
    return _seen


def writing() -> None:
    """The answer stands: an interrupt does no more than limit the time for writing it."""
    global _phase  # noqa: PLW0603 (as above)
    _phase = _WRITING


def written() -> None:
    """Everything is written: nothing is left to interrupt."""
    global _phase  # noqa: PLW0603 (as above)
    _phase = _WRITTEN
    signal.setitimer(signal.ITIMER_REAL, 0)
    if signal.getsignal(signal.SIGINT) is _interrupted:
        # The interpreter's end leaves this as it is, and nothing else.
        signal.signal(signal.SIGINT, signal.SIG_IGN)


def leave() -> NoReturn:
    """Ends the program with one line, without the interpreter's own end, which would have it killed by the signal."""
    os.write(2, f"l1dflush: {MESSAGE}\n".encode())
    os._exit(STATUS)


def _interrupted(number: int, _frame: FrameType | None) -> None:
    global _seen  # noqa: PLW0603 (as above)
    if _phase == _LOADING or (_phase == _WRITING and number == signal.SIGALRM):
        leave()
    if _phase == _WORKING:
        _seen = True
        raise KeyboardInterrupt
    if _phase == _WRITING:
        signal.setitimer(signal.ITIMER_REAL, _SECONDS_TO_WRITE)


def _lost(what: Any) -> None:
    """Called for an exception that nobody can catch, as in a callback of the interpreter's: it is raised again soon."""
    if issubclass(what.exc_type, KeyboardInterrupt):
        signal.setitimer(signal.ITIMER_REAL, _AGAIN_SECONDS)
    else:
        sys.__unraisablehook__(what)
