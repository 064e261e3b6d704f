# SPDX-License-Identifier: GPL-2.0-or-later
"""Parts of a result shown one after the other, each at the press of a key."""

from __future__ import annotations

import os
import sys
import termios
import tty
from collections.abc import Iterable

_PROMPT = "-- Enter: next, q: end --"
_ERASE = "\r" + " " * len(_PROMPT) + "\r"
# q, Q, Ctrl-D, and the end of input.
_ENDS = (b"q", b"Q", b"\x04", b"")


def interactive() -> bool:
    """Whether somebody sees the result and can press a key."""
    try:
        return sys.stdin.isatty() and sys.stdout.isatty()
    except (AttributeError, ValueError):  # closed, or none at all
        return False


def show(parts: Iterable[str]) -> None:
    """Writes the parts; between two of them it waits for a key. q ends it."""
    keyboard = sys.stdin.fileno()
    before = termios.tcgetattr(keyboard)
    try:
        # Keys come at once and unseen; Ctrl-C still interrupts.
        tty.setcbreak(keyboard, termios.TCSADRAIN)
        for number, part in enumerate(parts):
            if number and not _next(keyboard):
                return
            sys.stdout.write(part)
            sys.stdout.flush()
    finally:
        termios.tcsetattr(keyboard, termios.TCSADRAIN, before)


def _next(keyboard: int) -> bool:
    sys.stderr.write(_PROMPT)
    sys.stderr.flush()
    try:
        return os.read(keyboard, 1) not in _ENDS
    finally:
        sys.stderr.write(_ERASE)
        sys.stderr.flush()
