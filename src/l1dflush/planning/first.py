# SPDX-License-Identifier: GPL-2.0-or-later
"""What has to come before the first flush of a steady plan.

Such a plan is about what flushes lead to, again and again. Where they begin, from anything, it may not be enough.
"""

from __future__ import annotations

from dataclasses import dataclass

from l1dflush.cache.geometry import Geometry
from l1dflush.cache.policies import Policy
from l1dflush.errors import InputError, UndecidedError
from l1dflush.planning.find import Found
from l1dflush.planning.walk import Walk, walk_of
from l1dflush.proof.conditions import Base, Conditions, Start
from l1dflush.proof.limits import Limits
from l1dflush.proof.prover import needs


@dataclass(frozen=True, slots=True)
class First:
    """A flush that comes once, before the first one of a plan, from a buffer of its own.

    ``needs``: so many accesses to every set are enough under ``conditions``; None if no number is, if it was not found
    out, or if nothing has to come first. ``note`` says it in a sentence or two. ``missing``: why it is not known what
    has to come first, if something has to.
    """

    conditions: Conditions
    needs: int | None
    walk: Walk | None
    note: str
    missing: InputError | UndecidedError | None = None


def first_flush(policy: Policy, geometry: Geometry, found: Found, limits: Limits) -> First | None:
    """What ``found`` needs before its first flush or leaves to say of it; None if it does as it is from any start."""
    start = found.conditions.start
    if not start.steady:
        return None
    base = Base.ANY_INVALID if policy.has_fills else Base.ANY
    conditions = Conditions(Start(base, start.invalidations), found.conditions.touches)
    enough: int | None = None
    missing: InputError | UndecidedError | None = None
    try:
        enough = needs(policy, policy.ways, conditions, limits=limits)
        if enough is None:
            missing = InputError("no number of loads is certain to be a full flush")
    except UndecidedError as error:
        missing = UndecidedError(error.cause, f"how many loads a full flush takes was not found out ({error.what})")
    # A steady plan reads every line once, so as many as are enough anywhere are enough at the first flush too.
    if enough is not None and found.lines >= enough:
        return None
    if start.base is Base.STEADY_FROM_ANY:
        more = "" if enough is None else f" (from {conditions.start} it takes {enough} accesses to every set)"
        note = f"proved is what flushes lead to, again and again; the first ones may leave something{more}"
        return First(conditions, None, None, note)
    note = (
        "proved if no line of the buffer is cached at the first flush, but set-up has just written the buffer: on every"
        " CPU a full flush from another buffer has to come first; "
    )
    if enough is None or missing is not None:
        return First(conditions, None, None, f"{note}{missing}", missing)
    walk = walk_of(range(enough), geometry)
    touches = f" --touches {conditions.touches}" if conditions.touches else ""
    note += (
        f"{walk.loads} loads from {walk.buffer_bytes} bytes are enough"
        f" ('l1dflush plan --start {conditions.start}{touches}')"
    )
    return First(conditions, enough, walk, note)
