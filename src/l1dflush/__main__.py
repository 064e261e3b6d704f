# SPDX-License-Identifier: GPL-2.0-or-later
"""``python -m l1dflush``, and the console script: an interrupt is answered in one line from here on."""

from __future__ import annotations

import _signal  # type: ignore[import-not-found] # `signal` makes enumerations of it first, and is interrupted in them
import os
import sys

TYPE_CHECKING = False  # without `typing`, which takes long
if TYPE_CHECKING:
    from typing import NoReturn


def run() -> int:
    """Runs the command line; returns the exit status."""
    if _signal.getsignal(_signal.SIGINT) is _signal.default_int_handler:
        _signal.signal(_signal.SIGINT, _at_once)
    try:
        from l1dflush.cli import interrupts  # noqa: PLC0415 (to be safe in here)

        interrupts.install(_at_once)
        from l1dflush.cli.main import run as answer  # noqa: PLC0415 (it takes time)

        return answer()
    except KeyboardInterrupt:
        # In the moments between two phases.
        _at_once()


def _at_once(*_: object) -> NoReturn:
    os.write(2, b"l1dflush: interrupted\n")
    # Not through the interpreter's end: it would have itself killed by the signal.
    os._exit(130)


if __name__ == "__main__":
    sys.exit(run())
