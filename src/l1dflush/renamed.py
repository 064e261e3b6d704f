# SPDX-License-Identifier: GPL-2.0-or-later
"""Names that were given up. Who uses one is told the new one, and nothing is done: a script that still has the old name
is to be looked at."""

from __future__ import annotations

_NOW = {"seed": "linux-2018", "seed-story": "linux-2018"}


def renamed(name: str) -> str | None:
    """That a name is another one now, as a sentence; None for any other text.

    >>> renamed("seed")
    "'seed' is called 'linux-2018' now"
    """
    return f"'{name}' is called '{_NOW[name]}' now" if name in _NOW else None
