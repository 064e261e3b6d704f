"""``python -m l1dflush``, and the console script: an interrupt is answered in one line from the first import on."""

from __future__ import annotations

import os
import sys


def run() -> int:
    """Runs the command line; returns the exit status."""
    try:
        from l1dflush.cli.main import run as answer  # noqa: PLC0415 (it takes time)
    except KeyboardInterrupt:
        os.write(2, b"l1dflush: interrupted\n")
        # Not through the interpreter's end: it would have itself killed by the signal.
        os._exit(130)
    return answer()


if __name__ == "__main__":
    sys.exit(run())
