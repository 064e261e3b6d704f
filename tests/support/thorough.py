# SPDX-License-Identifier: GPL-2.0-or-later
"""How much the tests try: L1DFLUSH_THOROUGH=1 (``make thorough``) asks for all of it.

Without it there are fewer examples of each kind, and no kind less: every policy, every start and every oracle is there.
"""

from __future__ import annotations

import os

THOROUGH = os.environ.get("L1DFLUSH_THOROUGH", "0") not in ("", "0")


def examples(usual: int, thorough: int) -> int:
    """How many to try."""
    return thorough if THOROUGH else usual
