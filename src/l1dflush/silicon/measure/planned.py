# SPDX-License-Identifier: GPL-2.0-or-later
"""The size of the flush that is enough for a policy, for whoever wants to time it."""

from __future__ import annotations

from l1dflush.arguments import DEFAULT_MEMORY
from l1dflush.cache.geometry import Geometry
from l1dflush.cache.policies import get_policy
from l1dflush.errors import UndecidedError
from l1dflush.planning.find import NeverError, find
from l1dflush.proof.conditions import DEFAULT
from l1dflush.proof.limits import Limits

_SECONDS = 10.0


def planned_bytes(policy: str, shape: Geometry) -> int | None:
    """Bytes of the planned flush; None where no number of loads is enough, or it is not known which."""
    try:
        found = find(get_policy(policy, shape.ways), shape, DEFAULT, limits=Limits(DEFAULT_MEMORY, _SECONDS))
    except (NeverError, UndecidedError):
        return None
    return found.lines * shape.sets * shape.line
