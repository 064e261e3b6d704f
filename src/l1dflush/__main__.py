"""``python -m l1dflush``, and the console script: an interrupt is answered in one line from here on."""

from __future__ import annotations

import os
import sys


def run() -> int:
    """Runs the command line; returns the exit status."""
    try:
        from l1dflush.cli import interrupts  # noqa: PLC0415 (to be safe in here)

        interrupts.install()
        from l1dflush.cli.main import run as answer  # noqa: PLC0415 (it takes time)

        return answer()
    except KeyboardInterrupt:
        # In the moments between two phases.
        os.write(2, b"l1dflush: interrupted\n")
        # Not through the interpreter's end: it would have itself killed by the signal.
        os._exit(130)


if __name__ == "__main__":
    sys.exit(run())
