"""The options that say what a proof is about and what it may take, and how their texts become values."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from l1dflush.cli.values import ROUTINE, Whole
from l1dflush.errors import InputError

if TYPE_CHECKING:
    from l1dflush.cache.policies import Policy
    from l1dflush.proof.conditions import Conditions

MOST_TOUCHES = 8
# What a process can be limited to, with room for what else it maps.
_MOST_MEMORY = 16 << 40

geometry = click.option("--geometry", metavar="SIZE,WAYS,LINE", help="A cache, like 32K,8,64.")
host = click.option("--host", is_flag=True, help="The L1D of this machine.")
start = click.option(
    "--start",
    metavar="START",
    help="What a set may hold at the start: any, any+invalid, cold, or steady or steady-from-any (flushes again and"
    " again); each also with +invalidations.  [default: any+invalid]",
    show_default=False,
)
then = click.option(
    "--then",
    metavar="ROUTINE",
    multiple=True,
    type=ROUTINE,
    help="With a steady start: this routine flushes next, in turn. Repeatable.",
)
touches = click.option(
    "--touches",
    metavar="N",
    type=Whole(0, MOST_TOUCHES),
    default=0,
    help="Accesses by others to a set during the flush.",
)
memory = click.option(
    "--memory", metavar="SIZE", help="What the prover may take, like 512M.  [default: 2G]", show_default=False
)


def conditions(start: str | None, touches: int, policy: Policy | None = None) -> Conditions:
    """What is proved. Raises InputError for a start that there is not.

    Where no start is named and nobody knows what the policy does when an invalid way is filled, all ways are valid.
    """
    from l1dflush.proof.conditions import ALL_WAYS_VALID, Conditions
    from l1dflush.proof.conditions import Start as SetStart

    if start is None:
        return Conditions(ALL_WAYS_VALID.start if policy and not policy.has_fills else SetStart(), touches)
    try:
        return Conditions(SetStart.parse(start), touches)
    except InputError as error:
        raise InputError(error.what, where="--start", hint=error.hint) from None


def memory_bytes(text: str | None) -> int:
    """The prover's memory in bytes. Raises InputError."""
    from l1dflush.cli.options import size
    from l1dflush.proof.limits import DEFAULT_MEMORY

    value = size("--memory", text)
    if value is not None and value > _MOST_MEMORY:
        raise InputError(f"'{text}' is too much", where="--memory", hint=f"at most {_MOST_MEMORY >> 30}G")
    return DEFAULT_MEMORY if value is None else value
